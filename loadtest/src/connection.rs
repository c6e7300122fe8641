//! HTTP/1.1 on one socket, kept alive and opened again when needed.
//!
//! hyper's connection future is polled by the worker itself instead of a task of its own: that
//! saves two task switches a request, which on a machine shared with what is tested count.

use std::{pin::Pin, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Uri,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER},
    http::uri::Scheme,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

/// The header that names one attempt.
pub const REQUEST_ID: &str = "x-request-id";

/// A reply is a few hundred bytes for each message; one without an end must not fill the memory.
const REPLY_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Target {
    host: String,
    port: u16,
    authority: HeaderValue,
    single: Uri,
    batch: Uri,
    hook: Uri,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// One message, to `/v1/messages`.
    Single,
    /// A message a line, to `/v1/messages/batch`.
    Batch,
    /// One message as a provider sends it, to `/v1/hooks/{name}`.
    Hook,
}

/// A reply, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// The header of that name, if it holds seconds.
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

/// Why there was no reply.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nobody accepts connections.
    #[error("cannot connect: {0}")]
    Connect(#[source] std::io::Error),
    #[error("the connection broke: {0}")]
    Broken(#[source] hyper::Error),
    /// The reply's body broke off or was too long.
    #[error("the reply broke off: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A socket to the target, when there is one.
pub struct Connection {
    target: Target,
    open: Option<Open>,
}

struct Open {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
}

impl Target {
    /// `POST {base}/v1/messages` and `…/batch`.
    ///
    /// # Errors
    /// `base` is not an `http://` URL with a host.
    pub fn parse(base: &str) -> anyhow::Result<Self> {
        let uri: Uri = base.parse().context("not a URL")?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            bail!("only http:// is spoken");
        }
        if uri.query().is_some() {
            bail!("a query has no meaning here");
        }
        let authority = uri.authority().context("no host")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let base = uri.path().trim_end_matches('/');
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(authority.as_str())?,
            single: format!("{base}/v1/messages").parse()?,
            batch: format!("{base}/v1/messages/batch").parse()?,
            hook: format!("{base}/v1/hooks/none").parse()?,
        })
    }

    /// The same with the hook of this name.
    ///
    /// # Errors
    /// The name cannot stand in a path.
    pub fn with_hook(self, name: &str) -> anyhow::Result<Self> {
        let path = self.single.path().trim_end_matches("messages");
        Ok(Self { hook: format!("{path}hooks/{name}").parse().context("not a hook's name")?, ..self })
    }

    /// Opens a socket.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    fn request(&self, route: Route, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
        let (path, content_type) = match route {
            Route::Single => (&self.single, "application/json"),
            Route::Batch => (&self.batch, "application/x-ndjson"),
            Route::Hook => (&self.hook, "application/json"),
        };
        // hyper would leave the length of an empty body out.
        let length = HeaderValue::from(body.len());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.clone();
        *request.headers_mut() = headers;
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_LENGTH, length);
        request
    }
}

impl Connection {
    /// Connects at the first exchange.
    pub fn new(target: Target) -> Self {
        Self { target, open: None }
    }

    /// Sends one request and reads its reply. A connection that broke, or whose exchange was
    /// dropped half-way, is not used again.
    ///
    /// # Errors
    /// There was no reply; whether the request had an effect is unknown.
    pub async fn exchange(
        &mut self,
        route: Route,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, ExchangeError> {
        let mut kept_alive = self.open.take();
        if let Some(open) = &mut kept_alive
            && !open.is_usable().await
        {
            kept_alive = None;
        }
        let open = match kept_alive {
            Some(open) => open,
            None => Open::connect(&self.target).await?,
        };
        let (reply, open) = open.exchange(self.target.request(route, headers, body)).await;
        self.open = open.filter(|_| reply.is_ok());
        reply
    }

    /// Waits, and meanwhile notices when the server closes the idle connection: so that the next
    /// request does not run into it.
    pub async fn idle_until(&mut self, instant: Instant) {
        if let Some(open) = &mut self.open {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(instant) => return,
                _ended = open.driver.as_mut() => self.open = None,
            }
        }
        tokio::time::sleep_until(instant).await;
    }
}

impl Open {
    async fn connect(target: &Target) -> Result<Self, ExchangeError> {
        let socket = target.connect().await.map_err(ExchangeError::Connect)?;
        let (sender, driver) = http1::handshake(TokioIo::new(socket)).await.map_err(ExchangeError::Broken)?;
        Ok(Self { sender, driver: Box::pin(driver) })
    }

    /// The driver first: the sender alone would not know of an end that was not read yet.
    async fn is_usable(&mut self) -> bool {
        tokio::select! {
            biased;
            _ended = self.driver.as_mut() => false,
            ready = self.sender.ready() => ready.is_ok(),
        }
    }

    /// Hands itself back unless the connection has ended.
    async fn exchange(
        mut self,
        request: Request<Full<Bytes>>,
    ) -> (Result<Reply, ExchangeError>, Option<Self>) {
        let reply = {
            let mut exchange = std::pin::pin!(async {
                let response = self.sender.send_request(request).await.map_err(ExchangeError::Broken)?;
                read(response).await
            });
            tokio::select! {
                biased;
                reply = &mut exchange => reply,
                _ended = self.driver.as_mut() => {
                    // The last reply may still lie in the channel between the two.
                    drop(self.driver);
                    return (exchange.await, None);
                }
            }
        };
        (reply, Some(self))
    }
}

async fn read(response: hyper::Response<Incoming>) -> Result<Reply, ExchangeError> {
    let (head, body) = response.into_parts();
    let retry_after = head
        .headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().parse().ok())
        .map(Duration::from_secs);
    let body = Limited::new(body, REPLY_BYTES_MAX).collect().await.map_err(ExchangeError::Body)?;
    Ok(Reply { status: head.status.as_u16(), retry_after, body: body.to_bytes() })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://127.0.0.1:8080", "127.0.0.1", 8080, "/v1/messages")]
    #[case("http://localhost/", "localhost", 80, "/v1/messages")]
    #[case("http://[::1]:81/telex/", "::1", 81, "/telex/v1/messages")]
    fn a_base_url_becomes_host_port_and_path(
        #[case] base: &str,
        #[case] host: &str,
        #[case] port: u16,
        #[case] path: &str,
    ) {
        let target = Target::parse(base).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.single.path()), (host, port, path));
        assert_eq!(target.batch.path(), format!("{path}/batch"));
        let hooks = path.replace("messages", "hooks/whatsapp");
        assert_eq!(target.with_hook("whatsapp").unwrap().hook.path(), hooks);
    }

    #[rstest]
    #[case("https://127.0.0.1")]
    #[case("127.0.0.1:8080")]
    #[case("/v1/messages")]
    #[case("http://host/?a=b")]
    #[case("")]
    fn what_cannot_be_a_target_is_refused(#[case] base: &str) {
        assert!(Target::parse(base).is_err());
    }
}
