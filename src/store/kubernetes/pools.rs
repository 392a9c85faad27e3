//! I/O: reading and changing pools.

use json_patch::jsonptr::PointerBuf;
use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
};
use kube::api::{PatchParams, PostParams, Resource};
use kube::core::Request;
use serde_json::Value;

use super::Kubernetes;
use crate::api::{IPPool, IPPoolSpec};
use crate::client::{Call, CallError};
use crate::reconcile::POOLS;
use crate::reconcile::snapshot::{glance_at_pool, read_pool};
use crate::record::{Entry, ObjectId, Pool, PoolObject};

/// What to do with one key of a pool, if it is still as it was read.
pub(super) enum Change<'a> {
    /// Record an entry under a key that is free.
    Add(&'a str, Value),
    /// Put another entry in the place of this one.
    Replace(&'a Entry, Value),
    /// Take this entry out.
    Remove(&'a Entry),
}

impl Kubernetes {
    /// Reads a pool; `None` when there is none.
    pub(super) async fn read_pool(&self, id: &ObjectId) -> Result<Option<PoolObject>, CallError> {
        read_pool(&self.client, id).await
    }

    /// The same from the server's cache, for whoever waits for a change since it was `seen`: it may
    /// not be there yet.
    pub(super) async fn glance_at_pool(
        &self,
        id: &ObjectId,
        seen: Option<&Pool>,
    ) -> Result<Option<PoolObject>, CallError> {
        glance_at_pool(&self.client, id, seen).await
    }

    /// Creates an empty pool; one that is there already is as good.
    pub(super) async fn create_pool(&self, id: &ObjectId, range: &str) -> Result<(), CallError> {
        let object = id.to_string();
        let call = Call {
            verb: "create",
            resource: POOLS,
            object: &object,
        };
        let spec = IPPoolSpec {
            range: range.to_owned(),
            allocations: std::collections::BTreeMap::new(),
        };
        let mut pool = IPPool::new(&id.name, spec);
        pool.metadata.namespace = Some(self.namespace.clone());
        let body = serde_json::to_vec(&pool).map_err(|error| call.unreadable(error))?;
        let path = IPPool::url_path(&(), Some(&self.namespace));
        let request = Request::new(path).create(&PostParams::default(), body);
        match self.client.stream(&call, request, |_, _| Ok(())).await {
            Err(error) if error.cause.is_already_there() => Ok(()),
            done => done,
        }
    }

    /// Changes one key of a pool, if it and the range are still as they were read.
    pub(super) async fn change(&self, pool: &Pool, change: Change<'_>) -> Result<(), CallError> {
        self.change_all(pool, vec![change]).await
    }

    /// Makes all of these changes, or none.
    pub(super) async fn change_all(
        &self,
        pool: &Pool,
        changes: Vec<Change<'_>>,
    ) -> Result<(), CallError> {
        let object = pool.id.to_string();
        let call = Call {
            verb: "patch",
            resource: POOLS,
            object: &object,
        };
        let test = |path: PointerBuf, value| PatchOperation::Test(TestOperation { path, value });
        let at = |key: &str| PointerBuf::from_tokens(["spec", "allocations", key]);
        let judged = |entry: &Entry| {
            serde_json::from_str::<Value>(&entry.raw()).map_err(|error| call.unreadable(error))
        };
        let range = PointerBuf::from_tokens(["spec", "range"]);
        let mut operations = vec![
            test(range, Value::from(&*pool.range_text)),
            PatchOperation::Add(AddOperation {
                path: PointerBuf::from_tokens(["metadata", "managedFields"]),
                value: serde_json::json!([{}]),
            }),
        ];
        for change in changes {
            operations.extend(match change {
                Change::Add(key, value) => {
                    let path = at(key);
                    // The API server lets a test for null pass where the member is missing.
                    let free = test(path.clone(), Value::Null);
                    [free, PatchOperation::Add(AddOperation { path, value })]
                }
                Change::Replace(entry, value) => {
                    let path = at(&entry.key);
                    let unchanged = test(path.clone(), judged(entry)?);
                    let replace = ReplaceOperation { path, value };
                    [unchanged, PatchOperation::Replace(replace)]
                }
                Change::Remove(entry) => {
                    let path = at(&entry.key);
                    let unchanged = test(path.clone(), judged(entry)?);
                    [unchanged, PatchOperation::Remove(RemoveOperation { path })]
                }
            });
        }
        let patch = kube::api::Patch::Json::<()>(Patch(operations));
        let request = Request::new(IPPool::url_path(&(), Some(&self.namespace))).patch(
            &pool.id.name,
            &PatchParams::default(),
            &patch,
        );
        self.client.stream(&call, request, |_, _| Ok(())).await
    }
}
