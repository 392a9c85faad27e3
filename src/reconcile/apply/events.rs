//! I/O: writes events, which cost nothing when they cannot be written.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event as CoreEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{PostParams, Resource};
use kube::core::Request;

use super::Writing;
use crate::api::{GROUP, VERSION};
use crate::client::{Call, CallError, Client};
use crate::reconcile::events::Event;
use crate::reconcile::records::Records;
use crate::record::Pool;
use crate::record::marks::Print;

/// Who reports.
const COMPONENT: &str = "ip-reconciler";

/// Writes all events; what goes wrong is logged once, and changes nothing about what the run did.
pub async fn tell(
    client: &Client,
    records: &Records,
    events: Vec<Event>,
    now: Timestamp,
    how: &Writing,
) {
    let writes = events.into_iter().map(|event| async move {
        match records.pools.get(event.pool) {
            Some(pool) if how.may_start() => create(client, pool, &event, now).await.err(),
            _ => None,
        }
    });
    let problems: Vec<CallError> = futures::stream::iter(writes)
        .buffer_unordered(how.at_once)
        .filter_map(|problem| async move { problem })
        .collect()
        .await;
    if let Some(first) = problems.first() {
        let message = first.to_string();
        let message = crate::reconcile::report::escape(&message);
        tracing::warn!(
            events = problems.len(),
            "{message}; the run itself is not affected"
        );
    }
}

async fn create(
    client: &Client,
    pool: &Pool,
    event: &Event,
    now: Timestamp,
) -> Result<(), CallError> {
    let name = name(pool, event, now);
    let object = format!("{}/{name}", pool.id.namespace);
    let call = Call {
        verb: "create",
        resource: "events",
        object: &object,
    };
    let body = CoreEvent {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(pool.id.namespace.to_string()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some("IPPool".to_owned()),
            namespace: Some(pool.id.namespace.to_string()),
            name: Some(pool.id.name.to_string()),
            uid: Some(pool.uid.to_string()),
            ..ObjectReference::default()
        },
        type_: Some(event.kind.name().to_owned()),
        reason: Some(event.reason.to_owned()),
        message: Some(event.message.clone()),
        source: Some(EventSource {
            component: Some(COMPONENT.to_owned()),
            ..EventSource::default()
        }),
        reporting_component: Some(COMPONENT.to_owned()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        ..CoreEvent::default()
    };
    let body = serde_json::to_vec(&body).map_err(|error| call.unreadable(error))?;
    let path = CoreEvent::url_path(&(), Some(&pool.id.namespace));
    let request = Request::new(path).create(&PostParams::default(), body);
    match client.stream(&call, request, |_, _| Ok(())).await {
        // The same was said less than an hour ago.
        Err(error) if error.cause.is_already_there() => Ok(()),
        done => done,
    }
}

/// The same name for the same message within one hour, which is how long events are kept: a conflict
/// that stays is not said anew by every run.
fn name(pool: &Pool, event: &Event, now: Timestamp) -> String {
    /// The longest name of an object is 253 characters.
    const MAX_POOL: usize = 200;
    let hour = (now.as_second() / 3600).to_string();
    let what = Print::of(&[&pool.uid, event.reason, &event.message, &hour]);
    let short: String = pool.id.name.chars().take(MAX_POOL).collect();
    let short = short.trim_end_matches(['.', '-']);
    format!("{short}.{:x}{what}", now.as_second() / 3600)
}
