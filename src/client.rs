//! I/O: from a kubeconfig or a service account to bounded calls, with errors in words.
//!
//! Every call ends: at the run's deadline, or when the server has been silent for
//! [`SILENCE`]. Nothing is retried here; whoever writes knows whether asking again is safe.

mod connect;
mod error;
mod transport;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub use connect::{ConnectError, Connection, Target, connect, kubeconfig_problem};
pub use error::{CallError, Cause, Refusal};

/// How long a server may say nothing, within one call, before the call has failed.
pub const SILENCE: Duration = Duration::from_secs(30);

/// The most that is read of the body of an error.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// What a call does to which resource: for messages.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The verb as roles spell it, such as `list`.
    pub verb: &'static str,
    /// The resource with its group, such as `ippools.whereabouts.cni.cncf.io`.
    pub resource: &'static str,
    /// Which objects, such as `kube-system/10.0.0.0-24`; empty for all.
    pub object: &'a str,
}

/// A client whose calls all end by one deadline, and are counted.
#[derive(Clone)]
pub struct Client {
    inner: kube::Client,
    /// The server's address, for messages.
    server: Arc<str>,
    deadline: Instant,
    traffic: Arc<Traffic>,
}

/// How much went over the wire.
#[derive(Debug, Default)]
struct Traffic {
    calls: AtomicU64,
    bytes: AtomicU64,
    /// The latest time that the server told, in seconds since the epoch; 0 before it told any.
    time: AtomicI64,
}

impl Traffic {
    fn note_time(&self, headers: &http::HeaderMap) {
        let text = headers.get(http::header::DATE);
        let date = text.and_then(|text| rfc2822::parse(text.to_str().ok()?).ok());
        if let Some(date) = date {
            let seconds = date.timestamp().as_second();
            self.time.fetch_max(seconds, Ordering::Relaxed);
        }
    }
}

impl Client {
    /// Bounds a client.
    #[must_use]
    pub fn new(connection: Connection, deadline: Instant) -> Self {
        let Connection {
            client: inner,
            server,
        } = connection;
        Self {
            inner,
            server: server.into(),
            deadline,
            traffic: Arc::default(),
        }
    }

    /// The same client with another deadline; calls are counted together.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// The namespace of the pod, or of the kubeconfig's context.
    #[must_use]
    pub fn default_namespace(&self) -> &str {
        self.inner.default_namespace()
    }

    /// The server's address.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// When every call has ended.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Calls sent, and bytes of bodies received, so far.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        (
            self.traffic.calls.load(Ordering::Relaxed),
            self.traffic.bytes.load(Ordering::Relaxed),
        )
    }

    /// What time it is at the server, to the second: one clock for programs that run on many nodes.
    #[must_use]
    pub fn server_time(&self) -> Option<Timestamp> {
        let seconds = self.traffic.time.load(Ordering::Relaxed);
        Timestamp::from_second(seconds).ok().filter(|_| seconds > 0)
    }

    /// Sends a request and reads its answer as JSON.
    pub async fn call<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, CallError> {
        let mut body = Vec::new();
        self.stream(call, request, |chunk| {
            body.extend_from_slice(chunk);
            Ok(())
        })
        .await?;
        serde_json::from_slice(&body).map_err(|error| call.failed(Cause::Unreadable(error.into())))
    }

    /// Sends a request and hands over the answer's body piece by piece, as it comes in.
    ///
    /// # Errors
    /// When the server refuses, is silent too long, or the body ends early. What was handed over
    /// until then is of no use.
    pub async fn stream(
        &self,
        call: &Call<'_>,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
        mut take: impl FnMut(&[u8]) -> Result<(), Cause>,
    ) -> Result<(), CallError> {
        let request = request
            .map_err(|error| call.failed(Cause::Unreadable(error.into())))?
            .map(Body::from);
        self.traffic.calls.fetch_add(1, Ordering::Relaxed);
        let response = self.bounded(call, self.inner.send(request)).await?;
        let response =
            response.map_err(|error| call.failed(Cause::transport(&error, &self.server)))?;
        self.traffic.note_time(response.headers());
        let refused = !response.status().is_success();
        let mut error_body = Vec::new();
        let code = response.status().as_u16();
        let mut body = Response::into_body(response);
        while let Some(frame) = self.bounded(call, body.frame()).await? {
            let frame =
                frame.map_err(|error| call.failed(Cause::transport(&error, &self.server)))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
            self.traffic.bytes.fetch_add(bytes, Ordering::Relaxed);
            if !refused {
                take(data).map_err(|cause| call.failed(cause))?;
            } else if error_body.len() < MAX_ERROR_BODY {
                error_body.extend_from_slice(data);
            }
        }
        if refused {
            return Err(call.failed(Cause::Refused(Box::new(status_of(code, &error_body)))));
        }
        Ok(())
    }

    async fn bounded<F: Future>(&self, call: &Call<'_>, work: F) -> Result<F::Output, CallError> {
        let silence = Instant::now() + SILENCE;
        let until = silence.min(self.deadline);
        tokio::time::timeout_at(until, work).await.map_err(|_| {
            let cause = if until == silence {
                Cause::Silent {
                    after: SILENCE,
                    server: self.server.to_string(),
                }
            } else {
                Cause::Deadline
            };
            call.failed(cause)
        })
    }
}

/// What an error's body says; bodies of proxies and load balancers are no `Status`.
fn status_of(code: u16, body: &[u8]) -> Status {
    let status = serde_json::from_slice::<Status>(body)
        .ok()
        .filter(Status::is_failure);
    let Some(status) = status else {
        let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
        return Status::failure(text.trim(), "").with_code(code);
    };
    if status.code == 0 {
        status.with_code(code)
    } else {
        status
    }
}
