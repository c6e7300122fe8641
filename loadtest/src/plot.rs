//! Plots as SVG text: lines over a number, and bars over a logarithmic one. Pure, without a script; the
//! colours are classes, so that a page decides them, also for a dark screen.

use maud::{Markup, PreEscaped, html};

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
/// Above it stands what is shown, below it the numbers.
const FOOT: f64 = HEIGHT - 42.0;

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
    pub fn svg(&self) -> Markup {
        let all = || self.lines.iter().flat_map(|line| line.points.iter());
        let (low, high) = all().fold((f64::MAX, f64::MIN), |(low, high), (x, _)| (low.min(*x), high.max(*x)));
        let (low, high) = if low < high { (low.min(0.0), high) } else { (0.0, high.max(1.0)) };
        let x = Axis { low, high, from: LEFT, to: WIDTH - RIGHT };
        let (y, grid) = upright(all().fold(0.0, |top: f64, (_, y)| top.max(*y)));
        let starts = self.lines.iter().scan(LEFT, |next, line| {
            let start = *next;
            *next += 34.0 + 7.2 * line.name.chars().count() as f64;
            Some((start, line))
        });
        let ticks = ticks(low, high, nice(high - low).0);
        let inside = html! {
            @for (at, Line { name, colour, points }) in starts {
                (polyline(*colour, &points.iter().map(|(at, value)| (x.at(*at), y.at(*value))).collect::<Vec<_>>()))
                line class=(colour) x1=(at) x2=(at + 14.0) y1="12" y2="12" stroke-width="3" {}
                (text((at + 18.0, 16.0), "start", name))
            }
        };
        picture((self.title, self.x_name), grid, ticks.iter().map(|tick| (x.at(*tick), *tick)), inside)
    }
}

impl Bars {
    pub fn svg(&self) -> Markup {
        let low = self.bars.first().map_or(0.0, |bar| bar.0.log10());
        let high = self.bars.last().map_or(1.0, |bar| bar.1.log10());
        let x = Axis { low, high, from: LEFT, to: WIDTH - RIGHT };
        let (y, grid) = upright(self.bars.iter().fold(0.0, |top: f64, bar| top.max(bar.2 as f64)));
        let inside = html! {
            @for (from, to, count) in &self.bars {
                @let (left, right, head) = (x.at(from.log10()), x.at(to.log10()), y.at(*count as f64));
                // Few among many must still be seen: the tail is what a reader looks for.
                @let head = if *count > 0 { head.min(FOOT - 1.5) } else { FOOT };
                rect class=(self.colour) x=(tenths(left)) y=(tenths(head))
                    width=(tenths((right - left - 1.0).max(0.5))) height=(tenths(FOOT - head)) {
                    title { (short(*from)) " to " (short(*to)) ": " (count) }
                }
            }
        };
        let powers = (-3..=7).flat_map(|power| [1.0, 3.0].map(|factor| factor * 10_f64.powi(power)));
        let ticks = powers.filter(|value| (low..=high).contains(&value.log10()));
        picture((self.title, self.x_name), grid, ticks.map(|value| (x.at(value.log10()), value)), inside)
    }
}

/// A picture that stands alone, in a file.
pub fn alone(PreEscaped(svg): Markup) -> String {
    let paper = "svg{background:var(--paper)}";
    svg.replacen('>', &format!(">\n<style>{STYLE}{paper}</style>"), 1) + "\n"
}

/// What is shown `inside` of an upright grid, over ticks, each with its place and its number.
fn picture(
    (title, x_name): (&str, &str),
    grid: Markup,
    ticks: impl Iterator<Item = (f64, f64)>,
    inside: Markup,
) -> Markup {
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format_args!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
            (grid)
            @for (at, tick) in ticks { (text((at, FOOT + 18.0), "middle", &short(tick))) }
            (text((WIDTH - RIGHT, HEIGHT - 6.0), "end", x_name))
            (inside)
        }
    }
}

/// From nothing to `top`, with the lines of a grid.
fn upright(top: f64) -> (Axis, Markup) {
    let (step, high) = nice(top);
    let y = Axis { low: 0.0, high, from: FOOT, to: TOP };
    let grid = html! {
        @for tick in ticks(0.0, high, step) {
            @let at = y.at(tick);
            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(tenths(at)) y2=(tenths(at)) {}
            (text((LEFT - 6.0, at + 4.0), "end", &short(tick)))
        }
    };
    (y, grid)
}

/// A single point would be no line.
fn polyline(colour: char, points: &[(f64, f64)]) -> Markup {
    let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    html! {
        @if let [(x, y)] = points {
            circle class=(colour) cx=(tenths(*x)) cy=(tenths(*y)) r="3" {}
        } @else {
            polyline class=(colour) points=(list.join(" ")) {}
        }
    }
}

fn text((x, y): (f64, f64), anchor: &str, text: &str) -> Markup {
    html! { text x=(tenths(x)) y=(tenths(y)) text-anchor=(anchor) { (text) } }
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
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
            let svg = chart.svg().into_string();
            assert!(svg.ends_with("</svg>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        let bars = Bars { title: "t", x_name: "ms", colour: 'a', bars: vec![] }.svg().into_string();
        assert!(bars.ends_with("</svg>") && !bars.contains("NaN"), "{bars}");
    }

    #[test]
    fn few_among_many_are_still_seen() {
        let bars = vec![(1.0, 1.26, 1_000_000), (1_000.0, 1_260.0, 1)];
        let svg = Bars { title: "t", x_name: "ms", colour: 'a', bars }.svg().into_string();
        assert!(svg.contains("height=\"1.5\"><title>1000 to 1260: 1</title>"), "{svg}");
    }
}
