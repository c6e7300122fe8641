//! The verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use schemas::Timestamp;
use serde::Serialize;

use crate::domain::counters::adds_up;

/// Differences that are reported one by one; all are counted.
pub const FINDINGS_MAX: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The tables are what the records say.
    Clean,
    Differs,
    /// What the log and the tables hold does not tell.
    NotProvable,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Differs => "differs",
            Self::NotProvable => "not_provable",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every record and every row.
    Full,
    /// The records applied since the last proof, and what they touch.
    SinceLast,
}

impl Scope {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::SinceLast => "since_last",
        }
    }
}

/// What a difference is about: the order in which those of a partition are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// A record, and the row that stands for it.
    Record,
    Dialog,
    Client,
    Progress,
    /// Something that no record speaks of. Told after all partitions.
    Nothing,
}

/// A difference between the tables and the topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    #[serde(skip)]
    about: About,
    pub partition: i32,
    /// The record's offset, where one record is concerned.
    pub offset: Option<i64>,
    /// What is wrong: a stable code such as `message_missing`.
    pub kind: &'static str,
    /// The columns that differ, or the numbers; never content.
    pub detail: String,
}

impl Finding {
    fn order(&self) -> impl Ord + '_ {
        let beyond = self.about == About::Nothing;
        (beyond, self.partition, self.about, self.offset, self.kind, self.detail.as_str())
    }
}

/// Rows by table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rows {
    pub clients: i64,
    pub dialogs: i64,
    pub messages: i64,
    pub dead_letters: i64,
    /// Dialogs that are not closed.
    pub active_dialogs: i64,
    pub client_aliases: i64,
}

adds_up!(Rows { clients, dialogs, messages, dead_letters, active_dialogs, client_aliases });

/// Rows of former topics, by table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FormerRows {
    /// Of `dialogs`: opened there, wherever they ended.
    pub dialogs: i64,
    pub messages: i64,
    pub dead_letters: i64,
    pub client_aliases: i64,
}

adds_up!(FormerRows { dialogs, messages, dead_letters, client_aliases });

/// What was compared, and what came out.
#[derive(Debug, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    /// The verdict in a sentence.
    pub line: String,
    pub scope: Scope,
    /// The proof that this one goes on from.
    pub since: Option<String>,
    #[serde(flatten)]
    pub compared: Compared,
    pub elapsed_seconds: f64,
    pub findings_total: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

/// What was compared, by numbers.
#[derive(Debug, Default, Serialize)]
pub struct Compared {
    pub records: i64,
    /// Rows compared, by table.
    pub rows: Rows,
    /// Those of them that are of former topics: checked by structure. A proof since the last does not look at them.
    pub former: FormerRows,
    /// Records that repeat a message.
    pub duplicates: i64,
    pub commands: i64,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<&'static str, i64>,
    /// Offsets that Kafka itself explains, by partition: ends of its transactions, records of aborted ones.
    pub control: BTreeMap<i32, i64>,
    /// Offsets whose records retention has removed: their rows were checked by structure.
    pub gone: i64,
    /// Records that the log holds beyond the next offsets.
    pub not_applied: i64,
}

/// The proof that another one goes on from.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    pub at: Timestamp,
    /// Whether it was a person's decision and no proof.
    pub is_baseline: bool,
}

impl Compared {
    /// The verdict of a proof without a difference.
    fn clean(&self, since: &str) -> String {
        let Self { records, rows, duplicates, commands, .. } = self;
        let up_to = if self.not_applied > 0 { " up to the next offsets" } else { "" };
        let mut line = format!(
            "clean{since}{up_to}: {records} records are {} messages, {duplicates} duplicates, {commands} commands and {} dead letters; \
             nothing is missing, doubled, misplaced or out of order",
            rows.messages, rows.dead_letters
        );
        if !self.control.is_empty() {
            let of =
                self.control.iter().map(|(partition, count)| format!("{count} of partition {partition}"));
            let of = of.collect::<Vec<_>>().join(", ");
            line.push_str(&format!("; Kafka's own transactions explain the offsets without a record: {of}"));
        }
        if self.gone > 0 {
            let gone = self.gone;
            line.push_str(&format!(
                "; retention has removed the records of {gone} offsets, their rows were checked by structure and are counted"
            ));
        }
        if self.former != FormerRows::default() {
            let FormerRows { dialogs, messages, dead_letters, client_aliases } = self.former;
            line.push_str(&format!(
                "; {messages} of the messages, {dead_letters} of the dead letters, {dialogs} dialogs and {client_aliases} aliases \
                 are of former topics, their rows were checked by structure only"
            ));
        }
        match self.not_applied {
            0 => {}
            1 => line.push_str("; 1 record not applied yet"),
            more => line.push_str(&format!("; {more} records not applied yet")),
        }
        line
    }
}

