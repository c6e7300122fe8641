//! HTTP: as many requests as a server takes, over kept-alive connections, from requests that were written
//! beforehand, so that the sender costs little beside what it measures. And the handler that does nothing.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use bytes::BytesMut;
use loadtest::wire;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::usage::{self, Cpu, Pids};

/// Connections at once, each with a request on its way: so many share a batch to Kafka.
pub const CONNECTIONS: usize = 1_024;

/// The same for requests of a hundred messages: more of them than these would be refused by the full queue.
pub const CONNECTIONS_WITH_BATCHES: usize = 128;

/// Not counted: connections are opened, caches fill.
const WARM_UP: Duration = Duration::from_secs(1);

/// A request as it goes over the wire.
pub fn request(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    request_with(path, content_type, &HeaderMap::new(), body)
}

/// The same with further headers.
pub fn request_with(path: &str, content_type: &str, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: telex\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n"
    )
    .into_bytes();
    for (name, value) in headers {
        request.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    request.extend(body);
    request
}

/// A server, and the programs that are looked at while it is under load.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub address: SocketAddr,
    /// The last place, that of the sender, is this process and is filled in.
    pub pids: Pids,
}

/// What a server did under as much load as it takes.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Requests a second that were answered with 202.
    pub per_second: f64,
    /// Processor time for each of them.
    pub cpu: Cpu,
}

/// Sends to a server over so many connections, for so long after a warm-up.
pub async fn load(
    target: Target,
    requests: Arc<Vec<Vec<u8>>>,
    connections: usize,
    duration: Duration,
) -> Result<Load> {
    let (answered, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut senders = JoinSet::new();
    for connection in 0..connections {
        let (requests, answered, over) = (Arc::clone(&requests), Arc::clone(&answered), Arc::clone(&over));
        senders.spawn(async move {
            let mut exchange = Exchange::connect(target.address).await?;
            // Each connection starts elsewhere in the pool.
            let mut place = connection * requests.len() / connections;
            while !over.load(Ordering::Relaxed) {
                let request = requests.get(place % requests.len()).context("no requests")?;
                exchange.post(request).await?;
                answered.fetch_add(1, Ordering::Relaxed);
                place += 1;
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let look = || (usage::uses(&target.pids), usage::own(), answered.load(Ordering::Relaxed));
    let (start, before) = (Instant::now(), look());
    tokio::time::sleep(duration).await;
    let (elapsed, after) = (start.elapsed(), look());
    over.store(true, Ordering::Relaxed);
    while let Some(sender) = senders.join_next().await {
        sender.context("a sender failed")??;
    }
    let count = after.2.saturating_sub(before.2) as f64;
    let loadtest = usage::micros(after.1 - before.1, count);
    let cpu = Cpu { loadtest, ..Cpu::between(&before.0, &after.0, count) };
    Ok(Load { per_second: count / elapsed.as_secs_f64(), cpu })
}

/// A connection and what has come over it so far.
pub struct Exchange {
    socket: TcpStream,
    received: BytesMut,
}

impl Exchange {
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(address).await.context("nobody listens")?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, received: BytesMut::with_capacity(64 * 1024) })
    }

    /// Sends a request and reads its answer, which must be a 202.
    pub async fn post(&mut self, request: &[u8]) -> Result<()> {
        self.socket.write_all(request).await?;
        loop {
            if let Some(length) = complete(&self.received)? {
                drop(self.received.split_to(length));
                return Ok(());
            }
            if self.socket.read_buf(&mut self.received).await? == 0 {
                bail!("the connection was closed");
            }
        }
    }
}

/// How long the answer at the beginning is, once all of it is there.
fn complete(received: &[u8]) -> Result<Option<usize>> {
    let Some(frame) = wire::frame(received)? else { return Ok(None) };
    ensure!(frame.status == 202, "answered {}", frame.status);
    Ok(Some(frame.end()))
}

/// Answers 202 to everything, with the same libraries as the ingest API.
pub fn serve_noop(listen: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let router = Router::new().route("/v1/messages", post(|| async { StatusCode::ACCEPTED }));
        let listener = TcpListener::bind(listen).await?;
        Ok(axum::serve(listener, router).await?)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::head_only("HTTP/1.1 202 Accepted\r\ncontent-le", None)]
    #[case::no_body("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", Some(44))]
    #[case::part("HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nab", None)]
    #[case::and_more("HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nabcHTTP", Some(47))]
    fn an_answer_ends_where_its_length_says(#[case] received: &str, #[case] length: Option<usize>) {
        assert_eq!(complete(received.as_bytes()).unwrap(), length);
    }

    #[test]
    fn another_answer_than_202_is_an_error() {
        assert!(complete(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
    }
}
