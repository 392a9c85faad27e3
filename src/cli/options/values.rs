//! PURE: the values of flags.

use std::convert::Infallible;
use std::time::Duration;

use crate::duration;
use crate::metrics::{InvalidUrl, PushUrl};

/// A run that takes longer than this was not meant.
const MAX_DURATION: Duration = Duration::from_hours(24);

/// Reads a duration as Go writes it, longer than nothing: what is meant by 0s is no wait at all.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let duration = duration::parse(text).map_err(|error| error.to_string())?;
    if duration.is_zero() {
        return Err("it has to be longer than nothing".to_owned());
    }
    Ok(duration)
}

/// A URL, none for an empty text, or why it is none.
pub(super) type MaybePushUrl = Result<Option<PushUrl>, InvalidUrl>;

/// Reads a URL. A failure is kept for later: clap would quote the text, and a password with it.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a fallible parser")]
pub(super) fn push_url(text: &str) -> Result<MaybePushUrl, Infallible> {
    Ok(if text.is_empty() {
        Ok(None)
    } else {
        PushUrl::parse(text).map(Some)
    })
}

/// Reads a duration as Go writes it.
pub(super) fn any_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Reads a duration as Go writes it, no longer than a run can take.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = duration::parse(text).map_err(|error| error.to_string())?;
    if duration > MAX_DURATION {
        return Err("a run cannot take longer than a day".to_owned());
    }
    Ok(duration)
}

/// An empty text, as a manifest's variable may have, is as good as none.
pub(super) fn non_empty(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}
