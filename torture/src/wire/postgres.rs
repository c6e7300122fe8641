//! A PostgreSQL client for one connection and simple queries, whose answers are text.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::next;

/// A row: its columns as text.
pub type Row = Vec<Option<String>>;

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

    /// Runs statements and returns the rows of all of them.
    pub fn query(&mut self, statements: &str) -> Result<Vec<Row>> {
        self.exchange(b"Q", &[statements.as_bytes(), b"\0"].concat())
    }

    /// The answer of a query: one number.
    pub fn number(&mut self, query: &str) -> Result<i64> {
        let rows = self.query(query)?;
        let value = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
        value.context("no number")?.parse().context("not a number")
    }

    /// Sends a message, and reads until the server is ready for the next one.
    fn exchange(&mut self, kind: &[u8], body: &[u8]) -> Result<Vec<Row>> {
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
                b'D' => rows.push(read_row(&body)?),
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

fn read_row(mut body: &[u8]) -> Result<Row> {
    let columns = i16::from_be_bytes(next(&mut body)?);
    (0..columns)
        .map(|_| match usize::try_from(i32::from_be_bytes(next(&mut body)?)) {
            Ok(length) => {
                let text = body.split_off(..length).context("a row is cut short")?;
                Ok(Some(String::from_utf8_lossy(text).into_owned()))
            }
            Err(_) => Ok(None),
        })
        .collect()
}

/// Severity, code and message of an error.
fn error_text(body: &[u8]) -> String {
    let fields = body.split(|byte| *byte == 0).filter_map(|field| field.split_first());
    let wanted = fields.filter(|(kind, _)| matches!(kind, b'S' | b'C' | b'M'));
    wanted.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>().join(" ")
}
