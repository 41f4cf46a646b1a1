//! When restarts may be made: windows that people gave by the clocks of some place, as sets of instants. It does not
//! decide what may be done in them.
//!
//! A window of a day lasts from the first moment at which the clocks there show `from` or later to the last at which they
//! show less than `to`. So where clocks are put forward, a window that begins in the hour that is left out begins after
//! it, and one that lies in that hour does not take place; where they are put back, one that begins or ends in the hour
//! that comes twice is open in both, without a break. Time zones are those built into the program, so that a policy means
//! the same wherever it is read.

use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime, Weekday},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};

use crate::{
    api::{Day, WindowSpec},
    decide::InvalidPolicy,
};

/// The most windows of a policy.
const MOST: usize = 16;
/// Minutes of a day.
const DAY: i64 = 1_440;
/// Windows that began so many days ago may be open: they end on the next day, and a place may leave out one (Samoa did).
const DAYS_BACK: i64 = 2;
/// One that begins once a week may be left out once, so that it begins in two weeks at the latest.
const DAYS_AHEAD: i64 = 15;
/// What stays open for longer never closes: a break of every week may be missed once, where clocks are changed in it.
const NEVER_CLOSES: SignedDuration = SignedDuration::from_hours(14 * 24 + 12);

/// When restarts may be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Windows(Vec<Window>);

#[derive(Clone, Debug, PartialEq)]
struct Window {
    days: Vec<Weekday>,
    /// Minutes from the beginning of the day.
    from: i64,
    /// The same; more than a day's when it ends on the next one.
    to: i64,
    zone: TimeZone,
}

/// Instants from the first to before the second.
type Span = (Timestamp, Timestamp);

impl Windows {
    /// Reads the windows of a policy. None given: restarts may be made at any time.
    ///
    /// # Errors
    /// One cannot work; the error names the field, the window and the value.
    pub fn parse(spec: Option<&[WindowSpec]>) -> Result<Self, InvalidPolicy> {
        let Some(spec) = spec else { return Ok(Self::default()) };
        if spec.is_empty() || spec.len() > MOST {
            let problem = format!("has {} windows: give 1 to {MOST}, or leave it out for any time", spec.len());
            return Err(InvalidPolicy { field: "remediation.restart.windows", problem });
        }
        spec.iter().enumerate().map(|(index, it)| Window::parse(index + 1, it)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether restarts may be made now.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.0.is_empty() || self.spans(now).iter().any(|it| contains(it, now))
    }

    /// When the next window begins, if none is open now.
    #[must_use]
    pub fn next_open(&self, now: Timestamp) -> Option<Timestamp> {
        let spans = self.spans(now);
        let closed = !spans.iter().any(|it| contains(it, now));
        spans.iter().map(|it| it.0).find(|it| closed && now < *it)
    }

    /// When restarts may no longer be made, if they may now and not for ever.
    #[must_use]
    pub fn closes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let open = self.spans(now).into_iter().find(|it| contains(it, now))?;
        Some(open.1).filter(|it| it.duration_since(now) < NEVER_CLOSES)
    }

    /// All that is open around now, in order and apart from each other.
    fn spans(&self, now: Timestamp) -> Vec<Span> {
        let mut spans: Vec<Span> = self.0.iter().flat_map(|it| it.spans(now)).collect();
        spans.sort_unstable();
        let mut apart: Vec<Span> = Vec::new();
        for span in spans {
            match apart.last_mut() {
                Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
                _ => apart.push(span),
            }
        }
        apart
    }
}

fn contains(span: &Span, now: Timestamp) -> bool {
    span.0 <= now && now < span.1
}

