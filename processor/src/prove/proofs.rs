//! What was proved when, and how far: table `proofs` keeps each verdict, `proved_partitions` the place from
//! which `prove --since-last` goes on. Only a clean proof moves that place; a full proof that finds a
//! difference removes it, since what was proved before has changed.

use schemas::{Partition, Timestamp};
use sqlx::PgConnection;

use super::{
    report::{Report, Scope, Verdict},
    scope::Proved,
};
use crate::{
    fold::Counters,
    position::{NextOffset, RecordDigest, TopicRef},
    store::{StoreError, session::within_deadline},
};

/// The last proof.
#[derive(Debug)]
pub struct LastProof {
    /// When.
    pub at: Timestamp,
    /// How far.
    pub partitions: Vec<Proved>,
}

/// The last proof of a topic that was clean; `None` if there is none to go on from.
///
/// # Errors
/// [`StoreError`].
pub async fn last(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
) -> Result<Option<LastProof>, StoreError> {
    let rows = within_deadline(
        sqlx::query!(
            "select proofs.proved_at, partition, proved_to, last_digest,
                    messages, duplicates, commands, dead_letters
             from proved_partitions join proofs using (proof_id)
             where proved_partitions.topic_ref = $1
             order by partition",
            topic_ref.0,
        )
        .fetch_all(connection),
    )
    .await?;
    let Some(at) =
        rows.iter().filter_map(|row| Timestamp::from_micros(row.proved_at.timestamp_micros())).max()
    else {
        return Ok(None);
    };
    let partitions = rows.into_iter().map(|row| Proved {
        partition: Partition(row.partition),
        proved_to: NextOffset(row.proved_to),
        // One of another length is nobody's: it must not pass for "nothing applied yet".
        last_digest: row.last_digest.map(|digest| RecordDigest(digest.try_into().unwrap_or([0; 32]))),
        counters: Counters {
            messages: row.messages,
            duplicates: row.duplicates,
            commands: row.commands,
            dead_letters: row.dead_letters,
        },
    });
    Ok(Some(LastProof { at, partitions: partitions.collect() }))
}

/// Keeps a verdict, and how far it reaches, all in one statement. `snapshot_at`: the moment that was looked at.
///
/// # Errors
/// [`StoreError`].
pub async fn record(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    report: &Report,
    (snapshot_at, proved): (Timestamp, &[Proved]),
) -> Result<(), StoreError> {
    // A proof that is not clean moves nothing.
    let proved = if report.verdict == Verdict::Clean { proved } else { &[] };
    let forgets = report.verdict == Verdict::Differs && report.scope == Scope::Full;
    let column = |value: fn(&Proved) -> i64| proved.iter().map(value).collect::<Vec<i64>>();
    let partitions: Vec<i32> = proved.iter().map(|row| row.partition.0).collect();
    let digests: Vec<Option<Vec<u8>>> =
        proved.iter().map(|row| row.last_digest.map(|digest| digest.0.to_vec())).collect();
    within_deadline(
        sqlx::query!(
            "with proof as (
                 insert into proofs (topic_ref, proved_at, scope, verdict, records, findings, elapsed_seconds)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 returning proof_id
             ), forgotten as (
                 delete from proved_partitions where topic_ref = $1 and $8
             )
             insert into proved_partitions (topic_ref, partition, proof_id, proved_to, last_digest,
                                            messages, duplicates, commands, dead_letters)
             select $1, partition, proof_id, proved_to, last_digest, messages, duplicates, commands, dead_letters
             from proof, unnest($9::integer[], $10::bigint[], $11::bytea[],
                                $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[])
                  as proved (partition, proved_to, last_digest, messages, duplicates, commands, dead_letters)
             on conflict (topic_ref, partition) do update
             set proof_id = excluded.proof_id, proved_to = excluded.proved_to, last_digest = excluded.last_digest,
                 messages = excluded.messages, duplicates = excluded.duplicates, commands = excluded.commands, dead_letters = excluded.dead_letters",
            topic_ref.0,
            snapshot_at.to_utc(),
            report.scope.as_str(),
            report.verdict.as_str(),
            report.records,
            i64::try_from(report.findings_total).unwrap_or(i64::MAX),
            report.elapsed_seconds,
            forgets,
            &partitions,
            &column(|row| row.proved_to.0),
            &digests as &[Option<Vec<u8>>],
            &column(|row| row.counters.messages),
            &column(|row| row.counters.duplicates),
            &column(|row| row.counters.commands),
            &column(|row| row.counters.dead_letters),
        )
        .execute(connection),
    )
    .await?;
    Ok(())
}
