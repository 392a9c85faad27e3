//! I/O: one list, consistent and complete, or an error.

use http::HeaderValue;
use http::header::ACCEPT;
use kube::api::{ListParams, Resource};
use kube::core::Request;

use crate::client::{Call, CallError, Cause, Client, Encoding};
use crate::reconcile::items::{Items, NoList};

/// How often a list whose pages expired is started again.
pub(in crate::reconcile) const MAX_RESTARTS: u32 = 3;

/// Metadata only; a server between that knows no protocol buffers answers in JSON.
const METADATA: HeaderValue = HeaderValue::from_static(
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
     application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
);

/// Which list to read.
#[derive(Clone)]
pub(super) struct List<'a> {
    /// For messages.
    pub(super) resource: &'static str,
    /// The path, from [`all_of`].
    pub(super) path: String,
    /// A field selector, if not all objects are wanted.
    pub(super) fields: Option<&'a str>,
    /// How many objects to ask for at once.
    pub(super) page: u32,
}

/// The path of all objects of a kind, in all namespaces.
pub(super) fn all_of<K: Resource<DynamicType = ()>>() -> String {
    K::url_path(&(), None)
}

impl List<'_> {
    /// Reads all pages. No `resourceVersion` is asked for, so the first page is as new as the
    /// store, and the others belong to the same moment.
    ///
    /// When the server has forgotten that moment between two pages (410), the list is read again
    /// from its start, into a `fresh` state.
    pub(super) async fn read<T>(
        &self,
        client: &Client,
        fresh: impl Fn() -> T,
        mut item: impl FnMut(&mut T, &[u8]) -> Result<(), serde_json::Error>,
    ) -> Result<T, CallError> {
        // Who asks for nothing else gets JSON.
        let item = |state: &mut T, _, json: &[u8]| item(state, json);
        self.read_as(client, None, fresh, item).await
    }

    /// The same of the metadata of objects, as protocol buffers where the server knows them: they
    /// take less of its time and of ours.
    pub(super) async fn read_metadata<T>(
        &self,
        client: &Client,
        fresh: impl Fn() -> T,
        item: impl FnMut(&mut T, Encoding, &[u8]) -> Result<(), serde_json::Error>,
    ) -> Result<T, CallError> {
        self.read_as(client, Some(METADATA), fresh, item).await
    }

    async fn read_as<T>(
        &self,
        client: &Client,
        accept: Option<HeaderValue>,
        fresh: impl Fn() -> T,
        mut item: impl FnMut(&mut T, Encoding, &[u8]) -> Result<(), serde_json::Error>,
    ) -> Result<T, CallError> {
        let call = Call {
            verb: "list",
            resource: self.resource,
            object: "",
        };
        for restart in 0..=MAX_RESTARTS {
            let mut state = fresh();
            let item = |encoding, bytes: &[u8]| item(&mut state, encoding, bytes);
            match self.read_once(client, &call, accept.as_ref(), item).await {
                Ok(()) => return Ok(state),
                Err(error)
                    if error
                        .cause
                        .status()
                        .is_some_and(|status| status.code == 410) =>
                {
                    tracing::warn!(
                        resource = self.resource,
                        restart,
                        "List expired between pages"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Err(call.failed(Cause::Expired(MAX_RESTARTS.saturating_add(1))))
    }

    async fn read_once(
        &self,
        client: &Client,
        call: &Call<'_>,
        accept: Option<&HeaderValue>,
        mut item: impl FnMut(Encoding, &[u8]) -> Result<(), serde_json::Error>,
    ) -> Result<(), CallError> {
        let mut params = ListParams::default().limit(self.page);
        params.field_selector = self.fields.map(ToOwned::to_owned);
        loop {
            let mut request = Request::new(self.path.as_str()).list(&params);
            if let (Ok(request), Some(accept)) = (&mut request, accept) {
                request.headers_mut().insert(ACCEPT, accept.clone());
            }
            // Each page is read as it says itself: the servers behind one address may differ.
            let mut items = None;
            client
                .stream(call, request, |encoding, chunk| {
                    let items = items.get_or_insert_with(|| Items::of(encoding));
                    items.push(chunk, |bytes| {
                        let read = item(encoding, bytes);
                        read.map_err(|error| Cause::Unreadable(format!("an item: {error}").into()))
                    })
                })
                .await?;
            let items = items.unwrap_or_else(|| Items::of(Encoding::Json));
            let envelope = items.finish().map_err(|error| call.failed(error.into()))?;
            match envelope.continue_token {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }
}

impl From<NoList> for Cause {
    fn from(error: NoList) -> Self {
        Self::Unreadable(format!("the list is not complete: {error}").into())
    }
}
