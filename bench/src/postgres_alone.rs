//! PostgreSQL alone, the answer to "why Kafka at all?": the same HTTP edge and the same checks of a message, one row in
//! a log table per request, and a fold of that log into the same tables by owners of slots. A slot stands for a
//! partition, a place in it for an offset, so that the load tester verifies it as it verifies Telex.
//!
//! Both halves are as good as they are known to be: requests that wait share one statement and so one commit
//! (`writer`), how many statements go on at once and how long they may be is searched for (`measure`), and the fold
//! does not leave the database: a row costs no decoding, hashing or sending there and back (`owner`). What it leaves
//! out of what the processor does, docs/why-kafka.md lists.

mod edge;
mod log;
mod measure;
mod outage;
mod owner;
mod writer;

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{end_to_end::AtRate, usage::Cpu};

pub use measure::{at_rate, best, closed_loop, folded};
pub use outage::{Refused, refused};

/// What is searched for: how requests become commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Sessions that write to the log at once, each for its own slots.
    pub writers: usize,
    /// The most requests that share a statement.
    pub rows_max: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alone {
    pub way: Option<Way>,
    /// Single messages a second, acknowledged and not yet folded, and what each costs.
    pub single_rps: Vec<f64>,
    pub single_cpu: Vec<Cpu>,
    /// Rows of the log a second that the owners fold, and what each costs.
    pub folded_per_s: Vec<f64>,
    pub folded_cpu: Vec<Cpu>,
    /// Everything at once, by rate.
    pub at_rate: Vec<AtRate>,
    /// What it refuses while PostgreSQL is away, and what Telex refuses.
    pub outage: Option<Refused>,
    pub telex_outage: Option<Refused>,
}

#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// The database, without a password.
    #[arg(long)]
    database: String,
    #[arg(long)]
    writers: usize,
    #[arg(long)]
    rows_max: usize,
    /// Tasks that fold, each with its own slots; none: the log grows.
    #[arg(long)]
    owners: usize,
}

/// Serves until it is killed.
pub fn serve(args: &ServerArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let way = Way { writers: args.writers, rows_max: args.rows_max };
        let mut tasks = JoinSet::new();
        let queues = writer::start(&mut tasks, &args.database, way);
        for slots in owner::shares(args.owners) {
            tasks.spawn(owner::run(args.database.clone(), slots));
        }
        let listener = tokio::net::TcpListener::bind(args.listen).await?;
        let router = edge::router(queues);
        tasks.spawn(async move { Ok(axum::serve(listener, router).await?) });
        let ended = tasks.join_next().await.context("nothing was started")?;
        ended.context("a task failed")?
    })
}
