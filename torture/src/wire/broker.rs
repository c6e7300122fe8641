//! Requests to one broker, each over a connection of its own, and their answers.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::bytes::{Reader, Writer};

pub(super) const DEADLINE: Duration = Duration::from_secs(20);
const RESPONSE_BYTES_MAX: usize = 64 << 20;

pub(super) fn check(code: i16) -> Result<()> {
    if code == 0 { Ok(()) } else { bail!("kafka answers with error {code}") }
}

/// Passes over what comes before the rest of an answer for one partition of one topic: their names and an error.
pub(super) fn check_partition(reader: &mut Reader<'_>) -> Result<()> {
    reader.array()?;
    reader.short_text()?;
    reader.array()?;
    reader.i32()?;
    check(reader.i16()?)
}

/// Asks again for a while: coordinators are made, move and are busy.
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

pub(super) fn ask(broker: SocketAddr, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    Connection::open(broker)?.ask(key, version, body)
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

    /// The answer without its correlation id.
    pub(super) fn ask(&mut self, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
        const FLEXIBLE: [(i16, i16); 2] = [(3, 12), (55, 0)];
        let mut request = Writer::default();
        request.i16(key).i16(version).i32(1).text("torture");
        if FLEXIBLE.contains(&(key, version)) {
            request.unsigned_varint(0);
        }
        request.raw(body);
        let mut framed = Writer::default();
        framed.length(request.0.len()).raw(&request.0);
        self.0.write_all(&framed.0)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        if !(4..=RESPONSE_BYTES_MAX).contains(&length) {
            bail!("an answer of {length} bytes");
        }
        let mut response = vec![0; length];
        self.0.read_exact(&mut response)?;
        Ok(response.split_off(4))
    }
}
