//! Profiles as evidence: of whom one is wanted and where it is served, what is remembered of it, and whether a restart
//! has waited long enough for one. Pure: `io::profiles` fetches and stores, [`super::blame`] reads.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::{apis::meta::v1::Time, util::intstr::IntOrString};

use crate::{
    api::{EvidenceRule, ProfileRecord, ProfilesSpec, SiteRecord, Through},
    decide::{
        Because, Case, Decision, Diagnosis, History, InvalidPolicy, Plan, Policy, Remediation, RestartRule, Subject,
        Target, Workload,
        blame::{Blame, Site},
        status::rounded,
    },
};

/// So many are taken in one evaluation,
const AT_ONCE: usize = 4;
/// and of so many pods of one workload, unless a restart waits for one.
const PER_WORKLOAD: usize = 3;
/// A stored profile is taken anew after so long.
const RETAKE: SignedDuration = SignedDuration::from_hours(6);
/// Somebody who had none is asked again after so long.
const RETRY: SignedDuration = SignedDuration::from_mins(5);
/// With fewer samples a profile is thin: of a few hundred channels the Go runtime samples a few.
const THIN: f64 = 30.0;
/// A thin one is taken anew after so long, and whenever the finding has become twice as old.
const AGAIN: SignedDuration = SignedDuration::from_mins(2);
/// What a status can hold, and for how long.
const MAX_RECORDS: usize = 30;
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Sites that are told.
const SITES: usize = 3;

/// Where pods serve profiles, by the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfilesRule {
    /// The port.
    pub port: Port,
    /// What pprof's pages are below, without a slash at the end: `/debug/pprof`.
    pub path: String,
    /// How the pod is reached.
    pub through: Through,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// By number.
    Number(u16),
    /// By its name in the container's ports.
    Name(String),
}

/// Where one container serves profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The port.
    pub port: u16,
    /// What pprof's pages are below.
    pub path: String,
}

/// Why a container is not asked for a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPage {
    /// No port has the name.
    #[error(
        "the container has no port named {0}; name one, or annotate the pod with grpc-hygiene.io/pprof: PORT or PORT/PATH"
    )]
    NoPort(String),
    /// The annotation says nothing that can be used.
    #[error("the annotation grpc-hygiene.io/pprof is {0:?}: it must be PORT or PORT/PATH, such as 6060/debug/pprof")]
    Annotation(String),
    /// Its address is its node's.
    #[error("the pod uses its node's network, where the port may be somebody else's")]
    HostNetwork,
}

impl ProfilesRule {
    /// Reads the spec.
    ///
    /// # Errors
    /// A field cannot work; the error names it.
    pub fn parse(spec: &ProfilesSpec) -> Result<Self, InvalidPolicy> {
        let ProfilesSpec { port, path, through } = spec;
        let problem = "must be a port from 1 to 65535 or the name of a container's port".to_owned();
        let wrong = || InvalidPolicy { field: "profiles.port", problem };
        let port = match port {
            IntOrString::Int(number) => number_of(*number).map(Port::Number),
            IntOrString::String(name) => is_port_name(name).then(|| Port::Name(name.clone())),
        };
        let port = port.ok_or_else(wrong)?;
        let problem = "must begin with / and hold letters, digits and . _ ~ / - only, without ..".to_owned();
        let path = path_of(path).ok_or(InvalidPolicy { field: "profiles.path", problem })?;
        Ok(Self { port, path, through: *through })
    }
}

fn number_of(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|it| *it > 0)
}

/// See <https://www.rfc-editor.org/rfc/rfc6335#section-5.1>; Kubernetes demands the same.
fn is_port_name(name: &str) -> bool {
    let plain = name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
    (1..=15).contains(&name.len()) && plain && name.bytes().any(|it| it.is_ascii_lowercase())
}

/// A path that cannot lead anywhere but below itself.
fn path_of(path: &str) -> Option<String> {
    let plain = path.bytes().all(|it| it.is_ascii_alphanumeric() || b"._~/-".contains(&it));
    let fits = path.starts_with('/') && path.len() <= 256 && plain && !path.contains("..") && !path.contains("//");
    fits.then(|| path.trim_end_matches('/').to_owned())
}

/// Where a container serves profiles: as its pod's annotation says, or else as the policy does.
///
/// # Errors
/// It cannot be known, or must not be asked.
pub fn page(rule: &ProfilesRule, target: &Target) -> Result<Page, NoPage> {
    if target.host_network {
        return Err(NoPage::HostNetwork);
    }
    if let Some(text) = &target.pprof {
        return annotated(text, &rule.path).ok_or_else(|| NoPage::Annotation(text.chars().take(64).collect()));
    }
    let port = match &rule.port {
        Port::Number(number) => *number,
        Port::Name(name) => *target.ports.get(name).ok_or_else(|| NoPage::NoPort(name.clone()))?,
    };
    Ok(Page { port, path: rule.path.clone() })
}

