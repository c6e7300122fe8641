//! Reads the JSON of a version 1 message whole: duplicate keys are found at any depth, numbers that a double
//! cannot hold are refused, and what is refused is named by its JSON pointer.
//!
//! Syntax comes first: a document that is not JSON is refused as such whatever its fields hold.
//! So the first violation is remembered and reading goes on to the end.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Number, Value};

use crate::{
    fields::{Field, Fields, Known},
    ids::no_nul,
    reason::{Invalid, InvalidReason},
};

/// Numbers that are not integers of 64 bits lie between these: -2^63 and 2^64.
const NUMBER_ABOVE: f64 = -9_223_372_036_854_775_808.0;
const NUMBER_BELOW: f64 = 18_446_744_073_709_551_616.0;

/// The five known fields as they were found, the unknown ones as values.
#[derive(Debug, Default)]
pub(super) struct RawMessage<'a> {
    pub fields: Fields<'a>,
    pub extra: BTreeMap<String, Value>,
}

impl<'a> RawMessage<'a> {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// Malformed JSON, or the first violation that can be seen without knowing the fields' rules.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Invalid> {
        let malformed =
            || Invalid::new(InvalidReason::MalformedJson, "", "must be one JSON document in UTF-8");
        let body = std::str::from_utf8(body).map_err(|_| malformed())?;
        let mut findings = Findings::default();
        let mut deserializer = serde_json::Deserializer::from_str(body);
        let read = MessageSeed(&mut findings)
            .deserialize(&mut deserializer)
            .and_then(|raw| deserializer.end().map(|()| raw));
        match (read, findings.first) {
            (Ok(raw), None) => Ok(raw),
            (Ok(_), Some(invalid)) => Err(invalid),
            (Err(error), _) if is_number_out_of_range(&error) => Err(number_out_of_range(findings.path)),
            // The only error of type is the document's own; look whether it is JSON at all.
            (Err(error), _) if error.is_data() => match serde_json::from_str::<Value>(body) {
                Ok(_) => Err(Invalid::new(InvalidReason::WrongType, "", "must be a JSON object")),
                Err(_) => Err(malformed()),
            },
            (Err(_), _) => Err(malformed()),
        }
    }
}

/// serde_json counts `1e400` as a syntax error and has no other way to tell it apart; the unit test
/// `a_number_that_overflows_is_named` fails if its words ever change.
fn is_number_out_of_range(error: &serde_json::Error) -> bool {
    error.is_syntax() && error.to_string().starts_with("number out of range")
}

fn number_out_of_range(pointer: String) -> Invalid {
    let rule = "must be an integer of 64 bits or a number above -2^63 and below 2^64";
    Invalid::new(InvalidReason::NumberOutOfRange, pointer, rule)
}

/// Where the reader is, and the first violation it met.
#[derive(Default)]
struct Findings {
    path: String,
    first: Option<Invalid>,
}

impl Findings {
    fn report(&mut self, reason: InvalidReason, rule: &'static str) {
        if self.first.is_none() {
            self.first = Some(Invalid::new(reason, self.path.clone(), rule));
        }
    }

    fn duplicate_key(&mut self) {
        self.report(InvalidReason::DuplicateKey, "must not stand twice in one object");
    }

    /// Runs `step` with `token` appended to the path (RFC 6901: `~` and `/` are escaped).
    ///
    /// After an error the path stays where the error was.
    fn within<T, E>(&mut self, token: &str, step: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let length = self.path.len();
        self.path.push('/');
        for character in token.chars() {
            match character {
                '~' => self.path.push_str("~0"),
                '/' => self.path.push_str("~1"),
                other => self.path.push(other),
            }
        }
        let value = step(self)?;
        self.path.truncate(length);
        Ok(value)
    }
}

struct MessageSeed<'f>(&'f mut Findings);

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = RawMessage<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = RawMessage<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let findings = self.0;
        let mut raw = RawMessage::default();
        while let Some(Text(key)) = map.next_key()? {
            let Some(field) = raw.fields.named(&key, Known::Five) else {
                extra_field(findings, &mut raw.extra, key.into_owned(), &mut map)?;
                continue;
            };
            findings.within(&key, |findings| {
                if !matches!(field, Field::Absent) {
                    findings.duplicate_key();
                }
                *field = map.next_value()?;
                Ok(())
            })?;
        }
        Ok(raw)
    }
}

fn extra_field<'de, A: MapAccess<'de>>(
    findings: &mut Findings,
    object: &mut BTreeMap<String, Value>,
    key: String,
    map: &mut A,
) -> Result<(), A::Error> {
    findings.within(&key, |findings| {
        if let Err((reason, rule)) = no_nul(&key) {
            findings.report(reason, rule);
        }
        if object.contains_key(&key) {
            findings.duplicate_key();
        }
        object.insert(key.clone(), map.next_value_seed(ValueSeed(findings))?);
        Ok(())
    })
}

/// A string that borrows from the body where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FieldVisitor).and_then(|field| match field {
            Field::Text(text) => Ok(Self(text)),
            Field::Absent | Field::Null | Field::Mended(_) | Field::OtherType => {
                Err(de::Error::custom("not a string"))
            }
        })
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::OtherType)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field::OtherType)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Field::OtherType)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::OtherType)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| Field::OtherType)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Field::OtherType)
    }
}

/// Any value of an unknown field. serde_json bounds the nesting at 128.
struct ValueSeed<'f>(&'f mut Findings);

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    /// An integer beyond 64 bits arrives here as well, already rounded: at that size a number is
    /// refused rather than changed.
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        let in_range = NUMBER_ABOVE < value && value < NUMBER_BELOW;
        match Number::from_f64(value).filter(|_| in_range) {
            Some(number) => Ok(Value::Number(number)),
            None => {
                let invalid = number_out_of_range(self.0.path.clone());
                self.0.first.get_or_insert(invalid);
                Ok(Value::Null)
            }
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        if let Err((reason, rule)) = no_nul(text) {
            self.0.report(reason, rule);
        }
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let token = values.len().to_string();
            let seed = |findings: &mut Findings| seq.next_element_seed(ValueSeed(findings));
            match self.0.within(&token, seed)? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(key) = map.next_key()? {
            extra_field(self.0, &mut object, key, &mut map)?;
        }
        Ok(Value::Object(object.into_iter().collect()))
    }
}
