//! PURE: errors as the protocol knows them.

use std::fmt;

use super::print::Object;
use super::version::UnsupportedVersion;

/// What kind of error the caller is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The configuration's version is none that the plugin speaks.
    IncompatibleVersion,
    /// The configuration has a member that the plugin cannot obey.
    UnsupportedField,
    /// The container is not known, and what is left of it needs no clean-up.
    UnknownContainer,
    /// A variable of the environment is missing or no good.
    InvalidEnvironment,
    /// Reading or writing failed.
    Io,
    /// A document cannot be decoded.
    Decoding,
    /// The network configuration is no good.
    InvalidConfig,
    /// The network namespace cannot be the container's.
    InvalidNetNs,
    /// What stands in the way is expected to pass.
    TryAgain,
    /// STATUS: the plugin cannot serve ADD.
    NotAvailable,
    /// STATUS: the plugin cannot serve ADD, and existing containers are affected too.
    LimitedConnectivity,
    /// Anything else.
    Internal,
}

impl Code {
    /// The number in the error's document.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::UnsupportedField => 2,
            Self::UnknownContainer => 3,
            Self::InvalidEnvironment => 4,
            Self::Io => 5,
            Self::Decoding => 6,
            Self::InvalidConfig => 7,
            Self::InvalidNetNs => 8,
            Self::TryAgain => 11,
            Self::NotAvailable => 50,
            Self::LimitedConnectivity => 51,
            Self::Internal => 999,
        }
    }
}

/// A failed call, as the caller is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The kind of the error.
    pub code: Code,
    /// What went wrong, in short.
    pub msg: String,
    /// More about it; may be empty.
    pub details: String,
}

impl Error {
    /// An error without details.
    #[must_use]
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
            details: String::new(),
        }
    }

    /// An error of the code that says only that it is none of the others.
    #[must_use]
    pub fn internal(reason: impl fmt::Display) -> Self {
        Self::new(Code::Internal, reason.to_string())
    }

    /// The same error with details.
    #[must_use]
    pub fn with_details(self, details: impl Into<String>) -> Self {
        Self {
            details: details.into(),
            ..self
        }
    }

    /// The document for stdout.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let Self { code, msg, details } = self;
        Object::default()
            .number("code", i64::from(code.number()))
            .text("msg", msg)
            .text_unless_empty("details", details)
            .pretty()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if self.details.is_empty() {
            return Ok(());
        }
        write!(f, "; {}", self.details)
    }
}

impl std::error::Error for Error {}

impl From<UnsupportedVersion> for Error {
    fn from(unsupported: UnsupportedVersion) -> Self {
        Self::new(Code::IncompatibleVersion, "incompatible CNI versions")
            .with_details(unsupported.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_a_code_a_message_and_details_if_any() {
        let error = Error::new(Code::InvalidConfig, "a < b & \"c\"");
        assert_eq!(
            String::from_utf8(error.render()).unwrap(),
            "{\n    \"code\": 7,\n    \"msg\": \"a \\u003c b \\u0026 \\\"c\\\"\"\n}"
        );
        assert_eq!(error.to_string(), "a < b & \"c\"");
        let error = error.with_details("more");
        assert_eq!(
            String::from_utf8(error.render()).unwrap(),
            "{\n    \"code\": 7,\n    \"msg\": \"a \\u003c b \\u0026 \\\"c\\\"\",\n    \
             \"details\": \"more\"\n}"
        );
        assert_eq!(error.to_string(), "a < b & \"c\"; more");
    }

    #[test]
    fn an_error_without_message_still_has_that_member() {
        assert_eq!(
            String::from_utf8(Error::internal("").render()).unwrap(),
            "{\n    \"code\": 999,\n    \"msg\": \"\"\n}"
        );
    }

    #[test]
    fn codes_are_those_of_the_specification() {
        for (code, number) in [
            (Code::IncompatibleVersion, 1),
            (Code::UnsupportedField, 2),
            (Code::UnknownContainer, 3),
            (Code::InvalidEnvironment, 4),
            (Code::Io, 5),
            (Code::Decoding, 6),
            (Code::InvalidConfig, 7),
            (Code::InvalidNetNs, 8),
            (Code::TryAgain, 11),
            (Code::NotAvailable, 50),
            (Code::LimitedConnectivity, 51),
            (Code::Internal, 999),
        ] {
            assert_eq!(code.number(), number);
        }
    }
}