fn annotated(text: &str, usual: &str) -> Option<Page> {
    let text = text.trim();
    let (port, path) = text.find('/').map_or((text, None), |at| (&text[..at], Some(&text[at..])));
    let port = number_of(port.parse().ok()?)?;
    Some(Page { port, path: path.map_or_else(|| Some(usual.to_owned()), path_of)? })
}

/// The offenders of whom a profile is to be taken now, the most urgent first.
#[must_use]
pub fn wanted<'a>(policy: &Policy, plan: &'a Plan, history: &History, now: Timestamp) -> Vec<&'a Case> {
    if policy.profiles.is_none() {
        return Vec::new();
    }
    let mut taken: BTreeMap<&Workload, usize> = BTreeMap::new();
    let has_one = |it: &Case| it.profile.is_some();
    for workload in plan.cases.iter().filter(|it| has_one(it)).filter_map(|it| it.target.workload.as_ref()) {
        *taken.entry(workload).or_default() += 1;
    }
    let candidates = plan.cases.iter().filter(|it| it.confirmed && !it.standing && is_told_by(it.growth.diagnosis));
    let mut wanted: Vec<&Case> = Vec::new();
    for case in candidates.filter(|it| is_due(it, history, now)) {
        let others = case.target.workload.as_ref().map(|it| taken.entry(it).or_default());
        let enough = others.as_ref().is_some_and(|it| **it >= PER_WORKLOAD) && !has_one(case);
        if enough && !restart_waits(case) {
            continue;
        }
        if let Some(others) = others {
            *others += 1;
        }
        wanted.push(case);
    }
    wanted.truncate(AT_ONCE);
    wanted
}

/// Whether a heap tells anything about it.
const fn is_told_by(diagnosis: Diagnosis) -> bool {
    match diagnosis {
        Diagnosis::DialPerCall
        | Diagnosis::ConnectionLeak
        | Diagnosis::IdleChannelResidue
        | Diagnosis::MemoryLeakElsewhere => true,
        Diagnosis::ConnectionChurn | Diagnosis::KeepaliveRejected | Diagnosis::TargetUnreachable => false,
    }
}

fn is_due(case: &Case, history: &History, now: Timestamp) -> bool {
    let Some(record) = &case.profile else { return true };
    let age = now.duration_since(record.taken_at.0);
    match &record.file {
        Some(file) if history.held.contains(file) => {
            let young = record.taken_at.0.duration_since(case.since);
            age >= RETAKE || is_thin(record) && age >= young.max(AGAIN)
        }
        // It was stored by another replica, or is gone.
        Some(_) => true,
        None => age >= RETRY,
    }
}

fn is_thin(record: &ProfileRecord) -> bool {
    record.samples.unwrap_or_default() < THIN
}

fn restart_waits(case: &Case) -> bool {
    let waits = |it: &Decision| matches!(it, Decision::Withheld(Because::NoEvidence { .. }));
    case.rungs.iter().any(|it| it.remediation == Remediation::Restart && waits(&it.decision))
}

/// Whether a restart may go on as far as the evidence goes.
///
/// # Errors
/// [`Because::NoEvidence`]: it waits for a profile.
pub fn suffices(policy: &Policy, rule: &RestartRule, case: &Case, history: &History) -> Result<(), Because> {
    let record = case.profile.as_ref();
    let held = |it: &&ProfileRecord| it.file.as_ref().is_some_and(|it| history.held.contains(it));
    let stored = record.filter(held);
    let tried = record.filter(|it| it.file.is_none());
    let no_evidence = |why: &str| Err(Because::NoEvidence { why: why.to_owned() });
    match (rule.evidence, tried) {
        (EvidenceRule::None, _) => Ok(()),
        (EvidenceRule::BestEffort, _) if policy.profiles.is_none() => Ok(()),
        _ if !is_told_by(case.growth.diagnosis) || stored.is_some_and(|it| !is_thin(it)) => Ok(()),
        // The next evaluation would come too late.
        _ if case.evidence.forecast.is_some_and(|it| it.restart_by <= policy.interval.as_secs_f64()) => Ok(()),
        (EvidenceRule::BestEffort, _) if stored.or(tried).is_some() => Ok(()),
        (EvidenceRule::Required, _) if stored.is_some() => {
            no_evidence("the one that is stored has too few samples to say who leaks, and is taken again")
        }
        (_, None) => no_evidence("the pod has not been asked for one yet"),
        (_, Some(record)) => no_evidence(record.problem.as_deref().unwrap_or("there was none")),
    }
}

