//! I/O: a push to a Prometheus Pushgateway.

use std::time::Duration;

use http::{Method, Request, header};
use http_body_util::{BodyExt, Collected, Limited};
use kube::Config;
use kube::client::Body;

use crate::client::Cause;
use crate::metrics::PushUrl;

/// The whole push is over after this: a run must not hang on its metrics.
const PATIENCE: Duration = Duration::from_secs(5);

/// The text format, as Prometheus names it.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The most that is read of an answer.
const MAX_ANSWER: usize = 64 * 1024;

/// The most of an answer that a message quotes.
const QUOTED: usize = 300;

/// A push that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot push metrics to {url}: {cause}")]
pub(super) struct PushError {
    url: PushUrl,
    cause: PushCause,
}

#[derive(Debug, thiserror::Error)]
enum PushCause {
    #[error("no answer within {}s", PATIENCE.as_secs())]
    Silent,
    #[error("{0}")]
    Transport(Cause),
    #[error("the server answered {code}{}{said}", if said.is_empty() { "" } else { ": " })]
    Refused { code: u16, said: String },
}

/// Sends a text to a Pushgateway.
pub(super) async fn push(url: &PushUrl, method: Method, text: String) -> Result<(), PushError> {
    let sent = tokio::time::timeout(PATIENCE, send(url, method, text)).await;
    let sent = sent.unwrap_or(Err(PushCause::Silent));
    sent.map_err(|cause| PushError {
        url: url.clone(),
        cause,
    })
}

async fn send(url: &PushUrl, method: Method, text: String) -> Result<(), PushCause> {
    let server = url.server().to_string();
    let failed = |error: kube::Error| PushCause::Transport(Cause::transport(&error, &server));
    let client = kube::Client::try_from(config(url)).map_err(failed)?;
    let request = Request::builder()
        .method(method)
        .uri(url.path())
        .header(header::CONTENT_TYPE, FORMAT)
        .body(Body::from(text.into_bytes()))
        .map_err(|error| failed(kube::Error::HttpError(error)))?;
    let response = client.send(request).await.map_err(failed)?;
    if response.status().is_success() {
        return Ok(());
    }
    let code = response.status().as_u16();
    let answer = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await;
    let answer = answer.map(Collected::to_bytes).unwrap_or_default();
    let said: String = String::from_utf8_lossy(&answer)
        .trim()
        .chars()
        .take(QUOTED)
        .collect();
    Err(PushCause::Refused { code, said })
}

/// The HTTP client of the API server serves here as well; nothing of the cluster's settings does.
fn config(url: &PushUrl) -> Config {
    let mut config = Config::new(url.server().clone());
    config.default_retry = false;
    config.connect_timeout = Some(PATIENCE);
    if !url.is_encrypted() {
        // Without TLS nobody needs the system's certificates, and a small image may have none.
        config.root_cert = Some(Vec::new());
    }
    if let Some((user, password)) = url.credentials() {
        config.auth_info.username = Some(user.to_owned());
        config.auth_info.password = Some(password.to_owned().into());
    }
    config
}
