//! Producers: many of them, at a steady rate. A request without a clear answer is sent again, as a new attempt
//! with the same message id, until it has one.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    history::{Attempt, Class, History},
    identity, plan,
    random::Random,
    wire::kafka::Cluster,
};

const WORKERS: u64 = 160;
/// A producer that waits for longer gives up, and asks again.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// What is later than this is not sent any more: the rate is offered, not owed.
const LATE_MAX: Duration = Duration::from_secs(1);
const CLOSE_INTERVAL: Duration = Duration::from_millis(150);

/// Where requests go; changes as APIs come and go.
pub type Targets = Arc<Mutex<Vec<SocketAddr>>>;

/// The topic, for commands that are written past the API.
#[derive(Debug, Clone)]
pub struct Commands {
    /// Kafka.
    pub cluster: Cluster,
    /// The topic.
    pub topic: String,
    /// Over how many partitions its keys are spread.
    pub partitions: i32,
}

/// The producers at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    seed: u64,
    rate: u64,
    targets: Targets,
    history: Arc<History>,
    stop: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
    start: Instant,
}

impl Load {
    /// Starts `rate` requests a second, and a few commands.
    #[must_use]
    pub fn start(
        (seed, rate): (u64, u64),
        targets: &Targets,
        history: &Arc<History>,
        next: &Arc<AtomicU64>,
        commands: Commands,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let first = next.load(Ordering::Relaxed);
        let shared = Arc::new(Shared {
            seed,
            rate,
            targets: Arc::clone(targets),
            history: Arc::clone(history),
            stop: Arc::clone(&stop),
            next: Arc::clone(next),
            start: Instant::now(),
        });
        let mut threads: Vec<JoinHandle<()>> = (0..WORKERS)
            .map(|worker| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || produce(&shared, worker, first))
            })
            .collect();
        threads.push(thread::spawn(move || command(&shared, &commands)));
        Self { stop, threads }
    }

    /// Ends when every attempt has its answer.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().ok();
        }
    }
}

fn produce(shared: &Shared, worker: u64, first: u64) {
    let mut connection = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let due = shared.start + Duration::from_micros((number - first) * 1_000_000 / shared.rate);
        while let Some(wait) = due.checked_duration_since(Instant::now()) {
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(wait.min(Duration::from_millis(100)));
        }
        if due.elapsed() < LATE_MAX {
            persist(shared, worker, number, &mut connection);
        }
    }
}

/// Sends a request until its outcome is known.
fn persist(shared: &Shared, worker: u64, number: u64, connection: &mut Option<Connection>) {
    const TRIES: u64 = 40;
    let sent = Arc::new(plan::request(shared.seed, number));
    for attempt in 0..TRIES {
        let Some(open) = connected(shared, worker + attempt, connection) else {
            thread::sleep(Duration::from_millis(200));
            continue;
        };
        let id = format!("a-{:x}-{number}-{attempt}", shared.seed);
        shared.history.in_flight.fetch_add(1, Ordering::Relaxed);
        let invoked = shared.history.now();
        let class = open.exchange(&id, &sent.body);
        let returned = shared.history.now();
        shared.history.in_flight.fetch_sub(1, Ordering::Relaxed);
        if matches!(class, Class::Info(_)) {
            *connection = None;
        }
        shared.history.note(Attempt { id, sent: Arc::clone(&sent), invoked, returned, class });
        match class {
            Class::Ok { .. } | Class::Fail(_) => return,
            Class::Info(_) => thread::sleep(Duration::from_millis(250)),
        }
    }
}

fn connected<'a>(
    shared: &Shared,
    worker: u64,
    connection: &'a mut Option<Connection>,
) -> Option<&'a mut Connection> {
    let targets = shared.targets.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if connection.as_ref().is_none_or(|open| !targets.contains(&open.address)) {
        let at = usize::try_from(worker).ok()?.checked_rem(targets.len())?;
        *connection = targets.get(at).and_then(|address| Connection::open(*address));
    }
    connection.as_mut()
}

/// Closes dialogs of clients at random.
fn command(shared: &Shared, commands: &Commands) {
    let mut random = Random::new(shared.seed, u64::MAX);
    let mut number = shared.next.load(Ordering::Relaxed);
    while !shared.stop.load(Ordering::Relaxed) {
        thread::sleep(CLOSE_INTERVAL);
        let client = plan::client(random.draw());
        number += 1;
        let id = format!("c-{:x}-{number}-{:x}", shared.seed, random.draw());
        shared.history.planted().closes.insert(id.clone(), client.clone());
        let headers =
            [("ce_type", "telex.dialog.close.v1"), ("ce_time", COMMAND_TIME), ("x-request-id", &id)]
                .map(|(name, value)| (name.into(), Some(value.into())));
        let value = format!(r#"{{"client_id":"{client}"}}"#);
        let partition = identity::partition_of(client.as_bytes(), commands.partitions);
        let record = (Some(client.as_bytes()), Some(value.as_bytes()));
        // Whether it is in the log is seen there: its id is noted above.
        commands.cluster.produce(&commands.topic, partition, record, &headers).ok();
    }
}

/// When commands say that they were received.
const COMMAND_TIME: &str = "2026-11-24T00:00:00.000000Z";

/// An HTTP/1.1 connection that is kept alive.
#[derive(Debug)]
struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(ANSWER_DEADLINE)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self { address, stream: BufReader::new(stream) })
    }

    fn exchange(&mut self, id: &str, body: &str) -> Class {
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: telex\r\ncontent-type: application/json\r\n\
             x-request-id: {id}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if self.stream.get_mut().write_all(request.as_bytes()).is_err() {
            return Class::Info("the request broke off");
        }
        match self.answer() {
            None => Class::Info("no answer"),
            Some((202, body)) => {
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
                let number = |pointer: &str| body.pointer(pointer).and_then(serde_json::Value::as_i64);
                match (
                    number("/record/partition").and_then(|p| i32::try_from(p).ok()),
                    number("/record/offset"),
                ) {
                    (Some(partition), Some(offset)) => Class::Ok { partition, offset },
                    _ => Class::Info("202 without a place"),
                }
            }
            Some((status @ 400..500, _)) => Class::Fail(status),
            Some((503, _)) => Class::Info("503"),
            Some(_) => Class::Info("another status"),
        }
    }

    fn answer(&mut self) -> Option<(u16, Vec<u8>)> {
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
            } else if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some((status?, body))
    }
}
