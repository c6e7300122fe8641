//! What was proved when, and how far: table `proofs` keeps each verdict, `proved_partitions` the place from
//! which `prove --since-last` goes on. Only a clean proof moves that place; a full proof that finds a
//! difference removes it, since what was proved before has changed. A baseline sets it by a person's decision.

use schemas::{Partition, Timestamp};
use service_kit::count::signed;
use sqlx::PgConnection;

use super::{
    report::{Report, Scope, Since, Verdict},
    scope::Proved,
};
use crate::{
    domain::{
        counters::Counters,
        position::{LastRecord, NextOffset, Offset, RecordDigest, TopicRef},
    },
    store::{StoreError, session::within_deadline},
};

#[derive(Debug)]
pub struct LastProof {
    /// When, and whether it was one.
    pub since: Since,
    pub partitions: Vec<Proved>,
}

/// The last proof of a topic that was clean; `None` if there is none to go on from.
pub async fn last(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
) -> Result<Option<LastProof>, StoreError> {
    let rows = sqlx::query!(
        "select proofs.proved_at, proofs.scope, partition, proved_to, last_digest, last_offset,
                messages, duplicates, commands, dead_letters, control
         from proved_partitions join proofs using (proof_id)
         where proved_partitions.topic_ref = $1
         order by partition",
        topic_ref.0,
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let since = rows.iter().filter_map(|row| {
        let at = Timestamp::from_micros(row.proved_at.timestamp_micros())?;
        Some(Since { at, is_baseline: row.scope == BASELINE })
    });
    let Some(since) = since.max_by_key(|since| since.at) else {
        return Ok(None);
    };
    let partitions = rows.into_iter().map(|row| Proved {
        partition: Partition(row.partition),
        proved_to: NextOffset(row.proved_to),
        last_digest: row.last_digest.map(|digest| LastRecord {
            offset: Offset(row.last_offset.unwrap_or(row.proved_to - 1)),
            // One of another length is nobody's: it must not pass for "nothing applied yet".
            digest: RecordDigest(digest.try_into().unwrap_or([0; 32])),
        }),
        counters: Counters {
            messages: row.messages,
            duplicates: row.duplicates,
            commands: row.commands,
            dead_letters: row.dead_letters,
            control: row.control,
        },
    });
    Ok(Some(LastProof { since, partitions: partitions.collect() }))
}

/// What table `proofs` keeps.
#[derive(Debug)]
pub struct Kept<'a> {
    /// The moment that was looked at.
    pub at: Timestamp,
    /// The code of its scope.
    pub scope: &'static str,
    /// The code of its verdict.
    pub verdict: &'static str,
    pub records: i64,
    pub findings: u64,
    pub elapsed_seconds: f64,
    /// Who decided it, and why; of a baseline only.
    pub decision: Option<(&'a str, &'a str)>,
    /// Whether what was proved before is not proved any more.
    pub forgets: bool,
}

/// Scope and verdict of a baseline.
pub const BASELINE: &str = "baseline";

impl Kept<'_> {
    /// Of a proof that looked at the moment `at`.
    pub fn of(report: &Report, at: Timestamp) -> Self {
        Self {
            at,
            scope: report.scope.as_str(),
            verdict: report.verdict.as_str(),
            records: report.compared.records,
            findings: report.findings_total,
            elapsed_seconds: report.elapsed_seconds,
            decision: None,
            forgets: report.verdict == Verdict::Differs && report.scope == Scope::Full,
        }
    }
}

/// Keeps a verdict, and how far it reaches, all in one statement.
pub async fn record(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    kept: &Kept<'_>,
    proved: &[Proved],
) -> Result<(), StoreError> {
    let column = |value: fn(&Proved) -> i64| proved.iter().map(value).collect::<Vec<i64>>();
    let partitions: Vec<i32> = proved.iter().map(|row| row.partition.0).collect();
    let digests: Vec<Option<Vec<u8>>> =
        proved.iter().map(|row| row.last_digest.map(|last| last.digest.0.to_vec())).collect();
    let last_offsets: Vec<Option<i64>> =
        proved.iter().map(|row| row.last_digest.map(|last| last.offset.0)).collect();
    let statement = sqlx::query!(
        "with proof as (
             insert into proofs (topic_ref, proved_at, scope, verdict, records, findings, elapsed_seconds,
                                 operator, note)
             values ($1, $2, $3, $4, $5, $6, $7, $18, $19)
             returning proof_id
         ), forgotten as (
             delete from proved_partitions where topic_ref = $1 and $8
         )
         insert into proved_partitions (topic_ref, partition, proof_id, proved_to, last_digest, last_offset,
                                        messages, duplicates, commands, dead_letters, control)
         select $1, partition, proof_id, proved_to, last_digest, nullif(last_offset, proved_to - 1),
                messages, duplicates, commands, dead_letters, control
         from proof, unnest($9::integer[], $10::bigint[], $11::bytea[], $12::bigint[],
                            $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[])
              as proved (partition, proved_to, last_digest, last_offset,
                         messages, duplicates, commands, dead_letters, control)
         on conflict (topic_ref, partition) do update
         set proof_id = excluded.proof_id, proved_to = excluded.proved_to,
             last_digest = excluded.last_digest, last_offset = excluded.last_offset,
             messages = excluded.messages, duplicates = excluded.duplicates, commands = excluded.commands,
             dead_letters = excluded.dead_letters, control = excluded.control",
        topic_ref.0,
        kept.at.to_utc(),
        kept.scope,
        kept.verdict,
        kept.records,
        signed(kept.findings),
        kept.elapsed_seconds,
        kept.forgets,
        &partitions,
        &column(|row| row.proved_to.0),
        &digests as &[Option<Vec<u8>>],
        &last_offsets as &[Option<i64>],
        &column(|row| row.counters.messages),
        &column(|row| row.counters.duplicates),
        &column(|row| row.counters.commands),
        &column(|row| row.counters.dead_letters),
        &column(|row| row.counters.control),
        kept.decision.map(|(operator, _)| operator),
        kept.decision.map(|(_, note)| note),
    );
    within_deadline(statement.execute(connection)).await?;
    Ok(())
}
