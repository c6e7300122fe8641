//! The small server. It remembers what arrived, in order.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use schemas::{Invalid, InvalidReason, Message, Posted, Timestamp};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    None,
    /// 503 at the first try of every nth distinct body.
    FirstTryUnavailable {
        one_in: usize,
    },
    /// 503 and `Retry-After: 1` for the very first request.
    UnavailableForASecond,
    /// No reply to the first try of every nth distinct body.
    FirstTrySilent {
        one_in: usize,
    },
    /// The first connections that carry a request end instead of replying.
    ConnectionsBreak {
        first: usize,
    },
    /// `connection: close` on every reply.
    CloseAfterReply,
    /// An idle connection ends after 30 ms.
    CloseWhenIdle,
    /// 503, always.
    AlwaysUnavailable,
    /// 202 for anything.
    TakesEverything,
    /// Every reply takes this long.
    Slow(Duration),
}

/// A request that got a reply.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub request_id: String,
    pub body: Bytes,
    pub status: u16,
}

pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    trouble: Trouble,
    connections: AtomicUsize,
    broken: AtomicUsize,
    tried: Mutex<HashSet<Bytes>>,
    arrivals: Mutex<Vec<Arrival>>,
}

/// What the ingest API says to a body.
pub fn judge(body: &[u8]) -> Result<Message, Invalid> {
    let micros = i64::try_from(service_kit::clock::unix_time().as_micros()).unwrap();
    Posted::parse(body, Timestamp::from_micros(micros).unwrap()).map(|posted| posted.message)
}

impl Server {
    pub async fn start(trouble: Trouble) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            trouble,
            connections: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            tried: Mutex::default(),
            arrivals: Mutex::default(),
        });
        let accepting = service_kit::spawn("server", accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap().clone()
    }

    /// How many connections were accepted, the probe before a run included.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _peer) = listener.accept().await.unwrap();
        shared.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(serve(socket, Arc::clone(&shared)));
    }
}

async fn serve(mut socket: TcpStream, shared: Arc<Shared>) {
    if let Trouble::ConnectionsBreak { first } = shared.trouble
        && shared.broken.load(Ordering::Relaxed) < first
    {
        let mut some = [0; 64];
        // The probe before a run sends nothing and must not use a break up.
        if socket.read(&mut some).await.is_ok_and(|bytes| bytes > 0) {
            shared.broken.fetch_add(1, Ordering::Relaxed);
        }
        return;
    }
    let mut http = http1::Builder::new();
    if let Trouble::CloseWhenIdle = shared.trouble {
        http.timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(30));
    }
    let router = Router::new()
        .route("/v1/messages", post(answer))
        .route("/v1/messages/batch", post(answer_batch))
        .with_state(shared);
    let _ended = http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(router)).await.is_ok();
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name| headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/json");
    let request_id = header("x-request-id");
    let place = {
        let mut tried = shared.tried.lock().unwrap();
        tried.insert(body.clone()).then_some(tried.len())
    };
    let is_nth = |one_in| place.is_some_and(|place| place % one_in == 0);
    let status = match shared.trouble {
        Trouble::FirstTryUnavailable { one_in } if is_nth(one_in) => 503,
        Trouble::UnavailableForASecond if place == Some(1) => 503,
        Trouble::FirstTrySilent { one_in } if is_nth(one_in) => std::future::pending().await,
        Trouble::AlwaysUnavailable => 503,
        Trouble::TakesEverything => 202,
        Trouble::Slow(duration) => {
            tokio::time::sleep(duration).await;
            status_of(&body)
        }
        _ => status_of(&body),
    };
    shared.arrivals.lock().unwrap().push(Arrival { request_id, body, status });
    reply(status, shared.trouble)
}

/// A result for each line. Once a message is refused for now, the later ones of its client are as well.
async fn answer_batch(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers.get("content-type").unwrap(), "application/x-ndjson");
    let request_id = headers.get("x-request-id").unwrap().to_str().unwrap().to_owned();
    let mut refused = HashSet::new();
    let results = schemas::batch::ndjson(&body).unwrap().into_iter().map(|line| {
        let line = body.slice_ref(line);
        let client = judge(&line).map(|message| message.client_id()).ok();
        let mut tried = shared.tried.lock().unwrap();
        let is_new = tried.insert(line.clone());
        let is_away = match shared.trouble {
            Trouble::FirstTryUnavailable { one_in } => is_new && tried.len().is_multiple_of(one_in),
            _ => false,
        };
        let status = if is_away || refused.contains(&client) { 503 } else { status_of(&line) };
        if status == 503 && client.is_some() {
            refused.insert(client);
        }
        shared.arrivals.lock().unwrap().push(Arrival { request_id: request_id.clone(), body: line, status });
        serde_json::json!({"status": status})
    });
    let body = serde_json::json!({"results": results.collect::<Vec<_>>()});
    (StatusCode::MULTI_STATUS, body.to_string()).into_response()
}

fn status_of(body: &[u8]) -> u16 {
    match judge(body) {
        Ok(_) => 202,
        Err(Invalid { reason: InvalidReason::MalformedJson, .. }) => 400,
        Err(_) => 422,
    }
}

fn reply(status: u16, trouble: Trouble) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let retry_after = if let Trouble::UnavailableForASecond = trouble { "1" } else { "0" };
    match (status, trouble) {
        (StatusCode::SERVICE_UNAVAILABLE, _) => {
            (status, [("retry-after", retry_after)], r#"{"code":"kafka_unavailable"}"#).into_response()
        }
        (_, Trouble::CloseAfterReply) => (status, [("connection", "close")], "{}").into_response(),
        _ => (status, "{}").into_response(),
    }
}
