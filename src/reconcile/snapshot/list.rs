//! I/O: one list, consistent and complete, or an error.

use kube::api::{ListParams, Resource};
use kube::core::Request;

use crate::client::{Call, CallError, Cause, Client};
use crate::reconcile::items::Items;

/// How often a list whose pages expired is started again.
pub(in crate::reconcile) const MAX_RESTARTS: u32 = 3;

/// Which list to read.
pub(super) struct List<'a> {
    /// For messages.
    pub(super) resource: &'static str,
    /// The path, from [`all_of`].
    pub(super) path: String,
    /// Whether metadata is all that is needed.
    pub(super) metadata_only: bool,
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
        let call = Call {
            verb: "list",
            resource: self.resource,
            object: "",
        };
        for restart in 0..=MAX_RESTARTS {
            match self.read_once(client, &call, &fresh, &mut item).await {
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
                read => return read,
            }
        }
        Err(call.failed(Cause::Expired(MAX_RESTARTS.saturating_add(1))))
    }

    async fn read_once<T>(
        &self,
        client: &Client,
        call: &Call<'_>,
        fresh: &impl Fn() -> T,
        item: &mut impl FnMut(&mut T, &[u8]) -> Result<(), serde_json::Error>,
    ) -> Result<T, CallError> {
        let mut state = fresh();
        let mut params = ListParams::default().limit(self.page);
        params.field_selector = self.fields.map(ToOwned::to_owned);
        loop {
            let request = Request::new(self.path.as_str());
            let request = if self.metadata_only {
                request.list_metadata(&params)
            } else {
                request.list(&params)
            };
            let mut items = Items::default();
            let unreadable =
                |error: serde_json::Error| Cause::Unreadable(format!("an item: {error}").into());
            client
                .stream(call, request, |chunk| {
                    items
                        .push(chunk, |json| item(&mut state, json))
                        .map_err(unreadable)
                })
                .await?;
            let envelope = items.finish().map_err(|error| {
                call.failed(Cause::Unreadable(
                    format!("the list is not complete: {error}").into(),
                ))
            })?;
            match envelope
                .metadata
                .continue_token
                .filter(|token| !token.is_empty())
            {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(state),
            }
        }
    }
}
