//! A batch that the brokers hand out and no client can read stops its partition by name, and nobody else.

use std::{fs, path::PathBuf, time::Duration};

use rstest::rstest;

use crate::{
    asked::assert_says,
    harness::{Telex, metric, readiness, wait_for},
    topic::{Writer, client_beside, partition_of},
};

const SOON: Duration = Duration::from_secs(90);

/// Where the fields of a record batch are (magic 2).
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const HEAD: usize = 12;

/// The second batch of a partition's log, as it lies on the broker's disk.
struct Batch {
    path: PathBuf,
    log: Vec<u8>,
    at: usize,
    end: usize,
}

impl Batch {
    fn second(telex: &Telex, partition: i32) -> Self {
        let log = format!("kafka/data/{}-{partition}/00000000000000000000.log", telex.programs.topic);
        let path = telex.directory.join(log);
        let log = fs::read(&path).unwrap();
        let end_of = |at: usize| {
            let length = log[at + LENGTH..at + LENGTH + 4].try_into().unwrap();
            at + HEAD + usize::try_from(i32::from_be_bytes(length)).unwrap()
        };
        let at = end_of(0);
        let end = end_of(at);
        Self { path, log, at, end }
    }

    /// Breaks it on the disk, and gives back what was there.
    fn broken(telex: &Telex, partition: i32, break_it: fn(&mut Self)) -> Self {
        let (sound, mut broken) = (Self::second(telex, partition), Self::second(telex, partition));
        break_it(&mut broken);
        broken.write();
        sound
    }

    /// Writes the log as it is now, in place: the broker has the file open.
    fn write(&self) {
        use std::os::unix::fs::FileExt as _;
        let file = fs::OpenOptions::new().write(true).open(&self.path).unwrap();
        file.write_all_at(&self.log[self.at..self.end], self.at as u64).unwrap();
    }

    fn has_unknown_codec(&mut self) {
        self.log[self.at + ATTRIBUTES + 1] |= 5;
        let crc = crc32c(&self.log[self.at + ATTRIBUTES..self.end]);
        self.log[self.at + CRC..self.at + CRC + 4].copy_from_slice(&crc.to_be_bytes());
    }

    /// Of a version of the format that is to come.
    fn has_an_unknown_format(&mut self) {
        self.log[self.at + MAGIC] = 9;
    }

    fn has_a_wrong_checksum(&mut self) {
        self.log[self.at + CRC] ^= 0xff;
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn a_partition_whose_last_applied_record_does_not_come_waits_by_name_until_it_does() {
    let (mut telex, _servers) = Telex::with_own_servers();
    let (partition, writer) = (partition_of("client"), Writer::new(&telex));
    let mut processor = telex.processor();
    writer.messages("client", 0..3);
    telex.assert_clean();
    writer.messages("client", 3..5);
    telex.assert_clean();
    processor.stop().unwrap();
    let sound = Batch::broken(&telex, partition, Batch::has_a_wrong_checksum);

    let processor = telex.processor();
    let by_name = format!("partition {partition} not taken up: no_record");
    wait_for("the partition to wait, by name", SOON, || readiness(&processor).1.contains(&by_name));
    let waits = format!("processor_partition_waiting{{partition=\"{partition}\",reason=\"no_record\"}}");
    assert_eq!(metric(&processor, &waits), Some(1));
    assert_eq!(telex.standing_still().get(&partition).map(String::as_str), Some("no_record"));
    let beside = client_beside("client");
    writer.messages(&beside, 0..2);
    wait_for("the others", SOON, || telex.messages() == 7);
    assert!(telex.halts().is_empty());

    sound.write();
    writer.messages("client", 5..6);
    assert_eq!(telex.assert_clean()["rows"]["messages"], 8);
    assert_eq!(metric(&processor, &waits), None);
}

/// A client that meets a batch of an unknown format goes on one offset behind its first (librdkafka 2.12.1,
/// `rd_kafka_msgset_reader_peek_msg_version`): if it held one record, with the next batch.
#[test]
fn what_was_stepped_over_before_a_sound_batch_halts_its_partition_and_is_not_explained_away() {
    let (mut telex, _servers) = Telex::with_own_servers();
    let (partition, writer) = (partition_of("client"), Writer::new(&telex));
    let processor = telex.processor();
    writer.messages("client", 0..3);
    telex.assert_clean();
    processor.server.freeze();
    std::thread::sleep(Duration::from_millis(200));
    writer.messages("client", 3..4);
    writer.messages("client", 4..6);
    let sound = Batch::broken(&telex, partition, Batch::has_an_unknown_format);
    processor.server.thaw();
    let halt = telex.halted();
    assert_says(&halt, [("/partition", partition.into()), ("/numbers/expected", 3.into())]);
    assert_eq!(telex.progress("next_offset * 10 + control", partition), 30);

    sound.write();
    telex.resume(partition, 3, 3, halt["reason"].as_str().unwrap());
    assert_eq!(telex.assert_clean()["rows"]["messages"], 6);
}

#[rstest]
#[case::codec(Batch::has_unknown_codec)]
#[case::checksum(Batch::has_a_wrong_checksum)]
#[case::format(Batch::has_an_unknown_format)]
fn a_batch_that_no_client_can_read_halts_its_partition_and_the_others_go_on(
    #[case] break_it: fn(&mut Batch),
) {
    let (mut telex, _servers) = Telex::with_own_servers();
    let (partition, beside) = (partition_of("client"), client_beside("client"));
    let writer = Writer::new(&telex);
    let processor = telex.processor();
    writer.messages("client", 0..3);
    telex.assert_clean();
    // Nobody reads the batch before it is broken.
    processor.server.freeze();
    std::thread::sleep(Duration::from_millis(200));
    writer.messages("client", 3..5);
    let sound = Batch::broken(&telex, partition, break_it);
    processor.server.thaw();
    writer.messages(&beside, 0..4);
    wait_for("the others", SOON, || telex.messages() == 7);
    let halt = telex.halted();
    assert_eq!((&halt["reason"], &halt["partition"]), (&"unreadable_batch".into(), &partition.into()));
    assert_eq!(halt["numbers"]["offset"], 3);
    assert!(readiness(&processor).1.contains("unreadable_batch"));
    writer.messages(&beside, 4..6);
    wait_for("the others afterwards", SOON, || telex.messages() == 9);
    assert_eq!(metric(&processor, "processor_rebuilds_total{cause=\"stalled\"}"), None);
    let said = telex.say(&["halts", "list"]);
    assert!(said.contains("--from 3 --to 3 --reason-code unreadable_batch --dry-run"), "{said}");

    // Repaired from a replica, in the field.
    sound.write();
    telex.resume(partition, 3, 3, "unreadable_batch");
    assert_eq!(telex.assert_clean()["rows"]["messages"], 11);
}
