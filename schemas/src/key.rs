//! Which client a message belongs to, and which partition the client's records go to.
//!
//! The client id is known at the edge, before any database: it is the Kafka key, the shard key and
//! the primary key. Changing anything here moves every living client, so `tests/vectors.rs` pins
//! it against values that other implementations computed.

use std::{fmt, num::NonZeroU16};

use sha1::{Digest as _, Sha1};
use uuid::Uuid;

use crate::{address::Address, ids::ExternalClientId};

/// `UUIDv5(URL namespace, "urn:telex:client")`.
const NAMESPACE: Uuid = Uuid::from_u128(0xc4c0de32_8e8c_5362_978a_eb3893fb468e);

/// A client: `UUIDv5(NAMESPACE, external_client_id ‖ 0x00 ‖ address)` (RFC 9562 §5.5) of the
/// normalised pair. The zero byte keeps ("ab", "c") and ("a", "bc") apart; neither part can hold it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Uuid);

impl ClientId {
    pub const TEXT_BYTES: usize = uuid::fmt::Hyphenated::LENGTH;

    pub fn of(external_client_id: &ExternalClientId, address: &Address) -> Self {
        let name = [external_client_id.as_str().as_bytes(), &[0], address.as_str().as_bytes()];
        Self(uuid_v5(&NAMESPACE, &name))
    }

    /// From the canonical text, lower case with hyphens; `None` for any other spelling, because
    /// another spelling is another Kafka key.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let id = Self(Uuid::try_parse_ascii(text).ok()?);
        (id.encode(&mut [0; Self::TEXT_BYTES]).as_bytes() == text).then_some(id)
    }

    /// The record's key: the canonical text of 36 characters.
    pub fn key(self) -> String {
        self.encode(&mut [0; Self::TEXT_BYTES]).to_owned()
    }

    /// Writes the record's key into a buffer.
    pub fn encode(self, buffer: &mut [u8; Self::TEXT_BYTES]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// The partition that holds this client's records.
    pub fn partition(self, count: PartitionCount) -> Partition {
        Partition::of_key(self.encode(&mut [0; Self::TEXT_BYTES]).as_bytes(), count)
    }

    /// As the type that sqlx binds to `uuid`.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// From a row of the database, where only [`ClientId::of`] put it.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The UUIDv5 of a name that is given in parts. `uuid` has its own, with a SHA-1 that does without the instructions that
/// most processors have for it.
fn uuid_v5(namespace: &Uuid, name: &[&[u8]]) -> Uuid {
    let mut hash = Sha1::new_with_prefix(namespace);
    for part in name {
        hash.update(part);
    }
    let [bytes @ .., _, _, _, _]: [u8; 20] = hash.finalize().into();
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}

/// The number of partitions that keys are spread over, pinned on both sides (R13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionCount(NonZeroU16);

impl PartitionCount {
    /// `None` for zero and below, and beyond 65,535.
    pub fn new(count: i32) -> Option<Self> {
        u16::try_from(count).ok().and_then(NonZeroU16::new).map(Self)
    }

    pub fn get(self) -> i32 {
        i32::from(self.0.get())
    }
}

impl std::str::FromStr for PartitionCount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or("must be a number from 1 to 65535")
    }
}

impl fmt::Display for PartitionCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number of a partition of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub i32);

impl Partition {
    /// Where the Java client's default partitioner puts a key:
    /// `(murmur2(key) & 0x7fffffff) % count` (`BuiltInPartitioner.partitionForKey`), so that a
    /// producer in any language lands in the same place.
    pub fn of_key(key: &[u8], count: PartitionCount) -> Self {
        Self((murmur2(key) & 0x7fff_ffff) % count.get())
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Murmur2 as in `org.apache.kafka.common.utils.Utils.murmur2`: 32 bits, little endian, seed
/// `0x9747b28c`, result as Java's signed int.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Java's length is an int; a key is a few dozen bytes.
    #[expect(clippy::cast_possible_truncation, reason = "the algorithm takes the length modulo 2^32")]
    let mut hash = SEED ^ data.len() as u32;
    let (blocks, tail) = data.as_chunks::<4>();
    for block in blocks {
        let mut k = u32::from_le_bytes(*block).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_derived_from_its_name() {
        assert_eq!(NAMESPACE, uuid_v5(&Uuid::NAMESPACE_URL, &[b"urn:telex:", b"client"]));
    }

    #[test]
    fn murmur2_matches_kafkas_own_test_values() {
        // UtilsTest.testMurmur2 of Apache Kafka.
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key), hash, "{key:?}");
        }
    }

    #[test]
    fn only_the_canonical_spelling_is_a_client_id() {
        assert!(ClientId::parse(b"e60660c7-bd8f-5ba9-b814-6dbee9550932").is_some());
        assert!(ClientId::parse(b"E60660C7-BD8F-5BA9-B814-6DBEE9550932").is_none());
        assert!(ClientId::parse(b"e60660c7bd8f5ba9b8146dbee9550932").is_none());
        assert!(ClientId::parse(b"").is_none());
    }
}
