//! Which columns of a row differ from its record: looked up when the digests have already told that some
//! do.

use schemas::{Envelope, Message, Partition, Timestamp};
use sqlx::PgConnection;

use super::{
    entries::{Kind, Place, PlacedRow},
    report::{About, Findings},
};
use crate::{
    domain::{position::Offset, record::RawRecord},
    store::statements::headers_as_json,
};

/// What a record says of its row in `messages`.
pub struct Recorded<'a> {
    pub topic_ref: i16,
    pub appended_at: Timestamp,
    pub message: &'a Message,
    pub envelope: &'a Envelope,
}

/// The columns of a message that differ, without `dialog_id`, which the fold tells.
pub async fn of_message(
    connection: &mut PgConnection,
    place: Place,
    row: &PlacedRow,
    recorded: Recorded<'_>,
) -> anyhow::Result<Vec<&'static str>> {
    let Recorded { topic_ref, appended_at, message, envelope } = recorded;
    let row = sqlx::query!(
        "select appended_at, received_at, sent_at, topic_ref, client_id, body_hash, external_message_id, request_id, text
         from messages where ctid = ($1::text)::tid and partition = $2 and record_offset = $3",
        tid(row.tid),
        place.0.0,
        place.1.0,
    );
    let row = row.fetch_one(connection).await?;
    let request_id = envelope.request_id.as_ref().map(schemas::RequestId::as_str);
    Ok(failed([
        ("appended_at", row.appended_at == appended_at.to_utc()),
        ("received_at", row.received_at == envelope.received_at.to_utc()),
        ("sent_at", row.sent_at == message.sent_at().map(Timestamp::to_utc)),
        ("topic_ref", row.topic_ref == topic_ref),
        ("client_id", row.client_id == message.client_id().as_uuid()),
        ("body_hash", row.body_hash == message.body().hash.0),
        ("external_message_id", row.external_message_id == message.external_message_id().as_str()),
        ("request_id", row.request_id.as_deref() == request_id),
        ("text", row.text == message.text().as_str()),
    ]))
}

/// The columns of a dead letter that differ.
pub async fn of_dead_letter(
    connection: &mut PgConnection,
    row: &PlacedRow,
    topic_ref: i16,
    raw: &RawRecord,
    reason: &str,
) -> anyhow::Result<Vec<&'static str>> {
    let row = sqlx::query!(
        "select reason, topic_ref, key, value, headers, appended_at
         from dead_letters where ctid = ($1::text)::tid and partition = $2 and record_offset = $3",
        tid(row.tid),
        raw.partition.0,
        raw.offset.0,
    );
    let row = row.fetch_one(connection).await?;
    let headers: Option<serde_json::Value> = serde_json::from_str(&headers_as_json(raw)).ok();
    Ok(failed([
        ("reason", row.reason == reason),
        ("topic_ref", row.topic_ref == topic_ref),
        ("key", row.key.as_deref() == raw.key()),
        ("value", row.value.as_deref() == raw.value()),
        ("headers", headers.as_ref() == Some(&row.headers)),
        ("appended_at", row.appended_at == raw.appended_at.to_utc()),
    ]))
}

/// Columns as a finding tells them. `None`: they were not looked up, there are too many such rows.
pub fn named(columns: Option<&Vec<&'static str>>, more: Option<&'static str>) -> String {
    let unnamed = vec!["columns that are not named: too many rows differ"];
    let columns: Vec<&str> = columns.unwrap_or(&unnamed).iter().copied().chain(more).collect();
    columns.join(", ")
}

/// The names of the columns whose comparison failed.
pub fn failed<const N: usize>(columns: [(&'static str, bool); N]) -> Vec<&'static str> {
    columns.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

/// `(page,line)`, as PostgreSQL spells it.
fn tid([p0, p1, p2, p3, l0, l1]: [u8; 6]) -> String {
    format!("({},{})", u32::from_be_bytes([p0, p1, p2, p3]), u16::from_be_bytes([l0, l1]))
}

/// Tells of a row that should not be.
pub fn unexpected(findings: &mut Findings, kind: Kind, partition: Partition, offset: Offset, why: &str) {
    let kind = match kind {
        Kind::Message => "message_unexpected",
        Kind::DeadLetter | Kind::Rejected => "dead_letter_unexpected",
    };
    findings.push(About::Record, (partition.0, Some(offset.0)), kind, why);
}
