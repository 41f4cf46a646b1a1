//! One offender's chart as SVG: lanes for what would have been done and what happened, connections, memory with its
//! limit. Colours are the page's; numbers and known words are all that is written, so that nothing has to be escaped.

use std::fmt::Write;

use jiff::Timestamp;

use super::{
    curve::{Curve, Curves, seconds},
    score::Offender,
};
use crate::signals::Signal;

const WIDTH: f64 = 820.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = WIDTH - 16.0;
const LANE: f64 = 17.0;
const PANEL: f64 = 112.0;
/// How many marks of one kind are drawn.
const MAX_MARKS: usize = 200;
/// Room at both ends of the time axis, as a share.
const MARGIN: f64 = 0.02;
/// Steps of the time axis, seconds.
const STEPS: [f64; 14] = [
    60.0,
    300.0,
    600.0,
    1_800.0,
    3_600.0,
    7_200.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    604_800.0,
    2_592_000.0,
    31_536_000.0,
];
const MAX_TICKS: f64 = 7.0;

/// The time axis.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    fn x(&self, at: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * ((at - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

/// A lane of marks.
struct Lane {
    name: &'static str,
    class: &'static str,
    at: Vec<Timestamp>,
}

/// Draws a chart. Nothing when there is neither a curve nor a mark.
#[must_use]
pub fn svg(offender: &Offender, curves: &Curves) -> Option<String> {
    let lanes = lanes(offender);
    let axis = axis(&lanes, curves)?;
    let panels: Vec<&Curve> = [&curves.activity, &curves.memory].into_iter().flatten().collect();
    let top = 6.0 + LANE * lanes.len() as f64;
    let bottom = top + panels.len() as f64 * (PANEL + 30.0);
    let mut svg = format!(
        r#"<svg viewBox="0 0 {WIDTH} {:.0}" role="img" aria-label="curves and events of this container">"#,
        bottom + 24.0
    );
    ticks(&mut svg, &axis, top, bottom);
    for (place, lane) in lanes.iter().enumerate() {
        draw_lane(&mut svg, &axis, lane, 12.0 + LANE * place as f64, bottom);
    }
    for (place, curve) in panels.into_iter().enumerate() {
        let limit = curves.limit.filter(|_| curve.signal == Signal::Memory);
        panel(&mut svg, &axis, curve, limit, top + 24.0 + place as f64 * (PANEL + 30.0));
    }
    svg += "</svg>";
    Some(svg)
}

fn lanes(offender: &Offender) -> Vec<Lane> {
    let lane = |name, class, at: Vec<Timestamp>| Lane { name, class, at };
    let all = [
        lane("found", "found", offender.found.into_iter().collect()),
        lane("alert", "alert", offender.alerted.into_iter().collect()),
        lane("restart", "restart", offender.restarts.iter().copied().take(MAX_MARKS).collect()),
        lane("OOM kill", "kill", offender.kills.iter().copied().take(MAX_MARKS).collect()),
    ];
    all.into_iter().filter(|it| !it.at.is_empty()).collect()
}

/// From the first to the last point or mark.
fn axis(lanes: &[Lane], curves: &Curves) -> Option<Axis> {
    let drawn = [&curves.activity, &curves.memory].into_iter().flatten().flat_map(|it| it.pieces.iter().flatten());
    let times = drawn.map(|it| it.at).chain(lanes.iter().flat_map(|it| &it.at).map(|it| seconds(*it)));
    let (from, to) = times.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), at| (from.min(at), to.max(at)));
    if from > to {
        return None;
    }
    let margin = ((to - from) * MARGIN).max(30.0);
    Some(Axis { from: from - margin, to: to + margin })
}

