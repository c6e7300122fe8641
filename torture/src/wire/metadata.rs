//! What brokers say of a topic.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context as _, Result, bail};

use super::{broker::check, bytes::Reader, kafka::Topic};

/// Reads the answer for one topic.
pub(super) fn read_metadata(reader: &mut Reader<'_>) -> Result<Topic> {
    reader.i32()?;
    let mut brokers = BTreeMap::new();
    for _ in 0..reader.compact_array()? {
        let (id, host, port) = (reader.i32()?, reader.compact_text()?.unwrap_or_default(), reader.i32()?);
        reader.compact_text()?;
        reader.tags()?;
        brokers.insert(id, format!("{host}:{port}").parse::<SocketAddr>().context("a broker's address")?);
    }
    reader.compact_text()?;
    reader.i32()?;
    if reader.compact_array()? != 1 {
        bail!("an answer for another topic");
    }
    check(reader.i16()?)?;
    reader.compact_text()?;
    let id = reader.take(16)?.try_into()?;
    reader.i8()?;
    let mut topic = Topic { id, leaders: BTreeMap::new(), in_sync: BTreeMap::new() };
    for _ in 0..reader.compact_array()? {
        reader.i16()?;
        let (partition, leader) = (reader.i32()?, reader.i32()?);
        reader.i32()?;
        let _replicas = read_ids(reader)?;
        topic.in_sync.insert(partition, read_ids(reader)?);
        let _offline = read_ids(reader)?;
        reader.tags()?;
        topic.leaders.insert(partition, brokers.get(&leader).map(|address| (leader, *address)));
    }
    Ok(topic)
}

fn read_ids(reader: &mut Reader<'_>) -> Result<Vec<i32>> {
    let length = reader.compact_array()?;
    (0..length).map(|_| reader.i32()).collect()
}
