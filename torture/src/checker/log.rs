//! I1 to I7: what was answered against what the topic holds.

use std::{collections::BTreeMap, time::Duration};

use super::{Evidence, Violation};
use crate::{
    history::{Attempt, Class, Name},
    identity,
    plan::Message,
    wire::batch::Record,
};

type Place = (i32, i64);

pub fn check(evidence: &Evidence<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let attempts: BTreeMap<Name<'_>, &Attempt> =
        evidence.attempts.iter().map(|attempt| (attempt.name(), attempt)).collect();
    let places = check_records(evidence, &attempts, &mut violations);
    for attempt in evidence.attempts {
        check_attempt(attempt, &places, &mut violations);
    }
    check_copies(&places, &attempts, &mut violations);
    check_order(evidence, &mut violations);
    violations
}

/// I3, I4 and gaps (I7): each record of the log. Says where each attempt's records lie.
fn check_records<'a>(
    evidence: &'a Evidence<'_>,
    attempts: &BTreeMap<Name<'_>, &Attempt>,
    violations: &mut Vec<Violation>,
) -> BTreeMap<Name<'a>, Vec<Place>> {
    let mut places: BTreeMap<Name<'a>, Vec<Place>> = BTreeMap::new();
    for (partition, log) in &evidence.log.partitions {
        let mut expected = log.start;
        for record in &log.records {
            let place = (*partition, record.offset);
            // Markers of transactions have offsets, and are no records.
            let missing = (expected..record.offset).filter(|offset| !log.control.contains(offset)).count();
            if missing > 0 || record.offset < expected {
                violations.push(Violation::new("I7", format!("{place:?} follows {}", expected - 1)));
            }
            expected = record.offset + 1;
            if evidence.planted.poison.contains_key(&place) || evidence.planted.aborted.contains(&place) {
                continue;
            }
            let key = record.key.as_deref().unwrap_or_default();
            if identity::partition_of(key, evidence.log.keyed_partitions) != *partition {
                violations.push(Violation::new("I4", format!("{place:?} holds a key of another partition")));
            }
            let id = record.header("x-request-id").unwrap_or_default();
            if evidence.planted.closes.contains_key(id) {
                continue;
            }
            let name = (id, record.header("ce_id").unwrap_or_default());
            match attempts.get(&name).and_then(|attempt| attempt.sent.message.as_ref()) {
                Some(message) if is_record_of(record, message) => {
                    places.entry(name).or_default().push(place);
                }
                Some(_) => {
                    violations.push(Violation::new("I3", format!("{place:?} is not what attempt {id} said")));
                }
                None => {
                    violations.push(Violation::new("I3", format!("{place:?} was sent by nobody: {id:?}")))
                }
            }
        }
    }
    places
}

fn is_record_of(record: &Record, message: &Message) -> bool {
    record.key.as_deref() == Some(message.client_id.as_bytes())
        && record.value.as_deref() == Some(&message.value)
        && record.header("ce_type") == Some(message.event_type())
        && record.header("ce_id") == Some(&message.external_message_id)
}

/// I1, I2, I7: each attempt's answer.
fn check_attempt(
    attempt: &Attempt,
    places: &BTreeMap<Name<'_>, Vec<Place>>,
    violations: &mut Vec<Violation>,
) {
    let found = places.get(&attempt.name()).map(Vec::as_slice).unwrap_or_default();
    let id = &attempt.id;
    let violation = match (attempt.class, &attempt.sent.message) {
        (Class::Ok { .. }, _) if found.is_empty() => ("I1", format!("{id} was kept, and is not there")),
        (Class::Ok { partition, offset }, _) if !found.contains(&(partition, offset)) => {
            ("I7", format!("{id} was kept at ({partition}, {offset}), and lies at {found:?}"))
        }
        (Class::Ok { .. }, None) => ("I2", format!("{id} is no message, and was kept")),
        (Class::Fail(status), _) if !found.is_empty() => {
            ("I2", format!("{id} was refused with {status}, and lies at {found:?}"))
        }
        (Class::Fail(status), Some(_)) => ("I2", format!("{id} is a message, and was refused with {status}")),
        (Class::Ok { .. } | Class::Fail(_) | Class::Info(_), _) => return,
    };
    violations.push(Violation::new(violation.0, violation.1));
}

/// A producer gives a record up after 8 s. It then renumbers what else is on its way, to whichever partition, and the
/// brokers cannot tell a record that they have from one that is sent again (ADR 0027).
const GIVEN_UP_AFTER: Duration = Duration::from_secs(7);
/// What is on its way then was sent at most so long before or after.
const ON_ITS_WAY: Duration = Duration::from_secs(20);

/// I5: an attempt is in the log once at most, as long as its producer gives nothing up.
fn check_copies(
    places: &BTreeMap<Name<'_>, Vec<Place>>,
    attempts: &BTreeMap<Name<'_>, &Attempt>,
    violations: &mut Vec<Violation>,
) {
    let is_given_up = |attempt: &&&Attempt| {
        matches!(attempt.class, Class::Info(_)) && attempt.returned - attempt.invoked >= GIVEN_UP_AFTER
    };
    let given_up: Vec<Duration> =
        attempts.values().filter(is_given_up).map(|attempt| attempt.invoked).collect();
    for (name, places) in places.iter().filter(|(_, places)| places.len() > 1) {
        let invoked = attempts.get(name).map_or(Duration::ZERO, |attempt| attempt.invoked);
        if !given_up.iter().any(|at| at.abs_diff(invoked) < ON_ITS_WAY) {
            let (id, message) = name;
            violations.push(Violation::new("I5", format!("{message} of {id} lies at {places:?}")));
        }
    }
}

/// I6: what was answered before the next was sent lies before it.
fn check_order(evidence: &Evidence<'_>, violations: &mut Vec<Violation>) {
    let mut by_client: BTreeMap<&str, Vec<(&Attempt, i64)>> = BTreeMap::new();
    for attempt in evidence.attempts {
        if let (Class::Ok { offset, .. }, Some(message)) = (attempt.class, &attempt.sent.message) {
            by_client.entry(&message.client_id).or_default().push((attempt, offset));
        }
    }
    for (client, kept) in by_client {
        for (first, before) in &kept {
            for (second, after) in kept.iter().filter(|(second, _)| first.returned < second.invoked) {
                if before >= after {
                    let what = format!("{client}: {} at {before}, then {} at {after}", first.id, second.id);
                    violations.push(Violation::new("I6", what));
                }
            }
        }
    }
}
