//! What was proved last, for those who watch: table `proofs`, which `prove` alone writes.

use sqlx::PgConnection;

use super::{classify::StoreError, session::within_deadline};
use crate::domain::position::TopicRef;

/// What the last proofs have found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastProofs {
    /// The codes of the newest one's scope and verdict.
    pub scope: String,
    pub verdict: String,
    /// How many differences it has found.
    pub findings: i64,
    /// When the last clean one of each scope looked at the tables, in seconds since 1970.
    pub full_at: Option<i64>,
    pub since_last_at: Option<i64>,
}

/// The last proofs of a topic; `None` before the first. A baseline is none. Index: `proofs_pkey`, backwards; a year of
/// proofs by the hour is looked at, and no more.
pub async fn last(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
) -> Result<Option<LastProofs>, StoreError> {
    let last = sqlx::query_as!(
        LastProofs,
        r#"with recent as materialized (
               select proof_id, proved_at, scope, verdict, findings from proofs
               where topic_ref = $1 and scope <> 'baseline'
               order by proof_id desc
               limit 10000
           ), newest as (
               select scope, verdict, findings from recent order by proof_id desc limit 1
           )
           select scope as "scope!", verdict as "verdict!", findings as "findings!",
                  (select extract(epoch from max(proved_at))::bigint from recent
                   where scope = 'full' and verdict = 'clean') as "full_at?",
                  (select extract(epoch from max(proved_at))::bigint from recent
                   where scope = 'since_last' and verdict = 'clean') as "since_last_at?"
           from newest"#,
        topic_ref.0,
    );
    within_deadline(last.fetch_optional(connection)).await
}
