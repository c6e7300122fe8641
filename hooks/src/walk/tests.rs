use proptest::prelude::*;

use super::*;
use crate::pointer::Pointer;

const NESTED: &str = r#"{"v": 2, "entry": [ {"id": "e0", "list": [{"x": "a"}, {"x": "b"} ]},
    {"list": [], "id": "e1"}, {"id": "e2", "list": [ {"x": {"deep": [1]}, "y": 5} ] } ], "z": [7, 8]}"#;

fn places(items: Option<&str>, pointers: &[&str]) -> (Places, Vec<(Slot, usize)>) {
    let items: Option<Pointer> = items.map(|items| items.parse().unwrap());
    let mut places = Places::new(items.as_ref());
    let slots = pointers
        .iter()
        .map(|text| {
            let pointer: Pointer = text.parse().unwrap();
            (places.slot(&pointer), pointer.stars())
        })
        .collect();
    (places, slots)
}

/// What the pointers hold for each item.
fn read(items: Option<&str>, pointers: &[&str], document: &str) -> Vec<Vec<Option<String>>> {
    let (places, slots) = places(items, pointers);
    let found = Found::in_json(&places, document).unwrap();
    let text = |item: FoundItem, (slot, stars): &(Slot, usize)| {
        found.value(*slot, *stars, item).map(|value| match value {
            Value::Json(json) => (*json).to_owned(),
            Value::Text(text) => text.to_string(),
        })
    };
    found.items().iter().map(|item| slots.iter().map(|slot| text(*item, slot)).collect()).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn an_item_sees_itself_and_what_is_around_it() {
    let pointers = ["/v", "/entry/*/id", "/entry/*/list/*/x", "/z/1"];
    let found = read(Some("/entry/*/list/*"), &pointers, NESTED);
    assert_eq!(found[0], some(&["2", "\"e0\"", "\"a\"", "8"]));
    assert_eq!(found[1], some(&["2", "\"e0\"", "\"b\"", "8"]));
    assert_eq!(found[2], some(&["2", "\"e2\"", "{\"deep\": [1]}", "8"]));
    assert_eq!(found.len(), 3);
}

#[test]
fn without_a_place_of_items_the_document_is_the_item() {
    assert_eq!(read(None, &["/v"], NESTED), [some(&["2"])]);
    assert_eq!(read(None, &[""], "[1]"), [some(&["[1]"])]);
    assert_eq!(read(Some("/*"), &["/*/a"], r#"[{"a": 1}, 2]"#), [some(&["1"]), vec![None]]);
    assert!(read(Some("/x/*"), &[], NESTED).is_empty());
}

#[test]
fn a_document_that_is_cut_to_an_item_holds_it_alone() {
    let (places, _) = places(Some("/entry/*/list/*"), &["/entry/*/list/*/x"]);
    let found = Found::in_json(&places, NESTED).unwrap();
    let cut: Vec<String> = found.items().iter().map(|item| found.cut(NESTED, *item)).collect();
    assert_eq!(cut[0], r#"{"v": 2, "entry": [{"id": "e0", "list": [{"x": "a"}]}], "z": [7, 8]}"#);
    assert_eq!(cut[1], r#"{"v": 2, "entry": [{"id": "e0", "list": [{"x": "b"} ]}], "z": [7, 8]}"#);
    let again = Found::in_json(&places, &cut[2]).unwrap();
    assert_eq!(again.items().len(), 1);
}

#[test]
fn what_is_not_read_is_named() {
    let (places, _) = places(Some("/a/*"), &["/a/*/b", "/c"]);
    let lost = |document: &str| Found::in_json(&places, document).unwrap_err();
    assert_eq!(lost("{\"a\": [}"), Lost::Syntax);
    assert_eq!(lost("{} {}"), Lost::Syntax);
    assert_eq!(lost("{\"c\": 1, \"c\": 2}"), Lost::Twice);
    assert_eq!(lost("{\"a\": [{}], \"a\": [{}]}"), Lost::Twice);
    assert_eq!(lost(&format!("{{\"x\": {}}}", "[".repeat(1_000))), Lost::TooDeep);
    let items = |count: usize| format!("{{\"a\": [{}]}}", vec!["{}"; count].join(","));
    assert_eq!(lost(&items(ITEMS_MAX + 1)), Lost::TooMuch);
    assert_eq!(Found::in_json(&places, &items(ITEMS_MAX)).unwrap().items().len(), ITEMS_MAX);
    assert!(Found::in_json(&places, "{\"x\": 1, \"x\": 2}").is_ok(), "nobody looks at it");
}

#[test]
fn a_member_that_stands_twice_makes_its_own_item_ambiguous_and_no_other() {
    let (places, slots) = places(Some("/a/*"), &["/a/*/b", "/a/*/c/d"]);
    let ambiguous =
        |found: &Found<'_>| -> Vec<bool> { found.items().iter().map(|item| item.is_ambiguous()).collect() };
    let document = r#"{"a": [{"b": 1}, {"b": 2, "\u0062": [{"b": 3}] }, {"c": {"d": 4, "d": 5}, "b": 6}, {"b": 7, "x": 1, "x": 2}]}"#;
    let found = Found::in_json(&places, document).unwrap();
    assert_eq!(ambiguous(&found), [false, true, true, false]);
    assert_eq!(found.value(slots[0].0, 1, found.items()[3]), Some(&Value::Json("7")));
    let cut = found.cut(document, found.items()[1]);
    assert_eq!(cut, r#"{"a": [{"b": 2, "\u0062": [{"b": 3}] }]}"#);
    assert_eq!(ambiguous(&Found::in_json(&places, &cut).unwrap()), [true]);
    assert_eq!(Found::in_json(&places, r#"{"a": [{"b": 1, "b": }]}"#).unwrap_err(), Lost::Syntax);
}

#[test]
fn a_document_that_is_the_item_may_be_ambiguous_too() {
    let (whole, _) = places(None, &["/v", "/payload/id"]);
    let found = Found::in_json(&whole, r#"{"v": 1, "v": 2}"#).unwrap();
    assert!(found.items()[0].is_ambiguous());
    let fields = [("v", "1"), ("payload", "{\"id\": 7, \"id\": 8}")]
        .map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
    let found = Found::in_fields(&whole, &fields, &["payload".to_owned()]).unwrap();
    assert!(found.items()[0].is_ambiguous());
    assert!(!Found::in_fields(&whole, &fields, &[]).unwrap().items()[0].is_ambiguous());
}

#[test]
fn what_is_no_list_where_a_list_has_to_be_is_seen() {
    let (places, _) = places(Some("/a/*/b/*"), &["/a/*/b/*/c"]);
    let has_no_list = |document: &str| Found::in_json(&places, document).unwrap().has_no_list();
    for list in [r#"{"a": [{"b": []}]}"#, r#"{"a": null}"#, r#"{"a": [{}, {"b": null}]}"#, "{}"] {
        assert!(!has_no_list(list), "{list}");
    }
    for other in [r#"{"a": {"b": []}}"#, r#"{"a": [{"b": {"c": 1}}]}"#, r#"{"a": "x"}"#] {
        assert!(has_no_list(other), "{other}");
    }
}

#[test]
fn empty_elements_on_the_way_to_the_items_are_counted_too() {
    let (places, _) = places(Some("/*/x/*"), &[]);
    let elements = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert!(Found::in_json(&places, &elements(ELEMENTS_MAX)).unwrap().items().is_empty());
    assert_eq!(Found::in_json(&places, &elements(ELEMENTS_MAX + 1)).unwrap_err(), Lost::TooMuch);
}

#[test]
fn a_field_of_a_form_may_hold_json() {
    let (places, slots) = places(None, &["/name", "/payload/message/id"]);
    let fields = [("name", "new"), ("payload", "{\"message\": {\"id\": 7}}"), ("name", "later")]
        .map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
    let found = Found::in_fields(&places, &fields, &["payload".to_owned()]).unwrap();
    let item = found.items()[0];
    let text =
        |at: usize| found.value(slots[at].0, 0, item).unwrap().text(WORD_BYTES_MAX).unwrap().into_owned();
    assert_eq!((text(0), text(1)), ("new".to_owned(), "7".to_owned()));
    assert_eq!(Found::in_fields(&places, &fields, &["name".to_owned()]).unwrap_err(), Lost::Syntax);
}

proptest! {
    #[test]
    fn whatever_the_text_is_it_is_read_or_lost_and_a_cut_is_json_with_one_item(
        document in "\\{\"a\": \\[(\\{\"b\": ?[0-9\\[\\]{},\"]{0,6}\\},? ?){0,4}\\](, \"c\": [0-9\"]{0,3})?\\}",
    ) {
        let (places, _) = places(Some("/a/*"), &["/a/*/b", "/c"]);
        let Ok(found) = Found::in_json(&places, &document) else { return Ok(()) };
        for item in found.items() {
            let cut = found.cut(&document, *item);
            let again = Found::in_json(&places, &cut);
            prop_assert_eq!(again.map(|again| again.items().len()), Ok(1), "{}", cut);
        }
    }
}
