//! The report as one page, to be opened anywhere: no script, nothing that is loaded, pictures within.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Bar, Latency, Point, Report, grouped};
use crate::{
    plot::{Bars, Chart, Line, STYLE},
    run::Ended,
};

/// Of the page around the pictures.
const PAGE_STYLE: &str = include_str!("page.css");

pub fn page(report: &Report) -> String {
    let (class, words) = verdict(report);
    let found = report.verification.iter().flat_map(|found| &found.examples);
    let examples: Vec<&String> = report.examples.iter().chain(found).collect();
    // `<` must not end the element early; in JSON it only stands in texts.
    let json = serde_json::to_string(report).unwrap_or_default().replace('<', "\\u003c");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Telex load test" }
                style { (PreEscaped(STYLE)) (PreEscaped(PAGE_STYLE)) }
            }
            body {
                main {
                    header { h1 { "Telex load test" } p class={ "verdict " (class) } { (words) } }
                    @if !examples.is_empty() { ul.wrong { @for example in examples { li { (example) } } } }
                    section.tiles {
                        @for (name, value) in tiles(report) {
                            @if let Some(value) = value { div.tile { span { (name) } b { (value) } } }
                        }
                    }
                    div.plots {
                        @for (heading, picture) in pictures(report) {
                            @if let Some(picture) = picture { figure { figcaption { (heading) } (picture) } }
                        }
                    }
                    (tables(report))
                    script type="application/json" id="report" { (PreEscaped(json)) }
                }
            }
        }
    };
    page.into_string()
}

fn verdict(report: &Report) -> (&'static str, &'static str) {
    match (&report.verification, report.ended) {
        (_, Ended::Interrupted) => ("bad", "Interrupted"),
        (_, Ended::OutOfTime) => ("bad", "Out of time: not every request was settled"),
        (_, Ended::GaveUp) => ("bad", "Gave up: a request was repeated as often as allowed"),
        _ if report.figures.unexpected > 0 => ("bad", "Some replies were not as planned"),
        (Some(verification), _) if !verification.is_clean() => {
            ("bad", "The tables are not what the 202s promised")
        }
        (Some(_), _) => ("good", "Every reply as planned, every 202 a row, once and in order"),
        (None, _) => ("good", "Every reply as planned; the tables were not compared"),
    }
}

