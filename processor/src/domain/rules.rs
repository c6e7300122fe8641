//! What the fold is told besides the records: over how many partitions keys are spread, and when a
//! dialog has been idle too long. Both are data with an offset from which they are in force, so the
//! fold stays a function of the record stream. Pure; [`crate::store::rules`] reads and changes them.

use std::sync::Arc;

use schemas::{ExternalClientId, Partition, PartitionCount, Timestamp};

use crate::domain::position::Offset;

/// How long a client may be silent before its next message opens a new dialog, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdleGap(i64);

impl IdleGap {
    /// Ten years: whoever means more means never.
    pub const SECONDS_MAX: i64 = 10 * 365 * 24 * 60 * 60;

    /// `None` for less than a second or more than ten years.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        (1..=Self::SECONDS_MAX).contains(&seconds).then_some(Self(seconds))
    }

    /// The gap, in seconds.
    pub const fn as_seconds(self) -> i64 {
        self.0
    }

    /// When a dialog whose latest message came at `last_message_at` ended, if it has ended by `now`.
    pub fn ended_at(self, last_message_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let end = Timestamp::from_micros(last_message_at.as_micros().saturating_add(self.0 * 1_000_000))?;
        (now > end).then_some(end)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialogRule {
    /// How the `external_client_id` of the clients begins; empty for all.
    pub prefix: String,
    /// Their gap; `None`: their dialogs are never idle.
    pub idle_gap: Option<IdleGap>,
}

/// A set of rules: of those whose prefix fits, the longest prefix decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DialogRules(Vec<DialogRule>);

impl DialogRules {
    /// Every message of a batch is held against each rule.
    pub const RULES_MAX: usize = 100;

    /// Brings rules into the order in which they are asked.
    pub fn new(mut rules: Vec<DialogRule>) -> Self {
        rules.sort_unstable_by(|a, b| (b.prefix.len(), &a.prefix).cmp(&(a.prefix.len(), &b.prefix)));
        Self(rules)
    }

    /// The gap that a source's clients have.
    pub fn idle_gap(&self, source: &ExternalClientId) -> Option<IdleGap> {
        self.0.iter().find(|rule| source.as_str().starts_with(&rule.prefix))?.idle_gap
    }

    /// The rules, the longest prefix first.
    pub fn as_slice(&self) -> &[DialogRule] {
        &self.0
    }
}

/// What is in force in one partition, and from where on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRules {
    partition: Partition,
    first_count: PartitionCount,
    placements: Vec<(Offset, PartitionCount)>,
    dialogs: Vec<(Offset, Arc<DialogRules>)>,
}

impl PartitionRules {
    /// A partition of a topic whose keys are spread over `first_count` partitions, without dialog rules.
    pub const fn new(partition: Partition, first_count: PartitionCount) -> Self {
        Self { partition, first_count, placements: Vec::new(), dialogs: Vec::new() }
    }

    /// From `offset` on, keys are spread over `count` partitions. Told in the order of the counts.
    pub fn place_from(&mut self, offset: Offset, count: PartitionCount) {
        self.placements.push((offset, count));
    }

    /// From `offset` on, dialogs follow `rules`. Told in the order of the versions.
    pub fn follow_from(&mut self, offset: Offset, rules: Arc<DialogRules>) {
        self.dialogs.push((offset, rules));
    }

    /// Over how many partitions the key of a record at `offset` is spread.
    pub fn count_at(&self, offset: Offset) -> PartitionCount {
        in_force(&self.placements, offset).copied().unwrap_or(self.first_count)
    }

    /// Whether a record at `offset` came before the switch to a count that reaches its partition. Its
    /// client may still have records in another one, so it has to wait.
    pub fn awaits_switch(&self, offset: Offset) -> bool {
        self.partition.0 >= self.count_at(offset).get()
    }

    /// The count by which keys came to this partition; `None` if they were there from the beginning.
    pub fn came_with(&self) -> Option<PartitionCount> {
        let reaches = |count: &PartitionCount| self.partition.0 < count.get();
        if reaches(&self.first_count) {
            return None;
        }
        self.placements.iter().map(|(_, count)| *count).find(reaches)
    }

    /// The idle gap for a message at `offset`.
    pub fn idle_gap_at(&self, offset: Offset, source: &ExternalClientId) -> Option<IdleGap> {
        in_force(&self.dialogs, offset)?.idle_gap(source)
    }
}

/// The last entry that begins at or before `offset`.
fn in_force<T>(entries: &[(Offset, T)], offset: Offset) -> Option<&T> {
    entries.iter().rev().find(|(from, _)| *from <= offset).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &str, seconds: Option<i64>) -> DialogRule {
        DialogRule { prefix: prefix.to_owned(), idle_gap: seconds.and_then(IdleGap::from_seconds) }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let rules =
            DialogRules::new(vec![rule("", Some(10)), rule("wa-", Some(20)), rule("wa-quiet-", None)]);
        let gap = |source: &str| rules.idle_gap(&ExternalClientId::parse(source).unwrap());
        assert_eq!(gap("mail"), IdleGap::from_seconds(10));
        assert_eq!(gap("wa-1"), IdleGap::from_seconds(20));
        assert_eq!(gap("wa-quiet-1"), None);
        assert_eq!(DialogRules::default().idle_gap(&ExternalClientId::parse("x").unwrap()), None);
    }

    #[test]
    fn a_dialog_ends_only_after_its_gap_and_at_its_end() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let gap = IdleGap::from_seconds(60).unwrap();
        assert_eq!(gap.ended_at(at(0), at(60_000)), None, "not longer than the gap");
        assert_eq!(gap.ended_at(at(0), at(60_001)), Some(at(60_000)));
        assert_eq!(gap.ended_at(at(0), at(-5)), None, "the broker's clock stepped back");
        assert_eq!([0, IdleGap::SECONDS_MAX + 1].map(IdleGap::from_seconds), [None, None]);
    }

    #[test]
    fn a_rule_is_in_force_from_its_offset_until_the_next() {
        let [twelve, more] = [12, 24].map(|count| PartitionCount::new(count).unwrap());
        let source = ExternalClientId::parse("x").unwrap();
        let mut rules = PartitionRules::new(Partition(13), twelve);
        assert!(rules.awaits_switch(Offset(0)));
        rules.place_from(Offset(5), more);
        rules.follow_from(Offset(3), Arc::new(DialogRules::new(vec![rule("", Some(1))])));
        rules.follow_from(Offset(3), Arc::new(DialogRules::new(vec![rule("", Some(2))])));
        rules.follow_from(Offset(9), Arc::default());
        let at = |offset| {
            let offset = Offset(offset);
            (rules.count_at(offset), rules.awaits_switch(offset), rules.idle_gap_at(offset, &source))
        };
        assert_eq!(at(2), (twelve, true, None));
        assert_eq!(at(4), (twelve, true, IdleGap::from_seconds(2)), "of two at one place the later");
        assert_eq!(at(5), (more, false, IdleGap::from_seconds(2)));
        assert_eq!(at(9), (more, false, None));
    }
}
