//! Record batches, format 2: <https://kafka.apache.org/documentation/#recordbatch>.

use std::io::Read as _;

use anyhow::{Context as _, Result, bail};

use super::bytes::{Reader, Writer};

/// A header: a name, which need not be text, and a value.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// A record as it lies in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub offset: i64,
    /// When it was appended, in milliseconds.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in their order.
    pub headers: Vec<Header>,
}

impl Record {
    /// The first header of a name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name.as_bytes())?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

const COMPRESSION: i16 = 0b111;
const LZ4: i16 = 3;
const LOG_APPEND_TIME: i16 = 0b1000;
const CONTROL: i16 = 0b10_0000;

/// Reads the batches of a fetch. The last may be cut short: it comes whole with the next fetch.
///
/// # Errors
/// Bytes that are no batch, a wrong checksum, a compression that nobody here uses.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut reader = Reader(bytes);
    while reader.0.len() >= 12 {
        let base_offset = reader.i64()?;
        let length = usize::try_from(reader.i32()?)?;
        let Ok(batch) = reader.take(length) else { break };
        decode_batch(base_offset, batch, &mut records)?;
    }
    Ok(records)
}

fn decode_batch(base_offset: i64, batch: &[u8], records: &mut Vec<Record>) -> Result<()> {
    let mut reader = Reader(batch);
    let _leader_epoch = reader.i32()?;
    if reader.i8()? != 2 {
        bail!("a batch of another format");
    }
    let checksum = reader.u32()?;
    if crc32c(reader.0) != checksum {
        bail!("the batch at {base_offset} is damaged");
    }
    let attributes = reader.i16()?;
    let _last_offset_delta = reader.i32()?;
    let (base_timestamp, max_timestamp) = (reader.i64()?, reader.i64()?);
    reader.take(8 + 2 + 4)?; // the producer's id, epoch and sequence
    let count = reader.array()?;
    if attributes & CONTROL != 0 {
        return Ok(());
    }
    let mut plain = Vec::new();
    let body = match attributes & COMPRESSION {
        0 => reader.0,
        LZ4 => {
            lz4_flex::frame::FrameDecoder::new(reader.0).read_to_end(&mut plain).context("lz4")?;
            plain.as_slice()
        }
        other => bail!("compression {other}"),
    };
    let mut body = Reader(body);
    for _ in 0..count {
        let length = usize::try_from(body.varint()?)?;
        let mut record = decode_record(body.take(length)?, base_offset, base_timestamp)?;
        if attributes & LOG_APPEND_TIME != 0 {
            record.timestamp_ms = max_timestamp;
        }
        records.push(record);
    }
    Ok(())
}

fn decode_record(bytes: &[u8], base_offset: i64, base_timestamp: i64) -> Result<Record> {
    let mut reader = Reader(bytes);
    let _attributes = reader.i8()?;
    let timestamp_ms = base_timestamp + reader.varint()?;
    let offset = base_offset + reader.varint()?;
    let key = reader.varint_bytes()?.map(<[u8]>::to_vec);
    let value = reader.varint_bytes()?.map(<[u8]>::to_vec);
    let mut headers = Vec::new();
    for _ in 0..reader.varint()? {
        let name = reader.varint_bytes()?.unwrap_or_default().to_vec();
        headers.push((name, reader.varint_bytes()?.map(<[u8]>::to_vec)));
    }
    Ok(Record { offset, timestamp_ms, key, value, headers })
}

/// A batch of one record, for a broker that sets offset and time itself.
#[must_use]
pub fn encode(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> Vec<u8> {
    let mut record = Writer::default();
    record.i8(0).varint(0).varint(0).varint_bytes(key).varint_bytes(value).varint(headers.len() as i64);
    for (name, value) in headers {
        record.varint_bytes(Some(name)).varint_bytes(value.as_deref());
    }
    let mut checked = Writer::default();
    checked.i16(0).i32(0).i64(0).i64(0).i64(-1).i16(-1).i32(-1).i32(1);
    checked.varint(record.0.len() as i64).raw(&record.0);
    let mut batch = Writer::default();
    batch.i64(0).length(checked.0.len() + 9).i32(-1).i8(2).u32(crc32c(&checked.0)).raw(&checked.0);
    batch.0
}

/// CRC-32C (Castagnoli), bit by bit: a few megabytes a run.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let headers = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"\xff".to_vec(), None)];
        let batch = encode(Some(b"key"), None, &headers);
        let records = decode(&batch).unwrap();
        let expected =
            Record { offset: 0, timestamp_ms: 0, key: Some(b"key".to_vec()), value: None, headers };
        assert_eq!(records, [expected]);
        let cut = batch.get(..batch.len() - 1).unwrap();
        assert!(decode(cut).unwrap().is_empty());
    }
}
