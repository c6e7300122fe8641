//! What is refused at the edge only, on top of the contract's rules: it makes two clients or two messages of
//! one. A record that holds it all the same, because it is older or because another producer wrote it, is
//! read as it stands: what it was stays what it was.

use crate::{
    fields::{Field, Fields},
    ids::Violation,
    reason::{Invalid, InvalidReason},
};

type Rule = fn(&str) -> Result<(), Violation>;

/// Looks at the fields as they came, before a phone is normalised.
///
/// # Errors
/// The first violated rule, in the order of the contract.
pub(crate) fn check(fields: &Fields<'_>) -> Result<(), Invalid> {
    let rules: [(_, _, Rule); 4] = [
        ("/external_client_id", &fields.external_client_id, no_invisible_character),
        ("/client_phone", &fields.client_phone, no_trunk_zero),
        ("/client_address", &fields.client_address, no_invisible_character),
        ("/external_message_id", &fields.external_message_id, no_invisible_character),
    ];
    for (pointer, field, rule) in rules {
        if let Field::Text(text) = field {
            rule(text).map_err(|(reason, rule)| Invalid::new(reason, pointer, rule))?;
        }
    }
    Ok(())
}

/// The same of a phone or `scheme:id`, whichever it is.
pub(crate) fn address(value: &str) -> Result<(), Violation> {
    no_trunk_zero(value).and_then(|()| no_invisible_character(value))
}

/// `+44 (0)20 …`: in most countries the zero is dialled within the country only, in some it is part of the
/// number. Without the numbering plans of all countries it cannot be known which.
fn no_trunk_zero(phone: &str) -> Result<(), Violation> {
    let mut brackets = phone.split('(').skip(1).filter_map(|rest| rest.split_once(')'));
    match brackets.any(|(inside, _)| inside.trim_matches([' ', '-', '.']) == "0") {
        true => Err((
            InvalidReason::PhoneTrunkZero,
            "must not hold a zero in brackets: write the number as it is dialled from abroad, \
             such as +44 20 7946 0958",
        )),
        false => Ok(()),
    }
}

/// Two ids that look the same have to be the same.
fn no_invisible_character(id: &str) -> Result<(), Violation> {
    // As nearly all ids are: none of those characters is among them.
    if id.is_ascii() {
        return Ok(());
    }
    let mut before = None;
    let mut characters = id.chars().peekable();
    while let Some(character) = characters.next() {
        let after = characters.peek().copied();
        if is_invisible(character) && !is_of_an_emoji(character, before, after) {
            return Err((InvalidReason::InvisibleCharacter, name(character)));
        }
        // A modifier goes on with the emoji before it.
        if !is_modifier(character) {
            before = Some(character);
        }
    }
    Ok(())
}

/// What Unicode calls default ignorable, as far as it is assigned, and the marks of interlinear annotation.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether an invisible character makes a picture of what stands around it: a joiner between two emoji, a
/// variation selector behind one or in a keycap, the tags of a flag.
const fn is_of_an_emoji(character: char, before: Option<char>, after: Option<char>) -> bool {
    match (character, before, after) {
        ('\u{200d}', Some(before), Some(after)) => is_pictographic(before) && is_pictographic(after),
        ('\u{fe0e}' | '\u{fe0f}', Some(before), after) => {
            is_pictographic(before) || matches!((before, after), ('0'..='9' | '#' | '*', Some('\u{20e3}')))
        }
        ('\u{e0020}'..='\u{e007f}', Some('\u{1f3f4}'), _) => true,
        _ => false,
    }
}

/// Variation selectors, skin tones and tags.
const fn is_modifier(character: char) -> bool {
    matches!(character, '\u{fe0e}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}')
}

/// The blocks in which the emoji are.
const fn is_pictographic(character: char) -> bool {
    matches!(
        character,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{3030}' | '\u{303d}' | '\u{3297}'
            | '\u{3299}' | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | '\u{2460}'..='\u{24ff}'
            | '\u{25a0}'..='\u{27bf}' | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}'
    )
}

const fn name(character: char) -> &'static str {
    match character {
        '\u{ad}' => "must not hold invisible characters: U+00AD (soft hyphen)",
        '\u{200b}' => "must not hold invisible characters: U+200B (zero width space)",
        '\u{200c}' => "must not hold invisible characters: U+200C (zero width non-joiner)",
        '\u{200d}' => "must not hold invisible characters: U+200D (zero width joiner) outside of an emoji",
        '\u{feff}' => "must not hold invisible characters: U+FEFF (byte order mark)",
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            "must not hold invisible characters: a mark of the writing direction"
        }
        '\u{fe00}'..='\u{fe0f}' => {
            "must not hold invisible characters: a variation selector outside of an emoji"
        }
        _ => "must not hold invisible characters",
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::written_out("+44 (0)20 7946 0958")]
    #[case::close("+44(0)2079460958")]
    #[case::spaced("+44 ( 0 ) 20 7946 0958")]
    #[case::second_brackets("+44 (20) (0) 79460958")]
    fn a_zero_in_brackets_is_refused(#[case] phone: &str) {
        assert_eq!(no_trunk_zero(phone).unwrap_err().0, InvalidReason::PhoneTrunkZero);
    }

    #[rstest]
    #[case::area_code("+7 (000) 000-00-00")]
    #[case::part_of_an_italian_number("+39 (06) 698 12345")]
    #[case::open("+44 (0")]
    #[case::none("+70000000000")]
    fn other_brackets_are_separators(#[case] phone: &str) {
        assert_eq!(no_trunk_zero(phone), Ok(()));
    }

    #[rstest]
    #[case::zero_width_space("a\u{200b}b")]
    #[case::at_the_end("a\u{200b}")]
    #[case::joiner("a\u{200d}b")]
    #[case::joiner_behind_an_emoji("\u{1f468}\u{200d}")]
    #[case::joiner_before_a_letter("\u{1f468}\u{200d}a")]
    #[case::byte_order_mark("\u{feff}a")]
    #[case::soft_hyphen("a\u{ad}b")]
    #[case::left_to_right_mark("\u{200e}a")]
    #[case::override_of_direction("a\u{202e}b")]
    #[case::isolate("a\u{2068}b")]
    #[case::word_joiner("a\u{2060}b")]
    #[case::hangul_filler("a\u{3164}b")]
    #[case::selector_of_a_letter("a\u{fe0f}")]
    #[case::selector_of_a_digit("7\u{fe0f}")]
    #[case::tag_of_a_letter("a\u{e0041}")]
    fn an_id_with_a_character_that_nobody_sees_is_refused(#[case] id: &str) {
        assert_eq!(no_invisible_character(id).unwrap_err().0, InvalidReason::InvisibleCharacter);
    }

    #[rstest]
    #[case::letters("Grüße_я-1")]
    #[case::white_space("a b\u{a0}c")]
    #[case::combining_mark("e\u{301}")]
    #[case::heart("\u{2764}\u{fe0f}")]
    #[case::family("\u{1f468}\u{1f3fd}\u{200d}\u{1f469}\u{200d}\u{1f467}")]
    #[case::heart_on_fire("\u{2764}\u{fe0f}\u{200d}\u{1f525}")]
    #[case::keycap("7\u{fe0f}\u{20e3}")]
    #[case::flag_of_scotland("\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}")]
    fn an_id_may_hold_what_is_seen(#[case] id: &str) {
        assert_eq!(no_invisible_character(id), Ok(()));
    }
}
