//! `processor prove`: folds the topic again and compares every row and every counter with what the
//! records say (I*). It shares the wire contract with the processor, but neither its fold nor its
//! statements: [`model`] takes one record of a client after the other, the slow and obvious way.
//!
//! All tables are read in one snapshot, so processors may go on meanwhile. Three steps, each on all
//! workers at once, and no step sorts more than fits in memory:
//!
//! 1. [`tables`]: the rows, in the order in which they lie there, into buckets: messages and dead letters
//!    by the *slice* of the log that their records are in, clients, dialogs and aliases by client.
//! 2. [`records`]: the log, slice by slice. What stands at a record's place is compared with the record;
//!    what its client's history decides (duplicate or not, which dialog) goes into that client's bucket.
//! 3. [`clients`]: the buckets. The records of each client go through the model in their order; out come
//!    its dialogs, its row, and what each of its records has to have become.
//!
//! **Memory** does not depend on the topic: a fixed budget for the buckets, which spill to a directory beyond it
//! (about 140 bytes a record), and for each worker a slice of 65,536 places, a bucket of about 65,536
//! records (16 MiB together) and 16 MiB of the Kafka client. One client is never divided: a million
//! messages of one person take 120 MiB.
//!
//! **What it proves.** A full proof looks at every record and every row. [`Scope::SinceLast`] looks at the records
//! applied since the last clean proof: each has had its effect and no other, with the dialogs and clients they
//! touch and the counters; no row claims to stand for one of them that should not. It takes for granted
//! what was proved before: a row that was changed *after* it was proved is found by a full proof only.
//!
//! **What it knows besides records and rows.** The rules in force at a record's offset (`crate::domain::rules`: over
//! how many partitions keys are spread, after which silence a dialog ends); that a client only moves to a higher
//! partition, so that (partition, offset) is the order of its records; the offsets that an operator passed over,
//! whose records need not be there; and that offsets which no record of the log has are Kafka's own (ends of
//! transactions, aborted records), which the partition's row has to count. Where an operator had records applied
//! again, the log does not tell everything: not provable.
//!
//! **What retention has removed.** A full proof compares what the log still holds record by record, and checks the
//! rows of the records that are gone by [`structure`]: as if they had been proved before, but for what rows tell of
//! each other. A proof since the last goes on only if nothing was removed in between; where that has happened, a
//! full proof or a person's baseline ([`baseline`]) begins the chain again.
//!
//! **Former topics.** Where a person has accepted another topic of the same name, the former one counts as a log from
//! which retention has removed everything: its rows are checked by [`structure`] and come first in each client's history,
//! which the topic in force goes on with. Their numbers are told apart.
//!
//! **What it says beyond.** Records of the log that are not applied yet are counted, and told beside the verdict.
//!
//! [`snapshot`] of the tables, [`scope`] of the proof, [`log`] of the topic; [`copy`], [`entries`] and
//! [`spill`] carry the rows; [`aliases`] are compared apart; [`structure`] compares rows with each other; [`before`] and [`proofs`] let a proof go on from the last; [`columns`] names what
//! differs; [`report`] is the verdict.

pub mod aliases;
pub mod baseline;
pub mod before;
pub mod clients;
pub mod columns;
pub mod conclude;
pub mod copy;
pub mod entries;
pub mod log;
pub mod model;
pub mod proofs;
pub mod records;
pub mod report;
pub mod scope;
pub mod shown;
pub mod snapshot;
pub mod spill;
pub mod structure;
pub mod tables;
mod work;

use std::path::{Path, PathBuf};

use schemas::ClientId;
use sqlx::PgConnection;
use tokio::runtime::Runtime;

use self::{
    entries::{Coordinates, Keys},
    log::Log,
    report::{Report, Scope},
    scope::Spans,
};
use crate::{
    domain::position::TopicRef,
    kafka::client::KafkaConfig,
    store::{Database, registry::Topic},
};

#[derive(Debug, Clone)]
pub struct Options {
    pub scope: Scope,
    pub jobs: usize,
    /// Memory for the buckets, in bytes.
    pub memory_max: usize,
    /// Where the buckets spill to.
    pub directory: PathBuf,
}

/// A proof under way: what all workers share.
pub struct Proof<'a> {
    topic: Topic,
    spans: Spans,
    keys: Keys,
    buckets: usize,
    scope: Scope,
    /// Whether offsets may be missing because records were compacted away: then they are not Kafka's own.
    is_compacted: bool,
    memory: Memory,
    directory: &'a Path,
    progress: &'a shown::Progress,
}

/// What each kind of bucket may hold of one worker, in bytes.
#[derive(Debug, Clone, Copy)]
struct Memory {
    placed: usize,
    dialogs: usize,
    clients: usize,
    gone: usize,
    records: usize,
    aliases: usize,
}

impl Memory {
    /// The shares of a worker, in proportion to what a usual topic brings.
    const fn of(memory_max: usize, jobs: usize) -> Self {
        let share = memory_max / 32 / jobs;
        Self {
            placed: 8 * share,
            dialogs: 4 * share,
            clients: 2 * share,
            gone: 2 * share,
            records: 14 * share,
            // Twice: those of rows, and those of records.
            aliases: share,
        }
    }
}

impl Proof<'_> {
    /// Whether a record is not looked at, and what it did is taken from the tables.
    fn is_taken(&self, (topic_ref, partition, offset): Coordinates) -> bool {
        self.spans.of(topic_ref, partition).is_some_and(|(_, span)| span.is_taken(offset))
    }

    /// Whether a row is of a topic before this one. Where there are any but former ones, nothing is proved.
    fn is_former(&self, topic_ref: TopicRef) -> bool {
        topic_ref < self.topic.topic_ref
    }

    /// What a finding tells of a row, with its topic if that is another one.
    fn of_topic(&self, topic_ref: TopicRef, detail: &str) -> String {
        if topic_ref == self.topic.topic_ref {
            detail.to_owned()
        } else {
            format!("{detail} (topic_ref {topic_ref})")
        }
    }

    /// Where what is kept of a client lies.
    fn bucket(&self, client: ClientId) -> usize {
        self.keys.bucket(client, self.buckets)
    }

    /// Whether there may be such records.
    fn takes_anything(&self) -> bool {
        self.scope == Scope::SinceLast || self.spans.spans.iter().any(|span| span.is_trimmed)
    }

    fn advance(&self, count: usize) {
        self.progress.advance(count);
    }
}

/// What one thread works with. Its waits are its own: nobody else runs on its runtime.
pub struct Worker {
    runtime: Runtime,
    connection: PgConnection,
    log: Log,
}

/// Compares the tables with the topic and keeps the verdict. Blocks for as long as it takes.
///
/// # Errors
/// Kafka or PostgreSQL did not answer, or the directory has no room: nothing is known.
pub fn prove(database: &Database, kafka: &KafkaConfig, options: &Options) -> anyhow::Result<Report> {
    let progress = shown::Progress::default();
    std::thread::scope(|scope| {
        let _shown = Shown(&progress);
        scope.spawn(|| progress.show());
        work::prove(database, kafka, options, &progress)
    })
}

/// Ends the progress that is shown, however the proof ends.
struct Shown<'a>(&'a shown::Progress);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
