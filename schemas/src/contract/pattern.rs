//! The patterns of the contract's strings, written as all dialects of regular expressions know them.

use crate::address::{AddressId, Scheme};

/// Neither control characters nor white space at either end, as `char::is_control` and
/// `char::is_whitespace` know them.
pub(super) const IDENTIFIER: &str = concat!(
    r"^[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
    r"([^\u0000-\u001f\u007f-\u009f]*",
    r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000])?$",
);

/// Beyond U+FFFF there is no escape that all dialects of patterns know: these stand for themselves.
macro_rules! invisible {
    () => {
        concat!(
            r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb",
            "\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}",
        )
    };
}

/// The same without the characters that nobody sees, which the edge refuses. Those within an emoji are taken as
/// well, which a pattern cannot say.
pub(super) const VISIBLE: &str = concat!(
    r"^[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000",
    invisible!(),
    r"]([^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u206f",
    invisible!(),
    r"]*[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000",
    invisible!(),
    "])?$",
);

/// PostgreSQL text cannot hold U+0000.
pub(super) const NO_NUL: &str = r"^[^\u0000]*$";

/// The canonical text of a client id, which is the record's key.
pub const CLIENT_ID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// E.164 without separators.
pub(super) const PHONE: &str = r"^\+[1-9][0-9]{6,14}$";

/// E.164 once its separators are removed, without a zero in brackets.
pub(super) const SPELLED_PHONE: &str =
    r"^(?!.*\([ .-]*0[ .-]*\))[ .()-]*\+[ .()-]*[1-9]([ .()-]*[0-9]){6,14}[ .()-]*$";

/// UTC with microseconds.
pub(super) const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$";

/// `scheme:id` with one of the schemes, and behind it what `id`, the pattern of an identifier, takes, up to the limit.
pub(super) fn address(schemes: impl Iterator<Item = Scheme>, id: &str) -> String {
    let schemes = schemes.map(Scheme::as_str).collect::<Vec<_>>().join("|");
    // Between the first character and the last.
    let between = format!("]{{0,{}}}", AddressId::CHARS_MAX - 2);
    format!("^({schemes}):{}", id.trim_start_matches('^').replace("]*", &between))
}

/// The limit of `scheme:id`, in characters.
pub(super) fn address_chars_max() -> usize {
    let longest = Scheme::ALL.iter().map(|scheme| scheme.as_str().len()).max().unwrap_or_default();
    longest + 1 + AddressId::CHARS_MAX
}
