//! I/O: the log, on standard error only: standard output is the report.

use std::sync::Mutex;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
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

/// What is logged: our own words at the level that was asked for, those of the libraries only for
/// whoever looks for a fault in them.
fn targets(level: LevelFilter) -> Targets {
    let libraries = if level >= LevelFilter::DEBUG {
        level
    } else {
        LevelFilter::OFF
    };
    Targets::new()
        .with_default(libraries)
        .with_target("whereabouts", level)
}

/// Starts the log of one CNI call: into a file, or on standard error, which the runtime may show to
/// a person and so has little to say by default.
///
/// A level or a file that is no good changes nothing: a log is no reason to fail a call.
pub fn start_for_call(level: Option<&str>, file: Option<&str>) {
    let (level, no_level) = match level.map(parse_level) {
        None => (LevelFilter::WARN, None),
        Some(Ok(level)) => (level, None),
        Some(Err(reason)) => (LevelFilter::WARN, Some(reason)),
    };
    let open = |path| {
        let mut file = std::fs::OpenOptions::new();
        file.append(true).create(true).open(path)
    };
    let (file, no_file) = match file.map(open) {
        None => (None, None),
        Some(Ok(file)) => (Some(file), None),
        Some(Err(error)) => (None, Some(error)),
    };
    let lines = layer()
        .with_ansi(false)
        .with_target(false)
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(targets(level));
    // A second call in one process, as in tests, keeps the first log.
    let _ = match file {
        Some(file) => registry
            .with(lines.with_writer(Mutex::new(file)))
            .try_init(),
        None => registry.with(lines.with_writer(std::io::stderr)).try_init(),
    };
    if let Some(reason) = no_level {
        tracing::warn!("log_level is ignored: {reason}");
    }
    if let Some(reason) = no_file {
        tracing::warn!("log_file cannot be opened: {reason}");
    }
}

/// Starts the log.
///
/// A standard error that cannot be written to is nobody's fault: the run goes on without a log.
///
/// # Errors
/// When it was started before.
pub fn start(level: LevelFilter, format: Format) -> Result<(), TryInitError> {
    let lines = layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    let lines = lines.log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(targets(level));
    match format {
        Format::Text => registry.with(lines).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
}
