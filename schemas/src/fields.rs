//! A message's own fields, picked out of its object in one pass. The other members are not read: they are
//! kept as the pieces of the text that they are.

use std::borrow::Cow;

use crate::{
    ids::Violation,
    reason::{Invalid, InvalidReason},
    scan::{Fault, Scanner, hex_unit},
};

/// Which members of an object are Telex's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// The five of the versions 1 and 2: `client_address` and `aliases` are a sender's.
    Five,
    /// Those of version 3, and of what a producer posts.
    All,
}

#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    pub external_client_id: Field<'a>,
    pub client_phone: Field<'a>,
    pub client_address: Field<'a>,
    pub external_message_id: Field<'a>,
    pub text: Field<'a>,
    pub sent_at: Field<'a>,
    pub aliases: List<'a>,
}

/// A field that holds strings.
#[derive(Debug, Default)]
pub(crate) enum List<'a> {
    #[default]
    Absent,
    Null,
    /// No more than are taken, and one.
    Items(Vec<Field<'a>>),
    OtherType,
}

/// A field that holds a string.
#[derive(Debug, Default)]
pub(crate) enum Field<'a> {
    #[default]
    Absent,
    Null,
    Text(Cow<'a, str>),
    /// Escapes of single surrogates stand in it; U+FFFD stands for each here.
    Mended(String),
    OtherType,
}

/// The members that Telex does not know, as they came: pieces of the object's text, each one or more whole
/// members with what stands between them. There is at most one piece more than there are fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others<'a>(Vec<&'a str>);

impl Others<'_> {
    /// Their text is `"name":value` for each, with a comma before the next.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.0.iter().copied()
    }
}

/// How many aliases a message may carry.
pub const ALIASES_MAX: usize = 4;

impl<'a> Fields<'a> {
    /// Reads one JSON object. A byte order mark before it is skipped.
    ///
    /// # Errors
    /// The body is not JSON, not an object or nested too deeply, or holds one of the fields twice.
    pub(crate) fn read(body: &'a [u8], known: Known) -> Result<(Self, Others<'a>), Invalid> {
        let text = std::str::from_utf8(without_mark(body)).map_err(|_| fault("", Fault::Syntax))?;
        let mut scanner = Scanner::new(text);
        scanner.skip_space();
        if scanner.peek() != Some(b'{') {
            let whole = scanner.value(0);
            return Err(match whole {
                Ok(_) if scanner.peek().is_none() => {
                    Invalid::new(InvalidReason::WrongType, "", "must be a JSON object")
                }
                Ok(_) => fault("", Fault::Syntax),
                Err(found) => fault("", found),
            });
        }
        let mut members =
            Members { scanner, known, fields: Self::default(), others: Others::default(), twice: None };
        members.read()?;
        match members.twice {
            None => Ok((members.fields, members.others)),
            Some(name) => {
                let pointer = format!("/{name}");
                Err(Invalid::new(InvalidReason::DuplicateKey, pointer, "must not stand twice in one object"))
            }
        }
    }

    /// The field of a name, of those that hold one string.
    pub(crate) fn named(&mut self, name: &str, known: Known) -> Option<&mut Field<'a>> {
        match (name, known) {
            ("external_client_id", _) => Some(&mut self.external_client_id),
            ("client_phone", _) => Some(&mut self.client_phone),
            ("client_address", Known::All) => Some(&mut self.client_address),
            ("external_message_id", _) => Some(&mut self.external_message_id),
            ("text", _) => Some(&mut self.text),
            ("sent_at", _) => Some(&mut self.sent_at),
            _ => None,
        }
    }
}

/// A body without the byte order mark that some systems put before UTF-8.
pub(crate) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

struct Members<'a> {
    scanner: Scanner<'a>,
    known: Known,
    fields: Fields<'a>,
    others: Others<'a>,
    /// The first field that stands twice. Syntax comes first: reading goes on.
    twice: Option<String>,
}

