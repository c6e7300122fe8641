//! What is kept of a row or a record until it can be compared: fixed sizes, so that a thousand million
//! fit on a disk and some ten thousand at a time in memory.
//!
//! `entry!` declares what an entry holds and, by the same list, how it is written and read again; `byte!` does so for
//! what is one of a few.
//!
//! Contents are kept as digests under keys drawn for each proof. A row that differs from its record goes
//! unseen with a probability of 2^-64, whoever wrote it: nobody knows the keys.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use schemas::{Body, BodyHash, ClientId, Partition, Timestamp};
use uuid::Uuid;

use crate::domain::position::{Offset, TopicRef};

/// A place in the topic.
pub type Place = (Partition, Offset);

/// Where a row says that its record is, in the topic or in a former one. Their order is that of a client's records.
pub type Coordinates = (TopicRef, Partition, Offset);

/// The keys of the digests.
#[derive(Debug, Clone, Default)]
pub struct Keys(RandomState, RandomState);

impl Keys {
    /// The digest of some content.
    pub fn digest(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// A digest wide enough to tell all ids of a client apart.
    pub fn wide_digest(&self, bytes: &[u8]) -> [u8; 16] {
        let mut hasher = self.1.build_hasher();
        hasher.write(bytes);
        (u128::from(self.digest(bytes)) << 64 | u128::from(hasher.finish())).to_le_bytes()
    }

    /// A client's bucket. Under a key: whoever chooses ids cannot choose the bucket.
    pub fn bucket(&self, client: ClientId, buckets: usize) -> usize {
        let buckets = u64::try_from(buckets).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.digest(client.as_uuid().as_bytes()) % buckets).unwrap_or_default()
    }
}

/// A value that always takes the same number of bytes.
pub trait Fixed: Sized {
    const SIZE: usize;
    /// Appends exactly [`Self::SIZE`] bytes.
    fn write(&self, bytes: &mut Vec<u8>);
    /// The inverse: takes the value off the front. The bytes are ours and complete; what is not there is
    /// zero.
    fn read(bytes: &mut &[u8]) -> Self;
}

impl<const N: usize> Fixed for [u8; N] {
    const SIZE: usize = N;

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }

    fn read(bytes: &mut &[u8]) -> Self {
        bytes.split_off(..N).and_then(|taken| taken.try_into().ok()).unwrap_or([0; N])
    }
}

/// Makes a type [`Fixed`] by way of another: into it, and back.
macro_rules! fixed {
    ($($type:ty as $other:ty: $into:expr, $back:expr;)+) => {$(
        impl Fixed for $type {
            const SIZE: usize = <$other as Fixed>::SIZE;

            fn write(&self, bytes: &mut Vec<u8>) {
                let into: fn(Self) -> $other = $into;
                into(*self).write(bytes);
            }

            fn read(bytes: &mut &[u8]) -> Self {
                let back: fn($other) -> Self = $back;
                back(<$other>::read(bytes))
            }
        }
    )+};
}

fixed! {
    i16 as [u8; 2]: i16::to_le_bytes, i16::from_le_bytes;
    i32 as [u8; 4]: i32::to_le_bytes, i32::from_le_bytes;
    i64 as [u8; 8]: i64::to_le_bytes, i64::from_le_bytes;
    u64 as [u8; 8]: u64::to_le_bytes, u64::from_le_bytes;
    Uuid as [u8; 16]: Uuid::into_bytes, Uuid::from_bytes;
    ClientId as Uuid: ClientId::as_uuid, ClientId::from_uuid;
    BodyHash as [u8; 16]: |hash| hash.0, BodyHash;
    Partition as i32: |partition| partition.0, Partition;
    Offset as i64: |offset| offset.0, Offset;
    TopicRef as i16: |topic_ref| topic_ref.0, TopicRef;
    Timestamp as i64: Timestamp::as_micros, |micros| Timestamp::from_micros(micros).unwrap_or(Timestamp::EPOCH);
}

/// Declares an enum that is [`Fixed`]: a byte, which counts the variants.
macro_rules! byte {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl Fixed for $name {
            const SIZE: usize = 1;

            fn write(&self, bytes: &mut Vec<u8>) {
                [*self as u8].write(bytes);
            }

            fn read(bytes: &mut &[u8]) -> Self {
                let [byte] = <[u8; 1] as Fixed>::read(bytes);
                let all @ [first, ..] = [$(Self::$variant,)+];
                all.get(usize::from(byte)).copied().unwrap_or(first)
            }
        }
    };
}

/// Declares a struct that is [`Fixed`].
macro_rules! entry {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)+
        }

        impl Fixed for $name {
            const SIZE: usize = 0 $(+ <$type as Fixed>::SIZE)+;

            fn write(&self, bytes: &mut Vec<u8>) {
                $(self.$field.write(bytes);)+
            }

            fn read(bytes: &mut &[u8]) -> Self {
                // Fields are read in the order in which they stand here.
                Self { $($field: Fixed::read(bytes),)+ }
            }
        }
    };
}

pub(super) use entry;

byte! {
    /// What a row at a place is.
    Kind {
        Message,
        /// A dead letter whose reason a record can tell.
        DeadLetter,
        /// A dead letter that the database caused.
        Rejected,
    }
}

