//! PURE: the versions of the specification.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// A version of the specification that the plugin speaks; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0.1.0, and a configuration that names no version.
    V0_1_0,
    /// 0.2.0, the first with VERSION.
    V0_2_0,
    /// 0.3.0, the first whose results have a list of addresses.
    V0_3_0,
    /// 0.3.1, which corrects the text of 0.3.0.
    V0_3_1,
    /// 0.4.0, the first with CHECK.
    V0_4_0,
    /// 1.0.0, whose addresses no longer say their family.
    V1_0_0,
    /// 1.1.0, the first with GC and STATUS.
    V1_1_0,
}

/// A version that is none of [`Version::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("config is {0:?}, plugin supports [{supported}]", supported = quoted_versions())]
pub struct UnsupportedVersion(String);

/// Why a version cannot be compared with others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MalformedVersion {
    #[error("invalid version {0:?}: too many parts")]
    TooManyParts(String),
    #[error("failed to convert {name} version part {part:?}: {reason}")]
    Part {
        name: &'static str,
        part: String,
        reason: ParseIntError,
    },
}

/// A version's major, minor and micro part, ordered as versions are.
pub(super) type Parts = (i64, i64, i64);

impl Version {
    /// All versions, the oldest first.
    pub const ALL: [Self; 7] = [
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];

    /// The newest version, which the answer to VERSION names.
    pub const NEWEST: Self = Self::V1_1_0;

    /// The version as documents spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    pub(super) fn parts(self) -> Parts {
        match self {
            Self::V0_1_0 => (0, 1, 0),
            Self::V0_2_0 => (0, 2, 0),
            Self::V0_3_0 => (0, 3, 0),
            Self::V0_3_1 => (0, 3, 1),
            Self::V0_4_0 => (0, 4, 0),
            Self::V1_0_0 => (1, 0, 0),
            Self::V1_1_0 => (1, 1, 0),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = UnsupportedVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnsupportedVersion(text.to_owned()))
    }
}

/// Reads one to three numbers; parts that are not there are 0.
pub(super) fn parse_parts(text: &str) -> Result<Parts, MalformedVersion> {
    let mut parts = text.split('.');
    let mut next = |name| {
        let part = parts.next();
        part.map_or(Ok(0), |part| {
            part.parse().map_err(|reason| MalformedVersion::Part {
                name,
                part: part.to_owned(),
                reason,
            })
        })
    };
    if text.split('.').count() > 3 {
        return Err(MalformedVersion::TooManyParts(text.to_owned()));
    }
    Ok((next("major")?, next("minor")?, next("micro")?))
}

fn quoted_versions() -> String {
    Version::ALL
        .map(|version| format!("\"{version}\""))
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_reads_back_and_is_greater_than_the_one_before() {
        for version in Version::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
            assert_eq!(parse_parts(version.as_str()), Ok(version.parts()));
        }
        for pair in Version::ALL.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].parts() < pair[1].parts());
        }
        assert_eq!(Version::ALL.last(), Some(&Version::NEWEST));
    }

    #[test]
    fn only_the_exact_text_is_a_version() {
        for text in ["", "1.1", "1.1.0.0", "v1.0.0", "01.0.0", "1.0.0 ", "0.3.2"] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
        assert_eq!(
            "9.9.9".parse::<Version>().unwrap_err().to_string(),
            r#"config is "9.9.9", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]"#
        );
    }

    #[test]
    fn any_three_numbers_can_be_compared() {
        for (text, parts) in [
            ("1", (1, 0, 0)),
            ("1.1", (1, 1, 0)),
            ("0.10.2", (0, 10, 2)),
            ("-1.+2", (-1, 2, 0)),
        ] {
            assert_eq!(parse_parts(text), Ok(parts), "{text:?}");
        }
        for (text, reason) in [
            ("x", r#"failed to convert major version part "x": "#),
            ("", r#"failed to convert major version part "": "#),
            ("1.y.0", r#"failed to convert minor version part "y": "#),
            ("1.0.", r#"failed to convert micro version part "": "#),
            ("1.0.99999999999999999999", "failed to convert micro"),
            ("x.0.0.0", r#"invalid version "x.0.0.0": too many parts"#),
        ] {
            let error = parse_parts(text).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{text:?}: {error}");
        }
    }
}
