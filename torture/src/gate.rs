//! Stands for the network between programs and a broker: it can be cut, in both directions or in one.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use dev_env::proxy::{listen, relay};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    Open,
    /// Nothing. Connections stay open, as if a cable were cut; what was sent arrives once it is mended.
    Closed,
    /// Requests, but no answers; the connections break once it is mended.
    Deaf,
}

/// Lives as long as the process.
#[derive(Debug, Clone)]
pub struct Gate {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    passage: Mutex<Passage>,
    held: AtomicU64,
}

impl Gate {
    pub fn start(server: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(Shared { passage: Mutex::new(Passage::Open), held: AtomicU64::new(0) });
        let accepted = Arc::clone(&shared);
        let port = listen(move || server, move |client, server| pass(client, server, &accepted))?.port();
        Ok(Self { port, shared })
    }

    /// Where it listens, on the loopback address.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Changes what comes through, also on connections that are open.
    pub fn set(&self, passage: Passage) {
        *self.shared.passage.lock().unwrap_or_else(PoisonError::into_inner) = passage;
    }

    /// How often bytes were held back so far: the sign that a cut bites.
    pub fn held(&self) -> u64 {
        self.shared.held.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn passage(&self) -> Passage {
        *self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `holds` says so; whether it has waited at all.
    fn wait(&self, holds: impl Fn(Passage) -> bool) -> bool {
        let mut has_waited = false;
        while holds(self.passage()) {
            if !std::mem::replace(&mut has_waited, true) {
                self.held.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(10));
        }
        has_waited
    }
}

fn pass(client: &TcpStream, server: &TcpStream, shared: &Shared) {
    let request = |_: &[u8]| {
        shared.wait(|passage| passage == Passage::Closed);
        true
    };
    let answer = |_: &[u8]| {
        shared.wait(|passage| passage == Passage::Closed);
        !shared.wait(|passage| passage == Passage::Deaf)
    };
    relay(client, server, request, answer, || {});
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Ipv4Addr, TcpListener},
    };

    use super::*;

    #[test]
    fn a_closed_gate_keeps_what_is_sent_and_delivers_it_once_it_is_opened() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gate = Gate::start(server.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, gate.port())).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        accepted.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut byte = [0];
        gate.set(Passage::Closed);
        client.write_all(b"x").unwrap();
        assert!(accepted.read_exact(&mut byte).is_err());
        assert_eq!(gate.held(), 1);
        gate.set(Passage::Open);
        accepted.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_deaf_gate_lets_requests_through_and_breaks_when_it_is_opened() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gate = Gate::start(server.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, gate.port())).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        gate.set(Passage::Deaf);
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        accepted.read_exact(&mut byte).unwrap();
        accepted.write_all(b"y").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(client.read(&mut byte).is_err());
        gate.set(Passage::Open);
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(client.read(&mut byte).unwrap_or(0), 0);
    }
}
