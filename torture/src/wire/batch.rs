//! Record batches, format 2: <https://kafka.apache.org/documentation/#recordbatch>. Not by the library that speaks
//! the rest of the protocol: it refuses a header whose name is no text, keeps one of several headers of a name, and
//! passes over the time of append.

use std::io::Read as _;

use anyhow::{Context as _, Result, bail, ensure};
use crc32c::crc32c;

use super::next;

/// A header: a name, which need not be text, and a value.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// A record as it lies in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    /// When it was appended, in milliseconds.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

impl Record {
    /// The first header of a name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name.as_bytes())?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

const COMPRESSION: i16 = 0b111;
const LZ4: i16 = 3;
const ZSTD: i16 = 4;
const LOG_APPEND_TIME: i16 = 0b1000;
const TRANSACTIONAL: i16 = 0b1_0000;
const CONTROL: i16 = 0b10_0000;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Records, also those of transactions that were aborted.
    pub records: Vec<Record>,
    /// Where the markers of transactions lie.
    pub control: Vec<i64>,
}

impl Fetched {
    /// The first offset that comes after everything here.
    pub fn next_offset(&self) -> Option<i64> {
        let records = self.records.last().map(|record| record.offset);
        records.max(self.control.last().copied()).map(|last| last + 1)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Writer {
    pub id: i64,
    pub epoch: i16,
    /// How many records it has written to this partition.
    pub sequence: i32,
}

const NOBODY: Writer = Writer { id: -1, epoch: -1, sequence: -1 };

#[derive(Debug, Clone, Copy)]
pub enum Form {
    Plain,
    Zstd,
    Transaction(Writer),
}

/// Reads the batches of a fetch. The last may be cut short: it comes whole with the next fetch.
///
/// # Errors
/// Bytes that are no batch, a wrong checksum, a compression that nobody here uses.
pub fn decode(mut bytes: &[u8]) -> Result<Fetched> {
    let mut fetched = Fetched::default();
    while bytes.len() >= 12 {
        let base_offset = i64::from_be_bytes(next(&mut bytes)?);
        let length = usize::try_from(i32::from_be_bytes(next(&mut bytes)?))?;
        let Some(batch) = bytes.split_off(..length) else { break };
        decode_batch(base_offset, batch, &mut fetched)?;
    }
    Ok(fetched)
}

fn decode_batch(base_offset: i64, mut batch: &[u8], fetched: &mut Fetched) -> Result<()> {
    let _leader_epoch = next::<4>(&mut batch)?;
    let [format] = next(&mut batch)?;
    ensure!(format == 2, "a batch of another format");
    let checksum = u32::from_be_bytes(next(&mut batch)?);
    ensure!(crc32c(batch) == checksum, "the batch at {base_offset} is damaged");
    let attributes = i16::from_be_bytes(next(&mut batch)?);
    let last_offset_delta = i32::from_be_bytes(next(&mut batch)?);
    let base_timestamp = i64::from_be_bytes(next(&mut batch)?);
    let max_timestamp = i64::from_be_bytes(next(&mut batch)?);
    let _producer_with_epoch_and_sequence = next::<14>(&mut batch)?;
    let count = i32::from_be_bytes(next(&mut batch)?);
    if attributes & CONTROL != 0 {
        fetched.control.extend(base_offset..=base_offset + i64::from(last_offset_delta));
        return Ok(());
    }
    let plain = match attributes & COMPRESSION {
        0 => batch.to_vec(),
        LZ4 => {
            let mut plain = Vec::new();
            lz4_flex::frame::FrameDecoder::new(batch).read_to_end(&mut plain).context("lz4")?;
            plain
        }
        ZSTD => zstd::decode_all(batch).context("zstd")?,
        other => bail!("compression {other}"),
    };
    let mut rest = &*plain;
    for _ in 0..count {
        let record = bytes(&mut rest)?.context("no record")?;
        let mut record = decode_record(record, base_offset, base_timestamp)?;
        if attributes & LOG_APPEND_TIME != 0 {
            record.timestamp_ms = max_timestamp;
        }
        fetched.records.push(record);
    }
    Ok(())
}

fn decode_record(mut record: &[u8], base_offset: i64, base_timestamp: i64) -> Result<Record> {
    let rest = &mut record;
    let _attributes = next::<1>(rest)?;
    let timestamp_ms = base_timestamp + varint(rest)?;
    let offset = base_offset + varint(rest)?;
    let (key, value) = (bytes(rest)?.map(<[u8]>::to_vec), bytes(rest)?.map(<[u8]>::to_vec));
    let mut headers = Vec::new();
    for _ in 0..varint(rest)? {
        let name = bytes(rest)?.unwrap_or_default().to_vec();
        headers.push((name, bytes(rest)?.map(<[u8]>::to_vec)));
    }
    Ok(Record { offset, timestamp_ms, key, value, headers })
}

/// A number of seven bits a byte, the lowest first, with its sign in the lowest bit.
fn varint(from: &mut &[u8]) -> Result<i64> {
    let mut raw = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = next(from)?;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()));
        }
    }
    bail!("a number of more than ten bytes")
}

