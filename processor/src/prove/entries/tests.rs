use super::*;

#[track_caller]
fn survives<E: Fixed + PartialEq + std::fmt::Debug>(entry: &E) {
    let mut bytes = Vec::new();
    entry.write(&mut bytes);
    assert_eq!(bytes.len(), E::SIZE);
    let mut rest = bytes.as_slice();
    assert_eq!(E::read(&mut rest), *entry);
    assert!(rest.is_empty());
}

#[test]
fn entries_survive_the_way_to_disk_and_back() {
    let (client, dialog) = (ClientId::from_uuid(Uuid::from_u128(1)), Uuid::from_u128(2));
    for kind in [Kind::Message, Kind::DeadLetter, Kind::Rejected] {
        survives(&PlacedRow { offset: Offset(-1), kind, tid: [1, 2, 3, 4, 5, 6], dialog, digest: u64::MAX });
    }
    let said = [
        Said::Message {
            id: [7; 16],
            body: Body { hash: BodyHash([9; 16]), own: BodyHash([8; 16]) },
            idle_gap: 60,
        },
        Said::Repeat { same_body: true },
        Said::Repeat { same_body: false },
        Said::Close,
    ];
    let found =
        [(Found::Nothing, Found::Different), (Found::Same, Found::Nothing), (Found::Different, Found::Same)];
    for (said, (message, dead_letter)) in said.into_iter().flat_map(|said| found.map(|found| (said, found))) {
        survives(&ClientRecord {
            client,
            partition: Partition(7),
            offset: Offset(i64::MAX),
            appended_at: Timestamp::from_millis(5).unwrap(),
            said,
            external_client_id: 3,
            address: 4,
            message,
            dialog,
            dead_letter,
        });
    }
    survives(&DialogRow {
        client_id: client,
        id: dialog,
        opened_at: 1,
        closed_at: NULL,
        close_reason: 4,
        last_message_at: -5,
        topic_ref: -1,
        partition: 5,
        opened_offset: 6,
    });
    survives(&ClientRow {
        id: client,
        external_client_id: 1,
        address: 2,
        of_pair: ClientId::from_uuid(Uuid::nil()),
        created_at: -1,
    });
    survives(&GoneMessage {
        client,
        topic_ref: TopicRef(-7),
        partition: Partition(3),
        offset: Offset(4),
        dialog,
    });
}
