//! Record batches, format 2: <https://kafka.apache.org/documentation/#recordbatch>.

use std::io::Read as _;

use anyhow::{Context as _, Result, bail};

use super::bytes::{self, Reader};

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
pub fn decode(bytes: &[u8]) -> Result<Fetched> {
    let mut fetched = Fetched::default();
    let mut reader = Reader(bytes);
    while reader.0.len() >= 12 {
        let base_offset = reader.i64()?;
        let length = usize::try_from(reader.i32()?)?;
        let Ok(batch) = reader.take(length) else { break };
        decode_batch(base_offset, batch, &mut fetched)?;
    }
    Ok(fetched)
}

fn decode_batch(base_offset: i64, batch: &[u8], fetched: &mut Fetched) -> Result<()> {
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
    let last_offset_delta = reader.i32()?;
    let (base_timestamp, max_timestamp) = (reader.i64()?, reader.i64()?);
    reader.take(8 + 2 + 4)?; // the producer's id, epoch and sequence
    let count = reader.array()?;
    if attributes & CONTROL != 0 {
        fetched.control.extend(base_offset..=base_offset + i64::from(last_offset_delta));
        return Ok(());
    }
    let mut plain = Vec::new();
    let body = match attributes & COMPRESSION {
        0 => reader.0,
        LZ4 => {
            lz4_flex::frame::FrameDecoder::new(reader.0).read_to_end(&mut plain).context("lz4")?;
            plain.as_slice()
        }
        ZSTD => {
            plain = zstd::decode_all(reader.0).context("zstd")?;
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
        fetched.records.push(record);
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
pub fn encode(
    (key, value): (Option<&[u8]>, Option<&[u8]>),
    headers: &[Header],
    form: Form,
) -> Result<Vec<u8>> {
    let mut fields = bytes::Writer::default();
    fields.i8(0).varint(0).varint(0).varint_bytes(key).varint_bytes(value).varint(headers.len() as i64);
    for (name, value) in headers {
        fields.varint_bytes(Some(name)).varint_bytes(value.as_deref());
    }
    let record = framed(&fields);
    let (attributes, writer) = match form {
        Form::Plain => (0, None),
        Form::Zstd => (ZSTD, None),
        Form::Transaction(writer) => (TRANSACTIONAL, Some(writer)),
    };
    let records = match form {
        Form::Zstd => zstd::encode_all(record.as_slice(), 3).context("zstd")?,
        Form::Plain | Form::Transaction(_) => record,
    };
    let writer = writer.unwrap_or(Writer { id: -1, epoch: -1, sequence: -1 });
    Ok(enclose(attributes, writer, 1, &records))
}

/// A batch of `count` records without key and value.
pub fn filler(count: i32) -> Vec<u8> {
    let mut records = Vec::new();
    for delta in 0..count {
        let mut fields = bytes::Writer::default();
        fields.i8(0).varint(0).varint(i64::from(delta)).varint_bytes(None).varint_bytes(None).varint(0);
        records.extend(framed(&fields));
    }
    enclose(0, Writer { id: -1, epoch: -1, sequence: -1 }, count, &records)
}

fn framed(fields: &bytes::Writer) -> Vec<u8> {
    let mut record = bytes::Writer::default();
    record.varint(fields.0.len() as i64).raw(&fields.0);
    record.0
}

fn enclose(attributes: i16, writer: Writer, count: i32, records: &[u8]) -> Vec<u8> {
    let Writer { id, epoch, sequence } = writer;
    let mut checked = bytes::Writer::default();
    checked.i16(attributes).i32(count - 1).i64(0).i64(0).i64(id).i16(epoch).i32(sequence).i32(count);
    checked.raw(records);
    let mut batch = bytes::Writer::default();
    batch.i64(0).length(checked.0.len() + 9).i32(-1).i8(2).u32(crc32c(&checked.0)).raw(&checked.0);
    batch.0
}

/// CRC-32C (Castagnoli).
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |crc: u32, byte: &u8| {
        let index = crc.to_le_bytes()[0] ^ byte;
        (crc >> 8) ^ TABLE.get(usize::from(index)).copied().unwrap_or_default()
    };
    !bytes.iter().fold(!0, step)
}

#[expect(
    clippy::indexing_slicing,
    reason = "computed while compiling: an index out of range does not compile"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u32;
    while byte < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
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
