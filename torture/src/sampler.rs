//! Looks at the tables every second, also while a fault is under way: each look is one statement, and so one
//! snapshot (P1, P4, P6).

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use dev_env::proxy::Proxy;

use crate::{checker::Violation, wire::postgres::Connection};

const INTERVAL: Duration = Duration::from_secs(1);

const LOOK: &str = "
with message as (
    select partition, count(*) as rows, max(record_offset) as top from messages group by partition
), letter as (
    select partition, count(*) as rows, max(record_offset) as top from dead_letters group by partition
)
select json_build_array(progress.partition, birth_offset, next_offset, progress.messages, duplicates, commands,
       progress.dead_letters, control,
       coalesce(message.rows, 0), coalesce(letter.rows, 0), greatest(message.top, letter.top, -1),
       (select count(*) from (select from dialogs where closed_at is null group by client_id having count(*) > 1) as two))
from partition_progress as progress
left join message using (partition) left join letter using (partition)
order by progress.partition";

#[derive(Debug, Default)]
struct Found {
    violations: Vec<Violation>,
    looks: u64,
    next_offsets: BTreeMap<i64, i64>,
    timeline: u32,
}

#[derive(Debug)]
pub struct Sampler {
    /// It looks as long as this is there.
    stop: Option<Sender<()>>,
    timeline: Arc<AtomicU32>,
    found: Arc<Mutex<Found>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Looks at the server behind `proxy`, past the proxy.
    pub fn start(proxy: Proxy, database: String) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (timeline, found) = (Arc::new(AtomicU32::new(1)), Arc::new(Mutex::new(Found::default())));
        let shared = (Arc::clone(&timeline), Arc::clone(&found));
        let thread = thread::spawn(move || {
            let (timeline, found) = shared;
            let mut connection = None;
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let before = timeline.load(Ordering::Acquire);
                match look(&mut connection, &proxy, &database) {
                    // A change of timeline meanwhile: the look belongs to neither.
                    Ok(rows) if before == timeline.load(Ordering::Acquire) => {
                        judge(&rows, before, &mut found.lock().unwrap_or_else(PoisonError::into_inner));
                    }
                    Ok(_) | Err(_) => connection = None,
                }
            }
        });
        Self { stop: Some(stop), timeline, found, thread: Some(thread) }
    }

    /// From now on the database has another past: next offsets may have gone back, once. Call it before the
    /// proxy points at the new server, and again after.
    pub fn new_timeline(&self) {
        self.timeline.fetch_add(1, Ordering::Release);
    }

    /// Stops, and says how often it looked and what it found.
    pub fn finish(&mut self) -> (u64, Vec<Violation>) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        (found.looks, std::mem::take(&mut found.violations))
    }
}

fn look(connection: &mut Option<Connection>, proxy: &Proxy, database: &str) -> Result<Vec<[i64; 12]>> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::open(proxy.server(), database)?),
    };
    connection.rows(LOOK)
}

fn judge(rows: &[[i64; 12]], timeline: u32, found: &mut Found) {
    found.looks += 1;
    if std::mem::replace(&mut found.timeline, timeline) != timeline {
        found.next_offsets.clear();
    }
    for row in rows {
        let [partition, birth, next, messages, duplicates, commands, ..] = *row;
        let [.., letters, control, rows, letter_rows, top, two] = *row;
        let before = found.next_offsets.insert(partition, next).unwrap_or(next);
        let mut require = |holds: bool, invariant, what: String| {
            if !holds {
                found.violations.push(Violation::new(invariant, format!("partition {partition}: {what}")));
            }
        };
        let counted = messages + duplicates + commands + letters + control;
        require(counted == next - birth, "P1", format!("{counted} counted, {} applied", next - birth));
        require(messages == rows, "P1", format!("{messages} messages counted, {rows} there"));
        require(letters == letter_rows, "P1", format!("{letters} dead letters counted, {letter_rows} there"));
        require(top < next, "P1", format!("a row at {top}, next offset is {next}"));
        require(two == 0, "P4", format!("{two} clients with two active dialogs"));
        require(before <= next, "P6", format!("next offset fell from {before} to {next}"));
    }
}
