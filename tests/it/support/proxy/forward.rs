//! The way of one request through the proxy (I/O).

use std::time::Duration;

use futures::StreamExt;
use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use serde_json::json;

use super::{Fault, Seen, State, due};

/// The body of an answer: a failure in it ends the connection.
type Body = UnsyncBoxBody<Bytes, BoxError>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long the bytes before a cut have to reach the client: hyper discards what it has not yet
/// written when a body fails.
const FLUSH: Duration = Duration::from_millis(50);

/// Answers one request; an error ends the connection without an answer.
pub(super) async fn answer(
    state: &State,
    request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let seen = state.note(Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        n: 0,
        body: body.clone(),
    });
    for action in due(&state.before, &seen) {
        action.await;
    }
    let request = Request::from_parts(head, body);
    match state.fault(&seen) {
        None => forward(state, &seen, request).await,
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            forward(state, &seen, request).await
        }
        Some(Fault::Accept(kind)) => {
            let (mut head, body) = request.into_parts();
            head.headers.insert(ACCEPT, HeaderValue::from_static(kind));
            forward(state, &seen, Request::from_parts(head, body)).await
        }
        Some(Fault::Status(code, reason)) => status(code, reason),
        Some(Fault::Answer(json)) => {
            let response = Response::builder().header(CONTENT_TYPE, "application/json");
            Ok(response.body(full(json.into()))?)
        }
        Some(Fault::StatusAfter(code)) => {
            whole(forward(state, &seen, request).await?).await?;
            status(code, "")
        }
        Some(Fault::CutAfter(bytes)) => {
            let response = whole(forward(state, &seen, request).await?).await?;
            Ok(response.map(|body| cut(&body, bytes)))
        }
        Some(Fault::DropConnection) => Err("dropped before the server got it".into()),
        Some(Fault::DropAfter) => {
            whole(forward(state, &seen, request).await?).await?;
            Err("dropped after the server answered".into())
        }
        Some(Fault::Hang) => std::future::pending().await,
    }
}

/// Passes the request on, and gives the answer as soon as its head is there.
async fn forward(
    state: &State,
    seen: &Seen,
    request: Request<Bytes>,
) -> Result<Response<Body>, BoxError> {
    let mut request = request.map(kube::client::Body::from);
    let headers = request.headers_mut();
    remove_connection_headers(headers);
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    let mut response = state.upstream.send(request).await?;
    remove_connection_headers(response.headers_mut());
    let actions = due(&state.after, seen);
    let response = response.map(|body| body.map_err(BoxError::from).boxed_unsync());
    if actions.is_empty() {
        return Ok(response);
    }
    // The server has answered only when it has sent all: it may still be reading for a list.
    let response = whole(response).await?;
    for action in actions {
        action.await;
    }
    Ok(response.map(full))
}

/// Removes the headers that are about one connection, of which there are two here.
fn remove_connection_headers(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
}

/// Waits for the whole body.
async fn whole(response: Response<Body>) -> Result<Response<Bytes>, BoxError> {
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

fn full(body: Bytes) -> Body {
    Full::new(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// The beginning of `body`, and then a failure.
fn cut(body: &Bytes, bytes: usize) -> Body {
    let beginning = Frame::data(body.slice(..bytes.min(body.len())));
    let beginning = futures::stream::iter([Ok(beginning)]);
    let failure = futures::stream::once(async {
        tokio::time::sleep(FLUSH).await;
        Err(BoxError::from("cut by the test"))
    });
    StreamBody::new(beginning.chain(failure)).boxed_unsync()
}

/// An answer as the API server's own, without its having been asked.
fn status(code: u16, reason: &str) -> Result<Response<Body>, BoxError> {
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": if code < 400 { "Success" } else { "Failure" },
        "message": format!("{code} by the test"),
        "reason": reason,
        "code": code,
    });
    let mut response = Response::builder()
        .status(StatusCode::from_u16(code)?)
        .header(CONTENT_TYPE, "application/json");
    if code == 429 {
        response = response.header(RETRY_AFTER, "1");
    }
    Ok(response.body(full(body.to_string().into()))?)
}
