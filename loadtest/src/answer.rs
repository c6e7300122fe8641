//! What a reply says about each of the messages that its request carried.

use serde::Deserialize;

use crate::{
    connection::{Reply, Route},
    ledger::Place,
    stats::Outcome,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub outcome: Outcome,
    /// Where its record lies, if it is kept.
    pub place: Option<Place>,
}

#[derive(Deserialize)]
struct Kept {
    record: Place,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
}

#[derive(Deserialize)]
struct Batch {
    results: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    code: Option<String>,
    record: Option<Place>,
}

/// The answers to `count` messages, in their order.
pub fn read(route: Route, reply: &Reply<'_>, count: usize) -> Vec<Answer> {
    if let (Route::Batch, 202 | 207) = (route, reply.status) {
        return match serde_json::from_slice::<Batch>(reply.body) {
            Ok(Batch { results }) if results.len() == count => {
                results.into_iter().map(Answer::from).collect()
            }
            _ => none("the reply does not have a result for each message", count),
        };
    }
    let kept = if reply.status == 202 { serde_json::from_slice::<Kept>(reply.body).ok() } else { None };
    let outcome = Outcome::Reply { status: reply.status, code: problem_code(reply) };
    vec![Answer { outcome, place: kept.map(|kept| kept.record) }; count]
}

/// None of `count` messages has an answer.
pub fn none(reason: &str, count: usize) -> Vec<Answer> {
    vec![Answer { outcome: Outcome::NoReply(reason.to_owned()), place: None }; count]
}

impl From<Item> for Answer {
    fn from(Item { status, code, record }: Item) -> Self {
        let code = code.filter(|code| is_code(code));
        Self { outcome: Outcome::Reply { status, code }, place: record }
    }
}

/// The `code` of a problem+json body; nothing else of a reply is ever shown.
fn problem_code(reply: &Reply<'_>) -> Option<String> {
    if reply.status < 400 {
        return None;
    }
    let Problem { code } = serde_json::from_slice(reply.body).ok()?;
    is_code(&code).then_some(code)
}

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply<'_> {
        Reply { status, retry_after: None, body: body.as_bytes() }
    }

    #[test]
    fn nothing_but_a_code_is_taken_from_a_reply() {
        let code = |body| problem_code(&reply(422, body));
        assert_eq!(code(r#"{"code":"wrong_type","detail":"x"}"#).as_deref(), Some("wrong_type"));
        assert_eq!(code(r#"{"code":"+70000000000"}"#), None);
        assert_eq!(code("<html>"), None);
        assert_eq!(problem_code(&reply(202, r#"{"code":"ok"}"#)), None);
    }

    #[test]
    fn a_202_names_the_place() {
        let body = r#"{"client_id":"e6","record":{"topic":"t","partition":3,"offset":42},"request_id":"r"}"#;
        let place = |status| read(Route::Single, &reply(status, body), 1)[0].place;
        assert_eq!((place(202), place(422)), (Some(Place { partition: 3, offset: 42 }), None));
    }

    #[test]
    fn a_batch_has_an_answer_for_each_message_or_for_none() {
        let body = r#"{"results":[{"status":202,"record":{"topic":"t","partition":1,"offset":7}},
                                  {"status":422,"code":"too_long","detail":"x"}],"request_id":"r"}"#;
        let answers = read(Route::Batch, &reply(207, body), 2);
        assert_eq!(answers[0].outcome, Outcome::Reply { status: 202, code: None });
        assert_eq!(answers[0].place, Some(Place { partition: 1, offset: 7 }));
        assert_eq!(answers[1].outcome, Outcome::Reply { status: 422, code: Some("too_long".to_owned()) });
        assert!(matches!(read(Route::Batch, &reply(202, body), 3)[2].outcome, Outcome::NoReply(_)));
        let refused = read(Route::Batch, &reply(503, r#"{"code":"draining"}"#), 2);
        assert_eq!(refused[1].outcome, Outcome::Reply { status: 503, code: Some("draining".to_owned()) });
    }
}
