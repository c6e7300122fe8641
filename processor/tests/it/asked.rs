//! What a test asks of its Telex: the answers of queries, what stands still and why, and the command that ends it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::harness::{SOON, Telex, block_on, wait_for};

impl Telex {
    /// The answer of a query: one number.
    pub fn number(&self, query: &str) -> i64 {
        block_on(async {
            let mut connection = PgConnection::connect(&self.programs.database_url).await.unwrap();
            sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap()
        })
    }

    /// The answer of a query: one text.
    pub fn text(&self, query: &str) -> String {
        block_on(async {
            let mut connection = PgConnection::connect(&self.programs.database_url).await.unwrap();
            sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap()
        })
    }

    /// How many messages are filed.
    pub fn messages(&self) -> i64 {
        self.number("select count(*) from messages")
    }

    /// How many offsets are applied, in all partitions together.
    pub fn applied_offsets(&self) -> i64 {
        self.number("select coalesce(sum(next_offset), 0)::bigint from partition_progress")
    }

    /// A number of a partition's row.
    pub fn progress(&self, number: &str, partition: i32) -> i64 {
        self.number(&format!("select {number} from partition_progress where partition = {partition}"))
    }

    pub fn next_offset(&self, partition: i32) -> i64 {
        self.progress("next_offset", partition)
    }

    /// A clean proof says these numbers at these places (JSON pointers).
    #[track_caller]
    pub fn assert_counts<T: Into<Value>, const N: usize>(&self, counts: [(&str, T); N]) -> Value {
        let report = self.assert_clean();
        assert_says(&report, counts.map(|(place, count)| (place, count.into())));
        report
    }

    /// Applies the topic once more from its start, with an empty memory: a query answers as before.
    #[track_caller]
    pub fn assert_replayed(&mut self, query: &str) -> Value {
        let before = self.number(query);
        self.execute(
            "truncate client_aliases, messages, dialogs, clients, dead_letters;
             update partition_progress set next_offset = birth_offset, last_digest = null, last_offset = null,
                 messages = 0, duplicates = 0, commands = 0, dead_letters = 0",
        );
        let _processor = self.processor();
        let report = self.assert_clean();
        assert_eq!(self.number(query), before);
        report
    }

    /// What a command says as JSON.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        serde_json::from_str(&self.say(arguments)).unwrap()
    }

    /// The partitions that stand still.
    pub fn halts(&self) -> Vec<Value> {
        self.json(&["halts", "list", "--json"])
    }

    /// What `progress show` says of partitions that stand still: the codes, without the words.
    pub fn standing_still(&self) -> BTreeMap<i32, String> {
        let rows: Vec<Value> = self.json(&["progress", "show", "--json"]);
        let code = |row: &Value| {
            let said: Vec<&str> = row["stands_still"].as_str()?.split(": ").collect();
            let codes = if matches!(said[0], "halted" | "would_halt") { 2 } else { 1 };
            Some((i32::try_from(row["partition"].as_i64()?).unwrap(), said[..codes].join(": ")))
        };
        rows.iter().filter_map(code).collect()
    }

    /// Waits until one partition, and no other, is written down as halted.
    #[track_caller]
    pub fn halted(&self) -> Value {
        wait_for("the halt", SOON, || self.halts().len() == 1);
        self.halts().remove(0)
    }

    /// Ends a partition's halt.
    #[track_caller]
    pub fn resume(&self, partition: i32, from: i64, to: i64, code: &str) -> String {
        let [partition, from, to] = [i64::from(partition), from, to].map(|number| number.to_string());
        let place = ["halts", "resume", "--partition", &partition, "--from", &from, "--to", &to];
        self.say(&[&place[..], &["--reason-code", code, "--yes"]].concat())
    }
}

/// What a report says at some places (JSON pointers).
#[track_caller]
pub fn assert_says<const N: usize>(report: &Value, expected: [(&str, Value); N]) {
    for (place, value) in expected {
        assert_eq!(report.pointer(place), Some(&value), "{place}: {report:#}");
    }
}
