//! A PostgreSQL client for one connection and simple queries, whose rows are one JSON value each.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;

use super::next;

#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects as the superuser `telex`, who needs no password here.
    pub fn open(server: SocketAddr, database: &str) -> Result<Self> {
        const VERSION: [u8; 4] = [0, 3, 0, 0];
        let stream = TcpStream::connect_timeout(&server, Duration::from_secs(3)).context("PostgreSQL")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        let names = ["user", "telex", "database", database, "application_name", "torture", "TimeZone", "UTC"];
        let parameters = names.join("\0") + "\0\0";
        let mut connection = Self(stream);
        connection.exchange(b"", &[&VERSION[..], parameters.as_bytes()].concat())?;
        Ok(connection)
    }

    pub fn execute(&mut self, statements: &str) -> Result<()> {
        self.ask(statements).map(drop)
    }

    pub fn rows<T: DeserializeOwned>(&mut self, query: &str) -> Result<Vec<T>> {
        let rows = self.ask(query)?;
        rows.iter().map(|row| serde_json::from_slice(row).context("a row of another shape")).collect()
    }

    /// The answer of a query: one number.
    pub fn number(&mut self, query: &str) -> Result<i64> {
        self.rows::<i64>(query)?.first().copied().context("no number")
    }

    fn ask(&mut self, statements: &str) -> Result<Vec<Vec<u8>>> {
        self.exchange(b"Q", &[statements.as_bytes(), b"\0"].concat())
    }

    /// Sends a message, and reads until the server is ready for the next one.
    fn exchange(&mut self, kind: &[u8], body: &[u8]) -> Result<Vec<Vec<u8>>> {
        let length = i32::try_from(body.len() + 4)?.to_be_bytes();
        self.0.write_all(&[kind, &length, body].concat())?;
        let (mut rows, mut refusal) = (Vec::new(), None);
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).context("PostgreSQL went away")?;
            let [kind, length @ ..] = head;
            let mut body = vec![0; usize::try_from(i32::from_be_bytes(length) - 4)?];
            self.0.read_exact(&mut body).context("PostgreSQL went away")?;
            match kind {
                b'D' => rows.push(first_column(&body)?),
                b'E' => refusal = Some(error_text(&body)),
                b'R' if body != [0; 4] => bail!("PostgreSQL asks for a password"),
                b'Z' => break,
                _ => {}
            }
            // A refused start has no further message.
            if let (b'E', Some(text)) = (kind, &refusal)
                && text.starts_with("FATAL")
            {
                bail!("PostgreSQL: {text}");
            }
        }
        refusal.map_or(Ok(rows), |text| bail!("PostgreSQL: {text}"))
    }
}

/// Nothing, if it is null.
fn first_column(mut row: &[u8]) -> Result<Vec<u8>> {
    let _columns = next::<2>(&mut row)?;
    let length = i32::from_be_bytes(next(&mut row)?).max(0);
    Ok(row.split_off(..usize::try_from(length)?).context("a row is cut short")?.to_vec())
}

/// Severity, code and message of an error.
fn error_text(body: &[u8]) -> String {
    let fields = body.split(|byte| *byte == 0).filter_map(|field| field.split_first());
    let wanted = fields.filter(|(kind, _)| matches!(kind, b'S' | b'C' | b'M'));
    wanted.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>().join(" ")
}
