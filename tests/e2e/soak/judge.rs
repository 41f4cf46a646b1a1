//! What was written, and what was seen, held against the promises. Pure: it is told all that it knows.
//!
//! Limits are counted by when the API server received the evictions, in every window that begins with one of them, without
//! any tolerance: the operator keeps five seconds more by itself. Who holds the lease is whoever wrote it last. Acts, which
//! are made in the name of the acting account, must come from it alone. Reports (status, events) may overlap for a moment
//! when a stopped leader goes on, and harm nobody: they are counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use grpc_hygiene::io::leadership::LEASE;
use jiff::Timestamp;

use super::super::{audit::Write, world::HOME};
use super::{
    COOLDOWN, DAY, IN_A_NAMESPACE, IN_THE_CLUSTER, LEAKY, Tenant, WINDOW,
    disturb::Disturbances,
    memory::{GROWTH, Memory},
};

/// In runs that are as long as this a process must have lived long enough for its memory to be told, minutes.
const MEASURED: u64 = 90;

/// A pod, by its namespace and its name.
pub type Pod = (String, String);

/// Evictions of the tenants' pods that were carried out.
pub fn evictions<'a>(tenants: &[Tenant], writes: &'a [Write]) -> Vec<&'a Write> {
    let ours = |it: &&Write| tenants.iter().any(|tenant| tenant.namespace == it.namespace);
    writes.iter().filter(ours).filter(|it| it.resource == "pods/eviction" && it.code == 201).collect()
}

/// Windows in which there were more evictions than a limit allows.
pub fn overruns(tenants: &[Tenant], evictions: &[&Write]) -> Vec<String> {
    let mut found = Vec::new();
    for tenant in tenants {
        let all = times(evictions.iter().filter(|it| it.namespace == tenant.namespace));
        let leaky = evictions.iter().filter(|it| it.namespace == tenant.namespace && it.name.starts_with(LEAKY));
        let (leaky, name) = (times(leaky), &tenant.namespace);
        found.extend(too_many(&leaky, 1, COOLDOWN).map(|it| format!("the cooldown in {name}: {it}")));
        found.extend(too_many(&leaky, tenant.per_day, DAY).map(|it| format!("the day's limit in {name}: {it}")));
        found.extend(too_many(&all, IN_A_NAMESPACE, WINDOW).map(|it| format!("the limit of {name}: {it}")));
    }
    let all = times(evictions.iter());
    found.extend(too_many(&all, IN_THE_CLUSTER, WINDOW).map(|it| format!("the limit of the cluster: {it}")));
    found
}

fn times<'a, 'b: 'a>(evictions: impl Iterator<Item = &'a &'b Write>) -> Vec<Timestamp> {
    let mut times: Vec<Timestamp> = evictions.map(|it| it.at.parse().expect("the audit log's time")).collect();
    times.sort_unstable();
    times
}

/// The windows with more than `most` of these moments.
fn too_many(times: &[Timestamp], most: usize, window: Duration) -> impl Iterator<Item = String> {
    let within = move |it: &&[Timestamp]| it[most].duration_since(it[0]).unsigned_abs() < window;
    let said = move |it: &[Timestamp]| format!("more than {most} in {window:?}: {} to {}", it[0], it[most]);
    times.windows(most + 1).filter(within).map(said)
}

/// What was done, or tried, in a tenant's namespace to something that does not leak.
pub fn acts_on_good_ones(tenants: &[Tenant], writes: &[Write]) -> Vec<String> {
    let ours = |it: &&Write| tenants.iter().any(|tenant| tenant.namespace == it.namespace);
    let good = |it: &&Write| it.acts && !it.name.starts_with(LEAKY);
    writes.iter().filter(ours).filter(good).map(|it| format!("an act on a good one: {}", told(it))).collect()
}

fn told(it: &Write) -> String {
    format!("{} {} {}/{}: {} at {} by {}", it.verb, it.resource, it.namespace, it.name, it.code, it.at, it.author)
}

fn is_lease(it: &Write) -> bool {
    it.resource == "leases" && it.namespace == HOME && it.name == LEASE
}

/// Whoever has written the lease.
pub fn holders(writes: &[Write]) -> BTreeSet<String> {
    writes.iter().filter(|it| is_lease(it)).map(|it| it.author.clone()).collect()
}

