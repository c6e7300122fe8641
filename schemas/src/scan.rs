//! Walks over JSON text without making anything of it: the grammar of RFC 8259, how deep it is nested, and
//! where a value ends. A value costs no memory, whatever it holds.

/// How deep arrays and objects may be nested, the message's own object included. A reader with a limit of 128,
/// as serde_json has it, reads every record.
pub const DEPTH_MAX: usize = 127;

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Syntax,
    /// It is nested beyond [`DEPTH_MAX`].
    TooDeep,
}

/// A place in a text. After a fault it stays where the fault is.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub const fn at(&self) -> usize {
        self.at
    }

    pub fn between(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes `byte`, if it is the next one.
    pub fn passes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Passes a value and the white space behind it, inside of `around` arrays and objects. The value's text.
    pub fn value(&mut self, around: usize) -> Result<&'a str, Fault> {
        let from = self.at;
        let mut open = Open { kinds: 0, depth: 0, depth_max: DEPTH_MAX.saturating_sub(around) };
        loop {
            if self.opens(&mut open)? {
                continue;
            }
            let to = self.at;
            loop {
                self.skip_space();
                let Some(kind) = open.innermost() else {
                    return Ok(self.between(from, to));
                };
                if self.passes(b',') {
                    self.skip_space();
                    if kind == Kind::Object {
                        self.name()?;
                    }
                    break;
                }
                self.expect(kind.end())?;
                open.close();
                if open.depth == 0 {
                    let to = self.at;
                    self.skip_space();
                    return Ok(self.between(from, to));
                }
            }
        }
    }

    /// Passes a scalar or an empty array or object, or the beginning of another one up to its first value: then
    /// it is true.
    fn opens(&mut self, open: &mut Open) -> Result<bool, Fault> {
        let kind = match self.peek().ok_or(Fault::Syntax)? {
            b'"' => return self.string().map(|_| false),
            b'-' | b'0'..=b'9' => return self.number().map(|()| false),
            b't' => return self.word("true").map(|()| false),
            b'f' => return self.word("false").map(|()| false),
            b'n' => return self.word("null").map(|()| false),
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            _ => return Err(Fault::Syntax),
        };
        self.at += 1;
        open.open(kind)?;
        self.skip_space();
        if self.passes(kind.end()) {
            open.close();
            return Ok(false);
        }
        if kind == Kind::Object {
            self.name()?;
        }
        Ok(true)
    }

    /// Passes a member's name, the colon and white space. What stands between the quotes.
    pub fn name(&mut self) -> Result<&'a str, Fault> {
        let name = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Ok(name)
    }

    /// Passes a string. What stands between the quotes: its escapes are well-formed, and any half of a
    /// surrogate pair may be among them.
    pub fn string(&mut self) -> Result<&'a str, Fault> {
        self.expect(b'"')?;
        let from = self.at;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            self.at += plain(rest).ok_or(Fault::Syntax)?;
            if self.passes(b'"') {
                return Ok(self.between(from, self.at - 1));
            }
            self.expect(b'\\')?;
            match self.peek() {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                Some(b'u') if hex_unit(self.text.as_bytes().get(self.at + 1..)).is_some() => self.at += 5,
                Some(_) | None => return Err(Fault::Syntax),
            }
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.passes(b'-');
        if !self.passes(b'0') {
            self.digits()?;
        }
        if self.passes(b'.') {
            self.digits()?;
        }
        if self.passes(b'e') || self.passes(b'E') {
            let _signed = self.passes(b'+') || self.passes(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at > from { Ok(()) } else { Err(Fault::Syntax) }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        let is_next = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        self.at += if is_next { word.len() } else { 0 };
        if is_next { Ok(()) } else { Err(Fault::Syntax) }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.passes(byte) { Ok(()) } else { Err(Fault::Syntax) }
    }
}

/// How many bytes stand for themselves in a string that goes on with `text`: up to a quote, a backslash or a control
/// character. `None` if none of these comes. Eight bytes at a time, for most of a message's bytes pass here.
fn plain(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    let mut passed = 0;
    for word in words {
        let marks = mark_special(u64::from_le_bytes(*word));
        if marks != 0 {
            return Some(passed + marks.trailing_zeros() as usize / 8);
        }
        passed += 8;
    }
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).map(|more| passed + more)
}

/// Marks the highest bit of the lowest byte that does not stand for itself; what is above it says nothing.
const fn mark_special(word: u64) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    /// The same of the bytes below `limit`: with it subtracted they have the highest bit, which they did not have.
    const fn mark_below(limit: u64, word: u64) -> u64 {
        word.wrapping_sub(EACH * limit) & !word & (EACH * 0x80)
    }
    let (quotes, backslashes) = (EACH * b'"' as u64, EACH * b'\\' as u64);
    mark_below(0x20, word) | mark_below(1, word ^ quotes) | mark_below(1, word ^ backslashes)
}

