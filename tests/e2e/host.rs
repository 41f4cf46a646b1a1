//! The processes of the cluster's containers, for the node is this host: found, killed, stopped, cut off from an address.
//! What is stopped or cut off goes on when its guard is dropped, also by a panic.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::PathBuf,
    process::Command,
};

use k8s_openapi::api::core::v1::Pod;

/// The process of a pod's first container on this host that runs a program, by the container's name in the process'
/// control group. `None`: there is none at the moment.
pub fn process(pod: &Pod, program: &str) -> Option<String> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let container = status.container_id.as_ref()?.strip_prefix("containerd://")?;
    let all = fs::read_dir("/proc").expect("/proc").flatten().map(|it| it.path());
    let is = |path: &PathBuf| {
        let group = fs::read_to_string(path.join("cgroup")).unwrap_or_default();
        let command = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        group.contains(container) && command.contains(program)
    };
    all.filter(is).find_map(|it| it.file_name().map(|it| it.to_string_lossy().into_owned()))
}

/// The memory of a process that is in use, KiB. `None`: it has ended.
pub fn resident(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

/// Kills a process at once. One that has ended meanwhile is as dead.
pub fn kill(process: &str) {
    let _ = Command::new("kill").args(["-KILL", process]).status();
}

/// A stopped process, which goes on when this is dropped.
pub struct Stopped {
    process: String,
}

impl Stopped {
    /// Stops it.
    pub fn new(process: String) -> Self {
        let status = Command::new("kill").args(["-STOP", &process]).status().expect("kill");
        assert!(status.success(), "kill -STOP {process}");
        Self { process }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-CONT", &self.process]).status();
    }
}

/// A pod whose packets to an address vanish, until this is dropped. The rule is in the pod's own network namespace, so it
/// goes with the pod.
pub struct CutOff {
    /// Keeps the namespace, whatever becomes of the process that it was found by.
    namespace: File,
    address: String,
}

impl CutOff {
    /// Cuts the network of a process off from port 443 of an address. The error is why not, for example that the process
    /// has ended.
    pub fn new(process: &str, address: &str) -> Result<Self, String> {
        let path = format!("/proc/{process}/ns/net");
        let namespace = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        let cut = Self { namespace, address: address.to_owned() };
        cut.rule("--insert")?;
        Ok(cut)
    }

    /// How many packets have vanished.
    pub fn dropped(&self) -> Result<u64, String> {
        let table = self.iptables(&["--list", "OUTPUT", "--verbose", "--exact", "--numeric"])?;
        let rule = table.lines().find(|it| it.contains(&self.address)).ok_or_else(|| format!("no rule: {table}"))?;
        let packets = rule.split_whitespace().next().and_then(|it| it.parse().ok());
        packets.ok_or_else(|| format!("no count: {rule}"))
    }

    fn rule(&self, change: &str) -> Result<(), String> {
        let rule = ["--destination", &self.address, "--protocol", "tcp", "--dport", "443", "--jump", "DROP"];
        self.iptables(&[&[change, "OUTPUT"], &rule[..]].concat()).map(drop)
    }

    fn iptables(&self, arguments: &[&str]) -> Result<String, String> {
        let namespace = format!("--net=/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd());
        let mut nsenter = Command::new("nsenter");
        nsenter.args([&namespace, "iptables", "--wait"]).args(arguments);
        let output = nsenter.output().map_err(|error| format!("nsenter: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let failed = || format!("iptables {arguments:?}: {}", text(&output.stderr));
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(failed()) }
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        let _ = self.rule("--delete");
    }
}