impl Window {
    fn parse(number: usize, spec: &WindowSpec) -> Result<Self, InvalidPolicy> {
        let WindowSpec { days, from, to, time_zone } = spec;
        let wrong = |field: &'static str, value: &str, wanted: &str| {
            let problem = format!("is {value:?} in window {number}: {wanted}");
            Err(InvalidPolicy { field, problem })
        };
        if days.as_ref().is_some_and(Vec::is_empty) {
            return wrong(
                "remediation.restart.windows.days",
                "[]",
                "give at least one day, or leave it out for every day",
            );
        }
        let Some(from_minutes) = minutes(from).filter(|it| *it < DAY) else {
            return wrong("remediation.restart.windows.from", from, "give a time from 00:00 to 23:59");
        };
        let Some(to_minutes) = minutes(to) else {
            return wrong("remediation.restart.windows.to", to, "give a time from 00:00 to 24:00");
        };
        if from_minutes == to_minutes {
            let wanted =
                "it ends when it begins; for whole days write 00:00 to 24:00, and for any time leave windows out";
            return wrong("remediation.restart.windows.to", to, wanted);
        }
        let Some(zone) = TimeZoneDatabase::bundled().get(time_zone).ok().filter(|it| !it.is_unknown()) else {
            let wanted = "no such time zone is known; give its IANA name, for example Europe/Berlin or UTC";
            return wrong("remediation.restart.windows.timeZone", time_zone, wanted);
        };
        let to = if from_minutes < to_minutes { to_minutes } else { to_minutes + DAY };
        Ok(Self { days: weekdays(days.as_deref()), from: from_minutes, to, zone })
    }

    /// When it is open, in the days around now.
    fn spans(&self, now: Timestamp) -> impl Iterator<Item = Span> {
        let today = self.zone.to_datetime(now).date();
        let days = (-DAYS_BACK..=DAYS_AHEAD).filter_map(move |it| today.checked_add(it.days()).ok());
        days.filter(|it| self.days.contains(&it.weekday())).filter_map(|it| self.span(it))
    }

    /// When it is open that began on this day; nothing when clocks left that out.
    fn span(&self, day: Date) -> Option<Span> {
        let at = |minutes: i64| day.to_datetime(jiff::civil::Time::midnight()).checked_add(minutes.minutes()).ok();
        let (from, to) = (self.begins(at(self.from)?)?, self.ends(at(self.to)?)?);
        (from < to).then_some((from, to))
    }

    /// The first moment at which clocks show this or later.
    fn begins(&self, at: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(at).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(at).ok()
            }
            AmbiguousOffset::Gap { before, .. } => self.put_forward(before.to_timestamp(at).ok()?),
        }
    }

    /// The moment after the last at which clocks show less than this.
    fn ends(&self, at: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(at).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(at).ok(),
            AmbiguousOffset::Gap { before, .. } => self.put_forward(before.to_timestamp(at).ok()?),
            AmbiguousOffset::Fold { before, after } => {
                let (first, second) = (before.to_timestamp(at).ok()?, after.to_timestamp(at).ok()?);
                // Clocks that were put back to this very minute never show less again.
                let put_back_to_it = self.zone.to_offset(second.checked_sub(1.nanosecond()).ok()?) == before;
                Some(if put_back_to_it { first } else { second })
            }
        }
    }

    /// When clocks were put forward, last before this or at it.
    fn put_forward(&self, before: Timestamp) -> Option<Timestamp> {
        self.zone.preceding(before.checked_add(1.nanosecond()).ok()?).next().map(|it| it.timestamp())
    }
}

/// `22:00` as minutes from the beginning of the day, `24:00` at most.
fn minutes(text: &str) -> Option<i64> {
    let number = |it: &str| (it.len() == 2 && it.bytes().all(|it| it.is_ascii_digit())).then(|| it.parse().ok())?;
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (i64, i64) = (number(hours)?, number(minutes)?);
    (minutes < 60).then_some(hours * 60 + minutes).filter(|it| *it <= DAY)
}

fn weekdays(days: Option<&[Day]>) -> Vec<Weekday> {
    const ALL: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
    let weekday = |day: &Day| match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    };
    days.unwrap_or(&ALL).iter().map(weekday).collect()
}

#[cfg(test)]
mod tests;
