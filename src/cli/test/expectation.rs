//! One expectation: what it says in YAML, what that means, and whether a replay meets it.
//!
//! An expectation that could not fail is refused when it is read; whether it is about somebody at all is checked in
//! [`super::file`], which knows the series.

use std::{collections::BTreeSet, fmt, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;

use super::timeline::{State, Who, states};
use crate::{
    api::{DurationText, parse_duration, print_duration},
    decide::{Diagnosis, Remediation, replay::Event},
};

/// An expectation as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    at: Option<DurationText>,
    by: Option<DurationText>,
    never: Option<bool>,
    /// The pod. All pods of the series when it is missing.
    pub pod: Option<String>,
    /// The pod's namespace. Any when it is missing.
    pub namespace: Option<String>,
    /// One container. All together when it is missing.
    pub container: Option<String>,
    finding: Option<String>,
    actions: Option<Vec<String>>,
    withheld: Option<String>,
}

/// When something is to hold, counted from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this moment.
    At(Duration),
    /// At some moment up to this one.
    By(Duration),
    /// At no moment.
    Never,
}

/// Which finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    None,
    Any,
    Only(Diagnosis),
}

/// What is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// When.
    pub when: When,
    finding: Option<Wanted>,
    actions: Option<BTreeSet<Remediation>>,
    withheld: Option<String>,
}

impl Written {
    /// Reads it.
    ///
    /// # Errors
    /// It says nothing, contradicts itself, cannot fail, or uses a word that does not exist.
    pub fn parse(&self) -> Result<Expectation, String> {
        let expectation = Expectation {
            when: self.when()?,
            finding: self.finding.as_deref().map(wanted).transpose()?,
            actions: self.actions.as_deref().map(remediations).transpose()?,
            withheld: self.withheld.clone(),
        };
        expectation.check()?;
        Ok(expectation)
    }

    fn when(&self) -> Result<When, String> {
        let duration =
            |field: &str, text: &DurationText| parse_duration(&text.0).map_err(|why| format!("{field}: {why}"));
        match (&self.at, &self.by, self.never) {
            (Some(at), None, None) => Ok(When::At(duration("at", at)?)),
            (None, Some(by), None) => Ok(When::By(duration("by", by)?)),
            (None, None, Some(true)) => Ok(When::Never),
            _ => Err("say when, with exactly one of at, by and never: true".to_owned()),
        }
    }
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "None" => Ok(Wanted::None),
        "Any" => Ok(Wanted::Any),
        name => Diagnosis::ALL.into_iter().find(|it| it.name() == name).map(Wanted::Only).ok_or_else(|| {
            let names = Diagnosis::ALL.map(Diagnosis::name).join(", ");
            format!("finding: {name:?} is none of {names}, Any and None")
        }),
    }
}

fn remediations(names: &[String]) -> Result<BTreeSet<Remediation>, String> {
    const ALL: [Remediation; 3] = [Remediation::Annotate, Remediation::Alert, Remediation::Restart];
    let remediation = |name: &String| {
        let known = ALL.into_iter().find(|it| it.name() == name);
        known.ok_or_else(|| format!("actions: {name:?} is none of Annotate, Alert and Restart"))
    };
    names.iter().map(remediation).collect()
}

impl Expectation {
    /// Refuses what could not fail, and what two people would read differently.
    fn check(&self) -> Result<(), String> {
        let Self { when, finding, actions, withheld } = self;
        let said = usize::from(finding.is_some()) + usize::from(actions.is_some()) + usize::from(withheld.is_some());
        let nothing = *finding == Some(Wanted::None) || actions.as_ref().is_some_and(BTreeSet::is_empty);
        let problem = match when {
            _ if said == 0 => "say what, with finding, actions or withheld",
            When::By(_) if nothing => {
                "`by` would always hold, because nothing stands at the start: use `at` or `never`"
            }
            When::Never if said > 1 => "`never` takes one of finding and actions: write two expectations",
            When::Never if withheld.is_some() => "`never` takes finding or actions; ask for withheld with `at` or `by`",
            When::Never if nothing => "`never` takes what is not to happen, for example finding: Any",
            When::At(_) | When::By(_) | When::Never => return Ok(()),
        };
        Err(problem.to_owned())
    }