entry! {
    /// A row that stands for a record.
    PlacedRow {
        offset: Offset,
        kind: Kind,
        /// Where the row lies in its table (`ctid`).
        tid: [u8; 6],
        dialog: Uuid,
        digest: u64,
    }
}

byte! {
    /// How a row at a record's place compares with the record, should the record want one.
    Found {
        /// There is no such row.
        Nothing,
        /// It says what the record says.
        Same,
        Different,
    }
}

/// What a record says, as far as the fold has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Message {
        /// A digest of the message's id.
        id: [u8; 16],
        /// Tells a duplicate from a reused id.
        body: Body,
        /// After which silence it opens a new dialog, in seconds; 0: after none.
        idle_gap: i64,
    },
    /// A message whose id came before the records that are looked at.
    Repeat {
        /// Whether its body is the same.
        same_body: bool,
    },
    /// The client's active dialog is to be closed.
    Close,
}

byte! {
    /// What of [`Said`] is written: the compiler asks for each both where it is written and where it is read.
    Which {
        Message,
        SameBody,
        OtherBody,
        Close,
    }
}

impl Fixed for Said {
    const SIZE: usize = 1 + 16 + 32 + 8;

    fn write(&self, bytes: &mut Vec<u8>) {
        const NO_BODY: Body = Body { hash: BodyHash([0; 16]), own: BodyHash([0; 16]) };
        let (which, id, body, idle_gap) = match *self {
            Self::Message { id, body, idle_gap } => (Which::Message, id, body, idle_gap),
            Self::Repeat { same_body: true } => (Which::SameBody, [0; 16], NO_BODY, 0),
            Self::Repeat { same_body: false } => (Which::OtherBody, [0; 16], NO_BODY, 0),
            Self::Close => (Which::Close, [0; 16], NO_BODY, 0),
        };
        which.write(bytes);
        id.write(bytes);
        body.hash.write(bytes);
        body.own.write(bytes);
        idle_gap.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Self {
        let which: Which = Fixed::read(bytes);
        let id = Fixed::read(bytes);
        let body = Body { hash: Fixed::read(bytes), own: Fixed::read(bytes) };
        let idle_gap = Fixed::read(bytes);
        match which {
            Which::Message => Self::Message { id, body, idle_gap },
            Which::SameBody => Self::Repeat { same_body: true },
            Which::OtherBody => Self::Repeat { same_body: false },
            Which::Close => Self::Close,
        }
    }
}

entry! {
    /// A record of a client, with what stands at its place.
    ClientRecord {
        client: ClientId,
        partition: Partition,
        offset: Offset,
        appended_at: Timestamp,
        said: Said,
        /// Digests of the client's `external_client_id` and its address; 0 if the record does not tell.
        external_client_id: u64,
        address: u64,
        /// The message row at its place.
        message: Found,
        /// The dialog of that row.
        dialog: Uuid,
        /// The dead letter at its place, compared with that of a reused id.
        dead_letter: Found,
    }
}

impl ClientRecord {
    /// A record that tells no more, with nothing at its place.
    pub const fn of(
        client: ClientId,
        (partition, offset): Place,
        appended_at: Timestamp,
        said: Said,
    ) -> Self {
        Self {
            client,
            partition,
            offset,
            appended_at,
            said,
            external_client_id: 0,
            address: 0,
            message: Found::Nothing,
            dialog: Uuid::nil(),
            dead_letter: Found::Nothing,
        }
    }

    /// The order in which the records of a client are folded: a client only moves to a higher partition.
    pub const fn order(&self) -> (ClientId, Partition, Offset) {
        (self.client, self.partition, self.offset)
    }

    pub const fn place(&self) -> Place {
        (self.partition, self.offset)
    }
}

entry! {
    /// A row of `dialogs`. Times are microseconds since 1970, whatever the row holds; [`NULL`] is null.
    DialogRow {
        client_id: ClientId,
        id: Uuid,
        opened_at: i64,
        closed_at: i64,
        /// A digest; 0 if it is null.
        close_reason: u64,
        last_message_at: i64,
        topic_ref: i16,
        partition: i32,
        opened_offset: i64,
    }
}

/// A time that is null.
pub const NULL: i64 = i64::MIN;

impl DialogRow {
    /// The order of a client's dialogs.
    pub const fn order(&self) -> (ClientId, i16, i32, i64, Uuid) {
        (self.client_id, self.topic_ref, self.partition, self.opened_offset, self.id)
    }

    /// Of the record that opened it.
    pub const fn coordinates(&self) -> Coordinates {
        (TopicRef(self.topic_ref), Partition(self.partition), Offset(self.opened_offset))
    }
}

entry! {
    /// A row of `clients`.
    ClientRow {
        id: ClientId,
        /// Digests of what its source and its address are.
        external_client_id: u64,
        address: u64,
        /// The client that these two make.
        of_pair: ClientId,
        /// Microseconds since 1970.
        created_at: i64,
    }
}

entry! {
    /// A message whose record the log no longer holds.
    GoneMessage {
        client: ClientId,
        topic_ref: TopicRef,
        partition: Partition,
        offset: Offset,
        dialog: Uuid,
    }
}

impl GoneMessage {
    /// The order of a client's messages.
    pub const fn order(&self) -> (ClientId, Coordinates) {
        (self.client, self.coordinates())
    }

    pub const fn coordinates(&self) -> Coordinates {
        (self.topic_ref, self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests;
