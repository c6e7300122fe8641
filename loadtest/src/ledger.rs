//! The producer's receipts: what became of each request, and where the 202 said that its record lies.
//! What must be in the tables follows from them and from the plan, never from the tables themselves.
//!
//! Eight bytes a request, in order of the plan.

use serde::Deserialize;

/// Where a record lies in the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It did not go out.
    NotSent,
    /// It went out, and no reply has settled it: it may be kept or not.
    Open,
    /// A 4xx: not kept.
    Refused,
    /// A 202.
    Kept {
        /// No attempt before was left open: only Kafka's client can have written it before.
        at_once: bool,
        /// Where, if the reply says. Of several copies that Kafka's client wrote it is the last.
        place: Option<Place>,
    },
}

#[derive(Debug, Clone, Default)]
pub struct Ledger(Vec<u64>);

const OPEN: u64 = 1;
const REFUSED: u64 = 2;
const KEPT: u64 = 3;
const KEPT_AT_ONCE: u64 = 4;
const STATE_BITS: u32 = 3;
/// Holds one more than the partition; zero says that there is no place.
const PARTITION_BITS: u32 = 17;
const OFFSET_BITS: u32 = u64::BITS - STATE_BITS - PARTITION_BITS;

impl Ledger {
    /// What is known of request number `index`.
    pub fn get(&self, index: u64) -> Receipt {
        let packed = usize::try_from(index).ok().and_then(|index| self.0.get(index)).copied().unwrap_or(0);
        unpack(packed)
    }

    pub fn set(&mut self, index: u64, receipt: Receipt) {
        let Ok(index) = usize::try_from(index) else { return };
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        if let Some(slot) = self.0.get_mut(index) {
            *slot = pack(receipt);
        }
    }
}

/// A place too large for its bits is left away: then it is not compared.
fn pack(receipt: Receipt) -> u64 {
    match receipt {
        Receipt::NotSent => 0,
        Receipt::Open => OPEN,
        Receipt::Refused => REFUSED,
        Receipt::Kept { at_once, place } => {
            let state = if at_once { KEPT_AT_ONCE } else { KEPT };
            let place = place.and_then(|Place { partition, offset }| {
                let partition = u64::try_from(partition).ok()? + 1;
                let offset = u64::try_from(offset).ok()?;
                let fits = partition >> PARTITION_BITS == 0 && offset >> OFFSET_BITS == 0;
                fits.then_some(partition | offset << PARTITION_BITS)
            });
            state | place.unwrap_or(0) << STATE_BITS
        }
    }
}

fn unpack(packed: u64) -> Receipt {
    let place = packed >> STATE_BITS;
    let partition = place & ((1 << PARTITION_BITS) - 1);
    let place = partition.checked_sub(1).and_then(|partition| {
        let offset = i64::try_from(place >> PARTITION_BITS).ok()?;
        Some(Place { partition: i32::try_from(partition).ok()?, offset })
    });
    match packed & ((1 << STATE_BITS) - 1) {
        OPEN => Receipt::Open,
        REFUSED => Receipt::Refused,
        KEPT => Receipt::Kept { at_once: false, place },
        KEPT_AT_ONCE => Receipt::Kept { at_once: true, place },
        _ => Receipt::NotSent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_comes_back_as_it_was_noted() {
        let place = |partition, offset| Some(Place { partition, offset });
        let receipts = [
            Receipt::Open,
            Receipt::Refused,
            Receipt::Kept { at_once: true, place: place(0, 0) },
            Receipt::Kept { at_once: false, place: place(65_535, (1 << 44) - 1) },
            Receipt::Kept { at_once: true, place: None },
        ];
        let mut ledger = Ledger::default();
        for (index, receipt) in (0..).zip(receipts) {
            ledger.set(index * 3, receipt);
        }
        for (index, receipt) in (0..).zip(receipts) {
            assert_eq!(ledger.get(index * 3), receipt);
            assert_eq!(ledger.get(index * 3 + 1), Receipt::NotSent);
        }
        ledger.set(0, Receipt::Kept { at_once: true, place: place(-1, 1 << 44) });
        assert_eq!(ledger.get(0), Receipt::Kept { at_once: true, place: None });
    }
}
