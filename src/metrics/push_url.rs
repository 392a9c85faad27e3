//! PURE: where metrics are pushed to.

use std::fmt;

use http::Uri;
use percent_encoding::percent_decode_str;

/// Under which name the Pushgateway keeps them.
const JOB: &str = "/metrics/job/ip-reconciler";

/// Where a URL of the user's own grouping goes on.
const GROUPING: &str = "/metrics/job/";

/// Where metrics are pushed to; displayed without the password that the URL may hold.
#[derive(Clone, PartialEq, Eq)]
pub struct PushUrl {
    server: Uri,
    path: String,
    credentials: Option<(String, String)>,
}

/// Why a text is no URL to push to. It is not quoted, because it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It cannot be read.
    #[error("it is no URL such as http://pushgateway:9091")]
    Unreadable,
    /// It speaks another protocol.
    #[error("it begins with neither http:// nor https://")]
    Scheme,
    /// It has a part that the Pushgateway's interface does not know.
    #[error("it has a query or a fragment, and a Pushgateway knows neither")]
    Query,
}

impl PushUrl {
    /// Reads the URL of a Pushgateway, or one with a grouping of its own below it.
    ///
    /// # Errors
    /// When it is no URL, or none of that kind.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        // The parser drops fragments without a word.
        if text.contains(['?', '#']) {
            return Err(InvalidUrl::Query);
        }
        let uri: Uri = text.trim().parse().map_err(|_| InvalidUrl::Unreadable)?;
        let scheme = match uri.scheme_str() {
            Some("http") => "http",
            Some("https") => "https",
            _ => return Err(InvalidUrl::Scheme),
        };
        let authority = uri.authority().ok_or(InvalidUrl::Unreadable)?.as_str();
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let server = format!("{scheme}://{host}").parse();
        let server = server.map_err(|_| InvalidUrl::Unreadable)?;
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            server,
            path: if uri.path().contains(GROUPING) {
                uri.path().to_owned()
            } else {
                format!("{path}{JOB}")
            },
            credentials: userinfo.map(credentials).transpose()?,
        })
    }

    /// The server, without a path.
    #[must_use]
    pub fn server(&self) -> &Uri {
        &self.server
    }

    /// The path on it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The user's name and password, if the URL has them.
    #[must_use]
    pub fn credentials(&self) -> Option<(&str, &str)> {
        let (user, password) = self.credentials.as_ref()?;
        Some((user, password))
    }

    /// Whether what is sent cannot be read on the way.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.server.scheme_str() == Some("https")
    }
}

fn credentials(userinfo: &str) -> Result<(String, String), InvalidUrl> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let decode = |text| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(Into::into).map_err(|_| InvalidUrl::Unreadable)
    };
    Ok((decode(user)?, decode(password)?))
}

impl fmt::Display for PushUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.to_string();
        write!(f, "{}{}", server.trim_end_matches('/'), self.path)
    }
}

impl fmt::Debug for PushUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_gets_the_job_and_a_grouping_is_used_as_it_is() {
        for (text, url) in [
            (
                "http://gate:9091",
                "http://gate:9091/metrics/job/ip-reconciler",
            ),
            ("http://gate/", "http://gate/metrics/job/ip-reconciler"),
            (
                "https://gate/push/",
                "https://gate/push/metrics/job/ip-reconciler",
            ),
            (
                "http://[::1]:9091",
                "http://[::1]:9091/metrics/job/ip-reconciler",
            ),
            (
                "http://gate/metrics/job/other/cluster/a%2Fb",
                "http://gate/metrics/job/other/cluster/a%2Fb",
            ),
        ] {
            assert_eq!(PushUrl::parse(text).unwrap().to_string(), url);
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let url = PushUrl::parse("https://me:p%40s%3As@gate:9091").unwrap();
        assert_eq!(url.credentials(), Some(("me", "p@s:s")));
        assert!(url.is_encrypted());
        for shown in [
            format!("{url}"),
            format!("{url:?}"),
            url.server().to_string(),
        ] {
            assert!(!shown.contains("me") || !shown.contains("p%40") && !shown.contains('@'));
        }
        let url = PushUrl::parse("http://me@gate").unwrap();
        assert_eq!(url.credentials(), Some(("me", "")));
        assert_eq!(PushUrl::parse("http://gate").unwrap().credentials(), None);
    }

    #[test]
    fn what_is_no_url_to_push_to_is_refused() {
        for (text, error) in [
            ("", InvalidUrl::Unreadable),
            ("http://", InvalidUrl::Unreadable),
            ("http://a b", InvalidUrl::Unreadable),
            ("http://me:%ff@gate", InvalidUrl::Unreadable),
            ("gate:9091", InvalidUrl::Scheme),
            ("/metrics/job/x", InvalidUrl::Scheme),
            ("ftp://gate", InvalidUrl::Scheme),
            ("http://gate/?token=x", InvalidUrl::Query),
            ("http://gate/#x", InvalidUrl::Query),
        ] {
            assert_eq!(PushUrl::parse(text), Err(error), "{text:?}");
        }
    }
}
