//! PURE: what catches the eye on a terminal.

use anstyle::{AnsiColor, Style};

use super::Row;

/// Whether there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// A terminal understands them.
    On,
    /// Nobody does.
    Off,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Heading,
    /// Two pods have one address, or a release failed.
    Danger,
    /// A person should look at it.
    Warning,
    /// It was or will be released.
    Release,
    Plain,
}

impl Paint {
    pub(super) fn of(row: &Row<'_>) -> Self {
        match (row.verdict, row.action, row.result) {
            ("UsedByAnother", ..) | (_, _, Some("Failed")) => Self::Danger,
            (_, "Warn", _) => Self::Warning,
            (_, "Release", _) => Self::Release,
            _ => Self::Plain,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Heading => Style::new().bold(),
            Self::Danger => AnsiColor::Red.on_default().bold(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Release => AnsiColor::Green.on_default(),
            Self::Plain => Style::new(),
        }
    }
}

impl Colours {
    /// The text, which is safe for a terminal, in its colour.
    pub(super) fn paint(self, what: Paint, text: &str) -> String {
        match self {
            Self::On if what != Paint::Plain => {
                let style = what.style();
                format!("{style}{text}{style:#}")
            }
            Self::On | Self::Off => text.to_owned(),
        }
    }
}
