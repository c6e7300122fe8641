//! Plots as SVG text: lines over a number, and bars over a logarithmic one. Pure, without a script; the
//! colours are classes, so that a page decides them, also for a dark screen.

use std::fmt::Write as _;

/// A line, or several parts of one where values are missing.
pub struct Line {
    pub name: &'static str,
    /// Its colour: one of `a` to `e`, of [`STYLE`].
    pub colour: char,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

pub struct Chart {
    /// What it shows, for those who cannot see it.
    pub title: &'static str,
    pub x_name: &'static str,
    pub lines: Vec<Line>,
}

/// Bars over a logarithmic number: (from, to, how many).
pub struct Bars {
    pub title: &'static str,
    pub x_name: &'static str,
    pub colour: char,
    /// From left to right.
    pub bars: Vec<(f64, f64, u64)>,
}

/// The colours and strokes; of a page, and of a picture that stands alone.
pub const STYLE: &str = "\
:root,svg{--ink:#1c2733;--soft:#5c6b7a;--grid:#dde3e9;--paper:#fff;--a:#0b6bcb;--b:#b35900;--c:#b3261e;--d:#1a7f37;--e:#7a3fb5}
@media(prefers-color-scheme:dark){:root,svg{--ink:#e6edf3;--soft:#9aa7b4;--grid:#30363d;--paper:#161b22;--a:#58a6ff;--b:#f0a35e;--c:#ff7b72;--d:#56d364;--e:#d2a8ff}}
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
svg .grid{stroke:var(--grid);stroke-width:1}
svg polyline{fill:none;stroke-width:2;stroke-linejoin:round}
svg .a{stroke:var(--a)}svg .b{stroke:var(--b)}svg .c{stroke:var(--c)}svg .d{stroke:var(--d)}svg .e{stroke:var(--e)}
svg rect.a{fill:var(--a);stroke:none}svg rect.b{fill:var(--b);stroke:none}svg rect.d{fill:var(--d);stroke:none}
svg circle{stroke:none}svg circle.a{fill:var(--a)}svg circle.b{fill:var(--b)}svg circle.c{fill:var(--c)}svg circle.d{fill:var(--d)}svg circle.e{fill:var(--e)}
";

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 58.0;
/// Half of the last tick's number stands in it.
const RIGHT: f64 = 22.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 42.0;

/// From a number to a place on the paper.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let span = self.high - self.low;
        let share = if span > 0.0 { (value - self.low) / span } else { 0.0 };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }
}

impl Chart {
    pub fn svg(&self) -> String {
        let all = || self.lines.iter().flat_map(|line| line.points.iter());
        let (low, high) = all().fold((f64::MAX, f64::MIN), |(low, high), (x, _)| (low.min(*x), high.max(*x)));
        let (low, high) = if low < high { (low.min(0.0), high) } else { (0.0, high.max(1.0)) };
        let top = all().fold(0.0, |top: f64, (_, y)| top.max(*y));
        let (step, top) = nice(top);
        let x = Axis { low, high, from: LEFT, to: WIDTH - RIGHT };
        let y = Axis { low: 0.0, high: top, from: HEIGHT - BOTTOM, to: TOP };
        let mut svg = open(self.title);
        grid(&mut svg, &y, step);
        let (step, _) = nice(high - low);
        for tick in ticks(low, high, step) {
            text(&mut svg, (x.at(tick), HEIGHT - BOTTOM + 18.0), "middle", &short(tick));
        }
        text(&mut svg, (WIDTH - RIGHT, HEIGHT - 6.0), "end", self.x_name);
        for line in &self.lines {
            let points: Vec<(f64, f64)> =
                line.points.iter().map(|(at, value)| (x.at(*at), y.at(*value))).collect();
            polyline(&mut svg, line.colour, &points);
        }
        self.legend(&mut svg);
        svg.push_str("</svg>");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let mut at = LEFT;
        for line in &self.lines {
            put(
                svg,
                format_args!(
                    "<line class=\"{}\" x1=\"{at}\" x2=\"{}\" y1=\"12\" y2=\"12\" stroke-width=\"3\"/>",
                    line.colour,
                    at + 14.0
                ),
            );
            text(svg, (at + 18.0, 16.0), "start", line.name);
            at += 34.0 + 7.2 * line.name.chars().count() as f64;
        }
    }
}

impl Bars {
    pub fn svg(&self) -> String {
        let low = self.bars.first().map_or(0.0, |bar| bar.0.log10());
        let high = self.bars.last().map_or(1.0, |bar| bar.1.log10());
        let (step, top) = nice(self.bars.iter().fold(0.0, |top: f64, bar| top.max(bar.2 as f64)));
        let x = Axis { low, high, from: LEFT, to: WIDTH - RIGHT };
        let y = Axis { low: 0.0, high: top, from: HEIGHT - BOTTOM, to: TOP };
        let mut svg = open(self.title);
        grid(&mut svg, &y, step);
        for (from, to, count) in &self.bars {
            let (left, right, head) = (x.at(from.log10()), x.at(to.log10()), y.at(*count as f64));
            // Few among many must still be seen: the tail is what a reader looks for.
            let head = if *count > 0 { head.min(HEIGHT - BOTTOM - 1.5) } else { HEIGHT - BOTTOM };
            put(
                &mut svg,
                format_args!(
                    "<rect class=\"{}\" x=\"{left:.1}\" y=\"{head:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{} to {}: {count}</title></rect>",
                    self.colour,
                    (right - left - 1.0).max(0.5),
                    HEIGHT - BOTTOM - head,
                    short(*from),
                    short(*to),
                ),
            );
        }
        for power in -3..=7 {
            for factor in [1.0, 3.0] {
                let value = factor * 10_f64.powi(power);
                if (low..=high).contains(&value.log10()) {
                    text(&mut svg, (x.at(value.log10()), HEIGHT - BOTTOM + 18.0), "middle", &short(value));
                }
            }
        }
        text(&mut svg, (WIDTH - RIGHT, HEIGHT - 6.0), "end", self.x_name);
        svg.push_str("</svg>");
        svg
    }
}

/// A picture that stands alone, in a file.
pub fn alone(svg: &str) -> String {
    let paper = "svg{background:var(--paper)}";
    match svg.split_once('>') {
        Some((head, rest)) => format!("{head}>\n<style>{STYLE}{paper}</style>{rest}\n"),
        None => svg.to_owned(),
    }
}

fn open(title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
    )
}