/// The four hexadecimal digits that `bytes` begin with.
pub fn hex_unit(bytes: Option<&[u8]>) -> Option<u16> {
    let digits = bytes?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit: u16, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        Some(unit << 4 | digit)
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Object,
}

impl Kind {
    const fn end(self) -> u8 {
        match self {
            Self::Array => b']',
            Self::Object => b'}',
        }
    }
}

/// The arrays and objects that are open: a bit for each, the innermost last.
struct Open {
    kinds: u128,
    depth: usize,
    depth_max: usize,
}

impl Open {
    const fn open(&mut self, kind: Kind) -> Result<(), Fault> {
        if self.depth >= self.depth_max {
            return Err(Fault::TooDeep);
        }
        self.kinds = self.kinds << 1 | matches!(kind, Kind::Object) as u128;
        self.depth += 1;
        Ok(())
    }

    const fn close(&mut self) {
        self.kinds >>= 1;
        self.depth -= 1;
    }

    const fn innermost(&self) -> Option<Kind> {
        match (self.depth, self.kinds & 1) {
            (0, _) => None,
            (_, 0) => Some(Kind::Array),
            (_, _) => Some(Kind::Object),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde::de::IgnoredAny;

    use super::*;

    fn scan(text: &str) -> Result<&str, Fault> {
        let mut scanner = Scanner::new(text);
        scanner.skip_space();
        let value = scanner.value(0)?;
        if scanner.peek().is_none() { Ok(value) } else { Err(Fault::Syntax) }
    }

    #[rstest]
    #[case::nothing("")]
    #[case::open("[")]
    #[case::comma_last("[1,]")]
    #[case::comma_first("[,1]")]
    #[case::no_comma("[1 2]")]
    #[case::no_value(r#"{"a":}"#)]
    #[case::no_name("{1:2}")]
    #[case::other_end("[1}")]
    #[case::zero_first("01")]
    #[case::no_fraction("1.")]
    #[case::no_exponent("1e+")]
    #[case::plus("+1")]
    #[case::control_character("\"a\nb\"")]
    #[case::unknown_escape(r#""\x""#)]
    #[case::short_escape(r#""\u12""#)]
    #[case::signed_escape(r#""\u+123""#)]
    #[case::word("nul")]
    #[case::two("1 2")]
    fn what_breaks_the_grammar_is_refused(#[case] text: &str) {
        assert_eq!(scan(text), Err(Fault::Syntax));
        assert!(serde_json::from_str::<IgnoredAny>(text).is_err());
    }

    #[rstest]
    #[case::number(" -0.50e+400 ", "-0.50e+400")]
    #[case::escapes(r#" "\"\\\/\b\f\n\r\t\u00e9\ud83d" "#, r#""\"\\\/\b\f\n\r\t\u00e9\ud83d""#)]
    #[case::nested(
        " [ {\"a\" : [ ] , \"b\":{ } } , null,true , false ]\n",
        "[ {\"a\" : [ ] , \"b\":{ } } , null,true , false ]"
    )]
    fn a_value_ends_where_it_ends(#[case] text: &str, #[case] value: &str) {
        assert_eq!(scan(text), Ok(value));
    }

    #[test]
    fn nesting_is_bounded_where_a_reader_with_a_limit_of_128_ends() {
        let nested = |depth: usize| {
            "[{\"\":".repeat(depth / 2)
                + &"[".repeat(depth % 2)
                + "0"
                + &"]".repeat(depth % 2)
                + &"}]".repeat(depth / 2)
        };
        for depth in [DEPTH_MAX - 1, DEPTH_MAX] {
            assert!(scan(&nested(depth)).is_ok(), "{depth}");
            assert!(serde_json::from_str::<serde_json::Value>(&nested(depth)).is_ok(), "{depth}");
        }
        assert_eq!(scan(&nested(DEPTH_MAX + 1)), Err(Fault::TooDeep));
        assert!(serde_json::from_str::<serde_json::Value>(&nested(DEPTH_MAX + 1)).is_err());
        assert_eq!(scan(&"[".repeat(1_000_000)), Err(Fault::TooDeep));
    }

    proptest! {
        #[test]
        fn a_string_is_plain_up_to_the_first_byte_that_is_not(
            text in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), 0x1e_u8..0x23, 0x7f_u8..0x82], 0..40)
        ) {
            let by_bytes = text.iter().position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20);
            prop_assert_eq!(plain(&text), by_bytes);
        }

        #[test]
        fn what_is_json_is_what_another_parser_takes_for_json(text in "[\\[\\]{}:,\"\\\\u0-9a-f.eE+\\- \n-]{0,24}") {
            prop_assert_eq!(scan(&text).is_ok(), serde_json::from_str::<IgnoredAny>(&text).is_ok());
        }
    }
}
