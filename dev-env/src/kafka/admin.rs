//! Three requests of Kafka's protocol, CreateTopics, ListOffsets and CreateAcls, spoken directly.
//!
//! Kafka's own tool takes more than a second to start its virtual machine, for a request of a
//! hundred bytes; a client library would be the largest dependency of this package.
//! Layout: <https://kafka.apache.org/protocol.html>, CreateTopics version 4, ListOffsets version 1,
//! CreateAcls version 1.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::interrupt;

/// The requests with their last versions before the flexible encoding, so strings and arrays are plain.
const CREATE_TOPICS: (i16, i16) = (19, 4);
const LIST_OFFSETS: (i16, i16) = (2, 1);
const CREATE_ACLS: (i16, i16) = (30, 1);
const TOPIC_ALREADY_EXISTS: i16 = 36;
const CORRELATION: i32 = 1;
const DEADLINE: Duration = Duration::from_secs(20);
const RESPONSE_LIMIT: u32 = 64 << 20;

/// Creates a topic, unless one of this name exists, and waits until this broker leads each of its partitions.
pub fn create_topic(
    broker: SocketAddr,
    name: &str,
    partitions: i32,
    configuration: &[(&str, &str)],
) -> Result<()> {
    let request = request(name, partitions, configuration)?;
    let response =
        exchange(broker, &request).with_context(|| format!("topic {name}: no answer from Kafka"))?;
    match created(&response).context("Kafka's answer cannot be read")? {
        Created::Now => wait_until_led(broker, name, partitions),
        Created::Before => Ok(()),
        Created::Refused(error) => Err(anyhow!("Kafka refuses to create the topic {name}: {error}")),
    }
}

/// The broker answers CreateTopics before it knows what it leads.
fn wait_until_led(broker: SocketAddr, name: &str, partitions: i32) -> Result<()> {
    let request = ends(name, partitions)?;
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = exchange(broker, &request).with_context(|| format!("topic {name}: no answer"))?;
        if led(&answer).context("Kafka's answer cannot be read")? == partitions {
            return Ok(());
        }
        ensure!(Instant::now() < until, "topic {name}: the broker does not lead all of its partitions");
        interrupt::pause(Duration::from_millis(20))?;
    }
}

/// What a user may be allowed to do, by Kafka's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Alter = 7,
    Describe = 8,
    DescribeConfigs = 10,
    IdempotentWrite = 12,
}

/// What a right is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// `*` is every topic.
    Topic(&'a str),
    Group(&'a str),
    Cluster,
}

impl<'a> Resource<'a> {
    /// By Kafka's code and name.
    const fn written(self) -> (u8, &'a str) {
        match self {
            Self::Topic(name) => (2, name),
            Self::Group(name) => (3, name),
            Self::Cluster => (4, "kafka-cluster"),
        }
    }
}

/// Allows a user something. From the first such right on, those who have none may do nothing with the resource.
pub fn allow(broker: SocketAddr, user: &str, resource: Resource<'_>, operations: &[Operation]) -> Result<()> {
    const LITERAL: u8 = 3;
    const ALLOW: u8 = 3;
    let (kind, name) = resource.written();
    let mut body = begun(CREATE_ACLS)?;
    put_length(&mut body, operations.len())?;
    for operation in operations {
        body.push(kind);
        put_string(&mut body, name)?;
        body.push(LITERAL);
        put_string(&mut body, &format!("User:{user}"))?;
        put_string(&mut body, "*")?;
        body.extend([*operation as u8, ALLOW]);
    }
    let response = exchange(broker, &body).context("no answer from Kafka")?;
    let error = refused_acl(&response).context("Kafka's answer cannot be read")?;
    error.map_or(Ok(()), |error| Err(anyhow!("Kafka refuses to allow {user} something: {error}")))
}

/// The head of a request.
fn begun((request, version): (i16, i16)) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    body.extend(request.to_be_bytes());
    body.extend(version.to_be_bytes());
    body.extend(CORRELATION.to_be_bytes());
    put_string(&mut body, "telex-dev-env")?;
    Ok(body)
}

fn request(name: &str, partitions: i32, configuration: &[(&str, &str)]) -> Result<Vec<u8>> {
    const REPLICATION_FACTOR: i16 = 1;
    let mut body = begun(CREATE_TOPICS)?;
    put_length(&mut body, 1)?;
    put_string(&mut body, name)?;
    body.extend(partitions.to_be_bytes());
    body.extend(REPLICATION_FACTOR.to_be_bytes());
    put_length(&mut body, 0)?; // no replicas placed by hand
    put_length(&mut body, configuration.len())?;
    for (key, value) in configuration {
        put_string(&mut body, key)?;
        put_string(&mut body, value)?;
    }
    body.extend(i32::try_from(DEADLINE.as_millis())?.to_be_bytes());
    body.push(0); // not only a validation
    Ok(body)
}

/// Asks for the end of each partition's log.
fn ends(name: &str, partitions: i32) -> Result<Vec<u8>> {
    const NO_REPLICA: i32 = -1;
    const LATEST: i64 = -1;
    let mut body = begun(LIST_OFFSETS)?;
    body.extend(NO_REPLICA.to_be_bytes());
    put_length(&mut body, 1)?;
    put_string(&mut body, name)?;
    body.extend(partitions.to_be_bytes());
    for partition in 0..partitions {
        body.extend(partition.to_be_bytes());
        body.extend(LATEST.to_be_bytes());
    }
    Ok(body)
}

