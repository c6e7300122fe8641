//! Logs: one JSON object a line on standard error; a constant message in lower case, everything
//! variable in fields. ERROR means that a person should look now.

use std::fmt;

use tracing_subscriber::{filter::Targets, fmt::layer, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// Columns, for people.
    Text,
}

/// What is logged, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct LogConfig {
    /// What is logged: a level (error, warn, info, debug, trace) or a filter by module.
    #[arg(long = "log", env = "TELEX_LOG", value_parser = parse_filter, default_value = "info", global = true)]
    pub filter: Filter,
    /// How log lines are written.
    #[arg(long = "log-format", env = "TELEX_LOG_FORMAT", default_value = "json", global = true)]
    pub format: LogFormat,
}

/// Which lines are written, by level and target. Its `Debug` is the text of it, for the line that shows the settings.
#[derive(Clone, PartialEq)]
pub struct Filter(Targets);

impl fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// [`Targets`] alone takes whatever is no level for a target, which then matches nothing, and an empty part for the
/// level error.
fn parse_filter(text: &str) -> Result<Filter, String> {
    let parts: Vec<&str> = text.split(',').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err("must have a level, or target=level".to_owned());
    }
    if let Some(part) = parts.iter().find(|part| !is_part(part)) {
        return Err(format!("{part:?} is no level, no target and no target=level"));
    }
    for part in parts.iter().filter(|part| !part.contains('=')) {
        if let Some(level) = LEVELS.iter().find(|level| is_nearly(&part.to_ascii_lowercase(), level)) {
            return Err(format!(
                "{part:?} is nearly the level {level}; a target of that name is {part}=trace"
            ));
        }
    }
    parts.join(",").parse::<Targets>().map(Filter).map_err(|error| error.to_string())
}

/// Whether it can be a level, a target, or both around a `=`.
fn is_part(part: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '=' | '.');
    part.chars().all(is_known) && !part.starts_with('=') && !part.ends_with('=')
}

/// Whether a word begins with the level and goes on, or is it but for one letter: more, less, another, or two swapped.
fn is_nearly(word: &str, level: &str) -> bool {
    let (word, level) = (word.as_bytes(), level.as_bytes());
    let begin = word.iter().zip(level).take_while(|(one, other)| one == other).count();
    let end = word.iter().rev().zip(level.iter().rev()).take_while(|(one, other)| one == other).count();
    let two = |of: &[u8]| of.get(begin..begin + 2).map(<[u8]>::to_vec);
    let is_swapped = two(word).zip(two(level)).is_some_and(|(one, other)| one.iter().eq(other.iter().rev()));
    let same = begin + end;
    match word.len().abs_diff(level.len()) {
        0 => same + 1 == level.len() || (same + 2 == level.len() && is_swapped),
        1 => same >= word.len().min(level.len()),
        _ => begin == level.len(),
    }
}

/// Installs the logger of this process, and has panics logged rather than printed.
pub fn init(config: &LogConfig) {
    let lines = layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(config.filter.0.clone());
    // A second call, as in tests within one process, keeps the first logger.
    let _already_installed = match config.format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init().is_err(),
        LogFormat::Text => registry.with(lines.compact()).try_init().is_err(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        // The payload may hold data; the place is enough to find it.
        tracing::error!(location, "a task panicked");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_with_a_comma_too_many_is_the_filter_without_it() {
        let cases = [("info,", "info"), (",info", "info"), ("info,,hyper=warn", "info,hyper=warn")];
        for (text, clean) in cases {
            assert_eq!(parse_filter(text), Ok(Filter(clean.parse().unwrap())), "{text}");
        }
    }

    #[test]
    fn what_would_match_nothing_or_something_else_is_refused_by_name() {
        let parts = ["[x]=debug", "info[", "info[{id}]=debug", " a=warn", "a = warn", "%x", "a=", "=warn"];
        for part in parts {
            let problem = parse_filter(&format!("info,{part}")).unwrap_err();
            assert!(problem.starts_with(&format!("{part:?} is no level")), "{part}: {problem}");
        }
        for text in ["", ",", "a=loud", "a=b=warn"] {
            assert!(parse_filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_word_that_is_nearly_a_level_is_refused_as_a_target() {
        let words = [
            "inof", "INF", "infos", "ifo", "wran", "warm", "warning", "errors", "eror", "debgu", "trave",
            "of",
        ];
        for word in words {
            let problem = parse_filter(&format!("hyper=warn,{word}")).unwrap_err();
            assert!(problem.starts_with(&format!("{word:?} is nearly the level ")), "{word}: {problem}");
        }
        for text in
            ["INFO", "Trace", "3", "processor", "tracing", "hyper", "sqlx::query", "warm=debug", "infos=off"]
        {
            assert!(parse_filter(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_filter_shows_as_its_text() {
        let filter = parse_filter("info,processor::consume=debug").unwrap();
        assert_eq!(format!("{filter:?}"), "processor::consume=debug,info");
    }
}
