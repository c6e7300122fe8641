//! `processor dead-letters list` and `show`.

use serde::Serialize;

use super::super::output::{printable, say, say_json};
use crate::{
    commands::dead_letters::{export, only_letter},
    store::{Database, letters::Selection},
};

#[derive(Debug, Serialize)]
struct Line {
    topic: String,
    partition: i32,
    offset: i64,
    appended_at: String,
    reason: String,
    detail: String,
    key_bytes: Option<i32>,
    value_bytes: Option<i32>,
    replayed_at: Option<String>,
}

/// Lists letters, the newest first, without their content.
pub async fn list(database: &Database, selection: &Selection, limit: i64, json: bool) -> anyhow::Result<()> {
    let mut connection = database.reader().await?;
    let key = selection.client_id.map(|client_id| client_id.key().into_bytes());
    let letters = sqlx::query_as!(
        Line,
        r#"select topics.name as topic, partition, record_offset as "offset",
                  to_char(appended_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "appended_at!",
                  reason, detail, octet_length(key) as key_bytes, octet_length(value) as value_bytes,
                  to_char(replayed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as replayed_at
           from dead_letters join topics using (topic_ref)
           where ($1::text is null or reason = $1)
             and ($2::bytea is null or key = $2)
             and ($3::integer is null or partition = $3)
             and (not $4 or replayed_at is null)
           order by dead_letters.appended_at desc, partition, record_offset desc
           limit $5"#,
        selection.reason,
        key,
        selection.partition.map(|partition| partition.0),
        selection.not_replayed,
        limit
    );
    let letters = letters.fetch_all(&mut connection).await?;
    if json {
        return say_json(&letters);
    }
    for letter in &letters {
        let replayed = letter.replayed_at.as_ref().map(|at| format!(" (replayed {at})")).unwrap_or_default();
        say(&format!(
            "{} {} partition {} offset {}: {}: {}{replayed}",
            letter.appended_at, letter.topic, letter.partition, letter.offset, letter.reason, letter.detail
        ))?;
    }
    Ok(say(&format!("{} shown", letters.len()))?)
}

/// Shows one letter.
pub async fn show(database: &Database, selection: &Selection, content: bool) -> anyhow::Result<()> {
    let mut connection = database.reader().await?;
    let letter = only_letter(&mut connection, selection).await?;
    say(&format!(
        "partition {} offset {} of {} ({})",
        letter.partition, letter.offset, letter.topic, letter.topic_id
    ))?;
    say(&format!("    appended {}\n    {}: {}", letter.appended_at, letter.reason, letter.detail))?;
    if let Some(replayed) = &letter.replayed {
        say(&format!(
            "    replayed {} to partition {} offset {}, attempt {}",
            replayed.at, replayed.partition, replayed.offset, replayed.attempt
        ))?;
    }
    let bytes = |part: &Option<Vec<u8>>| {
        part.as_ref().map_or_else(|| "absent".to_owned(), |part| format!("{} bytes", part.len()))
    };
    if !content {
        let headers = letter.headers.as_array().map_or(0, Vec::len);
        return Ok(say(&format!(
            "    key {}, value {}, {headers} headers: --content shows them",
            bytes(&letter.key),
            bytes(&letter.value)
        ))?);
    }
    let exported = export::as_json(&letter);
    for part in ["key", "key_hex", "value", "value_hex"] {
        if let Some(text) = exported.get(part).and_then(|part| part.as_str()) {
            say(&format!("    {part}: {}", printable(text)))?;
        }
    }
    for header in letter.headers.as_array().into_iter().flatten() {
        say(&format!("    header: {}", printable(&header.to_string())))?;
    }
    Ok(())
}
