//! Rows as PostgreSQL sends them for `copy … to stdout (format binary)`: the fastest way out of a table,
//! and one that never sorts nor keeps more than a row in memory.

use anyhow::{Context as _, bail};
use futures_util::TryStreamExt as _;
use schemas::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

/// What stands before the first row: the signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// PostgreSQL counts from 2000-01-01, Unix from 1970-01-01: microseconds between them.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Hands each row of `select` to `each`.
///
/// # Errors
/// PostgreSQL did not answer, or `each` failed; the connection is then in the middle of an answer.
pub async fn rows(
    connection: &mut PgConnection,
    select: &str,
    mut each: impl FnMut(Fields<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut stream = connection.copy_out_raw(&format!("copy ({select}) to stdout (format binary)")).await?;
    // What the last piece left over: a piece is a row, as a rule.
    let mut left = Vec::new();
    let mut header_seen = false;
    while let Some(piece) = stream.try_next().await? {
        let whole = if left.is_empty() {
            &piece[..]
        } else {
            left.extend_from_slice(&piece);
            &left[..]
        };
        let mut rest = whole;
        if !header_seen {
            if rest.len() < HEADER.len() {
                left = rest.to_vec();
                continue;
            }
            rest = rest.strip_prefix(HEADER).context("not the binary format of COPY")?;
            header_seen = true;
        }
        while let Some((fields, after)) = Fields::split(rest)? {
            each(fields)?;
            rest = after;
        }
        left = rest.to_vec();
    }
    Ok(())
}

/// The fields of a row that are not yet taken.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The first row of `bytes` and what follows it; `None` if it is not there whole, or the end.
    fn split(bytes: &'a [u8]) -> anyhow::Result<Option<(Self, &'a [u8])>> {
        let Some((count, fields)) = bytes.split_first_chunk().map(|(n, rest)| (i16::from_be_bytes(*n), rest))
        else {
            return Ok(None);
        };
        if count == -1 {
            return Ok(None);
        }
        let mut rest = Self(fields);
        for _ in 0..count {
            match rest.skip() {
                Some(()) => {}
                None => return Ok(None),
            }
        }
        let (row, after) = fields.split_at(fields.len() - rest.0.len());
        Ok(Some((Self(row), after)))
    }

    fn skip(&mut self) -> Option<()> {
        let (length, rest) = self.0.split_first_chunk()?;
        self.0 = match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => rest.get(length..)?,
            Err(_null) => rest,
        };
        Some(())
    }

    /// The next field; `None` if it is null.
    pub fn take(&mut self) -> anyhow::Result<Option<&'a [u8]>> {
        let (length, rest) = self.0.split_first_chunk().context("a row lacks a field")?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.0 = rest;
            return Ok(None);
        };
        let (field, rest) = rest.split_at_checked(length).context("a field is cut off")?;
        self.0 = rest;
        Ok(Some(field))
    }

    fn fixed<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        match self.take()?.map(<[u8; N]>::try_from) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(_)) => bail!("a field is not of {N} bytes"),
            None => bail!("a field is null"),
        }
    }

    /// A `smallint`.
    pub fn i16(&mut self) -> anyhow::Result<i16> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// An `integer`.
    pub fn i32(&mut self) -> anyhow::Result<i32> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// A `bigint`.
    pub fn i64(&mut self) -> anyhow::Result<i64> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// A `uuid`.
    pub fn uuid(&mut self) -> anyhow::Result<Uuid> {
        Ok(Uuid::from_bytes(self.fixed()?))
    }

    /// A `tid`: where the row lies.
    pub fn tid(&mut self) -> anyhow::Result<[u8; 6]> {
        self.fixed()
    }

    /// A `timestamptz` that may be null, in microseconds since 1970.
    pub fn micros(&mut self) -> anyhow::Result<Option<i64>> {
        match self.take()?.map(<[u8; 8]>::try_from) {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(i64::from_be_bytes(bytes).saturating_add(EPOCH_MICROS))),
            Some(Err(_)) => bail!("a time is not of 8 bytes"),
        }
    }

    /// The fields that are left, as they were sent: what [`Expected`] writes for the same values.
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Writes fields as PostgreSQL would send them, so that equal values are equal bytes.
#[derive(Debug, Default)]
pub struct Expected(Vec<u8>);

impl Expected {
    /// Forgets the fields, keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// A field; `None` is null.
    pub fn field(&mut self, value: Option<&[u8]>) {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value.unwrap_or_default());
    }

    pub fn text(&mut self, value: Option<&str>) {
        self.field(value.map(str::as_bytes));
    }

    /// A `timestamptz`.
    pub fn time(&mut self, value: Option<Timestamp>) {
        let micros = value.map(|time| (time.as_micros() - EPOCH_MICROS).to_be_bytes());
        self.field(micros.as_ref().map(<[u8; 8]>::as_slice));
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_split_from_what_follows_and_only_when_it_is_whole() {
        let mut expected = Expected::default();
        expected.field(Some(&7_i32.to_be_bytes()));
        expected.text(None);
        expected.text(Some("ab"));
        expected.time(Timestamp::from_millis(0));
        let row = [&4_i16.to_be_bytes(), expected.bytes()].concat();
        let two = [row.as_slice(), &row, &(-1_i16).to_be_bytes()].concat();
        for length in 0..row.len() {
            assert!(Fields::split(&two[..length]).unwrap().is_none(), "{length}");
        }
        let (mut fields, rest) = Fields::split(&two).unwrap().unwrap();
        assert_eq!(rest, &two[row.len()..]);
        assert_eq!(fields.rest(), expected.bytes());
        assert_eq!(fields.i32().unwrap(), 7);
        assert_eq!(fields.take().unwrap(), None);
        assert_eq!(fields.take().unwrap(), Some(b"ab".as_slice()));
        assert_eq!(fields.micros().unwrap(), Some(0));
        assert!(fields.take().is_err());
        let (_, end) = Fields::split(rest).unwrap().unwrap();
        assert!(Fields::split(end).unwrap().is_none());
    }
}