impl<'a> Members<'a> {
    fn read(&mut self) -> Result<(), Invalid> {
        let syntax = |_| fault("", Fault::Syntax);
        let mut piece: Option<(usize, usize)> = None;
        self.scanner.passes(b'{');
        self.scanner.skip_space();
        let mut is_first = true;
        while !(is_first && self.scanner.passes(b'}')) {
            is_first = false;
            let from = self.scanner.at();
            let (name, _) = unescape(self.scanner.name().map_err(syntax)?);
            let begins = self.scanner.at();
            let value = self.scanner.value(1).map_err(|found| fault(&name, found))?;
            match self.take(&name, value) {
                Taken::Other => piece = Some((piece.map_or(from, |(from, _)| from), begins + value.len())),
                Taken::Own => self.end(&mut piece),
                Taken::Again => {
                    self.twice.get_or_insert_with(|| name.into_owned());
                }
            }
            if self.scanner.passes(b'}') {
                break;
            }
            if !self.scanner.passes(b',') {
                return Err(fault("", Fault::Syntax));
            }
            self.scanner.skip_space();
        }
        self.end(&mut piece);
        self.scanner.skip_space();
        if self.scanner.peek().is_none() { Ok(()) } else { Err(fault("", Fault::Syntax)) }
    }

    fn take(&mut self, name: &str, value: &'a str) -> Taken {
        let is_first = match (name, self.known) {
            ("aliases", Known::All) => {
                matches!(std::mem::replace(&mut self.fields.aliases, List::of(value)), List::Absent)
            }
            (name, known) => match self.fields.named(name, known) {
                Some(field) => matches!(std::mem::replace(field, Field::of(value)), Field::Absent),
                None => return Taken::Other,
            },
        };
        if is_first { Taken::Own } else { Taken::Again }
    }

    fn end(&mut self, piece: &mut Option<(usize, usize)>) {
        // A field that stands twice is refused in any case: its pieces need not be kept.
        if let (Some((from, to)), None) = (piece.take(), &self.twice) {
            self.others.0.push(self.scanner.between(from, to));
        }
    }
}

enum Taken {
    Own,
    /// A field that stood there before.
    Again,
    Other,
}

impl<'a> List<'a> {
    /// Of a value that is well-formed.
    fn of(value: &'a str) -> Self {
        let mut scanner = Scanner::new(value);
        if !scanner.passes(b'[') {
            return if value == "null" { Self::Null } else { Self::OtherType };
        }
        let mut items = Vec::new();
        scanner.skip_space();
        while items.len() <= ALIASES_MAX && !scanner.passes(b']') {
            match scanner.value(0) {
                Ok(item) => items.push(Field::of(item)),
                Err(_) => return Self::OtherType,
            }
            scanner.passes(b',');
            scanner.skip_space();
        }
        Self::Items(items)
    }
}

impl<'a> Field<'a> {
    fn of(value: &'a str) -> Self {
        match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
            Some(text) => match unescape(text) {
                (text, false) => Self::Text(text),
                (text, true) => Self::Mended(text.into_owned()),
            },
            None if value == "null" => Self::Null,
            None => Self::OtherType,
        }
    }
}

fn fault(name: &str, found: Fault) -> Invalid {
    match found {
        Fault::Syntax => Invalid::new(InvalidReason::MalformedJson, "", "must be one JSON document in UTF-8"),
        Fault::TooDeep => {
            let pointer = match name {
                "" => String::new(),
                name => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            };
            Invalid::new(InvalidReason::TooDeep, pointer, "must not be nested deeper than 127 levels")
        }
    }
}

/// What stands between the quotes of a well-formed string, without its escapes; and whether single surrogates
/// are among them, for each of which U+FFFD stands.
pub fn unescape(text: &str) -> (Cow<'_, str>, bool) {
    if !text.contains('\\') {
        return (Cow::Borrowed(text), false);
    }
    let mut plain = String::with_capacity(text.len());
    let (mut rest, mut has_half) = (text, false);
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let mut characters = escape.chars();
        let character = match characters.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (character, length) = unicode(escape);
                characters = escape.get(length..).unwrap_or_default().chars();
                character.unwrap_or_else(|| {
                    has_half = true;
                    char::REPLACEMENT_CHARACTER
                })
            }
            Some(itself) => itself,
            None => break,
        };
        plain.push(character);
        rest = characters.as_str();
    }
    plain.push_str(rest);
    (Cow::Owned(plain), has_half)
}

