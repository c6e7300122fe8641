//! Each kind of wrong row, planted into rows that are right.

use rstest::rstest;
use schemas::Timestamp;

use super::*;
use crate::{
    database::{StoredClient, StoredDialog, StoredMessage},
    ledger::Place,
    plan::{Kind, Settings},
};

const WHO: ClientIndex = ClientIndex(0);

struct Case {
    plan: Plan,
    ledger: Ledger,
    rows: ClientRows,
}

/// A plan that went well: each 202 has its record, and the processor stored the first of each message.
fn well() -> Case {
    let mix = "valid=80,duplicate=10,invalid=10".parse().unwrap();
    let usual = Settings::usual(Timestamp::parse("2026-11-24T12:00:00Z").unwrap());
    let plan = Plan::new(Settings { seed: 3, messages: 400, clients: 2, sources: 3, mix, ..usual });
    let (plan, mut ledger, mut rows) = (plan.unwrap(), Ledger::default(), ClientRows::default());
    let client = plan.client(WHO);
    let client_id = client.client_id().unwrap().as_uuid();
    let dialog = StoredDialog { client_id, id: Uuid::from_u128(7), is_active: true };
    // Between two of them there is room for copies.
    for (offset, request) in (100..).step_by(4).zip(plan.requests()) {
        let place = Place { partition: 4, offset };
        match request.kind {
            Kind::Invalid(_) => ledger.set(request.index, Receipt::Refused),
            _ => ledger.set(request.index, Receipt::Kept { at_once: true, place: Some(place) }),
        }
        if request.kind == Kind::Valid && request.client == WHO {
            rows.messages.push(StoredMessage {
                client_id,
                external_message_id: plan.external_message_id(&request),
                text: plan.text(&request),
                dialog_id: dialog.id,
                topic_ref: 1,
                place,
            });
        }
    }
    rows.dialogs.push(dialog);
    rows.client = Some(StoredClient {
        id: client_id,
        external_client_id: client.external_client_id,
        client_phone: client.address,
        aliases: client.aliases,
    });
    Case { plan, ledger, rows }
}

impl Case {
    fn verdict(self, in_batches: bool) -> Verdict {
        let receipts = Receipts { plan: &self.plan, ledger: &self.ledger, in_batches };
        let expected = by_client(&receipts, |client| client == WHO).pop().unwrap();
        let mut verdict = Verdict::default();
        judge(&receipts, &expected, self.rows, &mut verdict);
        verdict
    }

    fn findings(self, in_batches: bool) -> Findings {
        self.verdict(in_batches).findings
    }

    fn kinds(self) -> Vec<&'static str> {
        self.findings(false).kinds().keys().copied().collect()
    }

    /// The index of this client's nth request of a kind.
    fn nth(&self, nth: usize, is_wanted: fn(&Kind) -> bool) -> u64 {
        let mut requests =
            self.plan.requests().filter(|request| request.client == WHO && is_wanted(&request.kind));
        requests.nth(nth).unwrap().index
    }
}

#[test]
fn rows_that_are_right_have_nothing_wrong() {
    assert_eq!(well().findings(false), Findings::default());
    assert_eq!(well().findings(true), Findings::default());
}

#[rstest]
#[case::lost("missing", |case: &mut Case| { case.rows.messages.remove(5); })]
#[case::all_lost("missing", |case: &mut Case| { case.rows.messages.clear(); })]
#[case::lost_tail("missing", |case: &mut Case| { case.rows.messages.pop(); })]
#[case::doubled("doubled", |case: &mut Case| case.rows.messages.push(case.rows.messages[5].clone()))]
#[case::altered("altered", |case: &mut Case| case.rows.messages[5].text.push('!'))]
#[case::swapped("elsewhere", |case: &mut Case| {
    let (one, other) = (case.rows.messages[5].place, case.rows.messages[6].place);
    (case.rows.messages[5].place, case.rows.messages[6].place) = (other, one);
})]
#[case::of_the_duplicate("elsewhere", |case: &mut Case| {
    let duplicate = case.nth(0, |kind| matches!(kind, Kind::Duplicate { .. }));
    let original = case.plan.request(duplicate).original();
    let id = format!("{}{original}", case.plan.id_prefix());
    let Receipt::Kept { place: Some(place), .. } = case.ledger.get(duplicate) else { panic!() };
    case.rows.messages.iter_mut().find(|row| row.external_message_id == id).unwrap().place = place;
})]
#[case::behind_what_the_202_named("elsewhere", |case: &mut Case| case.rows.messages[5].place.offset += 1)]
#[case::in_another_partition("elsewhere", |case: &mut Case| {
    let place = case.rows.messages[5].place;
    case.rows.messages[5].place = Place { partition: place.partition + 1, offset: place.offset - 1 };
})]
#[case::of_the_message_before("elsewhere", |case: &mut Case| {
    case.rows.messages[6].place = case.rows.messages[5].place;
})]
#[case::before_the_answer_that_was_waited_for("elsewhere", |case: &mut Case| {
    case.rows.messages[6].place.offset = case.rows.messages[5].place.offset - 1;
})]
#[case::invalid("not_allowed", |case: &mut Case| {
    let invalid = case.nth(0, |kind| matches!(kind, Kind::Invalid(_)));
    let text = case.plan.text(&case.plan.request(invalid));
    let id = format!("{}{invalid}", case.plan.id_prefix());
    case.rows.messages.push(StoredMessage { external_message_id: id, text, ..case.rows.messages[0].clone() });
})]
#[case::of_nobody("unknown", |case: &mut Case| {
    let id = format!("{}400", case.plan.id_prefix());
    case.rows.messages.push(StoredMessage { external_message_id: id, ..case.rows.messages[0].clone() });
})]
#[case::two_active("several_active", |case: &mut Case| {
    case.rows.dialogs.push(StoredDialog { id: Uuid::from_u128(8), ..case.rows.dialogs[0] });
})]
#[case::dialog_of_another("no_dialog", |case: &mut Case| case.rows.messages[5].dialog_id = Uuid::from_u128(9))]
#[case::no_client("wrong_client", |case: &mut Case| case.rows.client = None)]
#[case::other_phone("wrong_client", |case: &mut Case| case.rows.client.as_mut().unwrap().client_phone.push('1'))]
fn what_is_wrong_is_named(#[case] name: &str, #[case] plant: fn(&mut Case)) {
    let mut case = well();
    plant(&mut case);
    let kinds = case.kinds();
    assert!(kinds.contains(&name), "{kinds:?}");
}

