//! Sessions that wait, within a COPY, for rows from a process that has frozen. No timeout of the server ends that wait:
//! `statement_timeout` does not reach a session that reads from its client, and `idle_in_transaction_session_timeout`
//! is for one between statements. While the frozen process lasts its locks would, and a new owner of its partitions
//! would wait for them (R18). So whoever looks at the rows ends such a session: what it has written so far goes, as after
//! any of the server's own timeouts.

use sqlx::PgConnection;

use super::{classify::StoreError, session::within_deadline};

/// Ends sessions of processors that have waited longer than a living one may (`within_deadline`), and says how many.
/// They are of our own role, so no right is needed.
pub async fn end(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let statement = sqlx::query_scalar!(
        r#"select count(*) filter (where pg_terminate_backend(pid)) as "ended!"
           from pg_stat_activity
           where datname = current_database() and usename = current_user
             and application_name = 'telex-processor'
             and state = 'active' and wait_event = 'ClientRead'
             and query_start < clock_timestamp() - interval '10 seconds'"#
    );
    within_deadline(statement.fetch_one(connection)).await
}
