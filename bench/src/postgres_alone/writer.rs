//! Requests into the log: each writer has a session and slots of its own. What waits when it is free goes into one
//! statement, so that all of it shares a commit; several writers' commits share PostgreSQL's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Way,
    log::{self, Row, SLOTS},
};

/// Requests that may wait for a writer.
const QUEUE: usize = 8_192;

/// A statement that takes longer has failed, as far as anybody can tell.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(2);

/// Between two attempts to have a session again.
const AGAIN: Duration = Duration::from_millis(200);

/// A row whose sender waits for its place; without one, it is not known whether it is kept.
#[derive(Debug)]
pub struct Waiting {
    pub row: Row,
    pub answer: oneshot::Sender<Option<i64>>,
}

#[derive(Debug, Clone)]
pub struct Queues(Arc<Vec<mpsc::Sender<Waiting>>>);

impl Queues {
    /// Puts a row into its writer's queue; nothing waits if that is full.
    pub fn put(&self, row: Row) -> Option<oneshot::Receiver<Option<i64>>> {
        let writer = usize::try_from(row.slot).ok()?.checked_rem(self.0.len())?;
        let (answer, place) = oneshot::channel();
        self.0.get(writer)?.try_send(Waiting { row, answer }).ok()?;
        Some(place)
    }
}

pub fn start(tasks: &mut JoinSet<Result<()>>, url: &str, way: Way) -> Queues {
    let queue = |_| {
        let (waiting_tx, waiting_rx) = mpsc::channel(QUEUE);
        let writer = Writer { url: url.to_owned(), rows_max: way.rows_max, session: None };
        tasks.spawn(writer.run(waiting_rx));
        waiting_tx
    };
    Queues(Arc::new((0..way.writers.max(1)).map(queue).collect()))
}

/// A connection, and the next place in each slot, as the log says; both are forgotten together.
struct Session {
    connection: PgConnection,
    next: BTreeMap<i32, i64>,
}

struct Writer {
    url: String,
    rows_max: usize,
    session: Option<Session>,
}

impl Writer {
    async fn run(mut self, mut waiting_rx: mpsc::Receiver<Waiting>) -> Result<()> {
        let (mut waiting, mut try_after) = (Vec::with_capacity(self.rows_max), Instant::now());
        while waiting_rx.recv_many(&mut waiting, self.rows_max).await > 0 {
            let written = if self.session.is_none() && Instant::now() < try_after {
                None
            } else {
                let rows: Vec<&Row> = waiting.iter().map(|one| &one.row).collect();
                let written = timeout(STATEMENT_DEADLINE, write(&mut self.session, &self.url, &rows)).await;
                written.ok().and_then(Result::ok)
            };
            if written.is_none() {
                self.session = None;
                try_after = Instant::now() + AGAIN;
            }
            let places = written.unwrap_or_default().into_iter().map(Some).chain(std::iter::repeat(None));
            for (one, place) in waiting.drain(..).zip(places) {
                // Nobody waits for it any more, which the row does not mind.
                one.answer.send(place).ok();
            }
        }
        Ok(())
    }
}

/// Writes rows, and says at which places.
async fn write(session: &mut Option<Session>, url: &str, rows: &[&Row]) -> Result<Vec<i64>> {
    if session.is_none() {
        *session = Some(Session::open(url).await?);
    }
    let Session { connection, next } = session.as_mut().context("it has just been opened")?;
    let mut places = Vec::with_capacity(rows.len());
    for row in rows {
        let place = next.entry(row.slot).or_default();
        places.push(*place);
        *place += 1;
    }
    let placed: Vec<(i64, &Row)> = places.iter().copied().zip(rows.iter().copied()).collect();
    log::insert(connection, &placed).await?;
    Ok(places)
}

impl Session {
    async fn open(url: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let slots: Vec<i32> = (0..SLOTS).collect();
        let next: Vec<(i32, i64)> =
            sqlx::query_as("select slot, max(place) + 1 from log where slot = any($1) group by slot")
                .bind(slots)
                .fetch_all(&mut connection)
                .await?;
        Ok(Self { connection, next: next.into_iter().collect() })
    }
}
