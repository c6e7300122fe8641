//! The table that the demo ends with.

use std::fmt::Write as _;

use super::reports::{Proved, Sent};

/// What was sent and what became of it, for a person to read.
pub fn table(sent: &Sent, proved: &Proved, applied_per_second: f64) -> String {
    let mut table = String::new();
    let mut row = |group: &str, name: &str, value: String| {
        // Writing to a string does not fail.
        writeln!(table, "  {group:<12} {name:<34} {value:>12}").unwrap_or_default();
    };
    let mut group = "replies";
    for (status, count) in &sent.replies {
        row(group, &format!("{status} {}", meaning(*status)), grouped(*count as f64));
        group = "";
    }
    let count = |count: u64| grouped(count as f64);
    row("rows", "clients", count(proved.rows.clients));
    row("", "dialogs, one active per client", count(proved.rows.dialogs));
    row("", "messages", count(proved.rows.messages));
    row("", "dead letters", count(proved.rows.dead_letters));
    row("duplicates", "had no effect", count(proved.duplicates));
    row("rate", "requests a second, sent", grouped(sent.requests_per_second));
    row("", "records a second, until applied", grouped(applied_per_second));
    row("latency", "half of the replies within", format!("{:.1} ms", sent.latency_ms.p50));
    row("", "99 of 100 within", format!("{:.1} ms", sent.latency_ms.p99));
    table
}

fn meaning(status: u16) -> &'static str {
    match status {
        202 => "kept",
        400 => "not JSON",
        413 => "too large",
        415 => "not application/json",
        422 => "breaks a rule",
        503 => "sent again",
        _ => "",
    }
}

/// Rounded, with a space between each three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            [7.2, 999.0, 1_000.0, 20_000.0, 1_234_566.7].map(grouped),
            ["7", "999", "1 000", "20 000", "1 234 567"]
        );
    }
}
