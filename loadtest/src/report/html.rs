//! The report as one page, to be opened anywhere: no script, nothing that is loaded, pictures within.

use std::fmt::Write as _;

use super::{Bar, Latency, Point, Report, grouped};
use crate::plot::{Bars, Chart, Line, STYLE};

/// Of the page around the pictures.
const PAGE_STYLE: &str = include_str!("page.css");

pub fn page(report: &Report) -> String {
    let mut page = String::with_capacity(64 * 1024);
    page.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    page.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n<title>Telex load test</title>\n");
    put(&mut page, format_args!("<style>\n{STYLE}{PAGE_STYLE}</style></head><body><main>\n"));
    verdict(&mut page, report);
    tiles(&mut page, report);
    page.push_str("<div class=\"plots\">\n");
    for (heading, picture) in pictures(report) {
        put(&mut page, format_args!("<figure><figcaption>{heading}</figcaption>{picture}</figure>\n"));
    }
    page.push_str("</div>\n");
    tables(&mut page, report);
    // `<` must not end the element early; in JSON it only stands in texts.
    let json = serde_json::to_string(report).unwrap_or_default().replace('<', "\\u003c");
    put(&mut page, format_args!("<script type=\"application/json\" id=\"report\">{json}</script>\n"));
    page.push_str("</main></body></html>\n");
    page
}

fn verdict(page: &mut String, report: &Report) {
    let (class, words) = match (&report.verification, report.ended) {
        (_, "interrupted") => ("bad", "Interrupted"),
        (_, "gave_up") => ("bad", "Gave up: a request was repeated as often as allowed"),
        _ if report.unexpected > 0 => ("bad", "Some replies were not as planned"),
        (Some(verification), _) if !verification.is_clean() => {
            ("bad", "The tables are not what the 202s promised")
        }
        (Some(_), _) => ("good", "Every reply as planned, every 202 a row, once and in order"),
        (None, _) => ("good", "Every reply as planned; the tables were not compared"),
    };
    put(
        page,
        format_args!("<header><h1>Telex load test</h1><p class=\"verdict {class}\">{words}</p></header>\n"),
    );
    let examples = report.examples.iter().chain(report.verification.iter().flat_map(|found| &found.examples));
    let examples: Vec<String> = examples.map(|example| format!("<li>{}</li>", escaped(example))).collect();
    if !examples.is_empty() {
        put(page, format_args!("<ul class=\"wrong\">{}</ul>\n", examples.concat()));
    }
}

fn tiles(page: &mut String, report: &Report) {
    let ms = |latency: Latency| format!("{:.1} <small>/ {:.1} ms</small>", latency.p50, latency.p99);
    page.push_str("<section class=\"tiles\">\n");
    let mut tile = |name: &str, value: String| {
        put(page, format_args!("<div class=\"tile\"><span>{name}</span><b>{value}</b></div>\n"));
    };
    tile("requests a second", format!("{:.0}", report.requests_per_second));
    tile("requests", grouped(report.sent));
    tile("acknowledged p50 / p99", ms(report.latency_ms));
    if let Some(stored) = report.stored_ms {
        tile("stored p50 / p99", ms(stored));
    }
    if let Some(lag) = report.lag_max {
        tile("lag at most", format!("{} <small>/ {:.2} s</small>", grouped(lag.records), lag.seconds));
    }
    if let Some(verification) = &report.verification {
        tile(
            "rows / promised",
            format!("{} <small>/ {}</small>", grouped(verification.rows), grouped(verification.promised)),
        );
    }
    if let Some(sustained) = report.sustained {
        let share = format!("{:.1} % of the rate", report.achieved_share.unwrap_or_default() * 100.0);
        tile("sustained", format!("{} <small>/ {share}</small>", if sustained { "yes" } else { "no" }));
    }
    tile("load tester's own cost", format!("{:.1} <small>µs a request</small>", report.own_cpu_micros));
    tile("unexpected", grouped(report.unexpected));
    tile("retries", grouped(report.retries));
    page.push_str("</section>\n");
}

