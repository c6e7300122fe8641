//! The accept loop. `axum::serve` sets no timer, so that slow clients could hold connections for ever
//! (pitfalls 62); here each connection has a deadline for its first head, each further head, and idleness,
//! their number has a limit, and a stop waits for requests in flight but not for idle connections.
//! HTTP/1.1 only: no upgrade, no HTTP/2.

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::{config::Limits, metrics::Metrics};

/// Of one connection's head, after which hyper answers 431.
const HEADERS_MAX: usize = 100;
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Serves connections until `shutdown` completes; then lets requests in flight finish, for
/// `limits.drain_deadline_ms` at most.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) {
    let connections = Arc::new(Semaphore::new(usize::try_from(limits.connections_max).unwrap_or(usize::MAX)));
    let (stop, stopped) = watch::channel(false);
    let tracker = TaskTracker::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or a connection that is gone already: the next may be better.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            metrics.ingest_connections_refused_total.inc();
            continue;
        };
        let (router, stopped, open) = (router.clone(), stopped.clone(), metrics.ingest_connections.clone());
        let deadlines = Deadlines::new(&limits);
        let task = tracker.track_future(async move {
            open.inc();
            connection(stream, router, deadlines, stopped).await;
            open.dec();
            drop(permit);
        });
        drop(service_kit::spawn("connection", task));
    }
    drop(listener);
    // Nobody listens only if no connection is open.
    let _no_connection = stop.send(true).is_err();
    tracker.close();
    let deadline = Duration::from_millis(limits.drain_deadline_ms);
    if tokio::time::timeout(deadline, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "stopped with requests in flight");
    }
}

#[derive(Clone, Copy)]
struct Deadlines {
    head: Duration,
    idle: Duration,
}

impl Deadlines {
    const fn new(limits: &Limits) -> Self {
        Self {
            head: Duration::from_millis(limits.header_deadline_ms),
            idle: Duration::from_millis(limits.idle_deadline_ms),
        }
    }
}

/// What a connection does, seen by the one who may close it.
struct Activity {
    opened: Instant,
    in_flight: AtomicUsize,
    /// Requests begun, and when the last one ended, in milliseconds after `opened`.
    begun: AtomicU64,
    last_end_ms: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { opened: Instant::now(), in_flight: AtomicUsize::new(0), begun: AtomicU64::new(0), last_end_ms: AtomicU64::new(0) }
    }

    fn is_idle_too_long(&self, deadlines: Deadlines) -> bool {
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return false;
        }
        let since = self.opened + Duration::from_millis(self.last_end_ms.load(Ordering::Acquire));
        let allowed = if self.begun.load(Ordering::Acquire) == 0 { deadlines.head } else { deadlines.idle };
        since.elapsed() >= allowed
    }

    fn begin(self: &Arc<Self>) -> InFlight {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }
}

/// One request; its end counts also when hyper drops it.
struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_end_ms.store(now, Ordering::Release);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn connection(stream: TcpStream, router: Router, deadlines: Deadlines, mut stopped: watch::Receiver<bool>) {
    // Answers are small and complete: waiting for more of them only delays them.
    let _best_effort = stream.set_nodelay(true).is_err();
    let activity = Arc::new(Activity::new());
    let seen = Arc::clone(&activity);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (router, in_flight) = (router.clone(), seen.begin());
        async move {
            let response: Result<Response, Infallible> = router.oneshot(Request::from(request.map(Body::new))).await;
            drop(in_flight);
            response
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(deadlines.head)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut look = tokio::time::interval(deadlines.head.min(Duration::from_secs(1)));
    let mut stopping = false;
    loop {
        tokio::select! {
            // An error here is the client's: broken framing, a slow head, a reset. hyper has answered it.
            _ended = connection.as_mut() => return,
            _ = stopped.changed(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = look.tick() => {
                if activity.is_idle_too_long(deadlines) {
                    return;
                }
            }
        }
    }
}
