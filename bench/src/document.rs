//! The table in the terminal, and docs/benchmarks.md with its plots: all of it from a summary, so that no figure
//! is written by hand.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use loadtest::plot::{Chart, Line, alone};

use crate::{
    end_to_end::AtRate,
    redis::Damage,
    summary::{Summary, Verdict, median, number},
};

/// What was measured, and a verdict for each number to be reached; as Markdown, which a terminal shows as well.
pub fn table(summary: &Summary) -> String {
    let mut text = String::new();
    figures(&mut text, summary);
    text.push('\n');
    verdicts(&mut text, &summary.verdicts());
    for note in &summary.notes {
        put(&mut text, format_args!("\nNot measured: {note}\n"));
    }
    text
}

/// Writes `benchmarks.md` and its plots below `docs`.
///
/// # Errors
/// A file cannot be written.
pub fn write(summary: &Summary, docs: &Path) -> Result<()> {
    let plots = docs.join("benchmarks");
    fs::create_dir_all(&plots).with_context(|| format!("{} cannot be made", plots.display()))?;
    for (name, chart) in charts(&summary.end_to_end) {
        fs::write(plots.join(name), alone(&chart.svg()))?;
    }
    fs::write(docs.join("benchmarks.md"), page(summary)).context("docs/benchmarks.md cannot be written")
}

fn page(summary: &Summary) -> String {
    let machine = &summary.machine;
    let mut text = String::from(include_str!("benchmarks.head.md"));
    let kind =
        if summary.quick { "a quick run, to look and not to quote" } else { "a full run, medians of 3" };
    put(
        &mut text,
        format_args!(
            "## This run\n\n{} cores of {}, {} MiB of memory; {kind}. A backlog of {} records. The machine's load \
         average before the run was {:.2}: above about 0.5, others worked beside it.\n\n",
            machine.cores,
            machine.processor,
            machine.memory_mib,
            number(summary.records as f64),
            machine.load_before,
        ),
    );
    text.push_str(&table(summary));
    text.push_str("\n## End to end\n\n");
    end_to_end(&mut text, &summary.end_to_end);
    text.push_str(
        "\n![Latency by rate](benchmarks/latency.svg)\n![Processor time by rate](benchmarks/cpu.svg)\n",
    );
    damage(&mut text, summary);
    text
}

fn figures(text: &mut String, summary: &Summary) {
    text.push_str("| figure | median | runs |\n|---|---|---|\n");
    let rows: [(&str, &[f64]); 14] = [
        ("`copy_rows_per_s`, the limit", &summary.copy_rows_per_s),
        ("`drain_records_per_s`, the processor", &summary.drain_records_per_s),
        ("`debezium_rows_per_s`", &summary.debezium_rows_per_s),
        ("`redis_lock_messages_per_s`", &summary.redis_lock_messages_per_s),
        ("`http_noop_rps`", &summary.http_noop_rps),
        ("`ingest_single_rps`", &summary.ingest_single_rps),
        ("`ingest_batch_messages_per_s`", &summary.ingest_batch_messages_per_s),
        ("`ingest_signed_rps`", &summary.ingest_signed_rps),
        ("`ingest_webhook_rps`", &summary.ingest_webhook_rps),
        ("ingest API, CPU µs a message, unsigned", &summary.single_cpu_micros),
        ("ingest API, CPU µs a signed message", &summary.signed_cpu_micros),
        ("ingest API, CPU µs a webhook", &summary.webhook_cpu_micros),
        ("processor, CPU µs a record, draining", &summary.drain_cpu_micros),
        ("processor, peak RSS in MiB, draining", &summary.drain_peak_rss_mib),
    ];
    for (name, runs) in rows {
        let all: Vec<String> = runs.iter().map(|run| number(*run)).collect();
        let median = median(runs).map_or_else(|| "–".to_owned(), number);
        put(text, format_args!("| {name} | {median} | {} |\n", all.join(" · ")));
    }
}

fn verdicts(text: &mut String, verdicts: &[Verdict]) {
    text.push_str("| what | measured | must | aim | verdict |\n|---|---|---|---|---|\n");
    for verdict in verdicts {
        let Verdict { what, must, aim, .. } = verdict;
        put(text, format_args!("| {what} | {} | {must} | {aim} | {} |\n", verdict.shown(), verdict.word()));
    }
}

