//! A topic that was deleted and created again, accepted by a person: registered beside the former one,
//! whose halts end. Rows of both stay apart by their `topic_ref`.

use schemas::Partition;
use sqlx::{Connection as _, PgConnection};

use super::{
    classify::StoreError,
    halts::{Decision, InterventionError},
    registry::{self, Topic},
    session::within_deadline,
};
use crate::{domain::position::Offset, kafka::topic::TopicIdentity};

/// Registers the topic with its partitions, each of which follows the dialog rules that `former` followed last, ends
/// every halt of `former`, and writes down who did it, in one transaction.
#[expect(clippy::disallowed_methods, reason = "not a batch: a person accepts a topic")]
pub async fn accept_topic(
    connection: &mut PgConnection,
    identity: &TopicIdentity,
    log_starts: &[(Partition, Offset)],
    former: Topic,
    decision: &Decision,
) -> Result<(), InterventionError> {
    let mut transaction = connection.begin().await.map_err(StoreError::from)?;
    registry::register(&mut transaction, identity, log_starts).await?;
    let statement = sqlx::query!(
        "insert into interventions (topic_ref, partition, halt_id, reason, from_offset, to_offset,
                                    skipped, repeated, skipped_in_log, note, operator)
         select born.topic_ref, born.partition, halts.halt_id, $3, born.birth_offset, born.birth_offset, 0, 0, 0, $4, $5
         from topics
         join partition_progress as born using (topic_ref)
         left join halts on halts.topic_ref = $2 and halts.partition = born.partition and halts.resumed_at is null
         where topics.topic_id = $1 and topics.cluster_id = $6",
        identity.topic_id,
        former.topic_ref.0,
        decision.reason,
        decision.note,
        decision.operator,
        identity.cluster_id,
    );
    within_deadline(statement.execute(&mut *transaction)).await?;
    // Its first version, whatever number it had. A version without rules ends them, as none does.
    let statement = sqlx::query!(
        "with latest as (select max(version) as version from dialog_rule_starts where topic_ref = $1),
         born as (
             select topic_ref, partition, birth_offset from topics join partition_progress using (topic_ref)
             where topic_id = $2 and cluster_id = $3 and exists (select from latest where version is not null)
         ),
         rules as (
             insert into dialog_rules (topic_ref, version, external_client_id_prefix, idle_gap_seconds)
             select (select topic_ref from born limit 1), 1, external_client_id_prefix, idle_gap_seconds
             from dialog_rules join latest using (version)
             where topic_ref = $1
         )
         insert into dialog_rule_starts (topic_ref, partition, version, from_offset)
         select topic_ref, partition, 1, birth_offset from born",
        former.topic_ref.0,
        identity.topic_id,
        identity.cluster_id,
    );
    within_deadline(statement.execute(&mut *transaction)).await?;
    let ended = sqlx::query!(
        "update halts set resumed_at = now() where topic_ref = $1 and resumed_at is null",
        former.topic_ref.0
    );
    let ended = within_deadline(ended.execute(&mut *transaction)).await?;
    tracing::info!(halts = ended.rows_affected(), "former topic's halts end");
    transaction.commit().await.map_err(|_| InterventionError::Unknown)
}
