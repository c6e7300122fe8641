//! Sits between the processors and PostgreSQL. It can point them at another server, and it can break
//! connections around COMMIT: before the server has it, or before its answer is back. And it can let a COMMIT
//! stand still. What it is made of, other proxies are made of as well: [`listen`] and [`relay`].

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The message that sqlx sends: a simple query, its length, its text. It goes out alone, since what comes
/// before it has been answered.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// Every so many COMMITs one is broken.
const EVERY: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// The server never sees it.
    DropCommit,
    /// The server commits, and nobody hears of it.
    SwallowAnswer,
    /// It stands still, with its connection, until the mode is another than this and the next.
    HoldCommit,
    /// What stands still goes on standing; no other does.
    KeepHolding,
}

/// A proxy; lives as long as the process.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<SocketAddr>,
    mode: AtomicU8,
    commits: AtomicU64,
    broken: AtomicU64,
}

impl Proxy {
    pub fn start(server: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            mode: AtomicU8::new(0),
            commits: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        });
        let (accepted, passing) = (Arc::clone(&shared), Arc::clone(&shared));
        let address =
            listen(move || accepted.server(), move |client, server| commits(client, server, &passing))?;
        Ok(Self { address, shared })
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn server(&self) -> SocketAddr {
        self.shared.server()
    }

    /// New connections go to another server.
    pub fn point_at(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::Release);
    }

    pub fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn server(&self) -> SocketAddr {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done to the COMMIT that has just come.
    fn next(&self) -> Mode {
        let mode = match self.mode.load(Ordering::Acquire) {
            1 => Mode::DropCommit,
            2 => Mode::SwallowAnswer,
            3 => Mode::HoldCommit,
            _ => return Mode::Pass,
        };
        if self.commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY) { mode } else { Mode::Pass }
    }
}

fn commits(client: &TcpStream, server: &TcpStream, shared: &Shared) {
    let (swallow, held) = (AtomicBool::new(false), AtomicBool::new(false));
    // The server gives a connection up whose COMMIT does not come, and nobody is to hear of it.
    let await_release = || {
        while held.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(20));
        }
    };
    let request = |sent: &[u8]| {
        if !sent.windows(COMMIT.len()).any(|part| part == COMMIT) {
            return true;
        }
        match shared.next() {
            Mode::Pass | Mode::KeepHolding => {}
            Mode::HoldCommit => {
                shared.broken.fetch_add(1, Ordering::Relaxed);
                held.store(true, Ordering::Release);
                while shared.mode.load(Ordering::Acquire) >= Mode::HoldCommit as u8 {
                    thread::sleep(Duration::from_millis(20));
                }
                held.store(false, Ordering::Release);
            }
            Mode::DropCommit => {
                shared.broken.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            Mode::SwallowAnswer => swallow.store(true, Ordering::Release),
        }
        true
    };
    let answer = |_: &[u8]| {
        if swallow.load(Ordering::Acquire) {
            shared.broken.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        await_release();
        true
    };
    relay(client, server, request, answer, await_release);
}

/// Accepts connections at a port of its own, and hands each on with one to the server, as long as the process lives.
pub fn listen(
    server: impl Fn() -> SocketAddr + Send + 'static,
    relay: impl Fn(&TcpStream, &TcpStream) + Send + Sync + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let relay = Arc::new(relay);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // A server that is away refuses: so does this.
            let Ok(server) = TcpStream::connect(server()) else { continue };
            let relay = Arc::clone(&relay);
            thread::spawn(move || relay(&client, &server));
        }
    });
    Ok(address)
}

/// Copies in both directions until one side ends, or what sees the bytes first says no. Then it closes both; if
/// the server has ended, after `server_ended`.
pub fn relay(
    client: &TcpStream,
    server: &TcpStream,
    request: impl Fn(&[u8]) -> bool,
    answer: impl Fn(&[u8]) -> bool + Send,
    server_ended: impl FnOnce() + Send,
) {
    client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).ok();
    let close = || {
        client.shutdown(Shutdown::Both).ok();
        server.shutdown(Shutdown::Both).ok();
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            pass(server, client, answer);
            server_ended();
            close();
        });
        pass(client, server, request);
        close();
    });
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, goes_on: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let sent = buffer.get(..length).unwrap_or_default();
        if !goes_on(sent) || to.write_all(sent).is_err() {
            return;
        }
    }
}