fn tiles(report: &Report) -> [(&'static str, Option<Markup>); 10] {
    let count = |count: u64| html! { (grouped(count)) };
    let pair = |one: String, other: String| html! { (one) " " small { "/ " (other) } };
    let ms = |latency: Latency| pair(format!("{:.1}", latency.p50), format!("{:.1} ms", latency.p99));
    let share = format!("{:.1} % of the rate", report.achieved_share.unwrap_or_default() * 100.0);
    let lag = report.lag_max.map(|lag| pair(grouped(lag.records), format!("{:.2} s", lag.seconds)));
    let rows = report.verification.as_ref().map(|it| pair(grouped(it.rows), grouped(it.promised)));
    let sustained = report.sustained.map(|is| pair(if is { "yes" } else { "no" }.to_owned(), share));
    let own = html! { (format_args!("{:.1}", report.own_cpu_micros)) " " small { "µs a request" } };
    [
        ("requests a second", Some(html! { (format_args!("{:.0}", report.requests_per_second)) })),
        ("requests", Some(count(report.figures.sent))),
        ("acknowledged p50 / p99", Some(ms(report.latency_ms))),
        ("stored p50 / p99", report.stored_ms.map(ms)),
        ("lag at most", lag),
        ("rows / promised", rows),
        ("sustained", sustained),
        ("load tester's own cost", Some(own)),
        ("unexpected", Some(count(report.figures.unexpected))),
        ("retries", Some(count(report.figures.retries))),
    ]
}

fn pictures(report: &Report) -> [(&'static str, Option<Markup>); 6] {
    let over_time = |title, lines| Chart { title, x_name: "seconds", lines }.svg();
    let bars = |title, colour, bars: &[Bar]| {
        let bars = bars.iter().map(|bar| (bar.from_ms, bar.to_ms, bar.count)).collect();
        Bars { title, x_name: "milliseconds (logarithmic)", colour, bars }.svg()
    };
    let rates = vec![
        line(report, "offered", 'b', |point| point.offered_per_second),
        line(report, "achieved", 'a', |point| Some(point.achieved_per_second)),
    ];
    let replies = percentiles(report, |point| point.latency_ms);
    let rows = percentiles(report, |point| point.stored_ms);
    let lag = |point: &Point| point.lag_records.map(|records| records as f64);
    let lag = vec![line(report, "records acknowledged, not applied", 'e', lag)];
    let if_stored = |picture| report.stored_ms.map(|_| picture);
    let (reply_bars, row_bars) = (&report.latency_histogram, &report.stored_histogram);
    [
        ("Requests a second: offered and achieved", Some(over_time("requests a second over time", rates))),
        ("Acknowledged after, in milliseconds", Some(over_time("latency of the replies over time", replies))),
        ("Row visible after, in milliseconds", if_stored(over_time("latency of the rows over time", rows))),
        ("Lag, in records", report.lag_max.map(|_| over_time("lag over time", lag))),
        ("Requests by how long the reply took", Some(bars("histogram of the replies", 'a', reply_bars))),
        ("Messages by how long the row took", if_stored(bars("histogram of the rows", 'd', row_bars))),
    ]
}

fn line(report: &Report, name: &'static str, colour: char, value: impl Fn(&Point) -> Option<f64>) -> Line {
    let points = report.timeline.iter().filter_map(|point| Some((point.at_seconds, value(point)?)));
    Line { name, colour, points: points.collect() }
}

fn percentiles(report: &Report, latency: fn(&Point) -> Option<Latency>) -> Vec<Line> {
    type Percentile = (&'static str, char, fn(Latency) -> f64);
    let figures: [Percentile; 4] = [
        ("p50", 'd', |it| it.p50),
        ("p90", 'a', |it| it.p90),
        ("p99", 'b', |it| it.p99),
        ("max", 'c', |it| it.max),
    ];
    let line =
        |(name, colour, figure): Percentile| line(report, name, colour, |point| latency(point).map(figure));
    figures.map(line).into()
}

fn tables(report: &Report) -> Markup {
    let figures = report.figures;
    let counts = [("valid", figures.valid), ("duplicates", figures.duplicates), ("invalid", figures.invalid)];
    let counts = counts.map(|(name, count)| (name.to_owned(), grouped(count)));
    let replies = report.replies.iter().map(|(status, count)| (format!("replies {status}"), grouped(*count)));
    let verified = report.verification.as_ref().map(|it| {
        let rows = [
            ("promised", it.promised),
            ("rows", it.rows),
            ("clients", it.clients),
            ("written twice", it.written_twice),
        ];
        let found = it.findings.iter().map(|(kind, count)| (format!("wrong: {kind}"), grouped(*count)));
        rows.map(|(name, count)| (name.to_owned(), grouped(count))).into_iter().chain(found)
    });
    let settings = report.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let samples = report.stored_samples;
    html! {
        div.tables {
            table {
                caption { "Latency, milliseconds" }
                tr { th {} @for name in ["p50", "p90", "p99", "p99.9", "max"] { th { (name) } } }
                @for (name, of) in [("acknowledged", Some(report.latency_ms)), ("row visible", report.stored_ms)] {
                    @if let Some(of) = of {
                        tr {
                            th { (name) }
                            @for ms in [of.p50, of.p90, of.p99, of.p999, of.max] { td { (format_args!("{ms:.1}")) } }
                        }
                    }
                }
            }
            (table("Sent and answered", counts.into_iter().chain(replies)))
            @if let Some(verified) = verified { (table("Verified in the tables", verified)) }
            (table("Settings", settings))
        }
        @if report.stored_ms.is_some() {
            p.note {
                "Latencies count from when a request was due, not from when it could be sent. “Row visible” is taken from "
                (grouped(samples.seen)) " samples that were looked for in the database every " (samples.look_every_ms)
                " ms (less often while more than a hundred are waited for), until a committed row came back; "
                (samples.skipped) " more could not be looked for, " (samples.unseen) " were not seen."
            }
        }
    }
}

fn table(caption: &str, rows: impl Iterator<Item = (String, String)>) -> Markup {
    html! {
        table { caption { (caption) } @for (name, value) in rows { tr { th { (name) } td { (value) } } } }
    }
}
