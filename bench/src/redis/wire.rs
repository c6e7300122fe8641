//! As much of Redis's protocol (RESP2) as the worker needs: a command, and its one answer.

use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(super) struct Connection {
    socket: TcpStream,
    received: BytesMut,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A text, or `OK`.
    Text(Vec<u8>),
    Number(i64),
    /// Nothing: no such key, or a condition that did not hold.
    Nil,
}

impl Connection {
    pub(super) async fn connect(port: u16) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.context("Redis cannot be reached")?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, received: BytesMut::with_capacity(4096) })
    }

    pub(super) async fn command(&mut self, words: &[&str]) -> Result<Answer> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.socket.write_all(command.as_bytes()).await?;
        loop {
            if let Some((answer, length)) = parse(&self.received)? {
                drop(self.received.split_to(length));
                return Ok(answer);
            }
            if self.socket.read_buf(&mut self.received).await? == 0 {
                bail!("Redis closed the connection");
            }
        }
    }
}

/// The answer at the beginning and its length, once all of it is there.
fn parse(received: &[u8]) -> Result<Option<(Answer, usize)>> {
    let Some(end) = received.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
    let line = received.get(1..end).unwrap_or_default();
    let number = || -> Result<i64> { Ok(std::str::from_utf8(line)?.parse()?) };
    let answer = match received.first() {
        Some(b'+') => (Answer::Text(line.to_vec()), end + 2),
        Some(b':') => (Answer::Number(number()?), end + 2),
        Some(b'$') => match usize::try_from(number()?) {
            Err(_) => (Answer::Nil, end + 2),
            Ok(length) => match received.get(end + 2..end + 2 + length + 2) {
                None => return Ok(None),
                Some(text) => {
                    (Answer::Text(text.get(..length).unwrap_or_default().to_vec()), end + 4 + length)
                }
            },
        },
        _ => bail!("Redis says {}", String::from_utf8_lossy(line)),
    };
    Ok(Some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_when_they_are_whole() {
        let text = |text: &str| Answer::Text(text.as_bytes().to_vec());
        assert_eq!(parse(b"+OK\r\n:1").unwrap(), Some((text("OK"), 5)));
        assert_eq!(parse(b":12\r\n").unwrap(), Some((Answer::Number(12), 5)));
        assert_eq!(parse(b"$-1\r\n").unwrap(), Some((Answer::Nil, 5)));
        assert_eq!(parse(b"$3\r\nabc\r\n").unwrap(), Some((text("abc"), 9)));
        assert_eq!(parse(b"$3\r\nab").unwrap(), None);
        assert!(parse(b"-ERR no\r\n").is_err());
    }
}
