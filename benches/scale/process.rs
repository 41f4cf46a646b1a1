//! The operator as a process: how it is started, what it uses, and the end of it. Linux alone, by `/proc`.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use axum::Router;
use tokio::net::TcpListener;

/// What a process uses.
#[derive(Clone, Copy)]
pub struct Usage {
    /// Memory now, bytes.
    pub resident: u64,
    /// The most memory so far, bytes.
    pub peak: u64,
    /// Processor time so far, seconds.
    pub cpu: f64,
}

/// The operator. It ends with this value.
pub struct Process(Child);

impl Process {
    /// Starts the operator against these servers.
    pub fn start(api: &str, backend: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(&folder).expect("a folder");
        let (config, kubeconfig) = (folder.join("scale.yaml"), folder.join("scale.kubeconfig"));
        fs::write(&config, format!("prometheus: {{url: '{backend}'}}\nquietPeriod: 0s\n")).expect("a file");
        let cluster = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: '{api}'}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        );
        fs::write(&kubeconfig, cluster).expect("a file");
        let log = fs::File::create(folder.join("scale.log")).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"))
            .arg("run")
            .arg("--config")
            .arg(config)
            .args(["--namespace", "grpc-hygiene", "--identity", "operator-1", "--listen", "127.0.0.1:0"])
            .env("KUBECONFIG", kubeconfig)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the operator starts");
        Self(child)
    }

    /// What it uses, as the kernel knows it.
    pub fn usage(&self) -> Usage {
        let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.0.id())).expect("the operator runs");
        let (status, stat) = (read("status"), read("stat"));
        let kib = |field: &str| -> u64 {
            let line = status.lines().find_map(|it| it.strip_prefix(field)).expect(field);
            line.trim().trim_end_matches(" kB").trim().parse().expect(field)
        };
        // Behind the name, which may hold spaces; user and system time are the 14th and 15th field of all.
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a line").split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|it| it.parse::<f64>().expect("ticks")).sum();
        Usage { resident: kib("VmRSS:") * 1_024, peak: kib("VmHWM:") * 1_024, cpu: ticks / 100.0 }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves these routes on a port of this machine for as long as the program runs.
pub async fn serve(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}
