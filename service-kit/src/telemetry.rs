//! Logs: one JSON object a line on standard error; a constant message in lower case, everything
//! variable in fields. ERROR means that a person should look now.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

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
    #[arg(long = "log", env = "TELEX_LOG", default_value = "info", value_parser = parse_filter, global = true)]
    pub filter: String,
    /// How log lines are written.
    #[arg(long = "log-format", env = "TELEX_LOG_FORMAT", default_value = "json", global = true)]
    pub format: LogFormat,
}

/// Refuses what is no filter while there is still a command line to complain to, and no logger needed.
fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The log filter could not be read.
#[derive(Debug, thiserror::Error)]
#[error("--log is not a valid filter: {0}")]
pub struct FilterError(#[from] tracing_subscriber::filter::ParseError);

/// Installs the logger of this process, and has panics logged rather than printed.
///
/// # Errors
/// [`FilterError`] if the filter has no meaning.
pub fn init(config: &LogConfig) -> Result<(), FilterError> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
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
    Ok(())
}