/// What is remembered of profiles: the newest of each subject, without those that nobody has any more.
#[must_use]
pub fn remembered(history: &History, plan: &Plan, now: Timestamp) -> Vec<ProfileRecord> {
    let offends = |it: &ProfileRecord| plan.cases.iter().any(|case| is_about(it, &case.target.subject));
    let kept = |it: &&ProfileRecord| match (&it.file, &it.stored_by) {
        (Some(file), Some(by)) if *by == history.operator => history.held.contains(file),
        (Some(_), _) => true,
        (None, _) => offends(it),
    };
    let recent = |it: &&ProfileRecord| now.duration_since(it.taken_at.0) < KEPT;
    let mut all: Vec<ProfileRecord> = history.profiles.iter().filter(kept).filter(recent).cloned().collect();
    all.sort_by(|a, b| b.taken_at.0.cmp(&a.taken_at.0).then_with(|| a.pod.cmp(&b.pod)));
    all.truncate(MAX_RECORDS);
    all
}

/// Whether a record is about a subject.
#[must_use]
pub fn is_about(record: &ProfileRecord, subject: &Subject) -> bool {
    Subject::from(record) == *subject
}

/// What is remembered of one attempt. `file` is the name under which the profile is stored, and by whom.
#[must_use]
pub fn record(
    subject: &Subject,
    taken_at: Timestamp,
    found: Result<&Blame, String>,
    file: Option<(String, String)>,
) -> ProfileRecord {
    let Subject { namespace, pod, uid, container } = subject.clone();
    let (file, stored_by) = file.unzip();
    let taken_at = Time(taken_at);
    let empty = ProfileRecord {
        namespace,
        pod,
        uid,
        container,
        taken_at,
        file,
        stored_by,
        channels: None,
        samples: None,
        sites: Vec::new(),
        problem: None,
    };
    match found {
        Err(why) => ProfileRecord { problem: Some(why), ..empty },
        Ok(blame) => {
            let told = if blame.accused.is_empty() && blame.faded { &blame.others } else { &blame.accused };
            let sites = told.iter().take(SITES).map(site).collect();
            let channels = Some(blame.channels.count.round());
            let samples = blame.accused.iter().chain(&blame.others).map(|it| it.samples).sum::<f64>();
            let samples = Some((samples * 10.0).round() / 10.0);
            ProfileRecord { channels, samples, sites, problem: problem(blame), ..empty }
        }
    }
}

fn problem(blame: &Blame) -> Option<String> {
    let text = match blame {
        Blame { accused, .. } if !accused.is_empty() => return None,
        Blame { faded: true, .. } => {
            "the channels idled out: nearly nothing is left with who made them; the sites are those that dialled most"
        }
        Blame { nameless, .. } if !nameless.is_empty() => "the profile was stripped of its symbols",
        Blame { serves_only: true, .. } => "what holds connections is a server's side alone",
        Blame { others, channels, .. } if others.is_empty() && channels.count < 1.0 => {
            "the heap holds no channels of grpc-go"
        }
        Blame { channels, .. } if channels.count >= 100.0 => {
            "there are channels, but too few samples yet to say who made them"
        }
        _ => "no line of code surely holds 20 channels or more",
    };
    Some(text.to_owned())
}

fn site(site: &Site) -> SiteRecord {
    SiteRecord {
        function: site.function.clone(),
        line: format!("{}:{}", short_path(&site.file), site.line),
        channels: two_digits(site.channels),
        bytes: two_digits(site.bytes),
        confidence: (site.confidence * 10.0).floor() / 10.0,
    }
}

/// Fewer than a hundred as they are; else two digits tell all that there is to know.
fn two_digits(value: f64) -> f64 {
    if value < 100.0 { value.round() } else { rounded(value) }
}

/// The last folder and the file.
fn short_path(path: &str) -> &str {
    path.rmatch_indices('/').nth(1).map_or(path, |(at, _)| &path[at + 1..])
}

/// The sites in one line: `GetUser (handlers/handlers.go:28) holds 500 channels, …`.
#[must_use]
pub fn words(sites: &[SiteRecord]) -> String {
    let one = |it: &SiteRecord| {
        let function = it.function.rsplit('/').next().unwrap_or(&it.function);
        format!("{function} ({}) holds {} channels", it.line, it.channels)
    };
    sites.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The files that the operator has stored.
pub type Held = BTreeSet<String>;

#[cfg(test)]
mod tests;
