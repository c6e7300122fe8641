//! What people write: short sentences in several languages, now and then a long message, an emoji
//! or a line break. A client keeps to one language.

use std::sync::LazyLock;

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus, seq::IndexedRandom as _};

use super::{ClientIndex, mixed};

/// A paragraph for each language, in its first line the greetings.
const PHRASES: &str = include_str!("phrases.txt");

static LANGUAGES: LazyLock<Vec<Language>> =
    LazyLock::new(|| PHRASES.split("\n\n").filter_map(Language::read).collect());

const EMOJI: &[&str] = &["🙂", "👍", "🙏", "😅", "❤️", "🎉", "😡", "👨‍👩‍👧", "🇰🇿", "👋🏽", "🤷‍♀️", "✅"];

struct Language {
    greetings: Vec<&'static str>,
    sentences: Vec<&'static str>,
}

impl Language {
    fn read(paragraph: &'static str) -> Option<Self> {
        let (greetings, sentences) = paragraph.split_once('\n')?;
        Some(Self { greetings: greetings.split(" | ").collect(), sentences: sentences.lines().collect() })
    }

    fn of(client: ClientIndex) -> Option<&'static Self> {
        let place = mixed(u64::from(client.0), 0) % LANGUAGES.len().max(1) as u64;
        LANGUAGES.get(usize::try_from(place).ok()?)
    }
}

pub(super) fn compose(client: ClientIndex, draws: &mut Xoshiro256PlusPlus) -> String {
    let sentences = match draws.random_range(0..100) {
        0..55 => 1,
        55..80 => 2,
        80..96 => draws.random_range(3..=5),
        _ => draws.random_range(8..=24),
    };
    let Some(language) = Language::of(client) else { return String::new() };
    let mut text = String::with_capacity(48 * sentences);
    if draws.random_ratio(1, 4) {
        text.extend(language.greetings.choose(draws).copied());
    }
    for _ in 0..sentences {
        if !text.is_empty() {
            text.push(if draws.random_ratio(1, 12) { '\n' } else { ' ' });
        }
        text.extend(language.sentences.choose(draws).copied());
    }
    if draws.random_ratio(1, 5) {
        text.push(' ');
        text.extend(EMOJI.choose(draws).copied());
    }
    text
}
