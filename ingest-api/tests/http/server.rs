//! The API behind a socket, and clients that write what they like to it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ingest_api::{accept, router::router, shards::Shards, tls::Certificates};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::task::TaskTracker;

use crate::harness::{Api, message, until};

/// Longer than any deadline that a test sets.
const PATIENCE: Duration = Duration::from_secs(20);

/// Stops when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub api: Api,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(api: Api) -> Self {
        Self::over(api, None).await
    }

    pub async fn over(api: Api, certificates: Option<Arc<Certificates>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = accept::Server {
            router: router(Arc::clone(&api.shared)),
            certificates,
            limits: api.shared.limits.clone(),
            metrics: Arc::clone(&api.shared.metrics),
        };
        let shards = Arc::new(Shards::start(2, Duration::from_micros(300)).unwrap());
        let (tracker, deadline) = (TaskTracker::new(), api.shared.limits.drain_deadline);
        let run = async move {
            let stopped = async { stopped.await.unwrap_or_default() };
            server.run(listener, Arc::clone(&shards), tracker.clone(), stopped).await;
            accept::drain(&tracker, deadline).await;
        };
        Self { address, api, stop: Some(stop), task: service_kit::spawn("server", run) }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Writes bytes on a connection of their own and reads until the server closes it.
    pub async fn exchange(&self, bytes: &[u8]) -> Text {
        let mut stream = self.connect().await;
        // An answer before the end of the bytes ends the connection.
        let _refused_early = stream.write_all(bytes).await.is_err();
        rest(&mut stream).await
    }

    /// Waits until so many connections have ended so: the client sees the end before it is counted.
    pub async fn assert_ended(&self, cause: &str, count: u64) {
        let ended = self.api.shared.metrics.ingest_connections_ended_total.with_label_values(&[cause]);
        until(cause, || ended.get() >= count).await;
        assert_eq!(ended.get(), count, "{cause}");
    }

    /// Stops as at SIGTERM; completes when everything in flight is answered.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a server said until it closed the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl Text {
    /// The status of each answer.
    pub fn statuses(&self) -> Vec<u16> {
        let status = |line: &str| line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok();
        self.0.lines().filter_map(status).collect()
    }

    /// The code of the only answer.
    #[track_caller]
    pub fn code(&self) -> String {
        let (head, body) = self.0.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{self:?}"));
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert!(!head.contains("server:"), "{head}");
        let problem: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{self:?}"));
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// Reads until the other side closes, in whatever way.
pub async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Text {
    let mut bytes = Vec::new();
    let closed = timeout(PATIENCE, async {
        let mut buffer = [0; 4_096];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..read]);
        }
    });
    closed.await.expect("the connection stays open");
    Text(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a request and reads its answer; the connection stays open.
pub async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> u16 {
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    loop {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("no answer").unwrap();
        assert!(read > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
            if body.len() >= length.parse().unwrap() {
                return head.split(' ').nth(1).unwrap().parse().unwrap();
            }
        }
    }
}

/// A request that would be taken, with more header lines.
pub fn good(more: &str) -> Vec<u8> {
    let body = message("shop", "m-1").to_string();
    format!("{}content-length: {}\r\n{more}\r\n{body}", head(), body.len()).into_bytes()
}

/// Posts more than both sockets hold and reads no answer before; `line` is a line of its head.
pub async fn write_to_the_end(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    line: &str,
    is_declared: bool,
) -> Text {
    const CHUNKS: usize = 256;
    let chunk = vec![b' '; 0x8000];
    let framing = match is_declared {
        true => format!("content-length: {}\r\n", chunk.len() * CHUNKS),
        false => "transfer-encoding: chunked\r\n".to_owned(),
    };
    stream.write_all(format!("{}{line}{framing}\r\n", head()).as_bytes()).await.unwrap();
    for written in 0..CHUNKS {
        let size = if is_declared { "" } else { "8000\r\n" };
        let end = if is_declared { "" } else { "\r\n" };
        let part = [size.as_bytes(), &chunk, end.as_bytes()].concat();
        stream.write_all(&part).await.unwrap_or_else(|error| panic!("after {written} chunks: {error}"));
    }
    stream.flush().await.unwrap();
    rest(stream).await
}

/// The beginning of a request that posts JSON.
pub fn head() -> String {
    "POST /v1/messages HTTP/1.1\r\nhost: telex\r\ncontent-type: application/json\r\n".to_owned()
}
