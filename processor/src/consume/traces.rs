//! A sampled trace goes on to the transaction in which its record was applied.

use std::{collections::HashMap, time::Duration};

use schemas::record::header;
use service_kit::{clock::unix_time, count::signed, spans::Spans};

use crate::domain::{applied::Applied, batch::Batch, record::RawRecord};

/// Writes a span for each record of `batch` that belongs to a sampled trace; applying it took so long.
pub fn applied(spans: &Spans, batch: &Batch, applied: &Applied, took: Duration) {
    if !spans.is_on() {
        return;
    }
    let until = unix_time();
    let refused: HashMap<_, _> = applied
        .dead_letters
        .iter()
        .map(|(partition, offset, reason)| ((*partition, *offset), *reason))
        .collect();
    let records = signed(batch.len());
    for record in batch.records() {
        let raw = &record.raw;
        let span = text(raw, header::TRACE_PARENT)
            .and_then(|parent| spans.consume(parent, "apply", until.saturating_sub(took)));
        let Some(mut span) = span else {
            continue;
        };
        span.set("messaging.destination.partition.id", raw.partition.to_string());
        span.set("messaging.kafka.offset", raw.offset.0);
        span.set("messaging.batch.message_count", records);
        if let Some(request_id) = text(raw, header::REQUEST_ID) {
            span.set("telex.request_id", request_id.to_owned());
        }
        if let Some(reason) = refused.get(&(raw.partition, raw.offset)) {
            span.set("telex.dead_letter", *reason);
        }
        span.end_at(until);
    }
}

fn text<'a>(record: &'a RawRecord, name: &str) -> Option<&'a str> {
    let value = record.headers().find(|(header, _)| *header == name.as_bytes())?.1?;
    std::str::from_utf8(value).ok()
}
