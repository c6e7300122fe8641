//! The value of a `telex.dialog.close.v1` record: the client's id of a JSON document of any size, of which no tree is
//! made. What is a document, and what one says that names a member twice, is as it always was: as `serde_json` has it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use crate::{
    key::ClientId,
    reason::{
        Invalid,
        InvalidReason::{MalformedJson, MissingField, WrongType},
    },
};

/// The client whose dialog is to be closed.
///
/// # Errors
/// Not a document, or one without a client's id.
pub fn client_id(value: &[u8]) -> Result<ClientId, Invalid> {
    let document = serde_json::from_slice(value)
        .map_err(|_| Invalid::new(MalformedJson, "", "must be one JSON document in UTF-8"))?;
    match document {
        Seen::Object { client_id: Some(Some(client_id)) } => Ok(client_id),
        Seen::Object { client_id: Some(None) } => {
            Err(Invalid::new(WrongType, "/client_id", "must be a client id"))
        }
        Seen::Object { client_id: None } | Seen::Id(_) | Seen::Other => {
            Err(Invalid::new(MissingField, "/client_id", "is required"))
        }
    }
}

/// All that is kept of a value; what it holds has been read and checked.
enum Seen {
    Object {
        /// The last member of that name, and the id if it is one.
        client_id: Option<Option<ClientId>>,
    },
    Id(ClientId),
    Other,
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let mut client_id = None;
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value()?;
            if name == "client_id" {
                client_id = Some(if let Seen::Id(id) = value { Some(id) } else { None });
            }
        }
        Ok(Seen::Object { client_id })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seen, A::Error> {
        while seq.next_element::<Seen>()?.is_some() {}
        Ok(Seen::Other)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seen, E> {
        Ok(ClientId::parse(text.as_bytes()).map_or(Seen::Other, Seen::Id))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Seen, E> {
        Ok(Seen::Other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "e60660c7-bd8f-5ba9-b814-6dbee9550932";

    /// The rule as it was written when such records were first read: by way of a tree.
    fn by_a_tree(value: &[u8]) -> Result<ClientId, (&'static str, String)> {
        let value: serde_json::Value =
            serde_json::from_slice(value).map_err(|_| (MalformedJson.as_str(), String::new()))?;
        let id = value.get("client_id").ok_or((MissingField.as_str(), "/client_id".to_owned()))?;
        let id = id.as_str().and_then(|id| ClientId::parse(id.as_bytes()));
        id.ok_or((WrongType.as_str(), "/client_id".to_owned()))
    }

    fn agrees(value: &str) -> bool {
        let found = client_id(value.as_bytes()).map_err(|it| (it.reason.as_str(), it.pointer.to_string()));
        found == by_a_tree(value.as_bytes())
    }

    #[test]
    fn the_last_client_id_of_a_document_counts_whatever_stands_beside_it() {
        for value in [
            format!(r#"{{"client_id":"{ID}"}}"#),
            format!(r#"{{"client_id":1,"x":[{{"client_id":2}}],"client_id":"{ID}"}}"#),
            format!(r#"{{"client_id":"{ID}","client_id":null}}"#),
            format!(r#"{{"client_id":"{ID}","x":"\ud800"}}"#),
            format!(r#"{{"client_id":"{ID}","x":1e999}}"#),
            format!(r#"{{"client_id":"{ID}"}} x"#),
            format!(r#"{{"client_id":"{ID}","x":{}}}"#, "[".repeat(200) + &"]".repeat(200)),
            format!(r#"["{ID}"]"#),
            format!(r#""{ID}""#),
            "{}".to_owned(),
            String::new(),
        ] {
            assert!(agrees(&value), "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_document_says_what_its_tree_says(
            text in r#"\{("client_id":("e60660c7-bd8f-5ba9-b814-6dbee9550932"|"x"|1|null|\{\}|\[\]),?|[\[\]{}:,"\\u0-9a-f.eE+\- ]){0,6}\}"#
        ) {
            prop_assert!(agrees(&text), "{text}");
        }
    }
}
