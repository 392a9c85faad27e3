//! PURE: what went wrong with a call, on which object, and what the operator can do.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use kube::core::Status;

use super::Call;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {cause}{advice}", advice = .advice.as_deref().unwrap_or_default())]
pub struct CallError {
    /// The verb, the resource and the object.
    action: String,
    /// Why.
    pub cause: Cause,
    advice: Option<String>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The server said no.
    #[error("{}", said(.0))]
    Refused(Box<Status>),
    /// No answer, or not all of it.
    #[error("{0}")]
    Transport(String),
    /// The server has been silent for too long.
    #[error("no answer within {}s from {server}", .after.as_secs())]
    Silent {
        /// How long it was waited for.
        after: Duration,
        /// The server's address.
        server: String,
    },
    /// The time for the whole run is over.
    #[error(
        "the time for the whole run is over (--timeout; add_timeout or del_timeout of the plugin)"
    )]
    Deadline,
    /// The answer is not what the API promises.
    #[error("unreadable answer: {0}")]
    Unreadable(Box<dyn StdError + Send + Sync>),
    /// etcd refused, or could not be reached.
    #[error("{said}")]
    Etcd {
        /// What it said.
        said: String,
        /// What follows from it.
        refusal: Refusal,
    },
    /// The list changed under the reader as often as it was started again.
    #[error("the list expired between two pages {0} times in a row")]
    Expired(u32),
}

/// What follows from a call to etcd that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It may succeed a moment later.
    Passing,
    /// Something else is there than was expected.
    Conflict,
    /// What was asked for is too old: it has been compacted.
    Compacted,
    /// The user may not do it, or is not the one that it says.
    Denied,
    /// It would fail again.
    Final,
}

fn said(status: &Status) -> String {
    let message = if status.message.is_empty() {
        &status.reason
    } else {
        &status.message
    };
    let code = status.code.to_string();
    let message = message.strip_prefix(&code).unwrap_or(message).trim();
    format!("the API server answered {code} {message}")
        .trim_end()
        .to_owned()
}

impl Cause {
    /// Takes the innermost message: the layers above it only repeat that something failed.
    #[must_use]
    pub fn transport(error: &(dyn StdError + 'static), server: &str) -> Self {
        Self::Transport(format!("{} ({server})", innermost(error)))
    }

    /// The server's refusal, if it is one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused(status) => Some(status),
            Self::Transport(_)
            | Self::Silent { .. }
            | Self::Deadline
            | Self::Unreadable(_)
            | Self::Etcd { .. }
            | Self::Expired(_) => None,
        }
    }

    /// Whether the API server said that there is no such object. A 404 of something in between,
    /// or of a resource that is not served, says nothing about the object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status()
            .is_some_and(|status| status.code == 404 && status.reason == "NotFound")
    }

    /// Whether an object of that name is there already.
    #[must_use]
    pub fn is_already_there(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409)
    }

    /// Whether the server said that something else is there than was expected: a precondition or
    /// a `test` that failed, or an object that exists already. An object that breaks the rules of its
    /// definition is none of them, and would break them again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        let is_of_etcd = matches!(
            self,
            Self::Etcd {
                refusal: Refusal::Conflict,
                ..
            }
        );
        is_of_etcd
            || self.status().is_some_and(|status| {
                let causes = status.details.as_ref().map(|details| &details.causes);
                let breaks_rules = causes.is_some_and(|causes| !causes.is_empty());
                status.code == 409 || (status.code == 422 && !breaks_rules)
            })
    }

    /// Whether the same call can succeed a moment later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(status) => status.code == 429 || status.code >= 500,
            Self::Transport(_) | Self::Silent { .. } | Self::Unreadable(_) => true,
            Self::Etcd { refusal, .. } => *refusal == Refusal::Passing,
            Self::Deadline | Self::Expired(_) => false,
        }
    }
}

/// The last of a chain of errors.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

impl Call<'_> {
    /// This call's failure.
    #[must_use]
    pub fn failed(&self, cause: Cause) -> CallError {
        let advice = self.advice(&cause);
        CallError {
            action: self.to_string(),
            cause,
            advice,
        }
    }

    /// This call's failure to make sense of what it got, or of what it was to send.
    #[must_use]
    pub fn unreadable(&self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> CallError {
        self.failed(Cause::Unreadable(error.into()))
    }

    fn advice(&self, cause: &Cause) -> Option<String> {
        if let Cause::Etcd {
            refusal: Refusal::Denied,
            ..
        } = cause
        {
            return Some(
                "; check the user and the password, and grant its role readwrite on /whereabouts/v1/"
                    .to_owned(),
            );
        }
        let status = cause.status()?;
        let group = self.resource.split_once('.').map_or("", |(_, group)| group);
        match status.code {
            401 => Some("; the credentials are not valid (any more)".to_owned()),
            // Reports are read by people only.
            403 if (self.verb, self.resource) == ("get", "configmaps") => {
                Some("; grant the verb \"get\" on configmaps to whoever undoes".to_owned())
            }
            403 => Some(format!(
                "; grant the verb {:?} on {} (the manifests have the whole role)",
                self.verb, self.resource
            )),
            404 if status.reason != "NotFound" && group == crate::api::GROUP => Some(format!(
                "; the custom resource definition {} is not installed: \
                 kubectl apply -f manifests/crds",
                self.resource
            )),
            _ => None,
        }
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if self.object.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", self.object)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_that_breaks_rules_is_no_conflict() {
        let refused = |status| Cause::Refused(serde_json::from_value(status).unwrap());
        // As kube-apiserver answers a `test` of a patch that fails, and a value of the wrong type.
        let test = json!({"status": "Failure", "reason": "Invalid", "code": 422, "details": {},
            "message": "the server rejected our request due to an error in our request"});
        let rules = json!({"status": "Failure", "reason": "Invalid", "code": 422,
            "message": "IPPool \"10.0.0.0-24\" is invalid: spec.range: Required value",
            "details": {"causes": [{"reason": "FieldValueRequired", "message": "Required value",
                "field": "spec.range"}]}});
        assert!(refused(test).is_conflict());
        assert!(!refused(rules).is_conflict());
    }
}
