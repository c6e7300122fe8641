//! The table in the terminal, and docs/benchmarks.md with its plots: all of it from summaries, so that no figure
//! is written by hand.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use loadtest::plot::{Chart, Line, alone};

use crate::{
    control::Control,
    end_to_end::AtRate,
    growth::Growth,
    machine::Machine,
    summary::{Summary, median, number},
    tables,
    usage::Cpu,
    verdict,
};

/// What was measured, and a verdict for each number to be reached; as Markdown, which a terminal shows as well.
pub fn table(summary: &Summary) -> String {
    let mut text = String::new();
    figures(&mut text, summary);
    text.push('\n');
    verdicts(&mut text, summary);
    failed(&mut text, &summary.failed);
    text
}

/// The table of a part of its own, the same way.
pub fn growth_table(growth: &Growth) -> String {
    let mut text = String::new();
    tables::growth(&mut text, &growth.rows);
    failed(&mut text, &growth.failed);
    text
}

/// Writes `benchmarks.md` and its plots below `docs`.
pub fn write(summary: &Summary, growth: Option<&Growth>, docs: &Path) -> Result<()> {
    let plots = docs.join("benchmarks");
    fs::create_dir_all(&plots).with_context(|| format!("{} cannot be made", plots.display()))?;
    let searched = summary.sustained.iter().flat_map(|found| &found.tries);
    for (name, chart) in charts(summary.end_to_end.iter().chain(searched).collect()) {
        fs::write(plots.join(name), alone(chart.svg()))?;
    }
    fs::write(docs.join("benchmarks.md"), page(summary, growth))
        .context("docs/benchmarks.md cannot be written")
}

fn page(summary: &Summary, growth: Option<&Growth>) -> String {
    let mut text = String::from(include_str!("benchmarks.head.md"));
    let kind = if summary.quick {
        "a quick run, to look and not to quote".to_owned()
    } else {
        format!("a full run, medians of {}", summary.runs)
    };
    text += &format!(
        "## This run\n\n{}; {kind}. A backlog of {} records. The machine's load average before the run was {:.2}: above \
             about 0.5, others worked beside it. Others below it had {:.1} % of its processors' time.\n\n",
        machine(&summary.machine),
        number(summary.records as f64),
        summary.machine.load_before,
        summary.stolen * 100.0,
    );
    text.push_str(&table(summary));
    text.push_str("\n## The control\n\n");
    tables::controls(&mut text, &summary.controls);
    text.push_str("\n## End to end\n\n");
    tables::end_to_end(&mut text, &ours(summary));
    text.push_str(
        "\n![Latency by rate](benchmarks/latency.svg)\n![Processor time by rate](benchmarks/cpu.svg)\n",
    );
    text.push_str("\n## PostgreSQL alone\n\n");
    tables::alone(&mut text, summary);
    text.push_str("\n## As work grows\n\n");
    match growth {
        None => text.push_str("Not measured: `make bench ARGS=\"--only growth\"`.\n"),
        Some(growth) => {
            let kind = if growth.quick { "a quick run, without the large ends" } else { "a full run" };
            text += &format!(
                "{}; {kind}. Each backlog has {} records.\n\n",
                machine(&growth.machine),
                number(growth.records as f64)
            );
            text.push_str(&growth_table(growth));
        }
    }
    tables::damage(&mut text, summary);
    text
}

fn machine(machine: &Machine) -> String {
    let Machine { cores, processor, memory_mib, kernel, .. } = machine;
    format!("{cores} cores of {processor}, {memory_mib} MiB of memory, Linux {kernel}")
}

/// Every point of everything at once, each with what was special about it.
fn ours(summary: &Summary) -> Vec<(&'static str, &AtRate)> {
    let usual = summary.end_to_end.iter().map(|point| ("", point));
    let beside =
        summary.beside_busy_loop.iter().map(|point| (", half a core of others' work beside it", point));
    let searched = summary.sustained.iter().flat_map(|found| &found.tries).map(|point| (", searched", point));
    usual.chain(beside).chain(searched).collect()
}

