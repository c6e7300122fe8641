//! Who types a command that changes something: asked for in the same way everywhere, and kept in `interventions` or with a proof.

use crate::store::halts::Decision;

/// Who decides, for the audit row.
#[derive(Debug, Clone, clap::Args)]
pub struct Operator {
    /// Who you are.
    #[arg(long, env = "USER", default_value = "unknown", value_parser = parse_short)]
    operator: String,
    /// Why, in your words.
    #[arg(long, default_value = "", value_parser = parse_short)]
    note: String,
}

fn parse_short(text: &str) -> Result<String, String> {
    if text.chars().count() <= 1_000 && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("must have at most 1000 characters, none of them a control character".to_owned())
    }
}

impl Operator {
    /// The decision, with the reason's code.
    pub fn decision(self, reason: String) -> Decision {
        Decision { reason, note: self.note, operator: self.operator }
    }
}
