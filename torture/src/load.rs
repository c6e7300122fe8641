//! Producers: many of them, at a steady rate. A request without a clear answer is sent again, as a new attempt
//! with the same message id, until it has one.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use ureq::{Agent, Error, Timeout};

use crate::{
    history::{Attempt, Class, History, NO_ANSWER},
    identity,
    plan::{self, Plan, Sent},
    random::Random,
    variant::Variant,
    wire::{batch::Form, kafka::Cluster},
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
    pub cluster: Cluster,
    pub topic: String,
    /// Over how many partitions its keys are spread.
    pub partitions: i32,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What is sent, how often and in which form.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub plan: Plan,
    /// Messages a second.
    pub rate: u64,
    pub variant: Variant,
}

struct Shared {
    order: Order,
    targets: Targets,
    history: Arc<History>,
    stop: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
    start: Instant,
}

impl Load {
    /// Starts the messages, and a few commands.
    pub fn start(
        order: Order,
        targets: &Targets,
        history: &Arc<History>,
        next: &Arc<AtomicU64>,
        commands: Commands,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let first = next.load(Ordering::Relaxed);
        let shared = Arc::new(Shared {
            order,
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
    let agent = agent();
    let Order { rate, variant, .. } = shared.order;
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(variant.messages(), Ordering::Relaxed);
        let due = shared.start + Duration::from_micros((number - first) * 1_000_000 / rate);
        while let Some(wait) = due.checked_duration_since(Instant::now()) {
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(wait.min(Duration::from_millis(100)));
        }
        if due.elapsed() < LATE_MAX {
            persist(shared, worker, number, &agent);
        }
    }
}

/// Sends the messages from a number on until the outcome of each is known.
fn persist(shared: &Shared, worker: u64, number: u64, agent: &Agent) {
    const TRIES: u64 = 40;
    let mut open = messages(shared.order, number);
    for attempt in 0..TRIES {
        let id = format!("a-{:x}-{number}-{attempt}", shared.order.plan.seed);
        let count = open.len() as u64;
        shared.history.in_flight.fetch_add(count, Ordering::Relaxed);
        let invoked = shared.history.now();
        let target = target(shared, worker + attempt);
        let classes = target.and_then(|target| exchange(agent, target, &id, shared.order.variant, &open));
        let returned = shared.history.now();
        shared.history.in_flight.fetch_sub(count, Ordering::Relaxed);
        let Some(classes) = classes else {
            thread::sleep(Duration::from_millis(200));
            continue;
        };
        let mut unknown = Vec::new();
        for (sent, class) in open.into_iter().zip(classes) {
            if matches!(class, Class::Info(_)) {
                unknown.push(Arc::clone(&sent));
            }
            shared.history.note(Attempt { id: id.clone(), sent, invoked, returned, class });
        }
        if unknown.is_empty() {
            return;
        }
        open = unknown;
        thread::sleep(Duration::from_millis(250));
    }
}

/// The messages of one request. A batch has each message's id once, so that its records can be told apart, and
/// nothing that would break the array.
fn messages(order: Order, number: u64) -> Vec<Arc<Sent>> {
    let numbers = number..number + order.variant.messages();
    let mut messages: Vec<Arc<Sent>> = Vec::new();
    for sent in numbers.map(|number| plan::request(order.plan, number)) {
        let id = |sent: &Sent| sent.message.as_ref().map(|message| message.external_message_id.clone());
        let is_there = messages.iter().any(|other| id(other) == id(&sent));
        if order.variant.messages() == 1 || sent.message.is_some() && !is_there {
            messages.push(Arc::new(sent));
        }
    }
    messages
}

/// A worker keeps to one, as long as it answers.
fn target(shared: &Shared, worker: u64) -> Option<SocketAddr> {
    let targets = shared.targets.lock().unwrap_or_else(PoisonError::into_inner);
    let at = usize::try_from(worker).ok()?.checked_rem(targets.len())?;
    targets.get(at).copied()
}

/// Closes dialogs of clients at random.
fn command(shared: &Shared, commands: &Commands) {
    let plan = shared.order.plan;
    let mut random = Random::new(plan.seed, u64::MAX);
    let mut number = shared.next.load(Ordering::Relaxed);
    while !shared.stop.load(Ordering::Relaxed) {
        thread::sleep(CLOSE_INTERVAL);
        let client = plan::client(plan, random.draw());
        number += 1;
        let id = format!("c-{:x}-{number}-{:x}", plan.seed, random.draw());
        shared.history.planted().closes.insert(id.clone(), client.clone());
        let headers =
            [("ce_type", "telex.dialog.close.v1"), ("ce_time", COMMAND_TIME), ("x-request-id", &id)]
                .map(|(name, value)| (name.into(), Some(value.into())));
        let value = format!(r#"{{"client_id":"{client}"}}"#);
        let partition = identity::partition_of(client.as_bytes(), commands.partitions);
        let record = (Some(client.as_bytes()), Some(value.as_bytes()));
        // Whether it is in the log is seen there: its id is noted above.
        commands.cluster.produce(&commands.topic, partition, record, &headers, Form::Plain).ok();
    }
}

/// When commands say that they were received.
const COMMAND_TIME: &str = "2026-11-24T00:00:00.000000Z";

/// Keeps connections alive, and sends nothing again by itself.
fn agent() -> Agent {
    let settings = Agent::config_builder().timeout_connect(Some(Duration::from_secs(2)));
    let settings = settings.timeout_per_read(Some(ANSWER_DEADLINE)).timeout_per_write(Some(ANSWER_DEADLINE));
    settings.http_status_as_error(false).max_redirects(0).proxy(None).build().new_agent()
}

/// Sends messages in one request; says what became of each. `None`: nobody is there, so nobody has got a byte.
fn exchange(
    agent: &Agent,
    target: SocketAddr,
    id: &str,
    variant: Variant,
    messages: &[Arc<Sent>],
) -> Option<Vec<Class>> {
    let all = |class: Class| Some(vec![class; messages.len()]);
    let bodies: Vec<&str> = messages.iter().map(|sent| sent.body.as_str()).collect();
    let body = if variant.messages() > 1 { format!("[{}]", bodies.join(",")) } else { bodies.concat() };
    let Ok((body, headers)) = variant.wrap(id, &body) else {
        return all(Class::Info("not compressed"));
    };
    let request = agent.post(format!("http://{target}{}", variant.path())).content_type("application/json");
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let mut answer = match request.header("x-request-id", id).send(&body) {
        Ok(answer) => answer,
        Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => return None,
        Err(Error::Timeout(Timeout::Connect)) => return None,
        Err(_) => return all(Class::Info(NO_ANSWER)),
    };
    let Ok(body) = answer.body_mut().read_to_vec() else {
        return all(Class::Info(NO_ANSWER));
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match body.pointer("/results").and_then(Value::as_array) {
        Some(results) if results.len() == messages.len() => {
            let status = |result: &Value| result.get("status").and_then(Value::as_u64);
            let status = |result| status(result).and_then(|status| u16::try_from(status).ok());
            Some(results.iter().map(|result| class(status(result).unwrap_or_default(), result)).collect())
        }
        _ => all(class(answer.status().as_u16(), &body)),
    }
}

/// What an answer means, or a batch's answer for one of its messages.
fn class(status: u16, body: &Value) -> Class {
    let number = |pointer: &str| body.pointer(pointer).and_then(Value::as_i64);
    let place = (number("/record/partition").and_then(|p| i32::try_from(p).ok()), number("/record/offset"));
    match (status, place) {
        (202, (Some(partition), Some(offset))) => Class::Ok { partition, offset },
        (202, _) => Class::Info("202 without a place"),
        // Too much at once, or too slow: the same may be sent again.
        (408 | 429, _) => Class::Info("to be sent again"),
        (400..500, _) => Class::Fail(status),
        (503, _) => Class::Info("503"),
        _ => Class::Info("another status"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Ipv4Addr, TcpListener},
    };

    use super::*;

    fn outcome(agent: &Agent, target: SocketAddr) -> Option<Vec<Class>> {
        let sent = Arc::new(plan::message(Plan { seed: 1, clients: 1 }, 0));
        exchange(agent, target, "a", Variant::Single, &[sent])
    }

    #[test]
    fn what_is_sent_and_not_answered_whole_is_unknown_and_is_not_sent_again_by_itself() {
        let answers = ["", "HTTP/1.1 202 Acc", "HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\n{"];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                assert!(stream.read(&mut [0; 4_096]).unwrap() > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
            listener
        });
        let agent = agent();
        for answer in answers {
            assert_eq!(outcome(&agent, target), Some(vec![Class::Info(NO_ANSWER)]), "{answer}");
        }
        let listener = server.join().unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_connection_that_is_refused_is_no_attempt() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(outcome(&agent(), target), None);
    }
}
