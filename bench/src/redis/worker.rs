//! One message, the usual way: ask for its idempotency key; take its client's lock; find or create client,
//! dialog and message in a transaction; remember the key for an hour; free the lock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use loadtest::plan::{Plan, Request};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use super::{
    TABLES, WORKERS,
    wire::{Answer, Connection},
};
use crate::lab::Lab;

#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// How long a lock is held at most: its expiry.
    pub lock: Duration,
    /// How often a lock is tried for before the message is given up.
    pub tries_max: u32,
    /// A pause between finding the dialog and the commit, in one of so many messages: a slow query, a garbage
    /// collection, a machine that is moved.
    pub stall: Option<(u64, Duration)>,
}

impl Way {
    pub const USUAL: Self = Self { lock: Duration::from_secs(5), tries_max: 200, stall: None };
}

const TRY_EVERY: Duration = Duration::from_millis(10);

pub(super) struct Worker {
    redis: Connection,
    postgres: PgConnection,
    way: Way,
    /// What its locks are marked with, so that it frees no other's.
    token: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Stored,
    Duplicate,
    /// Given up: its client's lock was not to be had.
    Dropped,
}

/// Compare and delete, as the manual of Redis has it.
const UNLOCK: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

impl Worker {
    pub(super) async fn new(redis_port: u16, database_url: &str, way: Way, number: u64) -> Result<Self> {
        let redis = Connection::connect(redis_port).await?;
        let postgres = PgConnection::connect(database_url).await?;
        Ok(Self { redis, postgres, way, token: format!("worker-{number}") })
    }

    pub(super) async fn take(&mut self, plan: &Plan, request: &Request) -> Result<Done> {
        let client = plan.client(request.client);
        let id = plan.external_message_id(request);
        let key = format!("seen:{}:{}:{id}", client.external_client_id, client.address);
        if self.redis.command(&["GET", &key]).await? != Answer::Nil {
            return Ok(Done::Duplicate);
        }
        let lock = format!("lock:{}:{}", client.external_client_id, client.address);
        if !self.lock(&lock).await? {
            return Ok(Done::Dropped);
        }
        self.store(request.index, [&client.external_client_id, &client.address, &id, &plan.text(request)])
            .await?;
        self.redis.command(&["SETEX", &key, "3600", "1"]).await?;
        self.redis.command(&["EVAL", UNLOCK, "1", &lock, &self.token]).await?;
        Ok(Done::Stored)
    }

    async fn lock(&mut self, lock: &str) -> Result<bool> {
        let expiry = self.way.lock.as_millis().to_string();
        for _ in 0..self.way.tries_max {
            let taken = self.redis.command(&["SET", lock, &self.token, "NX", "PX", &expiry]).await?;
            if taken != Answer::Nil {
                return Ok(true);
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
        Ok(false)
    }

    async fn store(&mut self, index: u64, [source, phone, id, text]: [&str; 4]) -> Result<()> {
        #[expect(clippy::disallowed_methods, reason = "the way of others, not the processor's")]
        let mut transaction = self.postgres.begin().await?;
        let found: Option<i64> =
            sqlx::query_scalar("select id from clients where external_client_id = $1 and client_phone = $2")
                .bind(source)
                .bind(phone)
                .fetch_optional(&mut *transaction)
                .await?;
        let client: i64 = match found {
            Some(client) => client,
            None => {
                sqlx::query_scalar(
                    "insert into clients (external_client_id, client_phone) values ($1, $2) returning id",
                )
                .bind(source)
                .bind(phone)
                .fetch_one(&mut *transaction)
                .await?
            }
        };
        let active: Option<i64> =
            sqlx::query_scalar("select id from dialogs where client_id = $1 and closed_at is null limit 1")
                .bind(client)
                .fetch_optional(&mut *transaction)
                .await?;
        if let Some((one_in, pause)) = self.way.stall
            && index.is_multiple_of(one_in)
        {
            tokio::time::sleep(pause).await;
        }
        let dialog: i64 = match active {
            Some(dialog) => dialog,
            None => {
                sqlx::query_scalar("insert into dialogs (client_id) values ($1) returning id")
                    .bind(client)
                    .fetch_one(&mut *transaction)
                    .await?
            }
        };
        let known: bool = sqlx::query_scalar(
            "select exists (select from messages where client_id = $1 and external_message_id = $2)",
        )
        .bind(client)
        .bind(id)
        .fetch_one(&mut *transaction)
        .await?;
        if !known {
            sqlx::query("insert into messages (client_id, dialog_id, external_message_id, text) values ($1, $2, $3, $4)")
                .bind(client)
                .bind(dialog)
                .bind(id)
                .bind(text)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Makes the tables in a new database.
pub(super) async fn prepare(lab: &Lab, database: &str) -> Result<String> {
    let url = lab.database_url(database);
    let mut connection = PgConnection::connect(&url).await?;
    sqlx::raw_sql(TABLES).execute(&mut connection).await?;
    Ok(url)
}

/// Clients that have written before and have no open dialog now: all of a plan's.
pub(super) async fn prepare_clients(url: &str, plan: &Plan) -> Result<()> {
    let clients = (0..plan.settings().clients).map(|index| plan.client(loadtest::plan::ClientIndex(index)));
    let (sources, phones): (Vec<String>, Vec<String>) =
        clients.map(|client| (client.external_client_id, client.address)).unzip();
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query(
        "insert into clients (external_client_id, client_phone) select * from unnest($1::text[], $2::text[])",
    )
    .bind(sources)
    .bind(phones)
    .execute(&mut connection)
    .await?;
    Ok(connection.close().await?)
}

/// Messages a second, over so long.
pub fn rate(lab: &Lab, redis_port: u16, plan: Plan, database: &str, duration: Duration) -> Result<f64> {
    lab.database(database)?;
    lab.runtime.block_on(async {
        let url = prepare(lab, database).await?;
        let (plan, next, stored) = (Arc::new(plan), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut workers = JoinSet::new();
        let start = Instant::now();
        for number in 0..WORKERS as u64 {
            let (plan, next, stored, url) =
                (Arc::clone(&plan), Arc::clone(&next), Arc::clone(&stored), url.clone());
            workers.spawn(async move {
                let mut worker = Worker::new(redis_port, &url, Way::USUAL, number).await?;
                while start.elapsed() < duration {
                    let index = next.fetch_add(1, Ordering::Relaxed) % plan.settings().messages;
                    if worker.take(&plan, &plan.request(index)).await? == Done::Stored {
                        stored.fetch_add(1, Ordering::Relaxed);
                    }
                }
                anyhow::Ok(())
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker.context("a worker failed")??;
        }
        Ok(stored.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
    })
}
