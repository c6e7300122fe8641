//! What the commands say on standard output: logs go to standard error.

use std::io::{self, Write as _};

use serde::Serialize;

/// Says some lines. A reader that has gone (`| head`) ends the command quietly.
pub fn say(lines: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{lines}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Says a value as JSON.
pub fn say_json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(say(&serde_json::to_string_pretty(value)?)?)
}

/// Text of a client on a terminal: control characters could command it.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_text_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\nb\u{85}"), "a·[2J·b·");
    }
}
