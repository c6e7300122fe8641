//! What the workers have found, put together, and the partitions' own rows compared with it.

use std::collections::HashMap;

use super::{
    Proof,
    clients::Clients,
    records::Records,
    report::{About, Compared, Findings, Scope},
    scope::{Proved, Span},
    structure::Standing,
    tables::TableRows,
};
use crate::domain::{
    counters::Counters,
    dead_letter::DeadLetterReason,
    position::{LastRecord, NextOffset},
};

/// What comes out of a comparison.
pub struct Conclusion {
    pub findings: Findings,
    pub compared: Compared,
    /// How far it reaches.
    pub proved: Vec<Proved>,
}

impl Conclusion {
    /// Adds up what the workers have found, and compares each partition's own row with it.
    pub fn draw(
        proof: &Proof<'_>,
        tables: Vec<TableRows>,
        records: Vec<Records>,
        clients: Vec<Clients>,
    ) -> Self {
        let (mut findings, mut compared) = (Findings::default(), Compared::default());
        let mut counted = vec![Counters::default(); proof.spans.spans.len()];
        let mut standing = vec![Standing::default(); proof.spans.spans.len()];
        let (mut last_digests, mut last_offsets) = (HashMap::new(), HashMap::new());
        for table in tables {
            compared.rows += table.rows;
            compared.former += table.former;
            findings.merge(table.findings);
        }
        let mut conflicts = 0;
        for clients in clients {
            for (sum, more) in counted.iter_mut().zip(&clients.counters) {
                *sum += *more;
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
            for (sum, control) in counted.iter_mut().zip(records.control_of) {
                sum.control += control;
            }
            for (sum, more) in standing.iter_mut().zip(records.standing_of) {
                *sum += more;
            }
            compared.records += records.records;
            last_digests.extend(records.last_digests);
            for (partition, offset) in records.last_offsets {
                let last = last_offsets.entry(partition).or_insert(offset);
                *last = offset.max(*last);
            }
            findings.merge(records.findings);
        }
        if conflicts > 0 {
            *compared.dead_letters.entry(DeadLetterReason::ConflictingDuplicate.as_str()).or_default() +=
                conflicts;
        }
        let mut proved = Vec::new();
        for ((span, counted), standing) in proof.spans.spans.iter().zip(&counted).zip(&standing) {
            if span.applied.is_former {
                compare(proof, span, counted, standing, &mut findings);
                continue;
            }
            let (partition, proved_to) = (span.partition(), span.progress().next_offset);
            compared.duplicates += counted.duplicates;
            compared.commands += counted.commands;
            if counted.control > 0 {
                compared.control.insert(partition.0, counted.control);
            }
            compared.gone += span.gone.to.0 - span.gone.from.0;
            let last = match last_offsets.get(&partition) {
                // Another digest than that of the record which the row names was not computed.
                Some(offset) => {
                    last_digests.get(&partition).map(|digest| LastRecord { offset: *offset, digest: *digest })
                }
                None => span.proved.last_digest,
            };
            let mut counters = span.proved.counters;
            counters += *counted;
            compare_last(span, last, last_offsets.contains_key(&partition), &mut findings);
            compare(proof, span, &counters, standing, &mut findings);
            // Of what the log no longer holds the row itself says what became of it.
            let counters = if span.is_trimmed { span.progress().counters } else { counters };
            let last_digest = last.or(span.progress().last_digest.filter(|_| span.is_trimmed));
            proved.push(Proved { partition, proved_to, last_digest, counters });
        }
        Self { findings, compared, proved }
    }
}

/// Compares the last record that a row names with the last one that was read, if one was.
fn compare_last(span: &Span, last: Option<LastRecord>, was_read: bool, findings: &mut Findings) {
    let row = span.progress();
    let is_known = was_read || !span.is_trimmed;
    if span.ends_applied() && is_known && row.last_digest != last {
        let at = row
            .last_digest
            .map(|last| last.offset.0)
            .or((row.applied() > 0).then_some(row.next_offset.0 - 1));
        let place = (row.partition.0, at);
        findings.push(About::Progress, place, "digest_differs", "the last applied record is another one");
    }
}

/// Compares the row of a partition with what its records have become, and with the log.
fn compare(proof: &Proof<'_>, span: &Span, counted: &Counters, standing: &Standing, findings: &mut Findings) {
    if span.applied.is_former && proof.scope == Scope::SinceLast {
        // Taken for granted, as everything that was there before.
        return;
    }
    let row = span.progress();
    let partition = row.partition.0;
    let mut tell = |offset, kind, detail: String| {
        let detail = proof.of_topic(span.topic_ref(), &detail);
        findings.push(About::Progress, (partition, offset), kind, detail);
    };
    if let Some(end) = span.log_end {
        tell(Some(end.0), "log_ends_before_next_offset", format!("next offset is {}", row.next_offset));
    }
    if span.lost > 0 {
        let NextOffset(next) = row.next_offset;
        let detail =
            format!("the log begins at {}: {} records were not applied", next + span.lost, span.lost);
        tell(Some(next), "log_starts_after_next_offset", detail);
    }
    if row.gap() != 0 {
        let detail = format!("{} offsets applied, {} counted", row.applied(), row.accounted());
        tell(None, "not_conserved", detail);
    }
    let is_gone = span.gone.from < span.gone.to;
    if span.is_trimmed && !is_gone {
        findings.unprovable(
            partition,
            "retention has removed records since the last proof: a full proof or a baseline begins again",
        );
        return;
    }
    if row.repeated > 0 {
        // Of a former topic the counters are all that this leaves open.
        if !span.applied.is_former {
            findings.unprovable(partition, "records were counted twice by an operator's decision");
        }
        return;
    }
    // What became of records that are gone only their rows tell: of the others there are some left over.
    let counters = [
        ("messages", row.counters.messages, counted.messages + standing.messages, true),
        ("duplicates", row.counters.duplicates, counted.duplicates, !is_gone),
        ("commands", row.counters.commands, counted.commands, !is_gone),
        ("dead_letters", row.counters.dead_letters, counted.dead_letters + standing.dead_letters, true),
        ("control", row.counters.control, counted.control, !is_gone),
    ];
    for (name, stored, counted, is_exact) in counters {
        if (is_exact && stored != counted) || stored < counted {
            let detail = format!("{name}: the row says {stored}, the records {counted}");
            tell(None, "counter_differs", detail);
        }
    }
}
