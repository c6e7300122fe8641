//! `processor quarantine list`: where items lie and why, without anything that a client wrote.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use serde::Serialize;

use super::reading::{Found, Others, Selection, read};
use crate::{
    commands::output::{printable, say, say_json},
    kafka::client::KafkaConfig,
};

/// Characters of a hook's name, a reason or a detail that are shown.
const SHOWN_CHARS_MAX: usize = 200;

/// Pairs of hook and reason that are counted apart. A hook has fewer reasons than fingers; more pairs than this come
/// from a program that writes what it likes.
const PAIRS_MAX: usize = 1_000;

/// An item in the list. Its place makes it another than every other; the order is that of time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Line {
    /// When the broker appended it: one spelling for one time, so that texts are in the order of times.
    appended_at: String,
    partition: i32,
    offset: i64,
    hook: String,
    producer: String,
    reason: String,
    detail: String,
    client_id: Option<String>,
    document_bytes: usize,
}

/// How many items a hook has with a reason.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Count {
    hook: String,
    reason: String,
    items: u64,
}

/// Records of other programs with the same fault.
#[derive(Debug, Serialize)]
struct Foreign {
    header: &'static str,
    records: u64,
    first_partition: i32,
    first_offset: i64,
}

/// What there is to say about a selection.
#[derive(Debug, Serialize)]
struct Report {
    /// The newest first.
    items: Vec<Line>,
    counts: Vec<Count>,
    /// Items whose hook and reason are not counted apart, since there are too many pairs.
    further_items: u64,
    foreign_records: Vec<Foreign>,
}

/// Keeps the newest items of a selection and counts all of them. Its size depends on the limit, not on the topic.
#[derive(Debug)]
struct Overview {
    limit: usize,
    newest: BinaryHeap<Reverse<Line>>,
    counts: BTreeMap<(String, String), u64>,
    further: u64,
}

impl Overview {
    fn of(limit: usize) -> Self {
        Self { limit, newest: BinaryHeap::new(), counts: BTreeMap::new(), further: 0 }
    }

    fn add(&mut self, line: Line) {
        let pair = (line.hook.clone(), line.reason.clone());
        if self.counts.len() < PAIRS_MAX || self.counts.contains_key(&pair) {
            *self.counts.entry(pair).or_default() += 1;
        } else {
            self.further += 1;
        }
        self.newest.push(Reverse(line));
        if self.newest.len() > self.limit {
            self.newest.pop();
        }
    }

    fn report(self, others: Others) -> Report {
        let counts = self.counts.into_iter();
        let foreign = others.0.into_iter();
        Report {
            items: self.newest.into_sorted_vec().into_iter().map(|Reverse(line)| line).collect(),
            counts: counts.map(|((hook, reason), items)| Count { hook, reason, items }).collect(),
            further_items: self.further,
            foreign_records: foreign
                .map(|(header, (records, partition, offset))| Foreign {
                    header,
                    records,
                    first_partition: partition.0,
                    first_offset: offset.0,
                })
                .collect(),
        }
    }
}

/// Lists them.
///
/// # Errors
/// There is no such topic, or the brokers did not answer.
pub fn list(kafka: &KafkaConfig, selection: &Selection, limit: usize, json: bool) -> anyhow::Result<()> {
    let mut overview = Overview::of(limit);
    let others = read(kafka, selection, |found| {
        overview.add(line(&found));
        Ok(())
    })?;
    let said = others.to_string();
    let report = overview.report(others);
    if json {
        return say_json(&report);
    }
    for text in as_text(&report) {
        say(&text)?;
    }
    if !said.is_empty() {
        say(&said)?;
    }
    Ok(())
}

fn line(found: &Found) -> Line {
    let item = &found.item;
    let shown = |text: &str| printable(text).chars().take(SHOWN_CHARS_MAX).collect();
    Line {
        appended_at: found.appended_at.to_string(),
        partition: found.partition.0,
        offset: found.offset.0,
        hook: shown(&item.hook),
        producer: shown(&item.producer),
        reason: shown(&item.reason),
        detail: shown(&item.detail),
        client_id: item.client_id.map(|client_id| client_id.key()),
        document_bytes: item.document.len(),
    }
}

