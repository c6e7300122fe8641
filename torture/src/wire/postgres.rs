//! A PostgreSQL client for one connection and simple queries, whose answers are text.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::bytes::{Reader, Writer};

/// A row: its columns as text.
pub type Row = Vec<Option<String>>;

#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects as the superuser `telex`, who needs no password here.
    pub fn open(server: SocketAddr, database: &str) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, Duration::from_secs(3)).context("PostgreSQL")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        let mut parameters = Writer::default();
        for (name, value) in
            [("user", "telex"), ("database", database), ("application_name", "torture"), ("TimeZone", "UTC")]
        {
            parameters.raw(name.as_bytes()).i8(0).raw(value.as_bytes()).i8(0);
        }
        let mut startup = Writer::default();
        startup.length(parameters.0.len() + 9).i32(196_608).raw(&parameters.0).i8(0);
        let mut connection = Self(stream);
        connection.0.write_all(&startup.0)?;
        connection.answer()?;
        Ok(connection)
    }

    /// Runs statements and returns the rows of all of them.
    pub fn query(&mut self, statements: &str) -> Result<Vec<Row>> {
        let mut message = Writer::default();
        message.raw(b"Q").length(statements.len() + 5).raw(statements.as_bytes()).i8(0);
        self.0.write_all(&message.0)?;
        self.answer()
    }

    /// The answer of a query: one number.
    pub fn number(&mut self, query: &str) -> Result<i64> {
        let rows = self.query(query)?;
        let value = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
        value.context("no number")?.parse().context("not a number")
    }

    /// Reads until the server is ready for the next query.
    fn answer(&mut self) -> Result<Vec<Row>> {
        let (mut rows, mut refusal) = (Vec::new(), None);
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).context("PostgreSQL went away")?;
            let mut reader = Reader(&head);
            let kind = reader.i8()?.cast_unsigned();
            let mut body = vec![0; usize::try_from(reader.i32()? - 4)?];
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

fn read_row(body: &[u8]) -> Result<Row> {
    let mut reader = Reader(body);
    let columns = reader.i16()?;
    (0..columns)
        .map(|_| match usize::try_from(reader.i32()?) {
            Ok(length) => Ok(Some(String::from_utf8_lossy(reader.take(length)?).into_owned())),
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