fn pictures(report: &Report) -> Vec<(&'static str, String)> {
    let over_time = |title, lines| Chart { title, x_name: "seconds", lines }.svg();
    let line = |name, colour, value: &dyn Fn(&Point) -> Option<f64>| {
        let points =
            report.timeline.iter().filter_map(|point| Some((point.at_seconds, value(point)?))).collect();
        Line { name, colour, points }
    };
    let mut pictures = vec![
        (
            "Requests a second: offered and achieved",
            over_time(
                "requests a second over time",
                vec![
                    line("offered", 'b', &|point| point.offered_per_second),
                    line("achieved", 'a', &|point| Some(point.achieved_per_second)),
                ],
            ),
        ),
        (
            "Acknowledged after, in milliseconds",
            over_time("latency of the replies over time", percentiles(&line, &|point| point.latency_ms)),
        ),
    ];
    if report.stored_ms.is_some() {
        let stored = percentiles(&line, &|point| point.stored_ms);
        pictures
            .push(("Row visible after, in milliseconds", over_time("latency of the rows over time", stored)));
    }
    if report.lag_max.is_some() {
        let lag =
            vec![line("records acknowledged, not applied", 'e', &|point| Some(point.lag_records? as f64))];
        pictures.push(("Lag, in records", over_time("lag over time", lag)));
    }
    let bars = |title, colour, bars: &[Bar]| {
        let bars = bars.iter().map(|bar| (bar.from_ms, bar.to_ms, bar.count)).collect();
        Bars { title, x_name: "milliseconds (logarithmic)", colour, bars }.svg()
    };
    pictures.push((
        "Requests by how long the reply took",
        bars("histogram of the replies", 'a', &report.latency_histogram),
    ));
    if report.stored_ms.is_some() {
        pictures.push((
            "Messages by how long the row took",
            bars("histogram of the rows", 'd', &report.stored_histogram),
        ));
    }
    pictures
}

type Draw<'a> = dyn Fn(&'static str, char, &dyn Fn(&Point) -> Option<f64>) -> Line + 'a;

fn percentiles(line: &Draw<'_>, latency: &dyn Fn(&Point) -> Option<Latency>) -> Vec<Line> {
    vec![
        line("p50", 'd', &|point| Some(latency(point)?.p50)),
        line("p90", 'a', &|point| Some(latency(point)?.p90)),
        line("p99", 'b', &|point| Some(latency(point)?.p99)),
        line("max", 'c', &|point| Some(latency(point)?.max)),
    ]
}

fn tables(page: &mut String, report: &Report) {
    page.push_str("<div class=\"tables\"><table><caption>Latency, milliseconds</caption><tr><th></th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>\n");
    let mut latency = |name: &str, Latency { p50, p90, p99, p999, max }: Latency| {
        put(
            page,
            format_args!(
                "<tr><th>{name}</th><td>{p50:.1}</td><td>{p90:.1}</td><td>{p99:.1}</td><td>{p999:.1}</td><td>{max:.1}</td></tr>\n"
            ),
        );
    };
    latency("acknowledged", report.latency_ms);
    if let Some(stored) = report.stored_ms {
        latency("row visible", stored);
    }
    page.push_str("</table>\n");
    let counts = [("valid", report.valid), ("duplicates", report.duplicates), ("invalid", report.invalid)];
    let counts = counts.map(|(name, count)| (name.to_owned(), grouped(count)));
    let replies = report.replies.iter().map(|(status, count)| (format!("replies {status}"), grouped(*count)));
    table(page, "Sent and answered", counts.into_iter().chain(replies));
    if let Some(verification) = &report.verification {
        let found =
            verification.findings.iter().map(|(kind, count)| (format!("wrong: {kind}"), grouped(*count)));
        let rows = [
            ("promised", verification.promised),
            ("rows", verification.rows),
            ("clients", verification.clients),
        ];
        let rows = rows.map(|(name, count)| (name.to_owned(), grouped(count)));
        table(page, "Verified in the tables", rows.into_iter().chain(found));
    }
    let settings = report.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    table(page, "Settings", settings);
    page.push_str("</div>\n");
    let samples = report.stored_samples;
    if report.stored_ms.is_some() {
        put(
            page,
            format_args!(
                "<p class=\"note\">Latencies count from when a request was due, not from when it could be sent. \
             “Row visible” is taken from {} samples that were looked for in the database every {} ms (less often \
             while more than a hundred are waited for), until a committed row came back; {} more could not be \
             looked for, {} were not seen.</p>\n",
                grouped(samples.seen),
                samples.look_every_ms,
                samples.skipped,
                samples.unseen,
            ),
        );
    }
}

fn table(page: &mut String, caption: &str, rows: impl Iterator<Item = (String, String)>) {
    put(page, format_args!("<table><caption>{caption}</caption>"));
    for (name, value) in rows {
        put(page, format_args!("<tr><th>{}</th><td>{}</td></tr>", escaped(&name), escaped(&value)));
    }
    page.push_str("</table>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn put(page: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    page.write_fmt(what).unwrap_or_default();
}