fn as_text(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.items.is_empty() {
        let mut rows = vec![
            [
                "partition",
                "offset",
                "appended_at",
                "hook",
                "producer",
                "reason",
                "client_id",
                "bytes",
                "detail",
            ]
            .map(str::to_owned),
        ];
        rows.extend(report.items.iter().map(|item| {
            [
                item.partition.to_string(),
                item.offset.to_string(),
                item.appended_at.clone(),
                item.hook.clone(),
                item.producer.clone(),
                item.reason.clone(),
                item.client_id.clone().unwrap_or_else(|| "-".to_owned()),
                item.document_bytes.to_string(),
                item.detail.clone(),
            ]
        }));
        lines.extend(aligned(&rows));
        lines.push(String::new());
    }
    if !report.counts.is_empty() {
        let mut rows = vec![["items", "hook", "reason"].map(str::to_owned)];
        rows.extend(
            report
                .counts
                .iter()
                .map(|count| [count.items.to_string(), count.hook.clone(), count.reason.clone()]),
        );
        lines.extend(aligned(&rows));
    }
    let items = report.further_items + report.counts.iter().map(|count| count.items).sum::<u64>();
    lines.push(format!("{items} items, {} shown", report.items.len()));
    lines
}

/// Columns of equal width, two spaces apart; the last one is as wide as it is.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use schemas::{Partition, Timestamp};

    use super::*;
    use crate::domain::position::Offset;

    fn a_line(second: u8, hook: &str) -> Line {
        Line {
            appended_at: Timestamp::parse(&format!("2026-11-24T04:35:{second:02}Z")).unwrap().to_string(),
            partition: 1,
            offset: second.into(),
            hook: hook.to_owned(),
            producer: "meta".to_owned(),
            reason: "no_address".to_owned(),
            detail: "no place of phone or address holds something".to_owned(),
            client_id: None,
            document_bytes: 12,
        }
    }

    #[test]
    fn the_newest_are_kept_and_all_are_counted() {
        let mut overview = Overview::of(2);
        for second in [3, 1, 5, 4, 2] {
            overview.add(a_line(second, if second == 1 { "viber" } else { "whatsapp" }));
        }
        let report = overview.report(Others::default());
        assert_eq!(report.items.iter().map(|item| item.offset).collect::<Vec<_>>(), [5, 4]);
        let count =
            |hook: &str, items| Count { hook: hook.to_owned(), reason: "no_address".to_owned(), items };
        assert_eq!(report.counts, [count("viber", 1), count("whatsapp", 4)]);
    }

    #[test]
    fn a_program_that_invents_hooks_does_not_fill_the_memory() {
        let mut overview = Overview::of(1);
        for hook in 0..PAIRS_MAX + 3 {
            overview.add(a_line(1, &hook.to_string()));
        }
        overview.add(a_line(1, "0"));
        let report = overview.report(Others::default());
        assert_eq!((report.counts.len(), report.further_items, report.items.len()), (PAIRS_MAX, 3, 1));
        assert_eq!(as_text(&report).last().unwrap(), "1004 items, 1 shown");
    }

    #[test]
    fn a_list_is_a_table_with_the_counts_at_its_end() {
        let mut overview = Overview::of(50);
        overview.add(a_line(1, "whatsapp"));
        overview.add(Line { offset: 120, client_id: Some("e60660c7".to_owned()), ..a_line(2, "viber") });
        let mut others = Others::default();
        others.0.insert("ce_type", (1, Partition(0), Offset(3)));
        let expected = "\
partition  offset  appended_at                  hook      producer  reason      client_id  bytes  detail
1          120     2026-11-24T04:35:02.000000Z  viber     meta      no_address  e60660c7   12     no place of phone or address holds something
1          1       2026-11-24T04:35:01.000000Z  whatsapp  meta      no_address  -          12     no place of phone or address holds something

items  hook      reason
1      viber     no_address
1      whatsapp  no_address
2 items, 2 shown";
        assert_eq!(as_text(&overview.report(others)).join("\n"), expected);
    }

    #[test]
    fn nothing_is_said_in_a_line() {
        assert_eq!(as_text(&Overview::of(50).report(Others::default())), ["0 items, 0 shown"]);
    }
}
