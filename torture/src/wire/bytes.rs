//! Big-endian numbers, lengths and strings, as Kafka's and PostgreSQL's protocols write them.

use anyhow::{Context as _, Result, bail};

/// The unread rest of a message.
#[derive(Debug, Clone)]
pub struct Reader<'a>(pub &'a [u8]);

#[derive(Debug, Clone, Default)]
pub struct Writer(pub Vec<u8>);

macro_rules! numbers {
    ($($name:ident: $type:ty),+) => {
        impl Reader<'_> {$(
            pub fn $name(&mut self) -> Result<$type> {
                let (bytes, rest) = self.0.split_first_chunk().context("the message is cut short")?;
                self.0 = rest;
                Ok(<$type>::from_be_bytes(*bytes))
            }
        )+}

        impl Writer {$(
            pub fn $name(&mut self, value: $type) -> &mut Self {
                self.0.extend(value.to_be_bytes());
                self
            }
        )+}
    };
}

numbers!(i8: i8, i16: i16, i32: i32, i64: i64, u32: u32);

impl<'a> Reader<'a> {
    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length).context("the message is cut short")?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A length of seven bits a byte.
    pub fn unsigned_varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.i8()?.cast_unsigned());
            value |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a number of more than ten bytes")
    }

    /// The same with a sign in the lowest bit.
    pub fn varint(&mut self) -> Result<i64> {
        let raw = self.unsigned_varint()?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    /// A string or bytes behind a length of 16 bits; negative: none.
    pub fn short_text(&mut self) -> Result<Option<String>> {
        let length = self.i16()?;
        self.text(i64::from(length))
    }

    /// A string behind a varint that is the length plus one; 0: none.
    pub fn compact_text(&mut self) -> Result<Option<String>> {
        let length = self.unsigned_varint()?.cast_signed() - 1;
        self.text(length)
    }

    /// Bytes behind a varint with a sign; negative: none.
    pub fn varint_bytes(&mut self) -> Result<Option<&'a [u8]>> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The length of an array behind 32 bits; none counts as empty.
    pub fn array(&mut self) -> Result<usize> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }

    /// The length of an array behind a varint that is the length plus one.
    pub fn compact_array(&mut self) -> Result<usize> {
        Ok(usize::try_from(self.unsigned_varint()?)?.saturating_sub(1))
    }

    pub fn tags(&mut self) -> Result<()> {
        for _ in 0..self.unsigned_varint()? {
            self.unsigned_varint()?;
            let size = usize::try_from(self.unsigned_varint()?)?;
            self.take(size)?;
        }
        Ok(())
    }

    fn text(&mut self, length: i64) -> Result<Option<String>> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(String::from_utf8_lossy(self.take(length)?).into_owned())),
            Err(_) => Ok(None),
        }
    }
}

impl Writer {
    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The length of an array or of bytes, 32 bits.
    pub fn length(&mut self, length: usize) -> &mut Self {
        self.i32(i32::try_from(length).unwrap_or(i32::MAX))
    }

    /// A string behind a length of 16 bits.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX)).raw(text.as_bytes())
    }

    /// A string behind a varint that is the length plus one.
    pub fn compact_text(&mut self, text: &str) -> &mut Self {
        self.unsigned_varint(text.len() as u64 + 1).raw(text.as_bytes())
    }

    /// A number of seven bits a byte.
    pub fn unsigned_varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
        self
    }

    /// The same with a sign.
    pub fn varint(&mut self, value: i64) -> &mut Self {
        self.unsigned_varint(((value << 1) ^ (value >> 63)).cast_unsigned())
    }

    /// Bytes behind a varint with a sign; none: -1.
    pub fn varint_bytes(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.varint(bytes.len() as i64).raw(bytes),
            None => self.varint(-1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_written() {
        for value in [0, 1, -1, 63, -64, 64, 300, -12_345_678_901, i64::MAX, i64::MIN] {
            let mut writer = Writer::default();
            writer.varint(value);
            let mut reader = Reader(&writer.0);
            assert_eq!(reader.varint().unwrap(), value);
            assert!(reader.0.is_empty());
        }
    }
}
