//! Which records are looked at: of each partition a span, cut into slices of which each fits in memory.

use schemas::{Partition, PartitionCount};

use super::{entries::Coordinates, report::Scope};
use crate::{
    domain::{
        counters::Counters,
        position::{LastRecord, LogRange, NextOffset, Offset, TopicRef},
        progress::Progress,
        rules::PartitionRules,
    },
    store::registry::Topic,
};

/// Offsets of a slice: the rows that stand for them are in memory while they are read.
const SLICE_OFFSETS: i64 = 65_536;
/// Slices that one worker reads in a row, at most: each first one costs a new fetch.
const RUN_SLICES_MAX: usize = 16;

/// A part of a partition's log: `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub partition: Partition,
    pub from: NextOffset,
    /// The first offset that is not of it.
    pub to: NextOffset,
}

impl Stretch {
    fn slices(&self) -> usize {
        usize::try_from((self.to.0 - self.from.0 + SLICE_OFFSETS - 1) / SLICE_OFFSETS).unwrap_or_default()
    }

    pub fn cut(self) -> impl Iterator<Item = Self> {
        let Self { partition, from, to } = self;
        std::iter::successors(Some(from.0), |start| Some(start + SLICE_OFFSETS)).take(self.slices()).map(
            move |start| Self {
                partition,
                from: NextOffset(start),
                to: NextOffset(to.0.min(start + SLICE_OFFSETS)),
            },
        )
    }
}

/// Offsets of a partition that an operator passed over: their records need not be applied, nor be there.
#[derive(Debug, Clone, Default)]
pub struct Skipped(pub Vec<(i64, i64)>);

impl Skipped {
    /// The first offset from `offset` on that was not passed over.
    pub fn next(&self, offset: i64) -> i64 {
        let through = |at, (from, to): &(i64, i64)| if (*from..*to).contains(&at) { *to } else { at };
        self.0.iter().fold(offset, through)
    }

    /// How many of the offsets `[from, to)` were not passed over.
    pub fn kept_between(&self, from: i64, to: i64) -> i64 {
        let passed = self.0.iter().map(|(start, end)| (to.min(*end) - from.max(*start)).max(0));
        (to - from - passed.sum::<i64>()).max(0)
    }

    /// The end of what was not passed over before `end`.
    pub fn end_before(&self, end: i64) -> i64 {
        let back = |at, (from, to): &(i64, i64)| if *to == at { *from } else { at };
        self.0.iter().rev().fold(end, back)
    }
}

/// What the tables say of a partition.
#[derive(Debug, Clone)]
pub struct Applied {
    pub topic: Topic,
    /// Of a topic before the one in force: no log holds its records.
    pub is_former: bool,
    /// How far it is applied, and what became of its records.
    pub progress: Progress,
    pub rules: PartitionRules,
    pub skipped: Skipped,
}

/// How far a partition was proved, and what a later proof needs to go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proved {
    pub partition: Partition,
    /// Its next offset at that time.
    pub proved_to: NextOffset,
    /// The last record before that; `None` if there is none that was applied.
    pub last_digest: Option<LastRecord>,
    /// What became of the offsets up to there.
    pub counters: Counters,
}

impl Proved {
    /// Everything that was applied, taken for proved.
    pub const fn all_of(row: &Progress) -> Self {
        Self {
            partition: row.partition,
            proved_to: row.next_offset,
            last_digest: row.last_digest,
            counters: row.counters,
        }
    }
}

/// What is looked at of a partition.
#[derive(Debug, Clone)]
pub struct Span {
    /// What the tables say of it.
    pub applied: Applied,
    /// What was proved before, and is not looked at again.
    pub proved: Proved,
    pub stretch: Stretch,
    /// Where the log ends, if that is before the next offset.
    pub log_end: Option<Offset>,
    /// Records were applied that the log no longer holds, and that no proof has dealt with. A full proof checks
    /// their rows by structure; a proof since the last cannot go on.
    pub is_trimmed: bool,
    /// Applied records that the log no longer holds, of a full proof: `[birth, from)`; none as a rule.
    pub gone: Stretch,
    /// What the log holds beyond the next offset.
    pub beyond: Stretch,
    /// Records that retention removed before they were applied.
    pub lost: i64,
    first_gone_slice: usize,
    first_slice: usize,
}

impl Span {
    pub const fn topic_ref(&self) -> TopicRef {
        self.applied.topic.topic_ref
    }

    pub const fn partition(&self) -> Partition {
        self.stretch.partition
    }

    pub const fn progress(&self) -> &Progress {
        &self.applied.progress
    }

    /// Whether a record is not looked at, because it was proved before, or because the log no longer holds it. What
    /// it did is taken from the tables.
    pub const fn is_taken(&self, offset: Offset) -> bool {
        let Stretch { from, to, .. } = self.gone;
        let is_gone = from.0 <= offset.0 && offset.0 < to.0;
        let is_proved = self.proved.proved_to.0 > self.progress().birth_offset.0;
        is_gone || (is_proved && offset.0 < self.proved.proved_to.0)
    }

    /// Whether an operator passed over an offset.
    pub fn is_skipped(&self, offset: Offset) -> bool {
        self.applied.skipped.next(offset.0) > offset.0
    }