/// The character of an escape whose backslash is passed, or of two that are a surrogate pair; `None` for one
/// half of such a pair. And how many bytes it has taken.
fn unicode(escape: &str) -> (Option<char>, usize) {
    let unit_at = |at: usize| hex_unit(escape.as_bytes().get(at..));
    let first = unit_at(1).unwrap_or_default();
    let second = if escape.get(5..).is_some_and(|rest| rest.starts_with("\\u")) { unit_at(7) } else { None };
    let mut pair = char::decode_utf16([first].into_iter().chain(second));
    match (pair.next(), first) {
        (Some(Ok(character)), 0xd800..=0xdbff) => (Some(character), 11),
        (Some(Ok(character)), _) => (Some(character), 5),
        (Some(Err(_)) | None, _) => (None, 5),
    }
}

/// A field that may be missing, read by its rule.
///
/// # Errors
/// It holds something else than a string, or what it holds breaks the rule.
pub(crate) fn optional<'a, T>(
    pointer: &'static str,
    field: Field<'a>,
    parse: impl FnOnce(Cow<'a, str>) -> Result<T, Violation>,
) -> Result<Option<T>, Invalid> {
    let violated = |(reason, rule)| Invalid::new(reason, pointer, rule);
    match field {
        Field::Absent | Field::Null => Ok(None),
        Field::Text(text) => parse(text).map(Some).map_err(violated),
        Field::Mended(_) => {
            Err(violated((InvalidReason::LoneSurrogate, "must not hold one half of a surrogate pair")))
        }
        Field::OtherType => Err(violated((InvalidReason::WrongType, "must be a string"))),
    }
}

/// A field that must be there, read by its rule.
///
/// # Errors
/// As [`optional`], and if it is missing or null.
pub(crate) fn required<'a, T>(
    pointer: &'static str,
    field: Field<'a>,
    parse: impl FnOnce(Cow<'a, str>) -> Result<T, Violation>,
) -> Result<T, Invalid> {
    if let Field::Null = field {
        return Err(Invalid::new(InvalidReason::WrongType, pointer, "must be a string"));
    }
    optional(pointer, field, parse)?
        .ok_or_else(|| Invalid::new(InvalidReason::MissingField, pointer, "is required"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("Grüße", "Grüße", false)]
    #[case::escapes(r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t", false)]
    #[case::unit(r"a\u00E9\u0000b", "aé\0b", false)]
    #[case::pair(r"\ud83d\ude00!", "😀!", false)]
    #[case::first_half(r"a\ud83d", "a\u{fffd}", true)]
    #[case::second_half(r"\ude00b", "\u{fffd}b", true)]
    #[case::halves_in_the_wrong_order(r"\ude00\ud83d", "\u{fffd}\u{fffd}", true)]
    #[case::half_before_an_escape(r"\ud83d\n", "\u{fffd}\n", true)]
    #[case::half_before_another_unit(r"\ud83d\u0041", "\u{fffd}A", true)]
    #[case::half_before_a_pair(r"\ud83d\ud83d\ude00", "\u{fffd}😀", true)]
    #[case::escaped_backslash(r"\\ud83d", r"\ud83d", false)]
    fn escapes_are_undone(#[case] text: &str, #[case] plain: &str, #[case] has_half: bool) {
        assert_eq!(unescape(text), (plain.into(), has_half));
    }

    #[rstest]
    #[case::none(r#"{"text":"a"}"#, &[])]
    #[case::only(r#"{ "x" : 1.10 , "y":[ 2 ] }"#, &[r#""x" : 1.10 , "y":[ 2 ]"#])]
    #[case::apart(r#"{"x":1e400,"text":"a","y":"\ud83d","x":2 }"#, &["\"x\":1e400", r#""y":"\ud83d","x":2"#])]
    #[case::empty("{}", &[])]
    fn the_others_are_kept_as_they_came(#[case] body: &str, #[case] pieces: &[&str]) {
        let (_, others) = Fields::read(body.as_bytes(), Known::Five).unwrap();
        assert_eq!(others.pieces().collect::<Vec<_>>(), pieces);
    }
}