    /// Whether it would hold if nothing ever happened.
    pub fn holds_of_silence(&self) -> bool {
        self.when == When::Never || (matches!(self.when, When::At(_)) && self.stands_in(&State::default()))
    }

    /// Whether a replay that began at `start` meets it. `events` must be in time order.
    pub fn is_met(&self, who: &Who, events: &[Event], start: Timestamp) -> bool {
        let states = states(who, events);
        let by = |after: Duration| {
            let end = start.checked_add(after).unwrap_or(Timestamp::MAX);
            states.iter().filter(move |(from, _)| *from <= end).map(|(_, state)| state)
        };
        match self.when {
            When::At(after) => by(after).last().is_some_and(|it| self.stands_in(it)),
            When::By(after) => by(after).any(|it| self.stands_in(it)),
            When::Never => !states.iter().any(|(_, state)| self.occurs_in(state)),
        }
    }

    /// Whether all that is asked for stands. With `at` the actions are exactly these; with `by`, at least.
    fn stands_in(&self, state: &State) -> bool {
        let actions = |it: &BTreeSet<Remediation>| match self.when {
            When::At(_) => *it == state.actions,
            When::By(_) | When::Never => it.is_subset(&state.actions),
        };
        self.finding.is_none_or(|it| it.stands_in(state))
            && self.actions.as_ref().is_none_or(actions)
            && self.withheld.as_deref().is_none_or(|it| state.withheld.contains(it))
    }

    /// Whether any of what is never to happen did.
    fn occurs_in(&self, state: &State) -> bool {
        self.finding.is_some_and(|it| it.stands_in(state))
            || self.actions.as_ref().is_some_and(|it| !it.is_disjoint(&state.actions))
    }
}

