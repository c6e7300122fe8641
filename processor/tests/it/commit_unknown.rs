//! COMMIT, and the connection breaks: before the server has it, or before its answer is back.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::harness::Telex;

#[test]
fn a_commit_whose_answer_is_lost_on_either_side_has_its_effect_once() {
    let mut telex = Telex::new();
    let proxy = Proxy::start(&telex.programs.database_url);
    let mut programs = telex.programs.clone();
    programs.database_url = proxy.url(&telex.programs.database_url);
    let api = telex.ingest_api();
    let _processor = telex.processor_of(&programs);
    let mut load = telex.load(&api, 5_000, 500);
    assert!(load.wait().unwrap().success());
    let report = telex.assert_clean();
    assert!(report["rows"]["messages"].as_i64().unwrap() > 4_000);
    let (before, after) =
        (proxy.counts.lost_before.load(Ordering::Relaxed), proxy.counts.lost_after.load(Ordering::Relaxed));
    assert!(before > 2 && after > 2, "{before} COMMITs lost on their way, {after} answers");
}

/// Sits between a processor and PostgreSQL and breaks connections around COMMIT.
struct Proxy {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    commits: AtomicU64,
    lost_before: AtomicU64,
    lost_after: AtomicU64,
}

/// The message that sqlx sends: a simple query, its length, its text.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

impl Proxy {
    fn start(database_url: &str) -> Self {
        let server = database_url.split(['@', '/']).nth(3).unwrap().to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, counts) = (listener.local_addr().unwrap(), Arc::new(Counts::default()));
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let counts = Arc::clone(&shared);
                thread::spawn(move || relay(&client, &server, &counts));
            }
        });
        Self { address, counts }
    }

    fn url(&self, database_url: &str) -> String {
        let (start, database) = database_url.rsplit_once('/').unwrap();
        let (user, _) = start.rsplit_once('@').unwrap();
        format!("{user}@{}/{database}", self.address)
    }
}

fn relay(mut client: &TcpStream, mut server: &TcpStream, counts: &Counts) {
    let (mut answers_to, mut answers_of) = (client, server);
    let swallow = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 65_536];
            while let Ok(read @ 1..) = answers_of.read(&mut buffer) {
                if swallow.load(Ordering::Acquire) {
                    // The server has committed; nobody will hear of it.
                    counts.lost_after.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                if answers_to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            answers_to.shutdown(Shutdown::Both).ok();
            answers_of.shutdown(Shutdown::Both).ok();
        });
        let mut buffer = [0; 65_536];
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            if buffer[..read].windows(COMMIT.len()).any(|part| part == COMMIT) {
                match counts.commits.fetch_add(1, Ordering::Relaxed) % 10 {
                    3 => {
                        counts.lost_before.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    7 => swallow.store(true, Ordering::Release),
                    _ => {}
                }
            }
            if server.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        client.shutdown(Shutdown::Both).ok();
        server.shutdown(Shutdown::Both).ok();
    });
}
