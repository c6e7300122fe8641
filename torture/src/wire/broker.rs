//! Requests to one broker, each over a connection of its own, and their answers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dev_env::{interrupt, kafka::admin::exchange};
use kafka_protocol::{
    ResponseError,
    messages::{RequestHeader, ResponseHeader},
    protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request, StrBytes},
};

/// How long a question is asked again.
const DEADLINE: Duration = Duration::from_secs(20);

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
            Err(_) => interrupt::pause(Duration::from_millis(100))?,
            Ok(response) => return Ok(response),
        }
    }
}

pub(super) fn ask<R: Request>(broker: SocketAddr, version: i16, request: &R) -> Result<R::Response> {
    let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
    let mut message = Vec::new();
    header.with_client_id(Some(text("torture"))).encode(&mut message, R::header_version(version))?;
    request.encode(&mut message, version)?;
    let response = exchange(broker, &message)?;
    let mut rest = &*response;
    ResponseHeader::decode(&mut rest, R::Response::header_version(version))?;
    R::Response::decode(&mut rest, version)
}
