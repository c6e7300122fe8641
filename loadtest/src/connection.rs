//! HTTP/1.1 on one socket, kept alive and opened again when needed.
//!
//! Written here and not taken from a library: the load tester shares the machine with what it tests, and a request
//! from a head that is ready beforehand, in a buffer that stays, costs little more than its two system calls.

use std::{io::Write as _, time::Duration};

use anyhow::{Context as _, bail};
use http::{HeaderMap, HeaderValue, Uri, uri::Scheme};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp::ReadHalf},
    time::Instant,
};

use crate::wire::{self, Frame, Malformed};

/// At least so much room is there when an answer is read: most fit.
pub(crate) const READ_BYTES: usize = 2 * 1024;

#[derive(Debug, Clone)]
pub struct Target {
    host: String,
    port: u16,
    authority: String,
    /// In front of every path.
    base: String,
    single: Head,
    batch: Head,
    hook: Head,
}

/// What requests of a route begin with, up to the headers that differ.
#[derive(Debug, Clone)]
struct Head(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// One message, to `/v1/messages`.
    Single,
    /// A message a line, to `/v1/messages/batch`.
    Batch,
    /// One message as a provider sends it, to `/v1/hooks/{name}`.
    Hook,
}

/// What is sent. Without Debug: it holds what people wrote.
#[derive(Clone, Copy)]
pub struct Post<'a> {
    pub route: Route,
    /// Names one attempt.
    pub request_id: &'a str,
    /// Those that sign it.
    pub headers: Option<&'a HeaderMap>,
    pub body: &'a [u8],
}

/// A reply, read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    pub status: u16,
    /// The header of that name, if it holds seconds.
    pub retry_after: Option<Duration>,
    pub body: &'a [u8],
}

#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("cannot connect: {0}")]
    Connect(#[source] std::io::Error),
    #[error("the connection broke: {0}")]
    Broken(#[source] std::io::Error),
    /// Before the reply, or in the midst of it.
    #[error("the connection was closed")]
    Closed,
    #[error("the reply cannot be read: {0}")]
    Malformed(#[from] Malformed),
}

/// A socket to the target, when there is one, and the buffers that every exchange uses again.
pub struct Connection {
    target: Target,
    socket: Option<TcpStream>,
    request: Vec<u8>,
    received: Vec<u8>,
}

impl Head {
    fn new(authority: &str, path: &str, content_type: &str) -> anyhow::Result<Self> {
        // What is none cannot stand in a request either.
        let path: Uri = path.parse()?;
        Ok(Self(format!("POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: {content_type}\r\n")))
    }
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
        HeaderValue::from_str(authority.as_str())?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let base = uri.path().trim_end_matches('/').to_owned();
        let head = |path: &str, content_type: &str| {
            Head::new(authority.as_str(), &format!("{base}{path}"), content_type)
        };
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(80),
            single: head("/v1/messages", "application/json")?,
            batch: head("/v1/messages/batch", "application/x-ndjson")?,
            hook: head("/v1/hooks/none", "application/json")?,
            authority: authority.to_string(),
            base,
        })
    }

    /// The same with the hook of this name.
    pub fn with_hook(self, name: &str) -> anyhow::Result<Self> {
        let path = format!("{}/v1/hooks/{name}", self.base);
        let hook = Head::new(&self.authority, &path, "application/json").context("not a hook's name")?;
        Ok(Self { hook, ..self })
    }

    pub async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    /// The request as it goes over the wire.
    fn write(&self, post: &Post<'_>, request: &mut Vec<u8>) -> std::io::Result<()> {
        let Head(head) = match post.route {
            Route::Single => &self.single,
            Route::Batch => &self.batch,
            Route::Hook => &self.hook,
        };
        request.clear();
        request.extend_from_slice(head.as_bytes());
        for (name, value) in post.headers.into_iter().flatten() {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                request.extend_from_slice(part);
            }
        }
        let (request_id, length) = (post.request_id, post.body.len());
        write!(request, "x-request-id: {request_id}\r\ncontent-length: {length}\r\n\r\n")?;
        request.extend_from_slice(post.body);
        Ok(())
    }
}

impl Connection {
    /// Connects at the first exchange.
    pub const fn new(target: Target) -> Self {
        Self { target, socket: None, request: Vec::new(), received: Vec::new() }
    }

    /// Sends one request and reads its reply. A connection that broke, or whose exchange was
    /// dropped half-way, is not used again.
    ///
    /// # Errors
    /// There was no reply; whether the request had an effect is unknown.
    pub async fn exchange(&mut self, post: &Post<'_>) -> Result<Reply<'_>, ExchangeError> {
        let mut socket = match self.socket.take().filter(is_usable) {
            Some(kept_alive) => kept_alive,
            None => self.target.connect().await.map_err(ExchangeError::Connect)?,
        };
        self.target.write(post, &mut self.request).map_err(ExchangeError::Broken)?;
        self.received.clear();
        let (frame, is_sent) = transfer(&mut socket, &self.request, &mut self.received).await?;
        // Bytes behind the reply are none that were asked for.
        if is_sent && !frame.closes && frame.end() == self.received.len() {
            self.socket = Some(socket);
        }
        let Frame { status, retry_after, .. } = frame;
        Ok(Reply { status, retry_after, body: frame.body(&self.received) })
    }

    /// Waits, and meanwhile notices when the server closes the idle connection: so that the next
    /// request does not run into it.
    pub async fn idle_until(&mut self, instant: Instant) {
        let mut over = std::pin::pin!(tokio::time::sleep_until(instant));
        while let Some(socket) = &self.socket {
            tokio::select! {
                biased;
                () = &mut over => return,
                readable = socket.readable() => {
                    if readable.is_err() || !is_usable(socket) {
                        self.socket = None;
                    }
                }
            }
        }
        over.await;
    }
}

/// Whether nothing has come since the last reply: neither an end nor anything else. Asks the system only if
/// there is something.
fn is_usable(socket: &TcpStream) -> bool {
    let nothing = socket.try_read(&mut [0]);
    nothing.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// The reply, and whether all of the request was sent before it came.
async fn transfer(
    socket: &mut TcpStream,
    request: &[u8],
    received: &mut Vec<u8>,
) -> Result<(Frame, bool), ExchangeError> {
    let (mut reading, mut writing) = socket.split();
    let written = tokio::select! {
        biased;
        written = writing.write_all(request) => written,
        // A long request may be refused before it is there.
        early = read(&mut reading, received) => return Ok((early?, false)),
    };
    match (written, read(&mut reading, received).await) {
        (Ok(()), reply) => Ok((reply?, true)),
        // Refused and closed: the reply may have come before.
        (Err(_), Ok(frame)) => Ok((frame, false)),
        (Err(error), Err(_)) => Err(ExchangeError::Broken(error)),
    }
}

async fn read(socket: &mut ReadHalf<'_>, received: &mut Vec<u8>) -> Result<Frame, ExchangeError> {
    loop {
        if let Some(frame) = wire::frame(received)? {
            return Ok(frame);
        }
        received.reserve(READ_BYTES);
        if socket.read_buf(received).await.map_err(ExchangeError::Broken)? == 0 {
            return Err(ExchangeError::Closed);
        }
    }
}

#[cfg(test)]
mod tests;
