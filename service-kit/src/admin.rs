//! The admin port: `/livez`, `/readyz` and `/metrics`, apart from the port that producers reach (S25).
//!
//! Live means that the process still turns and a restart would not help; ready means that it does
//! its work. Neither asks another system: one outage must not restart every pod.

use std::{future::Future, sync::Arc};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;

/// What a service says of itself.
pub trait Health: Send + Sync + 'static {
    /// Whether the process turns; the reason if not.
    fn live(&self) -> Result<(), String>;

    /// Whether the process does its work; the reason if not.
    fn ready(&self) -> Result<(), String>;

    /// The metrics, brought up to date.
    fn metrics(&self) -> &Registry;
}

/// The routes of the admin port.
pub fn router(health: Arc<impl Health>) -> Router {
    let (live, ready) = (Arc::clone(&health), Arc::clone(&health));
    Router::new()
        .route("/livez", get(move || async move { probe(live.live()) }))
        .route("/readyz", get(move || async move { probe(ready.ready()) }))
        .route("/metrics", get(move || async move { exposition(health.metrics()) }))
}

/// Serves the admin port until `stop` completes.
pub async fn serve(
    listener: TcpListener,
    health: Arc<impl Health>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(health)).with_graceful_shutdown(stop).await
}

fn probe(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

fn exposition(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    use super::*;

    /// A process that is live, and ready or not.
    pub(crate) struct Process {
        pub(crate) ready: Result<(), String>,
        pub(crate) registry: Registry,
    }

    impl Health for Process {
        fn live(&self) -> Result<(), String> {
            Ok(())
        }

        fn ready(&self) -> Result<(), String> {
            self.ready.clone()
        }

        fn metrics(&self) -> &Registry {
            &self.registry
        }
    }

    #[tokio::test]
    async fn a_starting_service_is_live_but_not_ready() {
        for (path, status) in [("/livez", 200), ("/readyz", 503), ("/metrics", 200), ("/", 404)] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let ready = Err("no partition assigned yet".to_owned());
            let starting = Process { ready, registry: Registry::new() };
            let reply = router(Arc::new(starting)).oneshot(request).await.unwrap();
            assert_eq!(reply.status(), status, "{path}");
        }
    }
}
