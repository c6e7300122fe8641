//! Rows as COPY takes them in its binary format, in one buffer: a header, for each row the number of its fields and
//! each field with its length in front, a trailer. Pure; knows types of PostgreSQL and no table.

use schemas::Timestamp;
use uuid::Uuid;

/// Eleven bytes that a transfer which changes line ends or drops the eighth bit would spoil.
const SIGNATURE: [u8; 11] = *b"PGCOPY\n\xff\r\n\0";

/// What the header takes after the signature: flags and the length of an extension, both zero.
const HEADER_REST: [u8; 8] = [0; 8];

/// In place of a field's length: null. In place of a number of fields: the end.
const NONE: i32 = -1;
const END: i16 = -1;

/// 2000-01-01T00:00:00Z, from where PostgreSQL counts, in microseconds since 1970.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What a field takes beside its value, and a row beside its fields.
pub const FIELD_BYTES: usize = size_of::<i32>();
pub const ROW_BYTES: usize = size_of::<i16>();

/// Rows that are being written down.
#[derive(Debug)]
pub struct CopyRows(Vec<u8>);

impl CopyRows {
    /// No rows yet, and room for so many bytes of them.
    pub fn with_room(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(SIGNATURE.len() + HEADER_REST.len() + bytes + ROW_BYTES);
        buffer.extend_from_slice(&SIGNATURE);
        buffer.extend_from_slice(&HEADER_REST);
        Self(buffer)
    }

    /// Begins a row; exactly so many fields follow.
    pub fn row(&mut self, fields: i16) {
        self.0.extend_from_slice(&fields.to_be_bytes());
    }

    /// A field: bytea, and text in UTF-8.
    pub fn bytes(&mut self, value: &[u8]) {
        // Nothing comes near: the topic's records are a thousandth of that.
        let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value);
    }

    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub fn smallint(&mut self, value: i16) {
        self.bytes(&value.to_be_bytes());
    }

    pub fn integer(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    pub fn bigint(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.bytes(value.as_bytes());
    }

    pub fn timestamptz(&mut self, value: Timestamp) {
        self.bigint(value.as_micros() - POSTGRES_EPOCH_MICROS);
    }

    /// A field that may be null.
    pub fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.0.extend_from_slice(&NONE.to_be_bytes()),
        }
    }

    /// All of them, for the connection.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&END.to_be_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_written_byte_for_byte_as_the_server_expects_it() {
        let mut rows = CopyRows::with_room(0);
        rows.row(9);
        rows.bigint(-2);
        rows.integer(7);
        rows.smallint(1);
        rows.uuid(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10));
        rows.timestamptz(Timestamp::from_micros(POSTGRES_EPOCH_MICROS + 1).unwrap());
        rows.bytes(b"\x00\xff");
        rows.text("é🙂");
        rows.text("");
        rows.optional(None::<&str>, CopyRows::text);
        let expected = [
            b"PGCOPY\n\xff\r\n\0".as_slice(),
            &[0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 9],
            &[0, 0, 0, 8, 255, 255, 255, 255, 255, 255, 255, 254],
            &[0, 0, 0, 4, 0, 0, 0, 7],
            &[0, 0, 0, 2, 0, 1],
            &[0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 2, 0, 255],
            &[0, 0, 0, 6, 0xc3, 0xa9, 0xf0, 0x9f, 0x99, 0x82],
            &[0, 0, 0, 0],
            &[255, 255, 255, 255],
            &[255, 255],
        ];
        assert_eq!(rows.finish(), expected.concat());
    }

    #[test]
    fn times_before_2000_and_at_both_ends_of_what_a_record_can_say_are_counted_from_2000() {
        // 1970-01-01, and the first and the last microsecond of the years 0 to 9999.
        for (micros, expected) in [
            (0, -946_684_800_000_000_i64),
            (-62_167_219_200_000_000, -63_113_904_000_000_000),
            (253_402_300_799_999_999, 252_455_615_999_999_999),
        ] {
            let mut rows = CopyRows::with_room(0);
            rows.timestamptz(Timestamp::from_micros(micros).unwrap());
            let bytes = rows.finish();
            let value = &bytes[SIGNATURE.len() + HEADER_REST.len() + FIELD_BYTES..][..8];
            assert_eq!(value, expected.to_be_bytes());
        }
    }

    #[test]
    fn no_rows_are_a_header_and_an_end() {
        assert_eq!(CopyRows::with_room(99).finish(), b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff");
    }
}