/// Bytes behind their length; negative: none.
fn bytes<'a>(from: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    match usize::try_from(varint(from)?) {
        Ok(length) => Ok(Some(from.split_off(..length).context("the message is cut short")?)),
        Err(_) => Ok(None),
    }
}

/// A batch of one record, for a broker that sets offset and time itself.
pub fn encode(record: (Option<&[u8]>, Option<&[u8]>), headers: &[Header], form: Form) -> Result<Vec<u8>> {
    let record = encode_record(0, record, headers);
    Ok(match form {
        Form::Plain => enclose(0, NOBODY, 1, &record),
        Form::Zstd => enclose(ZSTD, NOBODY, 1, &zstd::encode_all(&*record, 3).context("zstd")?),
        Form::Transaction(writer) => enclose(TRANSACTIONAL, writer, 1, &record),
    })
}

/// A batch of `count` records without key and value.
pub fn filler(count: i32) -> Vec<u8> {
    let records: Vec<u8> = (0..count).flat_map(|at| encode_record(at.into(), (None, None), &[])).collect();
    enclose(0, NOBODY, count, &records)
}

/// A record behind its length.
fn encode_record(at: i64, (key, value): (Option<&[u8]>, Option<&[u8]>), headers: &[Header]) -> Vec<u8> {
    let mut fields = vec![0, 0]; // no attributes, and the batch's time
    put_varint(&mut fields, at);
    put_bytes(&mut fields, key);
    put_bytes(&mut fields, value);
    put_varint(&mut fields, headers.len() as i64);
    for (name, value) in headers {
        put_bytes(&mut fields, Some(name));
        put_bytes(&mut fields, value.as_deref());
    }
    let mut record = Vec::new();
    put_bytes(&mut record, Some(&fields));
    record
}

fn enclose(attributes: i16, writer: Writer, count: i32, records: &[u8]) -> Vec<u8> {
    let Writer { id, epoch, sequence } = writer;
    let writer = [&id.to_be_bytes()[..], &epoch.to_be_bytes(), &sequence.to_be_bytes()].concat();
    let (attributes, last, count) =
        (attributes.to_be_bytes(), (count - 1).to_be_bytes(), count.to_be_bytes());
    let checked = [&attributes[..], &last, &[0; 16], &writer, &count, records].concat();
    let length = i32::try_from(checked.len() + 9).unwrap_or(i32::MAX).to_be_bytes();
    [&[0; 8][..], &length, &[0xff; 4], &[2], &crc32c(&checked).to_be_bytes(), &checked].concat()
}

fn put_varint(to: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        to.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    to.push((rest & 0x7f) as u8);
}

fn put_bytes(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(to, bytes.map_or(-1, |bytes| bytes.len() as i64));
    to.extend_from_slice(bytes.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_written() {
        for value in [0, 1, -1, 63, -64, 64, 300, -12_345_678_901, i64::MAX, i64::MIN] {
            let mut written = Vec::new();
            put_varint(&mut written, value);
            let mut rest = &*written;
            assert_eq!(varint(&mut rest).unwrap(), value);
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let headers = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"\xff".to_vec(), None)];
        for form in [Form::Plain, Form::Zstd, Form::Transaction(Writer { id: 7, epoch: 1, sequence: 0 })] {
            let batch = encode((Some(b"key"), None), &headers, form).unwrap();
            let fetched = decode(&batch).unwrap();
            let headers = headers.clone();
            let expected =
                Record { offset: 0, timestamp_ms: 0, key: Some(b"key".to_vec()), value: None, headers };
            assert_eq!(fetched.records, [expected]);
            assert_eq!(fetched.next_offset(), Some(1));
            let cut = batch.get(..batch.len() - 1).unwrap();
            assert_eq!(decode(cut).unwrap(), Fetched::default());
        }
    }
}