fn grid(svg: &mut String, y: &Axis, step: f64) {
    for tick in ticks(y.low, y.high, step) {
        let at = y.at(tick);
        put(
            svg,
            format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                WIDTH - RIGHT
            ),
        );
        text(svg, (LEFT - 6.0, at + 4.0), "end", &short(tick));
    }
}

/// A single point would be no line.
fn polyline(svg: &mut String, colour: char, points: &[(f64, f64)]) {
    if let [(x, y)] = points {
        put(svg, format_args!("<circle class=\"{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"));
        return;
    }
    let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    put(svg, format_args!("<polyline class=\"{colour}\" points=\"{}\"/>", list.join(" ")));
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    put(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    svg.write_fmt(what).unwrap_or_default();
}

/// The step of about five ticks, 1, 2 or 5 times a power of ten; and the tick at or above `top`.
fn nice(top: f64) -> (f64, f64) {
    if top <= 0.0 || !top.is_finite() {
        return (1.0, 1.0);
    }
    let power = 10_f64.powf((top / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| top / step <= 5.0);
    let step = step.unwrap_or(10.0 * power);
    (step, (top / step).ceil() * step)
}

#[expect(clippy::cast_possible_truncation, reason = "a handful of ticks")]
fn ticks(low: f64, high: f64, step: f64) -> Vec<f64> {
    let (first, last) = ((low / step).ceil() as i32, (high / step + 1e-9).floor() as i32);
    (first..=last.min(first.saturating_add(20))).map(|tick| f64::from(tick) * step).collect()
}

/// `12k`, `1.5`, `0.03`.
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        large if large >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        large if large >= 100.0 => 0,
        large if large >= 10.0 => 1,
        large if large >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(nice(9_700.0), (2_000.0, 10_000.0));
        assert_eq!(nice(0.03), (0.01, 0.03));
        assert_eq!(ticks(0.0, 60.0, nice(60.0).0), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!([0.0, 0.25, 5.0, 12_500.0, 2e6].map(short), ["0", "0.25", "5", "12.5k", "2M"]);
    }

    #[test]
    fn a_plot_of_nothing_or_little_is_still_a_picture() {
        for points in [vec![], vec![(0.5, 0.0)], vec![(0.0, 1.0), (1.0, 1e12)]] {
            let chart =
                Chart { title: "t", x_name: "s", lines: vec![Line { name: "n", colour: 'a', points }] };
            let svg = chart.svg();
            assert!(svg.ends_with("</svg>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        let bars = Bars { title: "t", x_name: "ms", colour: 'a', bars: vec![] }.svg();
        assert!(bars.ends_with("</svg>") && !bars.contains("NaN"), "{bars}");
    }

    #[test]
    fn few_among_many_are_still_seen() {
        let bars = vec![(1.0, 1.26, 1_000_000), (1_000.0, 1_260.0, 1)];
        let svg = Bars { title: "t", x_name: "ms", colour: 'a', bars }.svg();
        assert!(svg.contains("height=\"1.5\"><title>1000 to 1260: 1</title>"), "{svg}");
    }
}