fn end_to_end(text: &mut String, points: &[AtRate]) {
    text.push_str(
        "| offered | achieved | ack p50 / p99 ms | stored p50 / p99 ms | lag | wrong | CPU µs a request: api · processor · Kafka · PostgreSQL · load tester | peak RSS MiB: api · processor · Kafka |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for point in points {
        let (cpu, memory) = (point.cpu_micros, point.peak_rss_mib);
        put(
            text,
            format_args!(
                "| {} | {} | {:.1} / {:.1} | {:.1} / {:.1} | {} records, {:.2} s | {} | {:.1} · {:.1} · {:.1} · {:.1} · {:.1} | {:.0} · {:.0} · {:.0} |\n",
                number(point.offered),
                number(point.achieved),
                point.ack_p50_ms,
                point.ack_p99_ms,
                point.stored_p50_ms,
                point.stored_p99_ms,
                number(point.lag_records as f64),
                point.lag_seconds,
                point.wrong,
                cpu.ingest_api,
                cpu.processor,
                cpu.kafka,
                cpu.postgres,
                cpu.loadtest,
                memory.ingest_api,
                memory.processor,
                memory.kafka,
            ),
        );
    }
}

fn damage(text: &mut String, summary: &Summary) {
    text.push_str(
        "\n## What a Redis lock doubles and drops\n\n\
         | what happened | messages | workers killed | active dialogs doubled | messages doubled | messages dropped |\n\
         |---|---|---|---|---|---|\n",
    );
    let rows = [
        ("workers are killed", summary.redis_lock_killed),
        ("locks expire during a stall", summary.redis_lock_expired),
    ];
    for (what, damage) in rows {
        match damage {
            None => put(text, format_args!("| {what} | – | – | – | – | – |\n")),
            Some(Damage { messages, doubled_dialogs, doubled_messages, dropped_messages, killed }) => put(
                text,
                format_args!(
                    "| {what} | {messages} | {killed} | {doubled_dialogs} | {doubled_messages} | {dropped_messages} |\n"
                ),
            ),
        }
    }
}

fn charts(points: &[AtRate]) -> [(&'static str, Chart); 2] {
    let line = |name, colour, value: fn(&AtRate) -> f64| Line {
        name,
        colour,
        points: points.iter().map(|point| (point.offered, value(point))).collect(),
    };
    // Of rates that were not kept, latency grows with the length of the run and says nothing.
    let sustained = |name, colour, value: fn(&AtRate) -> f64| Line {
        name,
        colour,
        points: points
            .iter()
            .filter(|point| point.is_sustained())
            .map(|point| (point.offered, value(point)))
            .collect(),
    };
    let x_name = "requests a second";
    let latency = vec![
        sustained("ack p50", 'd', |point| point.ack_p50_ms),
        sustained("ack p99", 'a', |point| point.ack_p99_ms),
        sustained("stored p50", 'e', |point| point.stored_p50_ms),
        sustained("stored p99", 'b', |point| point.stored_p99_ms),
    ];
    let cpu = vec![
        line("ingest-api", 'a', |point| point.cpu_micros.ingest_api),
        line("processor", 'd', |point| point.cpu_micros.processor),
        line("Kafka", 'b', |point| point.cpu_micros.kafka),
        line("PostgreSQL", 'e', |point| point.cpu_micros.postgres),
    ];
    [
        ("latency.svg", Chart { title: "milliseconds by rate", x_name, lines: latency }),
        ("cpu.svg", Chart { title: "microseconds of processor time a request, by rate", x_name, lines: cpu }),
    ]
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    text.write_fmt(what).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_nothing_makes_a_table_that_claims_nothing() {
        let summary = Summary { notes: vec!["Redis: none to be had".to_owned()], ..Summary::default() };
        let text = page(&summary);
        assert!(text.contains("| drain ÷ COPY limit | – | ≥ 0.60 | ≥ 0.80 | not measured |"), "{text}");
        assert!(text.contains("Not measured: Redis: none to be had"), "{text}");
    }
}
