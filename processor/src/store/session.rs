//! Connections: one for each writer, never from a pool (R14), with deadlines on both sides of the
//! wire. sqlx sets neither TCP keepalive nor user timeout, so every wait on the server is bounded
//! here, except for BEGIN and COMMIT, which are never cancelled.

use std::{future::Future, path::PathBuf, str::FromStr as _, time::Duration};

use service_kit::Secret;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::Instant;

use super::classify::StoreError;

/// How long a connection may take to be made.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// A network may need a moment until it lets a new pod through (kube-router: two seconds); a wrong address should not cost
/// more than this.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
const REACHED_AGAIN: Duration = Duration::from_millis(200);

/// How long a client waits for a statement: more than the server's own `statement_timeout`, which
/// answers first unless the server or the network is frozen.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(8);

/// Where the tables are.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseConfig {
    /// PostgreSQL, as `postgres://user:password@host:port/database`.
    #[arg(
        long,
        env = "PROCESSOR_DATABASE_URL",
        hide_env_values = true,
        default_value = "postgres://telex@127.0.0.1:5432/telex",
        hide_default_value = true,
        global = true
    )]
    pub database_url: Secret,
    /// File that holds this URL, so that the password is in no environment and no argument. Takes precedence over `--database-url`.
    #[arg(long, env = "PROCESSOR_DATABASE_URL_FILE", value_parser = Secret::from_file, global = true)]
    pub database_url_file: Option<Secret>,
}

/// When the COMMIT of a batch is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Commit {
    /// When it is where the server's `synchronous_commit` wants it: on its disk, unless somebody has set it otherwise.
    Durable,
    /// Before it is on the disk. A server that crashes loses the last moments, and the topic brings them back: the rows
    /// go back together with the offsets.
    Replayable,
}

/// Makes connections.
#[derive(Debug, Clone)]
pub struct Database {
    options: PgConnectOptions,
}

impl Database {
    /// Reads the address.
    ///
    /// # Errors
    /// The address has no meaning; the text holds no part of it.
    pub fn new(config: &DatabaseConfig) -> Result<Self, InvalidUrl> {
        let url = config.database_url_file.as_ref().unwrap_or(&config.database_url);
        let options = PgConnectOptions::from_str(url.expose()).map_err(|_| InvalidUrl)?;
        Ok(Self { options: options.application_name("telex-processor").disable_statement_logging() })
    }

    /// Waits for a moment while nobody takes a connection. Whoever asks afterwards says what is wrong.
    pub async fn reach(&self) {
        let give_up = Instant::now() + REACHED_WITHIN;
        while let Err(StoreError::Retry(sqlx::Error::Io(_))) = connect(&self.options).await
            && Instant::now() < give_up
        {
            tokio::time::sleep(REACHED_AGAIN).await;
        }
    }

    /// The file with the authorities that the server's certificate is checked by, where the driver's variable names it.
    #[expect(clippy::disallowed_methods, reason = "the driver's own, which it reads by itself")]
    pub fn authority_file(&self) -> Option<PathBuf> {
        std::env::var("PGSSLROOTCERT").ok().map(PathBuf::from)
    }

    /// The same for the transactions of batches, and for nothing else: what takes a partition and what a person decides
    /// is durable, and with it every batch that was committed before.
    pub fn for_batches(&self, commit: Commit) -> Self {
        let options = self.options.clone();
        let options = match commit {
            Commit::Durable => options,
            Commit::Replayable => options.options([("synchronous_commit", "off")]),
        };
        Self { options }
    }

    /// A connection to a server that can be written to, for a writer: a frozen writer's locks are freed
    /// by the server after ten seconds (R18), or by [`super::stuck`] if it waits for rows. Whatever the database or the role has set, each deadline is the one
    /// that is written here; the one of the transaction is set afterwards, since servers before 17 do not know it.
    ///
    /// # Errors
    /// No server, or one in recovery: try again. A pooler that loses the deadlines: a person has to see to it.
    pub async fn writer(&self) -> Result<PgConnection, StoreError> {
        let options = self.options.clone().options([
            ("statement_timeout", "5s"),
            ("lock_timeout", "2s"),
            ("idle_in_transaction_session_timeout", "10s"),
            // A lane is idle while nobody writes: the server must not end its session meanwhile.
            ("idle_session_timeout", "0"),
            // Nothing rests on more, and what would be refused under it is only tried again.
            ("default_transaction_isolation", "read committed"),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
        ]);
        let mut connection = connect(&options).await?;
        let server = sqlx::query!(
            r#"select pg_is_in_recovery() as "in_recovery!",
                      current_setting('statement_timeout') = '5s'
                          and current_setting('lock_timeout') = '2s'
                          and current_setting('idle_in_transaction_session_timeout') = '10s'
                          as "keeps_settings!",
                      case when current_setting('transaction_timeout', true) is not null
                           then set_config('transaction_timeout', '25s', false)
                      end as transaction_timeout"#
        );
        let server = within_deadline(server.fetch_one(&mut connection)).await?;
        match (server.keeps_settings, server.in_recovery) {
            (false, _) => Err(StoreError::Pooled),
            (true, true) => Err(StoreError::NotWritable),
            (true, false) => Ok(connection),
        }
    }

    /// A connection for a person's command: no deadline of the server, since it may read a whole table or build an
    /// index, and the person waits.
    pub async fn reader(&self) -> Result<PgConnection, StoreError> {
        let mut connection = connect(&self.options).await?;
        let unlimited = sqlx::query!(
            r#"select set_config(name, '0', false) as "set"
               from unnest(array['statement_timeout', 'transaction_timeout', 'idle_session_timeout']) as wanted (name)
               where current_setting(name, true) is not null"#
        );
        within_deadline(unlimited.fetch_all(&mut connection)).await?;
        Ok(connection)
    }
}

/// The database's address has no meaning.
#[derive(Debug, thiserror::Error)]
#[error(
    "--database-url, or what --database-url-file holds, must be postgres://user:password@host:port/database"
)]
pub struct InvalidUrl;

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    match tokio::time::timeout(CONNECT_DEADLINE, PgConnection::connect_with(options)).await {
        Ok(connection) => Ok(connection?),
        Err(_elapsed) => Err(StoreError::Deadline),
    }
}

/// Waits for a statement, but not forever. After [`StoreError::Deadline`] the connection is in the
/// middle of an answer: its owner drops it.
pub async fn within_deadline<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(STATEMENT_DEADLINE, statement).await {
        Ok(result) => Ok(result?),
        Err(_elapsed) => Err(StoreError::Deadline),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_server_that_takes_no_connection_at_first_is_tried_again() {
        let place = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let database_url = Secret::from(format!("postgres://telex@{place}/telex"));
        let database = Database::new(&DatabaseConfig { database_url, database_url_file: None }).unwrap();
        let late = async {
            tokio::time::sleep(REACHED_AGAIN * 2).await;
            TcpListener::bind(place).await.unwrap().accept().await.unwrap()
        };
        tokio::select! {
            _ = late => {}
            () = database.reach() => panic!("it was given up"),
        }
    }
}