fn put_string(buffer: &mut Vec<u8>, text: &str) -> Result<()> {
    buffer.extend(i16::try_from(text.len()).context("a name is too long for Kafka")?.to_be_bytes());
    buffer.extend(text.as_bytes());
    Ok(())
}

fn put_length(buffer: &mut Vec<u8>, length: usize) -> Result<()> {
    buffer.extend(i32::try_from(length)?.to_be_bytes());
    Ok(())
}

/// Sends a request, of whatever kind, over a connection of its own.
pub fn exchange(broker: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&broker, Duration::from_secs(3))
        .with_context(|| format!("broker {broker}"))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(&[&u32::try_from(request.len())?.to_be_bytes()[..], request].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > RESPONSE_LIMIT {
        bail!("an answer of {length} bytes");
    }
    let mut response = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut response)?;
    Ok(response)
}

#[derive(Debug, PartialEq, Eq)]
enum Created {
    Now,
    Before,
    Refused(String),
}

/// What became of the one topic that was asked for.
fn created(mut response: &[u8]) -> Option<Created> {
    let rest = &mut response;
    let correlation = i32::from_be_bytes(next(rest)?);
    let _throttle_time_ms = next::<4>(rest)?;
    let topics = i32::from_be_bytes(next(rest)?);
    if (correlation, topics) != (CORRELATION, 1) {
        return None;
    }
    let _name = string(rest)?;
    let code = i16::from_be_bytes(next(rest)?);
    let message = string(rest)?.unwrap_or_default();
    Some(match code {
        0 => Created::Now,
        TOPIC_ALREADY_EXISTS => Created::Before,
        code => Created::Refused(format!("{message} (error {code})")),
    })
}

/// How many partitions of the one topic have told their end.
fn led(mut response: &[u8]) -> Option<i32> {
    let rest = &mut response;
    let correlation = i32::from_be_bytes(next(rest)?);
    let topics = i32::from_be_bytes(next(rest)?);
    if (correlation, topics) != (CORRELATION, 1) {
        return None;
    }
    let _name = string(rest)?;
    let mut led = 0;
    for _ in 0..i32::from_be_bytes(next(rest)?) {
        let _partition = next::<4>(rest)?;
        let code = i16::from_be_bytes(next(rest)?);
        let _timestamp_and_offset = next::<16>(rest)?;
        led += i32::from(code == 0);
    }
    Some(led)
}

/// What is wrong with the first of the rights that are not given.
fn refused_acl(mut response: &[u8]) -> Option<Option<String>> {
    let rest = &mut response;
    let correlation = i32::from_be_bytes(next(rest)?);
    let _throttle_time_ms = next::<4>(rest)?;
    let results = i32::from_be_bytes(next(rest)?);
    if correlation != CORRELATION || results < 1 {
        return None;
    }
    let mut refused = None;
    for _ in 0..results {
        let code = i16::from_be_bytes(next(rest)?);
        let message = string(rest)?.unwrap_or_default();
        refused = refused.or_else(|| (code != 0).then(|| format!("{message} (error {code})")));
    }
    Some(refused)
}

fn next<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    from.split_off(..N)?.try_into().ok()
}

/// The inner `None` is Kafka's null.
fn string(from: &mut &[u8]) -> Option<Option<String>> {
    let Ok(length) = usize::try_from(i16::from_be_bytes(next(from)?)) else {
        return Some(None);
    };
    Some(Some(String::from_utf8_lossy(from.split_off(..length)?).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How an answer about so many things begins.
    fn begun_answer(things: i32) -> Vec<u8> {
        [CORRELATION, 0, things].into_iter().flat_map(i32::to_be_bytes).collect()
    }

    #[test]
    fn a_refusal_is_read_with_its_reason() {
        let mut response = begun_answer(1);
        put_string(&mut response, "orders").unwrap();
        response.extend(37_i16.to_be_bytes());
        put_string(&mut response, "too few").unwrap();
        assert_eq!(created(&response), Some(Created::Refused("too few (error 37)".to_owned())));
    }

    #[test]
    fn the_right_that_is_not_given_is_read_with_its_reason() {
        let mut response = begun_answer(2);
        response.extend(0_i16.to_be_bytes());
        response.extend((-1_i16).to_be_bytes());
        response.extend(54_i16.to_be_bytes());
        put_string(&mut response, "no authorizer").unwrap();
        assert_eq!(refused_acl(&response), Some(Some("no authorizer (error 54)".to_owned())));
    }

    #[test]
    fn a_partition_that_the_broker_does_not_lead_yet_is_not_counted() {
        let mut response = [CORRELATION, 1].into_iter().flat_map(i32::to_be_bytes).collect();
        put_string(&mut response, "orders").unwrap();
        response.extend(2_i32.to_be_bytes());
        for (partition, code) in [(0_i32, 0_i16), (1, 6)] {
            response.extend(partition.to_be_bytes());
            response.extend(code.to_be_bytes());
            response.extend([0; 16]);
        }
        assert_eq!(led(&response), Some(1));
    }

    #[test]
    fn a_response_cut_short_is_no_success() {
        assert_eq!(created(&CORRELATION.to_be_bytes()), None);
        assert_eq!(led(&CORRELATION.to_be_bytes()), None);
        assert_eq!(refused_acl(&CORRELATION.to_be_bytes()), None);
    }
}
