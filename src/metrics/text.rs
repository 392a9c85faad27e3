//! PURE: the text format that Prometheus and its Pushgateway read.

use std::fmt::{self, Write};
use std::time::Duration;

/// A value. All are floating point numbers for the reader; written as digits, none loses any here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Count(u128),
    Seconds(Duration),
}

impl Value {
    pub(super) fn of(count: usize) -> Self {
        Self::Count(u128::try_from(count).unwrap_or(u128::MAX))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Seconds(time) => write!(f, "{}.{:03}", time.as_secs(), time.subsec_millis()),
        }
    }
}

/// A value with its labels.
#[derive(Debug)]
pub(super) struct Sample {
    labels: String,
    value: Value,
}

impl Sample {
    pub(super) fn new(value: Value) -> Self {
        Self {
            labels: String::new(),
            value,
        }
    }

    pub(super) fn one(count: usize) -> Self {
        Self::new(Value::of(count))
    }

    /// Adds a label, escaped: whoever makes a pool chooses its name.
    pub(super) fn label(mut self, name: &'static str, value: &str) -> Self {
        self.labels
            .push(if self.labels.is_empty() { '{' } else { ',' });
        self.labels.push_str(name);
        self.labels.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => self.labels.push_str("\\\\"),
                '"' => self.labels.push_str("\\\""),
                '\n' => self.labels.push_str("\\n"),
                other => self.labels.push(other),
            }
        }
        self.labels.push('"');
        self
    }
}

/// A text in the making.
#[derive(Debug)]
pub(super) struct Text {
    prefix: &'static str,
    text: String,
}

impl Text {
    pub(super) fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            text: String::new(),
        }
    }

    /// Adds a metric with all its samples; nothing at all if there are none.
    pub(super) fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = Sample>,
    ) {
        let prefix = self.prefix;
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        // A string takes everything.
        let _ = writeln!(self.text, "# HELP {prefix}{name} {help}");
        let _ = writeln!(self.text, "# TYPE {prefix}{name} gauge");
        for Sample { labels, value } in samples {
            let end = if labels.is_empty() { "" } else { "}" };
            let _ = writeln!(self.text, "{prefix}{name}{labels}{end} {value}");
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}
