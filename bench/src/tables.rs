//! The tables of docs/benchmarks.md, a function each.

use loadtest::report::grouped;

use crate::{
    control::Control,
    end_to_end::AtRate,
    growth::Row,
    postgres_alone::Refused,
    redis::Damage,
    summary::{Summary, median, median_of, number},
    usage::Cpu,
};

/// Of each program, in the order of [`Cpu`]; what was not there stands as a dash.
pub fn median_cpu(runs: &[Cpu]) -> String {
    let figures: [fn(&Cpu) -> f64; 5] =
        [|cpu| cpu.ingest_api, |cpu| cpu.processor, |cpu| cpu.kafka, |cpu| cpu.postgres, |cpu| cpu.loadtest];
    let shown = figures.map(|figure| shown(median_of(runs, figure).filter(|value| *value > 0.0)));
    shown.join(" | ")
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

pub fn controls(text: &mut String, controls: &[Control]) {
    text.push_str(
        "| achieved | p50 / p99 ms | CPU µs a request: handler · load tester | stolen |\n|---|---|---|---|\n",
    );
    for control in controls {
        *text += &format!(
            "| {} | {:.1} / {:.1} | {:.1} · {:.1} | {:.1} % |\n",
            number(control.achieved),
            control.p50_ms,
            control.p99_ms,
            control.cpu_micros,
            control.loadtest_cpu_micros,
            control.stolen * 100.0,
        );
    }
}

/// Everything at once: each point with what was special about it.
pub fn end_to_end(text: &mut String, points: &[(&str, &AtRate)]) {
    text.push_str(
        "| offered | achieved | ack p50 / p99 ms | stored p50 / p99 ms | lag | wrong | CPU µs a request: api · processor · Kafka · PostgreSQL · load tester | peak RSS MiB: api · processor · Kafka | bytes a record in the topic |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (special, point) in points {
        let (cpu, memory) = (point.cpu_micros, point.peak_rss_mib);
        *text += &format!(
            "| {}{special} | {} | {:.1} / {:.1} | {:.1} / {:.1} | {} records, {:.2} s | {} | {cpu} · {:.1} | {memory} | {} |\n",
            number(point.offered),
            number(point.achieved),
            point.ack_p50_ms,
            point.ack_p99_ms,
            point.stored_p50_ms,
            point.stored_p99_ms,
            grouped(point.lag_records),
            point.lag_seconds,
            point.wrong,
            cpu.loadtest,
            shown(point.record_bytes),
        );
    }
}

pub fn alone(text: &mut String, summary: &Summary) {
    let alone = &summary.alone;
    if let Some(way) = alone.way {
        *text += &format!(
            "Its own best way, found by trying: {} sessions write to the log, each commits at most {} requests at once.\n\n",
            way.writers, way.rows_max
        );
    }
    text.push_str("| figure | PostgreSQL alone | Telex |\n|---|---|---|\n");
    let cpu = |runs: &[Cpu]| shown(median_of(runs, Cpu::without_sender));
    let rate = |runs: &[f64]| shown(median(runs));
    let away = "replies that asked to send again, PostgreSQL away";
    let rows = [
        ("single messages a second, acknowledged", rate(&alone.single_rps), rate(&summary.ingest_single_rps)),
        ("CPU µs for each, all but the sender", cpu(&alone.single_cpu), cpu(&summary.single_cpu)),
        ("a backlog, messages a second", rate(&alone.folded_per_s), rate(&summary.drain_records_per_s)),
        ("CPU µs for each, all programs", cpu(&alone.folded_cpu), cpu(&summary.drain_cpu)),
        (away, refused(alone.outage), refused(alone.telex_outage)),
    ];
    for (name, alone, telex) in rows {
        *text += &format!("| {name} | {alone} | {telex} |\n");
    }
    text.push_str(
        "\nEverything at once, PostgreSQL alone; the edge and the owners of slots stand under api:\n\n",
    );
    end_to_end(text, &alone.at_rate.iter().map(|point| ("", point)).collect::<Vec<_>>());
}

fn refused(refused: Option<Refused>) -> String {
    let Some(Refused { away_seconds, offered, refused, ack_p99_ms }) = refused else {
        return "–".to_owned();
    };
    format!(
        "{} in {away_seconds:.0} s at {} a second, ack p99 {} ms",
        grouped(refused),
        number(offered),
        number(ack_p99_ms)
    )
}

/// What a message costs as work grows.
pub fn growth(text: &mut String, rows: &[Row]) {
    text.push_str(
        "| what | messages a second | CPU µs a message: api · processor · Kafka · PostgreSQL | in all | peak RSS MiB: api · processor · Kafka | index MiB |\n\
         |---|---|---|---|---|---|\n",
    );
    for Row { what, per_second, cpu, memory, index_mib } in rows {
        *text += &format!(
            "| {what} | {} | {cpu} | {:.1} | {memory} | {} |\n",
            number(*per_second),
            cpu.without_sender(),
            shown(*index_mib),
        );
    }
}

/// What the alternative does wrong.
pub fn damage(text: &mut String, summary: &Summary) {
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
        *text += &match damage {
            None => format!("| {what} | – | – | – | – | – |\n"),
            Some(Damage { messages, doubled_dialogs, doubled_messages, dropped_messages, killed }) => {
                format!(
                    "| {what} | {messages} | {killed} | {doubled_dialogs} | {doubled_messages} | {dropped_messages} |\n"
                )
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_not_there_has_a_dash_and_no_figure() {
        let cpu = |processor| Cpu { processor, postgres: 3.5, ..Cpu::default() };
        assert_eq!(median_cpu(&[cpu(4.0), cpu(6.0), cpu(5.0)]), "– | 5.00 | – | 3.50 | –");
        assert_eq!(median_cpu(&[]), "– | – | – | – | –");
    }
}
