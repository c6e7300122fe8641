//! `processor quarantine show`: a record as it came, for a person who is allowed to read it.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, ensure};
use schemas::Partition;

use super::reading::{decode, explain};
use crate::{
    commands::output::printable,
    domain::{position::Offset, record::RawRecord},
    kafka::{client::KafkaConfig, topic::Inspector},
};

/// Shows the record at a place.
///
/// # Errors
/// There is no such topic or place, the brokers did not answer, or standard output cannot be written.
pub fn show(kafka: &KafkaConfig, partition: i32, offset: i64, document_only: bool) -> anyhow::Result<()> {
    let inspector = Inspector::new(kafka)?;
    let count = inspector.identity().map_err(|error| explain(error, kafka))?.partition_count.get();
    ensure!(partition < count, "partition {partition}: {} has {count} partitions, from 0 on", kafka.topic);
    let place = (Partition(partition), Offset(offset));
    let range = inspector.log_range(place.0)?;
    ensure!(
        (range.start..range.end).contains(&place.1),
        "offset {offset}: partition {partition} of {} holds {} to {}, the last one not included",
        kafka.topic,
        range.start,
        range.end
    );
    let mut found = inspector.records_at(&[place])?;
    let record = found.remove(&place.0).context("the record did not arrive")?;
    let mut output = io::stdout().lock();
    let text = shown(&record, &kafka.topic, document_only, output.is_terminal());
    match output.write_all(&text).and_then(|()| output.flush()) {
        // `| head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// What is printed of a record. Headers are always text of one line; the document is as it came, unless it goes to a
/// terminal, which its control characters could command.
fn shown(record: &RawRecord, topic: &str, document_only: bool, to_terminal: bool) -> Vec<u8> {
    let mut shown = Vec::new();
    if !document_only {
        let mut say = |line: String| shown.extend_from_slice((line + "\n").as_bytes());
        let text = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes));
        say(format!("partition {} offset {} of {topic}", record.partition, record.offset));
        say(format!("appended_at: {}", record.appended_at));
        if let Err(foreign) = decode(record.key(), record.value(), record.headers()) {
            say(format!("not an item of a hook, another program wrote it: {foreign}"));
        }
        say(format!("key: {}", text(record.key().unwrap_or_default())));
        for (name, value) in record.headers() {
            say(format!("{}: {}", text(name), text(value.unwrap_or_default())));
        }
        say(String::new());
    }
    let document = record.value().unwrap_or_default();
    if !to_terminal {
        shown.extend_from_slice(document);
        return shown;
    }
    let text = String::from_utf8_lossy(document);
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    shown.extend_from_slice((lines.join("\n") + "\n").as_bytes());
    shown
}

#[cfg(test)]
mod tests {
    use schemas::Timestamp;

    use super::*;
    use crate::domain::record::Header;

    fn record() -> RawRecord {
        let headers: [Header<'_>; 2] = [(b"ce_type", Some(b"a\x1b[2J")), (b"empty", None)];
        let at = Timestamp::parse("2026-11-24T04:35:00Z").unwrap();
        let document = b"{\n\"a\x1b[2J\":1}\xff";
        RawRecord::new(Partition(1), Offset(42), at, Some(b"whatsapp"), Some(document), headers.into_iter())
    }

    #[test]
    fn a_document_goes_to_a_file_as_it_came() {
        assert_eq!(shown(&record(), "t", true, false), b"{\n\"a\x1b[2J\":1}\xff");
    }

    #[test]
    fn a_document_cannot_command_the_terminal() {
        let said = String::from_utf8(shown(&record(), "t", false, true)).unwrap();
        let expected = "\
partition 1 offset 42 of t
appended_at: 2026-11-24T04:35:00.000000Z
not an item of a hook, another program wrote it: the header ce_type is missing or malformed
key: whatsapp
ce_type: a·[2J
empty: 

{
\"a·[2J\":1}\u{fffd}
";
        assert_eq!(said, expected);
    }
}
