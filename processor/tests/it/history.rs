//! A topic that was written before version 2 of a message's record, replayed: its rows and counters are those that
//! the processor of that time made of it, ids of dialogs and texts of dead letters included.
//!
//! Both files in `tests/fixtures/history` were made once, by the programs of that time on a Kafka and a PostgreSQL:
//! the records by ingest-api, and by another producer where it would not write them, with the times at which the
//! brokers appended them; the rows by `processor run`. Here the records go through the transaction itself, so that
//! topic, places and times are those of then.

use std::{collections::BTreeMap, sync::Arc};

use processor::{
    domain::{
        batch::{Batch, Run},
        decode::Record,
        fold::{Cached, ClientStates, Ids},
        position::{NextOffset, Offset, OwnerEpoch, TopicRef},
        record::RawRecord,
        rules::PartitionRules,
    },
    store::{
        apply::{self, Mode},
        registry::Topic,
    },
};
use schemas::{Partition, PartitionCount, Timestamp};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::harness::{Telex, block_on};

const RECORDS: &str = include_str!("../fixtures/history/records.jsonl");
const ROWS: &str = include_str!("../fixtures/history/rows.jsonl");

const PARTITIONS: i32 = 12;

/// The one record that the database refuses has a member whose name holds U+0000.
const INVALID_CHARACTER: &str = "22021";

/// What a table held, a row a line; the columns of that time.
const TABLES: [&str; 5] = [
    "select 'client' as row, id, external_client_id, client_phone, created_at from clients order by id",
    "select 'dialog' as row, client_id, id, opened_at, closed_at, close_reason, topic_ref, partition, opened_offset,
            last_message_at
     from dialogs order by client_id, id",
    "select 'message' as row, record_offset, appended_at, received_at, sent_at, partition, topic_ref, client_id,
            dialog_id, body_hash, external_message_id, request_id, text
     from messages order by partition, record_offset",
    "select 'dead letter' as row, topic_ref, partition, record_offset, reason, detail, key, value, headers, appended_at
     from dead_letters order by partition, record_offset",
    "select 'progress' as row, topic_ref, partition, birth_offset, next_offset, last_digest, messages, duplicates,
            commands, dead_letters
     from partition_progress order by partition",
];

#[test]
fn a_topic_of_version_1_gives_the_rows_that_it_always_gave() {
    let mut lines = RECORDS.lines().map(|line| serde_json::from_str(line).unwrap());
    let topic: Value = lines.next().unwrap();
    let topic_id = topic["topic_id"].as_str().unwrap().parse().unwrap();
    let records: Vec<Value> = lines.collect();
    assert!(records.len() >= 300, "{} records", records.len());
    for (batch_records, mode) in
        [(1, Mode::Copy), (7, Mode::Copy), (records.len(), Mode::Copy), (7, Mode::Insert)]
    {
        let rows = replayed(topic_id, &records, batch_records, mode);
        for (row, expected) in rows.lines().zip(ROWS.lines()) {
            assert_eq!(row, expected, "in batches of {batch_records}, {mode:?}");
        }
        assert_eq!(rows.lines().count(), ROWS.lines().count());
    }
}

/// The rows of an empty database after the records.
fn replayed(topic_id: Uuid, records: &[Value], batch_records: usize, mode: Mode) -> String {
    let telex = Telex::new();
    telex.execute(&format!(
        "insert into topics (topic_ref, cluster_id, name, topic_id, partition_count)
         values (1, 'history', 'history', '{topic_id}', {PARTITIONS});
         insert into partition_progress (topic_ref, partition, birth_offset, next_offset, owner_epoch)
         select 1, number, 0, 0, 1 from generate_series(0, {PARTITIONS} - 1) as number"
    ));
    block_on(async {
        let mut connection = PgConnection::connect(&telex.programs.database_url).await.unwrap();
        let partition_count = PartitionCount::new(PARTITIONS).unwrap();
        let topic = Topic { topic_ref: TopicRef(1), topic_id, partition_count, known_partitions: PARTITIONS };
        let mut known = ClientStates::default();
        for records in records.chunks(batch_records) {
            let mut waiting = vec![batch(records, partition_count)];
            while let Some(batch) = waiting.pop() {
                match apply::apply(&mut connection, topic, &batch, cached(&known), mode).await {
                    Ok(applied) => known.extend(applied.after),
                    // As a lane does it: down to the one record that the database refuses.
                    Err(_refused) => match batch.split() {
                        Ok([first, second]) => waiting.extend([second, first]),
                        Err(single) => {
                            let rejected = single.rejected(INVALID_CHARACTER);
                            let applied =
                                apply::apply(&mut connection, topic, &rejected, cached(&known), mode).await;
                            known.extend(applied.unwrap().after);
                        }
                    },
                }
            }
        }
        rows(&mut connection).await
    })
}

/// The states of clients without the ids of their messages, which are looked up.
fn cached(known: &ClientStates) -> Cached {
    let mut states = known.clone();
    states.values_mut().for_each(|state| state.ids = Ids::Unknown);
    Cached { states, ..Cached::default() }
}

async fn rows(connection: &mut PgConnection) -> String {
    sqlx::raw_sql("set timezone = 'utc'").execute(&mut *connection).await.unwrap();
    let mut rows = String::new();
    for table in TABLES {
        let query = format!("select row_to_json(line)::text from ({table}) as line");
        let lines: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&mut *connection).await.unwrap();
        rows.extend(lines.into_iter().map(|line| line + "\n"));
    }
    rows
}

/// The records of a batch, by partition.
fn batch(records: &[Value], partition_count: PartitionCount) -> Batch {
    let mut runs: BTreeMap<Partition, Vec<Arc<Record>>> = BTreeMap::new();
    for record in records {
        let raw = raw(record);
        let rules = PartitionRules::new(raw.partition, partition_count);
        runs.entry(raw.partition).or_default().push(Arc::new(Record::decode(raw, &rules)));
    }
    let run = |(partition, records): (Partition, Vec<Arc<Record>>)| Run {
        partition,
        owner_epoch: OwnerEpoch(1),
        from: NextOffset(records[0].raw.offset.0),
        to: records[records.len() - 1].raw.offset.next(),
        records,
    };
    Batch { runs: runs.into_iter().map(run).collect() }
}

fn raw(record: &Value) -> RawRecord {
    let number = |name: &str| record[name].as_i64().unwrap();
    let partition = Partition(number("partition").try_into().unwrap());
    let (offset, appended_at) =
        (Offset(number("offset")), Timestamp::from_millis(number("appended_ms")).unwrap());
    let headers: Vec<_> = record["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|header| (bytes(&header[0]), bytes(&header[1])))
        .collect();
    let headers = headers.iter().map(|(name, value)| (name.as_deref().unwrap(), value.as_deref()));
    let (key, value) = (bytes(&record["key"]), bytes(&record["value"]));
    RawRecord::new(partition, offset, appended_at, key.as_deref(), value.as_deref(), headers)
}

/// Text, or what is none in hexadecimal, or nothing.
fn bytes(part: &Value) -> Option<Vec<u8>> {
    if let Some(text) = part.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    Some(hex::decode(part.get("hex")?.as_str().unwrap()).unwrap())
}
