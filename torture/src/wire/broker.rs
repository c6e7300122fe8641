//! Requests to one broker, each over a connection of its own, and their answers.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use kafka_protocol::{
    ResponseError,
    messages::{RequestHeader, ResponseHeader},
    protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request, StrBytes},
};

const DEADLINE: Duration = Duration::from_secs(20);
const RESPONSE_BYTES_MAX: usize = 64 << 20;

pub(super) fn check(code: i16) -> Result<()> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(error) => bail!("kafka answers with error {code}: {error}"),
    }
}

/// What an answer says of the one thing that was asked about.
pub(super) fn only<T>(things: Vec<T>) -> Result<T> {
    let [thing] = <[T; 1]>::try_from(things).ok().context("an answer for something else")?;
    Ok(thing)
}

/// A name as requests hold it.
pub(super) fn text<T: From<StrBytes>>(text: &str) -> T {
    StrBytes::from_string(text.to_owned()).into()
}

pub(super) fn address(host: &str, port: i32) -> Result<SocketAddr> {
    format!("{host}:{port}").parse().context("a broker's address")
}

/// Asks again for a while: coordinators are made, move and are busy, and brokers follow the controller.
pub(super) fn retried<T>(mut question: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match question() {
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => dev_env::interrupt::pause(Duration::from_millis(100))?,
            Ok(response) => return Ok(response),
        }
    }
}

pub(super) fn ask<R: Request>(broker: SocketAddr, version: i16, request: &R) -> Result<R::Response> {
    Connection::open(broker)?.ask(version, request)
}

pub(super) struct Connection(TcpStream);

impl Connection {
    pub(super) fn open(broker: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&broker, Duration::from_secs(3))
            .with_context(|| format!("broker {broker}"))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    pub(super) fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
        let mut message = Vec::new();
        header.with_client_id(Some(text("torture"))).encode(&mut message, R::header_version(version))?;
        request.encode(&mut message, version)?;
        let length = i32::try_from(message.len())?.to_be_bytes();
        self.0.write_all(&[&length[..], &message].concat())?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        if length > RESPONSE_BYTES_MAX {
            bail!("an answer of {length} bytes");
        }
        let mut response = vec![0; length];
        self.0.read_exact(&mut response)?;
        let mut rest = &*response;
        ResponseHeader::decode(&mut rest, R::Response::header_version(version))?;
        R::Response::decode(&mut rest, version)
    }
}
