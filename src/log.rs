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

/// Starts the log of one CNI call: into a file, or on standard error, which the runtime may show to
/// a person and so has little to say by default.
///
/// A level or a file that is no good changes nothing: a log is no reason to fail a call.
pub fn start_for_call(level: Option<&str>, file: Option<&str>) {
    let level = level
        .and_then(|level| parse_level(level).ok())
        .unwrap_or(LevelFilter::WARN);
    let builder = fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false);
    let file = file.and_then(|path| {
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .ok()
    });
    // A second call in one process, as in tests, keeps the first log.
    let _ = match file {
        Some(file) => builder
            .with_writer(std::sync::Mutex::new(file))
            .finish()
            .try_init(),
        None => builder.with_writer(std::io::stderr).finish().try_init(),
    };
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