fn figures(text: &mut String, summary: &Summary) {
    text.push_str("| figure | median | runs |\n|---|---|---|\n");
    let control = |figure: fn(&Control) -> f64| summary.controls.iter().map(figure).collect::<Vec<_>>();
    let (control_cpu, control_p99) =
        (control(|control| control.cpu_micros), control(|control| control.p99_ms));
    let rows: [(&str, &[f64]); 16] = [
        ("`copy_rows_per_s`, the limit", &summary.copy_rows_per_s),
        ("`drain_records_per_s`, the processor", &summary.drain_records_per_s),
        ("the same, each message another client's", &summary.drain_new_clients_per_s),
        ("the same, all of one client", &summary.drain_one_client_per_s),
        ("`debezium_rows_per_s`", &summary.debezium_rows_per_s),
        ("`redis_lock_messages_per_s`", &summary.redis_lock_messages_per_s),
        ("`http_noop_rps`", &summary.http_noop_rps),
        ("`ingest_single_rps`", &summary.ingest_single_rps),
        ("the same, each message another client's", &summary.ingest_new_clients_rps),
        ("the same, all of one client", &summary.ingest_one_client_rps),
        ("`ingest_batch_messages_per_s`", &summary.ingest_batch_messages_per_s),
        ("`ingest_signed_rps`", &summary.ingest_signed_rps),
        ("`ingest_webhook_rps`", &summary.ingest_webhook_rps),
        ("processor, peak RSS in MiB, draining", &summary.drain_peak_rss_mib),
        ("the control, no-op handler at 10,000 requests/s, CPU µs a request", &control_cpu),
        ("the control, p99 in ms", &control_p99),
    ];
    for (name, runs) in rows {
        let all: Vec<String> = runs.iter().map(|run| number(*run)).collect();
        let median = median(runs).map_or_else(|| "–".to_owned(), number);
        *text += &format!("| {name} | {median} | {} |\n", all.join(" · "));
    }
    let costs: [(&str, &[Cpu]); 5] = [
        ("a record, draining", &summary.drain_cpu),
        ("a request, no-op handler", &summary.noop_cpu),
        ("a message, unsigned", &summary.single_cpu),
        ("a signed message", &summary.signed_cpu),
        ("a webhook", &summary.webhook_cpu),
    ];
    text.push_str(
        "\n| CPU µs, medians | ingest API or handler | processor | Kafka | PostgreSQL | sender |\n|---|---|---|---|---|---|\n",
    );
    for (name, runs) in costs {
        *text += &format!("| {name} | {} |\n", tables::median_cpu(runs));
    }
}

fn verdicts(text: &mut String, summary: &Summary) {
    let noise = summary.noise();
    let last = if noise.is_empty() { "verdict" } else { "no verdict" };
    *text += &format!("| what | measured | must | aim | {last} |\n|---|---|---|---|---|\n");
    for verdict in verdict::verdicts(summary) {
        let word = if noise.is_empty() { verdict.word() } else { "–" };
        let (must, aim) = (verdict.bound(verdict.must), verdict.bound(verdict.aim));
        *text += &format!("| {} | {} | {must} | {aim} | {word} |\n", verdict.what, verdict.shown());
    }
    if !noise.is_empty() {
        *text += &format!("\n**No verdict: the machine was not quiet.** {}.\n", noise.join("; "));
    }
}

fn failed(text: &mut String, failed: &[String]) {
    for what in failed {
        *text += &format!("\nNot measured: {what}\n");
    }
}

fn charts(mut points: Vec<&AtRate>) -> [(&'static str, Chart); 2] {
    points.sort_by(|one, other| one.offered.total_cmp(&other.offered));
    let line = |points: &[&AtRate], name, colour, value: fn(&AtRate) -> f64| {
        let points = points.iter().map(|point| (point.offered, value(point))).collect();
        Line { name, colour, points }
    };
    // Of rates that were not kept, latency grows with the length of the run and says nothing.
    let kept: Vec<&AtRate> = points.iter().copied().filter(|point| point.is_sustained()).collect();
    let x_name = "requests a second";
    let latency = vec![
        line(&kept, "ack p50", 'd', |point| point.ack_p50_ms),
        line(&kept, "ack p99", 'a', |point| point.ack_p99_ms),
        line(&kept, "stored p50", 'e', |point| point.stored_p50_ms),
        line(&kept, "stored p99", 'b', |point| point.stored_p99_ms),
    ];
    let cpu = vec![
        line(&points, "ingest-api", 'a', |point| point.cpu_micros.ingest_api),
        line(&points, "processor", 'd', |point| point.cpu_micros.processor),
        line(&points, "Kafka", 'b', |point| point.cpu_micros.kafka),
        line(&points, "PostgreSQL", 'e', |point| point.cpu_micros.postgres),
    ];
    [
        ("latency.svg", Chart { title: "milliseconds by rate", x_name, lines: latency }),
        ("cpu.svg", Chart { title: "microseconds of processor time a request, by rate", x_name, lines: cpu }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: &str = "| drain ÷ COPY limit | – | ≥ 0.55 | ≥ 0.65 |";

    #[test]
    fn a_summary_of_nothing_makes_a_table_that_claims_nothing() {
        let summary = Summary { failed: vec!["Redis: none to be had".to_owned()], ..Summary::default() };
        let text = page(&summary, None);
        assert!(text.contains(&format!("{LIMIT} – |")), "{text}");
        assert!(text.contains("Not measured: Redis: none to be had"), "{text}");
        assert!(
            text.contains("No verdict: the machine was not quiet.** the control was not measured"),
            "{text}"
        );
    }

    #[test]
    fn a_quiet_machine_gets_verdicts_and_a_busy_one_figures_only() {
        let text = |p99_ms| {
            let controls = vec![Control { p99_ms, ..Control::default() }];
            page(&Summary { controls, ..Summary::default() }, None)
        };
        assert!(text(3.0).contains(&format!("{LIMIT} not measured |")), "{}", text(3.0));
        assert!(text(300.0).contains(&format!("{LIMIT} – |")), "{}", text(300.0));
    }

    #[test]
    fn the_sections_that_others_link_to_are_there() {
        let text = page(&Summary::default(), Some(&Growth::default()));
        for section in [
            "This run",
            "End to end",
            "PostgreSQL alone",
            "As work grows",
            "What a Redis lock doubles and drops",
        ] {
            assert!(text.contains(&format!("\n## {section}\n")), "{section}");
        }
    }
}
