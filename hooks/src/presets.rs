//! The descriptions that come with the program, and what a user changes of them.

use serde::Deserialize as _;
use toml::{Table, Value};

use crate::description::Description;

macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        /// Every preset: its name, and its text.
        pub const ALL: &[(&str, &str)] = &[$(($name, include_str!(concat!("../presets/", $name, ".toml")))),*];
    };
}

presets![
    "360dialog",
    "alibaba-sms",
    "bandwidth",
    "chatwoot",
    "evolution",
    "gupshup",
    "infobip-sms",
    "messagebird-sms",
    "plivo",
    "sinch-conversation",
    "sunshine",
    "telegram",
    "teletype",
    "telnyx",
    "twilio-sms",
    "twilio-whatsapp",
    "viber",
    "vonage-messages",
    "waha",
    "wazzup",
    "whatsapp-cloud",
];

/// The text of a preset.
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Reads a description, in which some values are replaced by a user's own: tables are merged, anything else is
/// replaced as a whole.
///
/// # Errors
/// What is wrong, and in which line where that is known.
pub fn read(text: &str, changes: Table) -> Result<Description, String> {
    let mut table: Table = toml::from_str(text).map_err(|error| at_line(text, &error))?;
    if changes.is_empty() {
        // Only so does an error know its line.
        return toml::from_str(text).map_err(|error| at_line(text, &error));
    }
    merge(&mut table, changes);
    Description::deserialize(Value::Table(table)).map_err(|error| {
        // What is wrong without the changes, too, has a line.
        match toml::from_str::<Description>(text) {
            Err(own) if own.message() == error.message() => at_line(text, &own),
            _ => error.message().to_owned(),
        }
    })
}

fn merge(into: &mut Table, changes: Table) {
    for (name, change) in changes {
        match (into.get_mut(&name), change) {
            (Some(Value::Table(known)), Value::Table(change)) => merge(known, change),
            (_, change) => drop(into.insert(name, change)),
        }
    }
}

fn at_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("line {}: {}", before.matches('\n').count() + 1, error.message()),
        None => error.message().to_owned(),
    }
}
