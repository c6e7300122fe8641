//! `processor halts list` and `processor halts history`.

use serde::Serialize;

use super::super::output::{printable, say, say_json};
use crate::{domain::halt::StopReason, store::Database};

#[derive(Debug, Serialize)]
struct Halt {
    topic: String,
    topic_id: String,
    partition: i32,
    reason: String,
    numbers: serde_json::Value,
    detail: String,
    owner: String,
    halted_at: String,
    resumed_at: Option<String>,
    /// Where the partition stands; absent for one that is not in the registry.
    next_offset: Option<i64>,
}

/// Lists halts.
pub async fn halts(database: &Database, all: bool, json: bool) -> anyhow::Result<()> {
    let mut connection = database.reader().await?;
    let rows = sqlx::query!(
        r#"select topics.name as topic, topics.topic_id::text as "topic_id!", halts.partition, reason,
                  numbers::text as "numbers!", detail, halts.owner,
                  to_char(halted_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as "halted_at!",
                  to_char(resumed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as resumed_at,
                  row.next_offset as "next_offset?"
           from halts
           join topics using (topic_ref)
           left join partition_progress as row
                  on row.topic_ref = halts.topic_ref and row.partition = halts.partition
           where $1 or resumed_at is null
           order by resumed_at desc nulls first, halts.topic_ref, halts.partition
           limit 10000"#,
        all
    );
    let rows = rows.fetch_all(&mut connection).await?;
    let halts: Vec<Halt> = rows
        .into_iter()
        .map(|row| Halt {
            topic: row.topic,
            topic_id: row.topic_id,
            partition: row.partition,
            reason: row.reason,
            numbers: serde_json::from_str(&row.numbers).unwrap_or_default(),
            detail: row.detail,
            owner: row.owner,
            halted_at: row.halted_at,
            resumed_at: row.resumed_at,
            next_offset: row.next_offset,
        })
        .collect();
    if json {
        return say_json(&halts);
    }
    halts.iter().try_for_each(show)?;
    let standing = halts.iter().filter(|halt| halt.resumed_at.is_none()).count();
    Ok(say(&format!("{standing} halted"))?)
}

fn show(halt: &Halt) -> std::io::Result<()> {
    let Halt { partition, topic, reason, detail, owner, halted_at, .. } = halt;
    say(&format!("partition {partition} of {topic}: {reason}\n    {detail}"))?;
    match &halt.resumed_at {
        Some(resumed_at) => say(&format!("    halted {halted_at} by {owner}, resumed {resumed_at}")),
        None => {
            say(&format!("    halted {halted_at} by {owner}"))?;
            next_step(halt).map_or(Ok(()), |step| say(&format!("    look: {step}")))
        }
    }
}

/// The command that shows what the obvious way on would do; none where there is no obvious one.
fn next_step(halt: &Halt) -> Option<String> {
    let reason = StopReason::from_stored(&halt.reason, halt.numbers.clone())?;
    let code = reason.as_str();
    let resume = |from: i64, to: i64| {
        let partition = halt.partition;
        format!(
            "processor halts resume --partition {partition} --from {from} --to {to} --reason-code {code} --dry-run"
        )
    };
    let here = halt.next_offset?;
    Some(match reason {
        StopReason::TopicRecreated { found, .. } | StopReason::OtherCluster { topic_id: found, .. } => {
            format!("processor halts resume --topic-id {found} --reason-code {code} --dry-run")
        }
        // No key belongs to the partition before the switch; after it, its clients are awaited elsewhere.
        StopReason::AwaitsSwitch { partition_count, .. } if halt.partition >= partition_count => {
            "processor partitions show".to_owned()
        }
        StopReason::BelowLogStart { log_start, .. } => resume(here, log_start.0),
        StopReason::BeyondLogEnd { log_end, .. } => resume(here, log_end.0),
        StopReason::OffsetGap { found, .. } => resume(here, found.0),
        StopReason::AwaitsSwitch { .. }
        | StopReason::DigestMismatch { .. }
        | StopReason::NotConserved { .. }
        | StopReason::DeadLetterLimit { .. }
        | StopReason::ForeignWrite { .. }
        | StopReason::SchemaMismatch(_)
        | StopReason::UnreadableBatch { .. } => resume(here, here),
        StopReason::UnregisteredPartition => return None,
    })
}

#[derive(Debug, Serialize)]
struct Intervention {
    at: String,
    topic: String,
    partition: i32,
    reason: String,
    from_offset: i64,
    to_offset: i64,
    skipped: i64,
    skipped_in_log: i64,
    repeated: i64,
    operator: String,
    database_user: String,
    note: String,
}

/// Lists what people have moved.
pub async fn history(database: &Database, limit: i64, json: bool) -> anyhow::Result<()> {
    let mut connection = database.reader().await?;
    let interventions = sqlx::query_as!(
        Intervention,
        r#"select to_char(interventions.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as "at!", topics.name as topic,
                  partition, reason, from_offset, to_offset, skipped, skipped_in_log, repeated,
                  operator, database_user, note
           from interventions join topics using (topic_ref)
           order by intervention_id desc
           limit $1"#,
        limit
    );
    let interventions = interventions.fetch_all(&mut connection).await?;
    if json {
        return say_json(&interventions);
    }
    for one in &interventions {
        let (operator, note) = (printable(&one.operator), printable(&one.note));
        say(&format!(
            "{} {} partition {}: {}: from {} to {}, {} skipped ({} of them in the log), {} repeated; by {operator} ({}) {note}",
            one.at,
            one.topic,
            one.partition,
            one.reason,
            one.from_offset,
            one.to_offset,
            one.skipped,
            one.skipped_in_log,
            one.repeated,
            one.database_user,
        ))?;
    }
    Ok(say(&format!("{} shown", interventions.len()))?)
}