impl Wanted {
    fn stands_in(self, state: &State) -> bool {
        match self {
            Self::None => state.findings.is_empty(),
            Self::Any => !state.findings.is_empty(),
            Self::Only(diagnosis) => state.findings.contains(&diagnosis),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::At(after) => write!(f, "at {}", print_duration(after))?,
            When::By(after) => write!(f, "by {}", print_duration(after))?,
            When::Never => f.write_str("never")?,
        }
        match self.finding {
            Some(Wanted::None) => f.write_str(" no finding")?,
            Some(Wanted::Any) => f.write_str(" a finding")?,
            Some(Wanted::Only(diagnosis)) => write!(f, " finding {diagnosis}")?,
            None => {}
        }
        if let Some(actions) = &self.actions {
            let names: Vec<&str> = actions.iter().map(|it| it.name()).collect();
            write!(f, " actions [{}]", names.join(", "))?;
        }
        self.withheld.as_ref().map_or(Ok(()), |it| write!(f, " restart withheld because {it}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::timeline::tests::{event, orders},
        *,
    };
    use crate::decide::replay::EventKind;

    fn read(yaml: &str) -> Result<Expectation, String> {
        serde_saphyr::from_str::<Written>(yaml).map_err(|it| it.to_string())?.parse()
    }

    /// A finding after 10 minutes, annotated at once, alerted after 12, cleared after 30, resolved after 31.
    fn story() -> Vec<Event> {
        use EventKind::{Alert, Annotate, Cleared, Finding, Resolve, Withheld};
        [(10, Finding), (10, Annotate), (12, Alert), (20, Withheld), (30, Cleared), (31, Resolve)]
            .map(|(minute, kind)| event(minute, kind))
            .to_vec()
    }

    fn met(yaml: &str) -> bool {
        read(yaml).expect(yaml).is_met(&orders(), &story(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn at_asks_for_exactly_what_stands_at_that_moment() {
        assert!(met("{at: 9m, finding: None, actions: []}"));
        assert!(met("{at: 10m, finding: DialPerCall}"));
        assert!(met("{at: 11m, finding: Any, actions: [Annotate]}"));
        assert!(met("{at: 15m, actions: [Alert, Annotate]}"));
        assert!(!met("{at: 15m, actions: [Annotate]}"));
        assert!(!met("{at: 15m, finding: ConnectionLeak}"));
        assert!(met("{at: 25m, withheld: NoForecast}"));
        assert!(!met("{at: 19m, withheld: NoForecast}"));
        assert!(met("{at: 2h, finding: None, actions: []}"));
    }

    #[test]
    fn by_asks_for_some_moment_up_to_then() {
        assert!(!met("{by: 9m, finding: DialPerCall}"));
        assert!(met("{by: 10m, finding: DialPerCall}"));
        assert!(met("{by: 2h, finding: DialPerCall}"));
        assert!(met("{by: 2h, actions: [Alert]}"));
        assert!(met("{by: 2h, finding: Any, actions: [Annotate, Alert]}"));
        assert!(!met("{by: 11m, actions: [Annotate, Alert]}"));
        assert!(!met("{by: 2h, actions: [Restart]}"));
        assert!(!met("{by: 2h, finding: Any, withheld: OneAtATime}"));
    }

    #[test]
    fn never_asks_for_no_moment_at_all() {
        assert!(met("{never: true, actions: [Restart]}"));
        assert!(!met("{never: true, actions: [Restart, Alert]}"));
        assert!(met("{never: true, finding: ConnectionLeak}"));
        assert!(!met("{never: true, finding: Any}"));
    }

    #[test]
    fn what_could_not_fail_or_is_ambiguous_is_refused() {
        for (yaml, reason) in [
            ("{finding: Any}", "exactly one of at, by and never"),
            ("{at: 1m, by: 2m, finding: Any}", "exactly one of"),
            ("{never: false, finding: Any}", "exactly one of"),
            ("{at: 1m}", "say what"),
            ("{at: soon, finding: Any}", "at: \"soon\""),
            ("{by: 1h, finding: None}", "always hold"),
            ("{by: 1h, actions: []}", "always hold"),
            ("{never: true, finding: None}", "not to happen"),
            ("{never: true, actions: []}", "not to happen"),
            ("{never: true, withheld: NoForecast}", "`at` or `by`"),
            ("{never: true, finding: Any, actions: [Restart]}", "two expectations"),
            ("{at: 1m, finding: DialPerCal}", "none of DialPerCall"),
            ("{at: 1m, actions: [Reboot]}", "none of Annotate"),
            ("{at: 1m, findings: Any}", "findings"),
        ] {
            let error = read(yaml).expect_err(yaml);
            assert!(error.contains(reason), "{yaml}: {error}");
        }
    }

    #[test]
    fn silence_is_told_from_what_must_happen() {
        for (yaml, holds) in [
            ("{never: true, finding: Any}", true),
            ("{at: 1h, finding: None}", true),
            ("{at: 1h, actions: []}", true),
            ("{at: 1h, finding: None, actions: [Alert]}", false),
            ("{at: 1h, finding: Any}", false),
            ("{by: 1h, actions: [Alert]}", false),
        ] {
            assert_eq!(read(yaml).expect(yaml).holds_of_silence(), holds, "{yaml}");
        }
    }

    #[test]
    fn it_is_said_in_words() {
        let words = |yaml| read(yaml).expect(yaml).to_string();
        assert_eq!(words("{by: 90m, finding: DialPerCall}"), "by 1h30m finding DialPerCall");
        assert_eq!(words("{never: true, actions: [Restart]}"), "never actions [Restart]");
        assert_eq!(
            words("{at: 2h, finding: Any, withheld: OneAtATime}"),
            "at 2h a finding restart withheld because OneAtATime"
        );
    }
}