#[test]
fn a_row_of_an_earlier_copy_is_counted_and_is_not_wrong() {
    let mut case = well();
    for copied in [5, 9] {
        case.rows.messages[copied].place.offset -= 1;
    }
    let verdict = case.verdict(false);
    assert_eq!((verdict.findings.total(), verdict.written_twice), (0, 2), "{:?}", verdict.findings);
    assert_eq!(well().verdict(false).written_twice, 0);
}

#[test]
fn an_earlier_copy_excuses_no_row_that_is_wrong_otherwise() {
    let mut case = well();
    case.rows.messages[5].place.offset -= 1;
    case.rows.messages[5].text.push('!');
    assert_eq!(case.kinds(), ["altered"]);
}

#[test]
fn messages_of_a_batch_may_be_written_twice_together_and_messages_that_waited_for_an_answer_may_not() {
    let together = |in_batches: bool| {
        let mut case = well();
        let named = case.rows.messages[5].place.offset;
        case.rows.messages[5].place.offset = named - 2;
        case.rows.messages[6].place.offset = named - 1;
        let verdict = case.verdict(in_batches);
        let kinds: Vec<&str> = verdict.findings.kinds().keys().copied().collect();
        (kinds, verdict.written_twice)
    };
    assert_eq!(together(true), (vec![], 2));
    assert_eq!(together(false), (vec!["elsewhere"], 1));
}

#[test]
fn the_order_counts_where_no_202_named_a_place() {
    let swapped = |at_once: bool| {
        let mut case = well();
        for request in case.plan.requests().filter(|request| request.kind == Kind::Valid) {
            case.ledger.set(request.index, Receipt::Kept { at_once, place: None });
        }
        let (one, other) = (case.rows.messages[5].place, case.rows.messages[6].place);
        (case.rows.messages[5].place, case.rows.messages[6].place) = (other, one);
        case
    };
    assert_eq!(swapped(true).kinds(), ["out_of_order"]);
    assert_eq!(swapped(false).kinds(), ["out_of_order"]);
    // Behind one that was answered before it, sent again with the rest of its batch.
    assert_eq!(swapped(false).findings(true).total(), 0);
}

#[test]
fn what_no_reply_has_settled_may_be_there_or_not() {
    for is_there in [true, false] {
        let mut case = well();
        let index = case.nth(9, |kind| *kind == Kind::Valid);
        let repeated = |request: crate::plan::Request| request.index != index && request.original() == index;
        for request in case.plan.requests().collect::<Vec<_>>() {
            if request.index == index || repeated(request) {
                case.ledger.set(request.index, Receipt::Open);
            }
        }
        if !is_there {
            let id = format!("{}{index}", case.plan.id_prefix());
            case.rows.messages.retain(|row| row.external_message_id != id);
        }
        assert_eq!(case.findings(false), Findings::default());
    }
}

#[test]
fn a_repeat_that_was_kept_counts_for_its_message() {
    let mut case = well();
    let duplicate = case.nth(0, |kind| matches!(kind, Kind::Duplicate { .. }));
    let original = case.plan.request(duplicate).original();
    case.ledger.set(original, Receipt::Open);
    let id = format!("{}{original}", case.plan.id_prefix());
    case.rows.messages.retain(|row| row.external_message_id != id);
    assert_eq!(case.kinds(), ["missing"]);
}

#[test]
fn a_finding_shows_no_phone_and_no_words() {
    let mut case = well();
    case.rows.messages[5].text = "secret".to_owned();
    case.rows.client = None;
    for finding in case.findings(false).examples() {
        let shown = finding.to_string();
        assert!(!shown.contains("secret") && !shown.contains("+7000"), "{shown}");
    }
}
