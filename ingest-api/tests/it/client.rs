//! A client that keeps its connection, and tells exactly how an exchange ended.

use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::message;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With a whole answer.
    Answered(u16),
    /// The connection was closed before the first byte of an answer.
    Closed,
    /// In the middle of an answer.
    Cut,
}

pub struct Client(TcpStream);

impl Client {
    pub async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// Posts a client's message of this id.
    pub async fn post(&mut self, client: &str, id: &str) -> Ended {
        let body = message(client, id).to_string();
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: telex\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.ask(request.as_bytes()).await
    }

    /// Sends a whole request and reads its answer.
    pub async fn ask(&mut self, request: &[u8]) -> Ended {
        if self.write(request).await.is_err() { Ended::Closed } else { self.answer().await }
    }

    /// Reads an answer to its end.
    pub async fn answer(&mut self) -> Ended {
        let mut text = Vec::new();
        let mut buffer = [0; 2_048];
        loop {
            match self.0.read(&mut buffer).await {
                Ok(read @ 1..) => text.extend_from_slice(&buffer[..read]),
                Ok(0) | Err(_) if text.is_empty() => return Ended::Closed,
                Ok(_) | Err(_) => return Ended::Cut,
            }
            if let Some(status) = whole(&String::from_utf8_lossy(&text)) {
                return Ended::Answered(status);
            }
        }
    }
}

/// The status of an answer, if all of it is there.
fn whole(text: &str) -> Option<u16> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length: usize = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
    if body.len() < length { None } else { head.split(' ').nth(1)?.parse().ok() }
}

/// The 99th percentile of how long messages take, one after the other on a few connections.
pub async fn p99(address: SocketAddr, name: &'static str, messages: usize) -> Duration {
    const CONNECTIONS: usize = 4;
    let senders = (0..CONNECTIONS).map(|connection| async move {
        let mut client = Client::connect(address).await.unwrap();
        let mut took = Vec::with_capacity(messages / CONNECTIONS);
        for number in 0..messages / CONNECTIONS {
            let since = Instant::now();
            let ended = client.post("shop", &format!("{name}-{connection}-{number}")).await;
            assert_eq!(ended, Ended::Answered(202), "{name}");
            took.push(since.elapsed());
        }
        took
    });
    let mut took = Vec::new();
    for sender in senders.map(|sender| service_kit::spawn("sender", sender)).collect::<Vec<_>>() {
        took.extend(sender.await.unwrap());
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// Nearly all files that this process may open: for one test at a time.
pub struct ManyFiles {
    pub limit: u64,
    _turn: MutexGuard<'static, ()>,
}

/// Raises the limit of open files for this process and the programs that it starts, as far as it goes.
pub fn many_files(needed: u64) -> ManyFiles {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    ManyFiles { limit: raise_file_limit(needed), _turn: turn }
}

fn raise_file_limit(needed: u64) -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if setrlimit(Resource::RLIMIT_NOFILE, needed.max(hard), needed.max(hard)).is_ok() {
        needed.max(hard)
    } else {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        hard
    }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}
