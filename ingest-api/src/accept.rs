//! The accept loop. `axum::serve` sets no timer, so that slow clients could hold connections forever
//! (pitfalls 62); here the number of connections has a limit, each has deadlines ([`connection`]), and a
//! stop waits for requests in flight but not for idle connections. A connection is served by one of the [`Shards`].

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_util::task::TaskTracker;

use crate::{
    activity::{Deadlines, End},
    config::Limits,
    connection,
    error::{ApiError, PROBLEM_JSON, Unavailable},
    lingering::Lingering,
    metrics::Metrics,
    router,
    shards::Shards,
    tls::Certificates,
};

pub struct Server {
    pub router: Router,
    /// TLS, or plain HTTP without.
    pub certificates: Option<Arc<Certificates>>,
    /// How many, and how long.
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
}

impl Server {
    /// Serves connections on `shards` until `shutdown` completes. Those that `tracker` knows then are open for as long
    /// as a request is in flight: [`drain`] waits for them, and the shards have to last until it has.
    pub async fn run(
        self,
        listener: TcpListener,
        shards: Arc<Shards>,
        tracker: TaskTracker,
        shutdown: impl Future<Output = ()>,
    ) {
        let lingering = Arc::new(Lingering::default());
        let max = usize::try_from(self.limits.connections_max).unwrap_or(usize::MAX);
        let connections = Arc::new(Semaphore::new(max));
        let server = Arc::new(self);
        let (stop, stopped) = watch::channel(false);
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
                server.refuse(stream, Arc::clone(&lingering));
                continue;
            };
            match stream.into_std() {
                Ok(stream) => {
                    let lingering = Arc::clone(&lingering);
                    let connection =
                        Arc::clone(&server).connection(stream, permit, stopped.clone(), lingering);
                    shards.serve(&tracker, connection);
                }
                Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
            }
        }
        drop(listener);
        // Nobody listens only if no connection is open.
        let _no_connection = stop.send(true).is_err();
    }

    async fn connection(
        self: Arc<Self>,
        stream: std::net::TcpStream,
        permit: OwnedSemaphorePermit,
        stopped: watch::Receiver<bool>,
        lingering: Arc<Lingering>,
    ) {
        self.metrics.ingest_connections.inc();
        // From here on it belongs to the runtime of its shard.
        let end = match TcpStream::from_std(stream) {
            Ok(stream) => self.open(stream, stopped, &lingering).await,
            Err(_) => End::Broken,
        };
        self.metrics.ingest_connections_ended_total.with_label_values(&[end.as_str()]).inc();
        self.metrics.ingest_connections.dec();
        drop(permit);
    }

    /// Shakes hands, where TLS is spoken, and serves.
    async fn open(&self, stream: TcpStream, stopped: watch::Receiver<bool>, lingering: &Lingering) -> End {
        let opened = Instant::now();
        // Answers are small and complete: waiting for more of them only delays them.
        let _best_effort = stream.set_nodelay(true).is_err();
        let Some(certificates) = &self.certificates else {
            return self.talk(stream, opened, stopped, lingering).await;
        };
        let handshake = certificates.acceptor().accept(stream);
        let deadline = Deadlines::new(&self.limits).head;
        match tokio::time::timeout(deadline, handshake).await {
            Ok(Ok(stream)) => self.talk(stream, opened, stopped, lingering).await,
            Ok(Err(_)) | Err(_) => End::Handshake,
        }
    }

    /// Serves a connection's requests, and lets its client read the last answer.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        opened: Instant,
        stopped: watch::Receiver<bool>,
        lingering: &Lingering,
    ) -> End {
        let (router, deadlines) = (self.router.clone(), Deadlines::new(&self.limits));
        let (end, unread) = connection::serve(stream, opened, router, deadlines, stopped).await;
        if let Some(unread) = unread {
            lingering.close(unread, b"").await;
        }
        end
    }

    /// Says so; over TLS the connection is only closed.
    fn refuse(&self, stream: TcpStream, lingering: Arc<Lingering>) {
        self.metrics.ingest_connections_refused_total.inc();
        if self.certificates.is_none() {
            let refusal = async move { lingering.close(stream, one_too_many().as_bytes()).await };
            drop(service_kit::spawn("refused", refusal));
        }
    }
}

/// What a connection gets that is one too many, if it can be written at once: what the router would answer, without a
/// request that was read.
fn one_too_many() -> String {
    let error = ApiError::Unavailable(Unavailable::TooManyConnections);
    let (status, seconds) = (error.status(), error.retry_after_seconds().unwrap_or_default());
    let (id, _) = router::new_id();
    let body = serde_json::to_string(&error.problem(id.as_str())).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\nx-request-id: {}\r\nretry-after: {seconds}\r\nconnection: close\r\n\
         content-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n\r\n{body}",
        id.as_str(),
        body.len(),
    )
}

/// Waits until the connections of a server that has ended, in whatever way, have answered their requests; for
/// `deadline` at most.
pub async fn drain(tracker: &TaskTracker, deadline: Duration) {
    tracker.close();
    if tokio::time::timeout(deadline, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "stopped with requests in flight");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_one_too_many_is_what_the_contract_says_and_as_long_as_it_says() {
        let text = one_too_many();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&problem["status"], &problem["code"]), (&503.into(), &"too_many_connections".into()));
        let id = problem["request_id"].as_str().unwrap();
        assert!(head.contains(&format!("x-request-id: {id}\r\nretry-after: 1\r\n")), "{head}");
    }
}