impl Report {
    pub fn not_provable(scope: Scope, why: &str) -> Self {
        Self {
            verdict: Verdict::NotProvable,
            line: format!("not provable: {why}"),
            scope,
            since: None,
            compared: Compared::default(),
            elapsed_seconds: 0.0,
            findings_total: 0,
            findings: Vec::new(),
        }
    }
}

/// The differences found so far: all are counted, the first [`FINDINGS_MAX`] in their order are kept.
#[derive(Debug, Default)]
pub struct Findings {
    total: u64,
    first: Vec<Finding>,
    unprovable: BTreeMap<&'static str, BTreeSet<i32>>,
}

impl Findings {
    pub fn push(
        &mut self,
        about: About,
        (partition, offset): (i32, Option<i64>),
        kind: &'static str,
        detail: impl Into<String>,
    ) {
        self.total += 1;
        self.first.push(Finding { about, partition, offset, kind, detail: detail.into() });
        if self.first.len() > 2 * FINDINGS_MAX {
            self.keep_first();
        }
    }

    /// Adds those of another worker.
    pub fn merge(&mut self, other: Self) {
        self.total += other.total;
        self.first.extend(other.first);
        for (why, partitions) in other.unprovable {
            self.unprovable.entry(why).or_default().extend(partitions);
        }
        self.keep_first();
    }

    /// A partition of which the log does not tell everything any more.
    pub fn unprovable(&mut self, partition: i32, why: &'static str) {
        self.unprovable.entry(why).or_default().insert(partition);
    }

    fn keep_first(&mut self) {
        self.first.sort_by(|a, b| a.order().cmp(&b.order()));
        self.first.truncate(FINDINGS_MAX);
    }

    pub fn into_report(
        mut self,
        scope: Scope,
        since: Option<Since>,
        compared: Compared,
        elapsed: Duration,
    ) -> Report {
        self.keep_first();
        let records = compared.records;
        let since_text = match since {
            Some(Since { at, is_baseline: false }) => format!(" since {at}"),
            Some(Since { at, is_baseline: true }) => format!(" since the baseline of {at}"),
            None => String::new(),
        };
        let since = since.map(|since| since.at.to_string());
        let (verdict, line) = if !self.unprovable.is_empty() {
            let why = self
                .unprovable
                .iter()
                .map(|(why, partitions)| format!("{why}, of partitions {partitions:?}"));
            (Verdict::NotProvable, format!("not provable: {}", why.collect::<Vec<_>>().join("; ")))
        } else if self.total > 0 {
            let line = format!(
                "differs{since_text}: {} differences between the tables and {records} records",
                self.total
            );
            (Verdict::Differs, line)
        } else {
            (Verdict::Clean, compared.clean(&since_text))
        };
        Report {
            verdict,
            line,
            scope,
            since,
            compared,
            elapsed_seconds: elapsed.as_secs_f64(),
            findings_total: self.total,
            findings: self.first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_verdict_names_what_is_not_applied_and_what_no_record_tells() {
        let line = |compared: Compared| {
            Findings::default().into_report(Scope::Full, None, compared, Duration::ZERO).line
        };
        assert!(line(Compared::default()).ends_with("or out of order"));
        let one = line(Compared { not_applied: 1, ..Compared::default() });
        assert!(
            one.starts_with("clean up to the next offsets: ") && one.ends_with("; 1 record not applied yet")
        );
        let more = Compared { control: BTreeMap::from([(3, 2), (7, 1)]), gone: 40, ..Compared::default() };
        let more = line(more);
        assert!(
            more.contains("2 of partition 3, 1 of partition 7") && more.contains("of 40 offsets"),
            "{more}"
        );
        let former = FormerRows { messages: 3, ..FormerRows::default() };
        let former = line(Compared { former, ..Compared::default() });
        assert!(former.contains("; 3 of the messages, 0 of the dead letters, 0 dialogs"), "{former}");
    }

    #[test]
    fn the_first_differences_are_kept_in_their_order_whoever_finds_them_when() {
        let mut all = Findings::default();
        let mut other = Findings::default();
        all.push(About::Nothing, (0, None), "client_unexpected", "");
        for offset in (0..1_000).rev() {
            let worker = if offset % 3 == 0 { &mut all } else { &mut other };
            worker.push(About::Record, (1, Some(offset)), "message_missing", "");
        }
        other.push(About::Progress, (0, None), "counter_differs", "");
        all.merge(other);
        let report = all.into_report(Scope::Full, None, Compared::default(), Duration::ZERO);
        assert_eq!((report.verdict, report.findings_total), (Verdict::Differs, 1_002));
        let kept: Vec<_> = report.findings.iter().map(|f| (f.kind, f.offset)).collect();
        assert_eq!(kept.len(), FINDINGS_MAX);
        assert_eq!(
            kept[..3],
            [("counter_differs", None), ("message_missing", Some(0)), ("message_missing", Some(1))]
        );
    }
}
