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

impl Intervention {
    /// Nothing is passed over and nothing comes again: something else was done there.
    const fn moves_nothing(&self) -> bool {
        self.from_offset == self.to_offset && self.skipped == 0 && self.repeated == 0
    }

    /// Whether both are of one command that did the same to several partitions: a moment of the database, to the
    /// microsecond, is one transaction.
    fn is_of_one_command(&self, other: &Self) -> bool {
        let is_same = self.at == other.at && self.topic == other.topic && self.reason == other.reason;
        is_same && self.moves_nothing() && other.moves_nothing()
    }
}

/// Lists what people have done to partitions.
pub async fn history(database: &Database, limit: i64, json: bool) -> anyhow::Result<()> {
    let mut connection = database.reader().await?;
    let interventions = sqlx::query_as!(
        Intervention,
        r#"select to_char(interventions.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "at!", topics.name as topic,
                  partition, reason, from_offset, to_offset, skipped, skipped_in_log, repeated,
                  operator, database_user, note
           from interventions join topics using (topic_ref)
           where interventions.at >= (
               select min(at) from (select distinct at from interventions order by at desc limit $1) as latest
           )
           order by intervention_id desc"#,
        limit
    );
    let interventions = interventions.fetch_all(&mut connection).await?;
    if json {
        return say_json(&interventions);
    }
    for command in interventions.chunk_by(Intervention::is_of_one_command) {
        if let Some(line) = line(command) {
            say(&line)?;
        }
    }
    Ok(say(&format!("{} shown", interventions.len()))?)
}

/// A line for what one command did to one partition, or to several alike; the newest row comes first.
fn line(command: &[Intervention]) -> Option<String> {
    let (one, first) = (command.first()?, command.last()?);
    let what = match command.len() {
        1 => format!("partition {}", one.partition),
        count => format!("{count} partitions, {} to {}", first.partition, one.partition),
    };
    let moved = match command.len() {
        1 if one.moves_nothing() => format!(": at {}", one.to_offset),
        1 => format!(
            ": from {} to {}, {} skipped ({} of them in the log), {} repeated",
            one.from_offset, one.to_offset, one.skipped, one.skipped_in_log, one.repeated
        ),
        _ => String::new(),
    };
    Some(format!(
        "{} {} {what}: {}{moved}; by {} ({}) {}",
        one.at,
        one.topic,
        one.reason,
        printable(&one.operator),
        one.database_user,
        printable(&one.note)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: &str, partition: i32, reason: &str, (from_offset, to_offset): (i64, i64)) -> Intervention {
        Intervention {
            at: at.to_owned(),
            topic: "telex.messages".to_owned(),
            partition,
            reason: reason.to_owned(),
            from_offset,
            to_offset,
            skipped: (to_offset - from_offset).max(0),
            skipped_in_log: 0,
            repeated: (from_offset - to_offset).max(0),
            operator: "ada".to_owned(),
            database_user: "telex_migrator".to_owned(),
            note: "as agreed".to_owned(),
        }
    }

    #[test]
    fn what_one_command_did_to_many_partitions_is_one_line_and_a_move_is_its_own() {
        let rows = [
            row("t3", 2, "dialog_rules_set", (7, 7)),
            row("t3", 1, "dialog_rules_set", (5, 5)),
            row("t3", 0, "dialog_rules_set", (9, 9)),
            row("t2", 1, "dead_letter_replayed", (4, 4)),
            row("t1", 1, "dead_letter_replayed", (3, 3)),
            row("t0", 1, "below_log_start", (1, 3)),
            row("t0", 0, "below_log_start", (1, 3)),
        ];
        let lines: Vec<String> = rows.chunk_by(Intervention::is_of_one_command).filter_map(line).collect();
        let by = "; by ada (telex_migrator) as agreed";
        let moved = "below_log_start: from 1 to 3, 2 skipped (0 of them in the log), 0 repeated";
        let expected = [
            format!("t3 telex.messages 3 partitions, 0 to 2: dialog_rules_set{by}"),
            format!("t2 telex.messages partition 1: dead_letter_replayed: at 4{by}"),
            format!("t1 telex.messages partition 1: dead_letter_replayed: at 3{by}"),
            format!("t0 telex.messages partition 1: {moved}{by}"),
            format!("t0 telex.messages partition 0: {moved}{by}"),
        ];
        assert_eq!(lines, expected);
    }
}
