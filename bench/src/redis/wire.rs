//! As much of Redis's protocol (RESP2) as the worker needs: a command, and its one answer.

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

pub(super) struct Connection(BufReader<TcpStream>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A text, or `OK`.
    Text(String),
    Number(i64),
    /// Nothing: no such key, or a condition that did not hold.
    Nil,
}

impl Connection {
    pub(super) async fn connect(port: u16) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.context("Redis cannot be reached")?;
        socket.set_nodelay(true)?;
        Ok(Self(BufReader::new(socket)))
    }

    pub(super) async fn command(&mut self, words: &[&str]) -> Result<Answer> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.write_all(command.as_bytes()).await?;
        answer(&mut self.0).await
    }
}

async fn answer(socket: &mut (impl AsyncBufRead + Unpin)) -> Result<Answer> {
    let mut line = String::new();
    socket.read_line(&mut line).await?;
    let said = line.strip_suffix("\r\n").context("Redis closed the connection")?;
    Ok(match said.split_at_checked(1) {
        Some(("+", text)) => Answer::Text(text.to_owned()),
        Some((":", number)) => Answer::Number(number.parse()?),
        Some(("$", "-1")) => Answer::Nil,
        Some(("$", length)) => {
            let mut text = vec![0; length.parse::<usize>()? + 2];
            socket.read_exact(&mut text).await?;
            Answer::Text(String::from_utf8(text)?.trim_end_matches("\r\n").to_owned())
        }
        _ => bail!("Redis says {said}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_are_read_when_they_are_whole() {
        let text = |text: &str| Answer::Text(text.to_owned());
        let mut two = &b"+OK\r\n:12\r\n"[..];
        assert_eq!(answer(&mut two).await.unwrap(), text("OK"));
        assert_eq!(answer(&mut two).await.unwrap(), Answer::Number(12));
        assert!(answer(&mut two).await.is_err());
        assert_eq!(answer(&mut &b"$-1\r\n"[..]).await.unwrap(), Answer::Nil);
        assert_eq!(answer(&mut &b"$3\r\nabc\r\n"[..]).await.unwrap(), text("abc"));
        assert!(answer(&mut &b"$3\r\nab"[..]).await.is_err());
        assert!(answer(&mut &b"-ERR no\r\n"[..]).await.is_err());
    }
}