/// Acts of a pod while another held the lease, and how many of its reports there were then.
pub fn usurped(writes: &[Write]) -> (Vec<String>, usize) {
    let succeeded = |it: &&Write| (200..300).contains(&it.code);
    let mut terms: Vec<&Write> = writes.iter().filter(|it| is_lease(it)).filter(succeeded).collect();
    terms.sort_by(|a, b| a.answered.cmp(&b.answered));
    let (mut acts, mut reports) = (Vec::new(), 0);
    for write in writes.iter().filter(succeeded).filter(|it| !is_lease(it)) {
        let before = terms.partition_point(|it| it.answered <= write.at);
        let Some(holder) = before.checked_sub(1).map(|it| terms[it]) else { continue };
        if holder.author == write.author {
            continue;
        }
        if write.acts {
            acts.push(format!("an act while {} held the lease: {}", holder.author, told(write)));
        } else {
            reports += 1;
        }
    }
    (acts, reports)
}

/// Evictions without an entry in the ledger, and entries without an eviction, each as often as it is missing.
pub fn unaccounted(evictions: &[&Write], entries: impl IntoIterator<Item = Pod>) -> Vec<String> {
    let mut balance: BTreeMap<Pod, i32> = BTreeMap::new();
    for it in evictions {
        *balance.entry((it.namespace.clone(), it.name.clone())).or_default() += 1;
    }
    for pod in entries {
        *balance.entry(pod).or_default() -= 1;
    }
    let missing = balance.into_iter().filter(|(_, count)| *count != 0);
    let said =
        |count| if count > 0 { "is evicted, and not in the ledger" } else { "is in the ledger, and not evicted" };
    missing.map(|((namespace, pod), count)| format!("{namespace}/{pod} {}", said(count))).collect()
}

/// How it ended.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How many pods were evicted.
    pub evictions: usize,
    /// Limits that were not kept.
    pub overruns: Vec<String>,
    /// What was done to good ones.
    pub good: Vec<String>,
    /// Evictions and entries of the ledger that do not tell the same.
    pub unaccounted: Vec<String>,
    /// Alerts that were away for too long.
    pub lost: BTreeSet<String>,
    /// Acts of one that did not hold the lease.
    pub usurped: Vec<String>,
    /// Reports of one that did not hold the lease any more.
    pub reports: usize,
    /// Policies that were not evaluated for too long.
    pub late: BTreeSet<String>,
    /// Who has written the lease. Where they cannot be told apart, nothing is told by it.
    pub holders: BTreeSet<String>,
    /// Evictions that are not known to be made in the name of the acting account.
    pub nameless: usize,
    /// The longest time for which an alert was not seen, and the greatest age of an evaluation.
    pub longest: (Duration, Duration),
    /// Why restarts were held back, and in how many samples.
    pub held: BTreeMap<String, usize>,
    /// The operator's memory.
    pub memory: Memory,
}

impl Verdict {
    /// With more that was found of the good ones.
    pub fn and(mut self, good: Vec<String>) -> Self {
        self.good.extend(good);
        self
    }

    /// All figures.
    pub fn table(&self, minutes: u64, disturbances: &Disturbances) -> String {
        let mut text = format!("soak: the figures\nminutes              {minutes}\n");
        for (kind, count) in &disturbances.counts {
            let _ = writeln!(text, "disturbances         {count:>4} {}", kind.name());
        }
        for (because, count) in &self.held {
            let _ = writeln!(text, "held back, samples   {count:>4} {because}");
        }
        let (median, most) = self.memory.median_and_most();
        let figures = [
            ("evictions", self.evictions.to_string()),
            ("overruns", self.overruns.len().to_string()),
            ("acts on good ones", self.good.len().to_string()),
            ("unaccounted", self.unaccounted.len().to_string()),
            ("acts without lease", self.usurped.len().to_string()),
            ("reports without it", self.reports.to_string()),
            ("alerts lost", self.lost.len().to_string()),
            ("longest absence", format!("{} s", self.longest.0.as_secs())),
            ("evaluations late", self.late.len().to_string()),
            ("oldest evaluation", format!("{} s", self.longest.1.as_secs())),
            ("resident memory", format!("{median:.1} MiB median, {most:.1} MiB at most")),
        ];
        for (name, figure) in figures {
            let _ = writeln!(text, "{name:<20} {figure}");
        }
        text + &self.memory.report()
    }

