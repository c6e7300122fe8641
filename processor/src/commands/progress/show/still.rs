//! Why a partition stands still, as far as its row and the brokers tell it. Pure. A processor's own word, such as a
//! database that it does not reach, is in its `/readyz`.

use crate::{
    consume::{
        decide::{Sound, Takeover},
        takeover::Answer,
    },
    domain::{halt::StopReason, obstacle::Obstacle, position::Offset, progress::Progress},
    store::progress::Written,
};

/// What a takeover would say of a partition now.
#[derive(Debug, PartialEq, Eq)]
pub enum Takeable {
    Yes,
    Waits(Obstacle),
    WouldHalt(StopReason),
    Halted(StopReason),
}

impl From<Result<Sound, Answer>> for Takeable {
    fn from(verdict: Result<Sound, Answer>) -> Self {
        match verdict {
            Ok(_) | Err(Answer::Taken(Takeover::Owned { .. })) => Self::Yes,
            Err(Answer::Taken(Takeover::Halted(reason, _))) => Self::WouldHalt(reason),
            Err(Answer::Taken(Takeover::StillHalted(reason))) => Self::Halted(reason),
            Err(Answer::Waits(obstacle)) => Self::Waits(obstacle),
        }
    }
}

/// The two ends of a log.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// The high watermark.
    pub high: Offset,
    /// The last stable offset: what may be read ends here.
    pub stable: Offset,
}

/// What is known of one partition.
#[derive(Debug)]
pub struct Looked<'a> {
    pub row: Option<&'a Progress>,
    /// Whether it has had a row.
    pub is_registered: bool,
    /// The halt that stands; one of a later version has a reason of `None`.
    pub halt: Option<&'a Option<StopReason>>,
    pub takeable: Option<&'a Takeable>,
    pub written: Option<&'a Written>,
    /// If its leader names them.
    pub ends: Option<Ends>,
    /// Whether it had records to apply, and was where it had been when it was looked at again.
    pub is_unmoved: bool,
}

/// Why it stands still: a code, and the reason in words.
pub fn stands_still(looked: &Looked<'_>) -> Option<String> {
    let named = |obstacle: &Obstacle| format!("{}: {obstacle}", obstacle.as_str());
    let would_halt = |reason: &StopReason| format!("would_halt: {}: {reason}", reason.as_str());
    match (looked.halt, looked.takeable) {
        (Some(Some(reason)), _) | (None, Some(Takeable::Halted(reason))) => {
            Some(format!("halted: {}", reason.as_str()))
        }
        (Some(None), _) => Some(named(&Obstacle::UnknownHalt)),
        (None, Some(Takeable::Waits(obstacle))) => Some(named(obstacle)),
        (None, Some(Takeable::WouldHalt(reason))) => Some(would_halt(reason)),
        (None, Some(Takeable::Yes)) => looked.row.and_then(|row| waits_for_others(row, looked)),
        (None, None) if looked.row.is_some() => None,
        (None, None) if looked.is_registered => Some(would_halt(&StopReason::UnregisteredPartition)),
        (None, None) => {
            Some("not_registered: no processor has taken it up since the topic got it".to_owned())
        }
    }
}

/// Nothing is wrong with the partition itself.
fn waits_for_others(row: &Progress, looked: &Looked<'_>) -> Option<String> {
    if row.owner_epoch.0 == 0 {
        return Some("not_taken_up: no processor has taken it up yet".to_owned());
    }
    if let (true, Some(written)) = (looked.is_unmoved, looked.written) {
        let (seconds, owner) = (written.seconds_ago, written.owner.as_deref().unwrap_or("an operator"));
        return Some(format!(
            "not_advancing: there are records to apply, and its row was last written {seconds} s ago; {owner} took it last"
        ));
    }
    let Ends { high, stable } = looked.ends?;
    (stable < high && stable <= row.next_offset.offset()).then(|| {
        format!(
            "open_transaction: from {stable} on, records wait for a transaction of Kafka that has not ended"
        )
    })
}

#[cfg(test)]
mod tests {
    use schemas::Partition;

    use super::*;
    use crate::domain::{
        counters::Counters,
        position::{NextOffset, OwnerEpoch},
    };

    static YES: Takeable = Takeable::Yes;

    fn row(owner_epoch: i64) -> Progress {
        Progress {
            next_offset: NextOffset(7),
            owner_epoch: OwnerEpoch(owner_epoch),
            counters: Counters { messages: 7, ..Counters::default() },
            ..Progress::born(Partition(3), Offset(0))
        }
    }

    fn sound(row: &Progress) -> Looked<'_> {
        Looked {
            row: Some(row),
            is_registered: true,
            halt: None,
            takeable: Some(&YES),
            written: None,
            ends: Some(Ends { high: Offset(9), stable: Offset(9) }),
            is_unmoved: false,
        }
    }

    /// The code alone.
    fn code(looked: &Looked<'_>) -> Option<String> {
        Some(stands_still(looked)?.split(':').next().unwrap().to_owned())
    }

    #[test]
    fn what_keeps_a_partition_from_going_on_has_the_name_that_readiness_gives_it() {
        let row = row(1);
        assert_eq!(stands_still(&sound(&row)), None);
        let waits = Takeable::Waits(Obstacle::LogRange("LeaderNotAvailable".to_owned()));
        assert_eq!(
            stands_still(&Looked { takeable: Some(&waits), ..sound(&row) }).unwrap(),
            "log_range: its leader does not name the range of its log: LeaderNotAvailable"
        );
        let halt = Some(StopReason::UnregisteredPartition);
        let halted = Looked { halt: Some(&halt), takeable: Some(&waits), ..sound(&row) };
        assert_eq!(stands_still(&halted).unwrap(), "halted: unregistered_partition");
        assert_eq!(code(&Looked { halt: Some(&None), ..sound(&row) }).unwrap(), "unknown_halt");
    }

    #[test]
    fn a_partition_that_nobody_owns_says_what_a_takeover_would_say() {
        let row = row(1);
        let reason = StopReason::DigestMismatch { offset: Offset(6) };
        let said = stands_still(&Looked { takeable: Some(&Takeable::WouldHalt(reason)), ..sound(&row) });
        assert!(said.unwrap().starts_with("would_halt: digest_mismatch: "));
        let without = Looked { row: None, takeable: None, ..sound(&row) };
        assert!(stands_still(&without).unwrap().starts_with("would_halt: unregistered_partition: "));
        assert_eq!(code(&Looked { is_registered: false, ..without }).unwrap(), "not_registered");
    }

    #[test]
    fn a_sound_partition_that_does_not_go_on_says_whom_it_waits_for() {
        let (taken, fresh) = (row(1), row(0));
        assert_eq!(code(&sound(&fresh)).unwrap(), "not_taken_up");
        let open =
            |stable| Looked { ends: Some(Ends { high: Offset(9), stable: Offset(stable) }), ..sound(&taken) };
        assert_eq!(code(&open(7)).unwrap(), "open_transaction");
        assert_eq!(code(&open(8)), None, "a record before it may be read");
        let written = Written { owner: Some("host:17".to_owned()), seconds_ago: 93 };
        let unmoved = Looked { written: Some(&written), is_unmoved: true, ..sound(&taken) };
        assert_eq!(
            stands_still(&unmoved).unwrap(),
            "not_advancing: there are records to apply, and its row was last written 93 s ago; host:17 took it last"
        );
    }
}
