//! Logs: one JSON object a line on standard error; a constant message in lower case, everything
//! variable in fields. ERROR means that a person should look now.

use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

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
    #[arg(long = "log", env = "TELEX_LOG", default_value = "info", global = true)]
    pub filter: Targets,
    /// How log lines are written.
    #[arg(long = "log-format", env = "TELEX_LOG_FORMAT", default_value = "json", global = true)]
    pub format: LogFormat,
}

/// Installs the logger of this process, and has panics logged rather than printed.
pub fn init(config: &LogConfig) {
    let lines = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(config.filter.clone());
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