    /// Whether the last offset was applied, so that the row has the digest of its record.
    pub fn ends_applied(&self) -> bool {
        let next_offset = self.progress().next_offset.0;
        self.applied.skipped.end_before(next_offset) == next_offset
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// To a record in this slice.
    Slice(usize),
    /// To a record that the log no longer holds: its slice.
    Gone(usize),
    /// To a record that is not looked at.
    Outside,
    Nowhere,
}

/// What is looked at of a topic.
#[derive(Debug)]
pub struct Spans {
    /// By topic and partition; those of the topic in force come last.
    pub spans: Vec<Span>,
    pub slices: usize,
}

impl Spans {
    /// What is left to be proved of partitions in their order, given what was proved before (for a proof of
    /// everything: nothing) and what the log still holds. Of former topics it holds nothing.
    pub fn new(
        scope: Scope,
        applied: Vec<Applied>,
        proved: &[Proved],
        log: impl Fn(Partition) -> LogRange,
    ) -> Self {
        let mut slices = 0;
        let spans = applied.into_iter().map(|applied| {
            let (row, skipped) = (&applied.progress, &applied.skipped);
            let partition = row.partition;
            let nothing = Proved {
                partition,
                proved_to: NextOffset(row.birth_offset.0),
                last_digest: None,
                counters: Counters::default(),
            };
            let next = row.next_offset.offset();
            let (proved, LogRange { start, end }) = match (applied.is_former, scope) {
                (true, Scope::Full) => (nothing, LogRange { start: next, end: next }),
                (true, Scope::SinceLast) => (Proved::all_of(row), LogRange { start: next, end: next }),
                (false, _) => {
                    let proved = proved.iter().find(|proved| proved.partition == partition);
                    (proved.copied().unwrap_or(nothing), log(partition))
                }
            };
            // What was passed over need not be there, neither at the beginning nor at the end.
            let first = skipped.next(proved.proved_to.0);
            let last = skipped.end_before(row.next_offset.0);
            let from = first.max(start.0).min(row.next_offset.0);
            let to = last.min(end.0).max(from);
            let is_trimmed = from > first;
            let birth = if is_trimmed && scope == Scope::Full { row.birth_offset.0 } else { from };
            let stretch = |from, to| Stretch { partition, from: NextOffset(from), to: NextOffset(to) };
            let (gone, held) = (stretch(birth, from), stretch(from, to));
            let next = next.0;
            let beyond = stretch(next.max(start.0), end.0.max(next).max(start.0));
            let first_gone_slice = slices;
            let first_slice = first_gone_slice + gone.slices();
            slices = first_slice + held.slices();
            Span {
                stretch: held,
                gone,
                beyond,
                lost: (start.0 - next).max(0),
                log_end: (end.0 < next).then_some(end),
                is_trimmed,
                first_gone_slice,
                proved,
                applied,
                first_slice,
            }
        });
        Self { spans: spans.collect(), slices }
    }

    /// How many records are looked at.
    pub fn records(&self) -> i64 {
        self.spans.iter().map(|span| span.stretch.to.0 - span.stretch.from.0).sum()
    }

    /// How many records are looked at or are gone: rows may stand for so many.
    pub fn places(&self) -> i64 {
        self.spans.iter().map(|span| span.stretch.to.0 - span.gone.from.0).sum()
    }

    /// Over how many partitions the keys were ever spread, `first` at first.
    pub fn counts(&self, first: PartitionCount) -> Vec<PartitionCount> {
        let later = self.spans.iter().filter_map(|span| span.applied.rules.came_with());
        let mut counts: Vec<PartitionCount> = std::iter::once(first).chain(later).collect();
        counts.sort_unstable_by_key(|count| count.get());
        counts.dedup();
        counts
    }

    pub fn of(&self, topic_ref: TopicRef, partition: Partition) -> Option<(usize, &Span)> {
        let key = |span: &Span| (span.topic_ref(), span.partition());
        let at = self.spans.binary_search_by_key(&(topic_ref, partition), key).ok()?;
        Some((at, self.spans.get(at)?))
    }

    /// The span that a slice is of.
    pub fn of_slice(&self, slice: usize) -> Option<(usize, &Span)> {
        // Those without a slice begin where the next one does.
        let at = self.spans.partition_point(|span| span.first_gone_slice <= slice).checked_sub(1)?;
        Some((at, self.spans.get(at)?))
    }

    /// Where a row belongs that claims to stand for a record.
    pub fn locate(&self, (topic_ref, partition, offset): Coordinates) -> Location {
        let Some((_, span)) = self.of(topic_ref, partition) else {
            return Location::Nowhere;
        };
        let Stretch { from, to, .. } = span.stretch;
        if offset < span.progress().birth_offset || offset.0 >= to.0 || span.is_skipped(offset) {
            return Location::Nowhere;
        }
        let slice = |from: NextOffset| usize::try_from((offset.0 - from.0).div_euclid(SLICE_OFFSETS));
        match (slice(from), slice(span.gone.from)) {
            (Ok(slice), _) => Location::Slice(span.first_slice + slice),
            (Err(_before), Ok(slice)) if offset.0 < span.gone.to.0 => {
                Location::Gone(span.first_gone_slice + slice)
            }
            (Err(_before), Ok(_) | Err(_)) => Location::Outside,
        }
    }

    /// The slices in runs that follow each other in their partitions, fine enough for `jobs` workers.
    pub fn runs(&self, jobs: usize) -> Vec<Vec<(usize, Stretch)>> {
        let length = (self.slices / (4 * jobs.max(1))).clamp(1, RUN_SLICES_MAX);
        let of_span = |span: &Span| -> Vec<(usize, Stretch)> {
            let stretches = span.gone.cut().chain(span.stretch.cut());
            stretches.enumerate().map(|(at, stretch)| (span.first_gone_slice + at, stretch)).collect()
        };
        let spans: Vec<Vec<(usize, Stretch)>> = self.spans.iter().map(of_span).collect();
        spans.iter().flat_map(|slices| slices.chunks(length).map(<[_]>::to_vec)).collect()
    }
}

#[cfg(test)]
mod tests;
