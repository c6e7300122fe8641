//! Kafka's client writes a message twice: it gives another one up, begins a new epoch, and under that the brokers cannot
//! tell what they have from what is sent again (ADR 0027).

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use dev_env::{
    ports::Port,
    proxy::{listen, relay},
};
use serde_json::json;

use crate::{
    harness::{OwnServers, Telex, keep, message, post},
    topic::{client_of, log_end},
};

/// After the first the connection is broken off, after the second the older message is given up. The younger one is sent
/// so much later that the brokers have it before the connection breaks, and that it is not given up with the older one.
const TIMES: [&str; 3] =
    ["--socket-timeout-ms=9000", "--message-timeout-ms=10000", "--ack-deadline-ms=16000"];
const YOUNGER_BY: Duration = Duration::from_secs(6);

/// The way to the broker, on which answers can be held up. Requests arrive in any case.
struct Way(Arc<AtomicBool>);

impl Way {
    /// The broker comes back, and tells its clients to come by this way.
    fn to(telex: &Telex, servers: &mut OwnServers) -> Self {
        let (server, is_held) = (servers.kafka.address(), Arc::new(AtomicBool::new(false)));
        let held = Arc::clone(&is_held);
        let way = listen(
            move || server,
            move |client, server| {
                let answer = |_: &[u8]| {
                    while held.load(Ordering::Acquire) {
                        thread::sleep(Duration::from_millis(10));
                    }
                    true
                };
                relay(client, server, |_| true, answer, || {});
            },
        );
        let properties = telex.directory.join("kafka/server.properties");
        let advertised = format!("advertised.listeners=PLAINTEXT://{}\n", way.unwrap());
        fs::write(&properties, fs::read_to_string(&properties).unwrap() + &advertised).unwrap();
        servers.kafka.restart().unwrap();
        Self(is_held)
    }

    fn hold(&self, is_held: bool) {
        self.0.store(is_held, Ordering::Release);
    }
}

#[test]
fn a_message_that_is_written_twice_is_one_row_of_its_first_record_and_its_202_names_the_last() {
    let (mut telex, mut servers) = Telex::with_own_servers();
    let way = Way::to(&telex, &mut servers);
    let mut api = telex.ingest_api_on(Port::Free, &TIMES);
    api.wait_until_ready().unwrap();
    let (given_up, twice) = (client_of(0), client_of(1));
    for client in [&given_up, &twice] {
        keep(&api, &message(client, "before", "Hello"));
    }

    let address = api.address.unwrap();
    let send = |client: &str| {
        let message = message(client, "held", "Hello");
        thread::spawn(move || post(address, &message))
    };
    way.hold(true);
    let older = send(&given_up);
    thread::sleep(YOUNGER_BY);
    let younger = send(&twice);
    let (status, answer) = older.join().unwrap();
    assert_eq!((status, &answer["code"]), (503, &json!("kafka_unavailable")), "{answer}");
    way.hold(false);
    let (status, answer) = younger.join().unwrap();
    assert_eq!(status, 202, "{answer}");

    let ends = (log_end(&telex, 0), log_end(&telex, 1));
    assert_eq!(ends, (2, 3), "the message that was given up is there once, the other one twice");
    assert_eq!(answer["record"]["partition"], 1);
    assert_eq!(answer["record"]["offset"], 2);
    let _processor = telex.processor();
    telex.assert_counts([("/rows/messages", 4), ("/duplicates", 1), ("/rows/dead_letters", 0)]);
    let row = "select record_offset from messages where external_message_id = 'held' and partition = 1";
    assert_eq!(telex.number(row), 1);
}
