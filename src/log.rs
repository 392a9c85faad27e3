//! I/O: the log, on standard error only: standard output is the report.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For log collectors.
    Json,
}

/// Reads a level; the Go program's `verbose` and `panic` mean `debug` and `error`.
pub fn parse_level(text: &str) -> Result<LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "verbose" => Ok(LevelFilter::DEBUG),
        "panic" => Ok(LevelFilter::ERROR),
        "off" | "error" | "warn" | "info" | "debug" | "trace" => {
            text.parse().map_err(|_| format!("{text:?} is no level"))
        }
        _ => Err(format!(
            "{text:?} is none of off, error, warn, info, debug, trace"
        )),
    }
}

/// Starts the log.
///
/// # Errors
/// When it was started before.
pub fn start(level: LevelFilter, format: Format) -> Result<(), TryInitError> {
    let builder = fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let builder = builder.with_target(false);
    match format {
        Format::Text => builder.finish().try_init(),
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    }
}