fn ticks(svg: &mut String, axis: &Axis, top: f64, bottom: f64) {
    let length = axis.to - axis.from;
    let step = STEPS.into_iter().find(|it| length / it <= MAX_TICKS).unwrap_or(length);
    let format = if step >= 86_400.0 { "%m-%d" } else { "%m-%d %H:%M" };
    let mut at = (axis.from / step).ceil() * step;
    while at <= axis.to {
        let x = axis.x(at);
        put(svg, format_args!(r#"<path class="grid" d="M{x:.1} {top:.1}V{bottom:.1}"/>"#));
        if let Ok(time) = Timestamp::from_second(at as i64) {
            let text = time.strftime(format);
            // A word at the edge would be cut.
            let anchor = if x > RIGHT - 34.0 { "end" } else { "middle" };
            put(
                svg,
                format_args!(
                    r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="{anchor}">{text}</text>"#,
                    bottom + 16.0
                ),
            );
        }
        at += step;
    }
}

fn draw_lane(svg: &mut String, axis: &Axis, lane: &Lane, y: f64, bottom: f64) {
    let Lane { name, class, at } = lane;
    put(
        svg,
        format_args!(
            r#"<text class="lane {class}" x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>"#,
            LEFT - 8.0,
            y + 4.0
        ),
    );
    put(svg, format_args!(r#"<path class="rail" d="M{LEFT} {y:.1}H{RIGHT}"/>"#));
    for time in at {
        let x = axis.x(seconds(*time));
        put(svg, format_args!(r#"<path class="mark {class}" d="M{x:.1} {y:.1}V{bottom:.1}"/>"#));
        let text = time.strftime("%Y-%m-%d %H:%M:%S");
        put(
            svg,
            format_args!(
                r#"<circle class="dot {class}" cx="{x:.1}" cy="{y:.1}" r="4.5"><title>{name} {text} UTC</title></circle>"#
            ),
        );
    }
}

fn panel(svg: &mut String, axis: &Axis, curve: &Curve, limit: Option<f64>, top: f64) {
    let points = || curve.pieces.iter().flatten().map(|it| it.value);
    let highest = points().fold(0.0, f64::max);
    // A limit far above would flatten the curve: then it is only named.
    let drawn = limit.filter(|it| *it <= 5.0 * highest);
    let (low, high) = (points().fold(0.0, f64::min), nice(highest.max(drawn.unwrap_or(0.0) * 1.03), curve.signal));
    let bottom = top + PANEL;
    let y = |value: f64| bottom - PANEL * ((value - low) / (high - low)).clamp(0.0, 1.0);
    for value in [low, f64::midpoint(low, high), high] {
        let (at, text) = (y(value), unit(value, curve.signal));
        put(svg, format_args!(r#"<path class="grid" d="M{LEFT} {at:.1}H{RIGHT}"/>"#));
        put(
            svg,
            format_args!(
                r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#,
                LEFT - 8.0,
                at + 4.0
            ),
        );
    }
    let (name, class) = match curve.signal {
        Signal::Memory => ("memory", "memory"),
        Signal::Goroutines => ("goroutines", "activity"),
        _ => ("open connections", "activity"),
    };
    let limit_text = match (limit, drawn) {
        (Some(limit), None) => format!(" (limit {}, above this scale)", unit(limit, curve.signal)),
        (Some(limit), Some(_)) => format!(" (limit {})", unit(limit, curve.signal)),
        _ => String::new(),
    };
    put(svg, format_args!(r#"<text class="title" x="{LEFT}" y="{:.1}">{name}{limit_text}</text>"#, top - 7.0));
    for piece in &curve.pieces {
        let mut d = String::new();
        for (place, point) in piece.iter().enumerate() {
            let pen = if place == 0 { 'M' } else { 'L' };
            put(&mut d, format_args!("{pen}{:.1} {:.1}", axis.x(point.at), y(point.value)));
        }
        // A lonely point is a line of no length, which round ends make visible.
        if piece.len() == 1 {
            d += "h0.01";
        }
        put(svg, format_args!(r#"<path class="curve {class}" d="{d}"/>"#));
    }
    if let Some(limit) = drawn {
        put(svg, format_args!(r#"<path class="limit" d="M{LEFT} {:.1}H{RIGHT}"/>"#, y(limit)));
    }
}

/// The next round number: 1, 2, 2.5 or 5 with zeros, of bytes in powers of 1024.
fn nice(value: f64, signal: Signal) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = if signal == Signal::Memory { 1024_f64.powf(value.log(1024.0).floor()) } else { 1.0 };
    let decade = 10_f64.powf((value / power).log10().floor());
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.map(|it| it * decade * power).into_iter().find(|it| *it >= value).unwrap_or(value)
}

fn unit(value: f64, signal: Signal) -> String {
    let (base, units) = if signal == Signal::Memory {
        (1024.0, ["B", "KiB", "MiB", "GiB", "TiB"])
    } else {
        (1000.0, ["", "k", "M", "G", "T"])
    };
    let (mut scaled, mut place) = (value, 0);
    while scaled.abs() >= base && place + 1 < units.len() {
        scaled /= base;
        place += 1;
    }
    let number = if scaled.abs() >= 1e5 {
        format!("{scaled:.1e}")
    } else {
        // Three digits, without zeros at the end.
        let text = format!("{scaled:.1}");
        text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
    };
    format!("{number} {}", units[place]).trim_end().to_owned()
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::backtest::score::tests::at, decide::Sample};

    fn curves(values: &[f64], limit: Option<f64>) -> Curves {
        let sample = |(n, value): (usize, &f64)| Sample { at: seconds(at(0)) + 60.0 * n as f64, value: *value };
        let piece: Vec<Sample> = values.iter().enumerate().map(sample).collect();
        let curve = |signal| Some(Curve { signal, pieces: vec![piece.clone()] });
        Curves { activity: curve(Signal::OpenConnections), memory: curve(Signal::Memory), limit }
    }

    fn offender() -> Offender {
        Offender { found: Some(at(1)), alerted: Some(at(2)), kills: vec![at(3), at(4)], ..Offender::default() }
    }

    #[test]
    fn every_mark_is_drawn_in_the_lane_of_its_kind_and_a_lane_without_marks_is_not() {
        let svg = svg(&offender(), &curves(&[1.0, 2.0], None)).expect("a chart");
        let marks = |class: &str| svg.matches(&format!("class=\"dot {class}\"")).count();
        assert_eq!(["found", "alert", "restart", "kill"].map(marks), [1, 1, 0, 2]);
        assert!(!svg.contains(">restart<"), "{svg}");
        assert_eq!(svg.matches("class=\"curve").count(), 2);
    }

    #[test]
    fn a_limit_is_a_line_where_it_is_in_sight_and_a_word_where_it_is_not() {
        let near = svg(&offender(), &curves(&[100.0, 200.0], Some(300.0))).expect("a chart");
        assert!(near.contains("class=\"limit\"") && near.contains("(limit 300 B)"), "{near}");
        let far = svg(&offender(), &curves(&[100.0, 200.0], Some(9e9))).expect("a chart");
        assert!(!far.contains("class=\"limit\"") && far.contains("above this scale"), "{far}");
    }

    #[test]
    fn no_value_gives_a_coordinate_that_is_no_number() {
        for values in [vec![0.0], vec![-5.0, -1.0], vec![1e300, -1e300], vec![7.0, 7.0], vec![1e-300], vec![]] {
            let svg = svg(&offender(), &curves(&values, Some(1e300))).expect("a chart");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{values:?}: {svg}");
        }
    }

    #[test]
    fn without_curves_and_marks_there_is_no_chart() {
        assert_eq!(svg(&Offender::default(), &Curves::default()), None);
    }

    #[test]
    fn scales_end_at_round_numbers_and_numbers_are_short() {
        assert_eq!(nice(873.0, Signal::OpenConnections), 1_000.0);
        assert_eq!(unit(nice(300.0 * 1_048_576.0, Signal::Memory), Signal::Memory), "300 MiB");
        assert_eq!(unit(1_500.0, Signal::Goroutines), "1.5 k");
        assert_eq!(unit(0.0, Signal::Memory), "0 B");
    }
}
