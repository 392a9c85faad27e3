//! PURE: lengths of time as Go writes them, such as `90s` or `1m30s`.

use std::time::Duration;

/// Longest text that is looked at: what fits in cannot be too long for a [`Duration`].
const MAX_TEXT: usize = 16;

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration such as 90s or 1m30s")]
pub struct Invalid(String);

/// Reads a duration of numbers with units: `ns`, `us`, `ms`, `s`, `m`, `h`; a mere `0` needs none.
///
/// # Errors
/// When the text is something else, negative included.
pub fn parse(text: &str) -> Result<Duration, Invalid> {
    // The parser behind this takes signs in the middle, and panics on them and on large numbers.
    let known =
        |c: char| c.is_ascii_digit() || matches!(c, '.' | 'n' | 'u' | 'µ' | 'm' | 's' | 'h');
    let invalid = || Invalid(text.chars().take(MAX_TEXT).collect());
    if text.is_empty() || text.len() > MAX_TEXT || !text.chars().all(known) {
        return Err(invalid());
    }
    let parsed: kube::core::Duration = text.parse().map_err(|_| invalid())?;
    Ok(parsed.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        for (text, milliseconds) in [
            ("2m", 120_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("250ms", 250),
            ("0", 0),
            ("0s", 0),
            (".5s", 500),
        ] {
            assert_eq!(
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "m",
            "5 s",
            "-5s",
            "+5s",
            "1h-5m",
            "1d",
            "5S",
            "1e9h",
            "inf",
            "1..5s",
            "99999999999999999999h",
            "s5",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("99999999999999h").is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9.a-zµ]{0,20}|[0-9.]{1,15}[hmsnuµ]+|\\PC*") {
            let _ = parse(&text);
        }
    }
}