    /// Fails when a promise was broken, or the run proves nothing.
    pub fn assert_kept(&self, minutes: u64) {
        let slopes = self.memory.slopes();
        let grow = slopes.iter().filter(|it| it.1 > GROWTH);
        let grow =
            grow.map(|(life, slope, _)| format!("{life:?} grows by {slope:.0} KiB an hour, more than {GROWTH:.0}"));
        let broken: Vec<String> = [&self.overruns, &self.good, &self.unaccounted, &self.usurped]
            .into_iter()
            .flatten()
            .chain(&self.lost)
            .chain(&self.late)
            .cloned()
            .chain(grow)
            .collect();
        assert!(broken.is_empty(), "{} promises were broken:\n{}", broken.len(), broken.join("\n"));
        assert!(self.evictions > 0, "nobody was evicted: the run proves nothing");
        assert_eq!(self.nameless, 0, "the log does not tell acts from reports: the run proves nothing about them");
        assert!(self.holders.len() > 1, "one lease holder alone, {:?}: the run proves nothing of terms", self.holders);
        assert!(minutes < MEASURED || !slopes.is_empty(), "no process lived long enough for its memory to be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(resource: &str, pod: &str, at: &str, author: &str, acts: bool) -> Write {
        let at = format!("2026-11-26T{at}.000000Z");
        Write {
            verb: "create".to_owned(),
            resource: resource.to_owned(),
            namespace: if resource == "leases" { HOME } else { "e2e-soak-00" }.to_owned(),
            name: pod.to_owned(),
            code: 201,
            answered: at.clone(),
            at,
            author: author.to_owned(),
            acts,
        }
    }

    fn evicted(pod: &str, at: &str) -> Write {
        write("pods/eviction", pod, at, "a", true)
    }

    fn overrun(writes: &[Write]) -> Vec<String> {
        let tenants = super::super::tenants();
        overruns(&tenants, &evictions(&tenants, writes))
    }

    #[test]
    fn an_eviction_too_many_in_a_sliding_window_is_told_by_the_limit_s_name() {
        let kept = ["10:00:00", "10:03:00", "10:10:00"].map(|at| evicted("orders-leaky-a", at));
        assert_eq!(overrun(&kept), [""; 0]);
        let early = overrun(&["10:00:00", "10:02:59"].map(|at| evicted("orders-leaky-a", at)));
        assert!(early.len() == 1 && early[0].starts_with("the cooldown"), "{early:?}");
        let many = overrun(&["10:00:00", "10:03:00", "10:09:59"].map(|at| evicted("orders-leaky-a", at)));
        assert!(many.len() == 1 && many[0].starts_with("the limit of e2e-soak-00"), "{many:?}");
        let day = ["10:00:00", "11:00:00", "12:00:00", "23:00:00"].map(|at| evicted("orders-leaky-a", at));
        assert!(overrun(&day)[0].starts_with("the day's limit"), "{:?}", overrun(&day));
    }

    #[test]
    fn an_act_on_a_good_one_and_an_act_without_the_lease_are_told() {
        let tenants = super::super::tenants();
        let acts = [evicted("pool-a", "10:00:00"), write("pods", "orders-leaky-a", "10:00:01", "a", true)];
        assert_eq!(acts_on_good_ones(&tenants, &acts).len(), 1);
        let lease = |at, author| write("leases", LEASE, at, author, false);
        let status = write("grpcclientpolicies/status", "clients", "10:00:21", "a", false);
        let writes = [lease("10:00:00", "a"), evicted("orders-leaky-a", "10:00:10"), lease("10:00:20", "b"), status];
        assert_eq!(usurped(&writes), (Vec::new(), 1));
        let late = [writes.as_slice(), &[evicted("orders-leaky-b", "10:00:22")]].concat();
        assert_eq!(usurped(&late).0.len(), 1);
    }

    #[test]
    fn an_eviction_without_an_entry_an_entry_without_one_and_two_of_one_pod_are_told() {
        let (one, two) = (evicted("orders-leaky-a", "10:00:00"), evicted("orders-leaky-b", "10:05:00"));
        let pod = |it: &Write| (it.namespace.clone(), it.name.clone());
        assert_eq!(unaccounted(&[&one, &two], [pod(&one), pod(&two)]), [""; 0]);
        assert_eq!(unaccounted(&[&one], [pod(&two)]).len(), 2);
        assert_eq!(unaccounted(&[&one], [pod(&one), pod(&one)]).len(), 1);
    }
}
