//! What the workers have found, put together, and the partitions' own rows compared with it.

use std::collections::HashMap;

use super::{
    Proof,
    clients::Clients,
    records::Records,
    report::{About, Compared, Findings},
    scope::{Proved, Span},
    tables::TableRows,
};
use crate::{dead_letter::DeadLetterReason, fold::Counters, position::RecordDigest};

/// What comes out of a comparison.
pub struct Conclusion {
    /// The differences.
    pub findings: Findings,
    /// What was compared.
    pub compared: Compared,
    /// How far it reaches.
    pub proved: Vec<Proved>,
}

impl Conclusion {
    /// Adds up what the workers have found, and compares each partition's own row with it.
    #[must_use]
    pub fn draw(
        proof: &Proof<'_>,
        tables: Vec<TableRows>,
        records: Vec<Records>,
        clients: Vec<Clients>,
    ) -> Self {
        let (mut findings, mut compared) = (Findings::default(), Compared::default());
        let mut counted = vec![Counters::default(); proof.spans.spans.len()];
        let mut last_digests = HashMap::new();
        for table in tables {
            compared.rows += table.rows;
            findings.merge(table.findings);
        }
        let mut conflicts = 0;
        for clients in clients {
            for (sum, more) in counted.iter_mut().zip(&clients.counters) {
                add(sum, more);
                conflicts += more.dead_letters;
            }
            findings.merge(clients.findings);
        }
        for records in records {
            for (reason, count) in records.dead_letters {
                *compared.dead_letters.entry(reason).or_default() += count;
            }
            for (sum, more) in counted.iter_mut().zip(records.dead_letters_of) {
                sum.dead_letters += more;
            }
            compared.records += records.records;
            last_digests.extend(records.last_digests);
            findings.merge(records.findings);
        }
        if conflicts > 0 {
            *compared.dead_letters.entry(DeadLetterReason::ConflictingDuplicate.as_str()).or_default() +=
                conflicts;
        }
        let mut proved = Vec::new();
        for (span, counted) in proof.spans.spans.iter().zip(&counted) {
            compared.duplicates += counted.duplicates;
            compared.commands += counted.commands;
            let mut counters = span.proved.counters;
            add(&mut counters, counted);
            let (partition, proved_to) = (span.partition(), span.progress().next_offset);
            let before = span.proved.last_digest.filter(|_| span.proved.proved_to == proved_to);
            let last_digest = last_digests.get(&partition).copied().or(before);
            compare(span, &counters, last_digest, &mut findings);
            proved.push(Proved { partition, proved_to, last_digest, counters });
        }
        Self { findings, compared, proved }
    }
}

fn add(sum: &mut Counters, more: &Counters) {
    sum.messages += more.messages;
    sum.duplicates += more.duplicates;
    sum.commands += more.commands;
    sum.dead_letters += more.dead_letters;
}

/// Compares the row of a partition with what its records have become.
fn compare(span: &Span, counted: &Counters, last_digest: Option<RecordDigest>, findings: &mut Findings) {
    let row = span.progress();
    let partition = row.partition.0;
    let mut tell =
        |offset, kind, detail: String| findings.push(About::Progress, (partition, offset), kind, detail);
    if let Some(end) = span.log_end {
        tell(Some(end.0), "log_ends_before_next_offset", format!("next offset is {}", row.next_offset));
    }
    if row.gap() != 0 {
        let detail = format!("{} records applied, {} counted", row.applied(), row.accounted());
        tell(None, "not_conserved", detail);
    }
    if span.ends_applied() && !span.is_trimmed && row.last_digest != last_digest {
        let last = (row.applied() > 0).then_some(row.next_offset.0 - 1);
        tell(last, "digest_differs", "the last applied record is another one".to_owned());
    }
    if span.is_trimmed {
        findings.unprovable(partition, "retention has removed applied records");
    } else if row.repeated > 0 {
        findings.unprovable(partition, "records were counted twice by an operator's decision");
    } else {
        let counters = [
            ("messages", row.counters.messages, counted.messages),
            ("duplicates", row.counters.duplicates, counted.duplicates),
            ("commands", row.counters.commands, counted.commands),
            ("dead_letters", row.counters.dead_letters, counted.dead_letters),
        ];
        for (name, stored, counted) in counters.into_iter().filter(|(_, stored, counted)| stored != counted) {
            let detail = format!("{name}: the row says {stored}, the records {counted}");
            tell(None, "counter_differs", detail);
        }
    }
}
