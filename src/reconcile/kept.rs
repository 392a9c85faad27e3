//! I/O: the reports of the last runs, kept as `ConfigMap`s.
//!
//! Touched are only those with our label and our name's beginning, as they were seen or made.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, GetParams, ListParams, PostParams, Preconditions, Resource};
use kube::core::{ObjectList, ObjectMeta, PartialObjectMeta, Request};

use super::ledger::Datastore;
use super::saved::Fitted;
use crate::client::{Call, CallError, Client};
use crate::retry;

/// `configmaps`, as roles and messages spell it.
pub const CONFIG_MAPS: &str = "configmaps";
/// The label of a kept report.
pub const LABEL: &str = "whereabouts.cni.cncf.io/release-report";
/// How the name of a kept report begins.
const PREFIX: &str = "ip-reconciler-report-";
/// How that of one whose records were in etcd does.
const ETCD_PREFIX: &str = "ip-reconciler-etcd-report-";
/// Where in a `ConfigMap` the packed report is.
const KEY: &str = "report.json.gz";

/// The most bytes of a packed report: the API server takes 1 MiB for all of a `ConfigMap`'s data.
pub const MAX_BYTES: usize = 1_000_000;

/// A report that is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    namespace: String,
    meta: ObjectMeta,
}

impl Kept {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.meta.name.as_deref().unwrap_or_default()
    }

    /// Keeps a report, under a name that sorts by the time of its run.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn create(
        client: &Client,
        namespace: &str,
        name: &str,
        report: &Fitted,
        summary: &str,
    ) -> Result<Self, CallError> {
        let labels = BTreeMap::from([(LABEL.to_owned(), "true".to_owned())]);
        let new = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            ..filled(report, summary)
        };
        let (object, path) = (format!("{namespace}/{name}"), path(namespace));
        let call = call("create", &object);
        let create = async || {
            let body = body(&call, &new)?;
            let request = Request::new(path.as_str()).create(&PostParams::default(), body);
            client
                .call::<PartialObjectMeta<ConfigMap>>(&call, request)
                .await
        };
        let made = match retry::repeat(create, || true).await {
            // The answer to a first attempt was lost: the name is this run's own.
            Err(error) if error.cause.is_already_there() => {
                let only = ListParams::default().fields(&format!("metadata.name={name}"));
                let found = find(client, namespace, &only).await?;
                return found.into_iter().next().ok_or(error);
            }
            made => made?,
        };
        Ok(Self {
            namespace: namespace.to_owned(),
            meta: made.metadata,
        })
    }

    /// Puts what is known now in place of what was kept.
    ///
    /// # Errors
    /// When it cannot be, and the old report stays.
    pub async fn replace(
        &self,
        client: &Client,
        report: &Fitted,
        summary: &str,
    ) -> Result<(), CallError> {
        let new = ConfigMap {
            metadata: ObjectMeta {
                managed_fields: None,
                ..self.meta.clone()
            },
            ..filled(report, summary)
        };
        let object = self.object();
        let call = call("update", &object);
        let path = path(&self.namespace);
        let replace = async || {
            let body = body(&call, &new)?;
            let request = Request::new(path.as_str());
            let request = request.replace(self.name(), &PostParams::default(), body);
            client.stream(&call, request, |_| Ok(())).await
        };
        match retry::repeat(replace, || true).await {
            // Nobody else knows it: an attempt whose answer was lost has changed it.
            Err(error) if error.cause.is_conflict() => Ok(()),
            replaced => replaced,
        }
    }

    /// Removes it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove(&self, client: &Client) -> Result<(), CallError> {
        let object = self.object();
        let call = call("delete", &object);
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: self.meta.uid.clone(),
            resource_version: self.meta.resource_version.clone(),
        });
        let path = path(&self.namespace);
        let remove = async || {
            let request = Request::new(path.as_str()).delete(self.name(), &params);
            client.stream(&call, request, |_| Ok(())).await
        };
        match retry::repeat(remove, || true).await {
            // Somebody was faster.
            Err(error) if error.cause.is_conflict() || error.cause.is_not_found() => Ok(()),
            removed => removed,
        }
    }

    /// Removes the oldest reports but this one, until `most` are left.
    ///
    /// # Errors
    /// When they cannot be listed, or one cannot be removed.
    pub async fn make_room(&self, client: &Client, most: usize) -> Result<(), CallError> {
        let ours = ListParams::default().labels(&format!("{LABEL}=true"));
        let mut prefixes = [PREFIX, ETCD_PREFIX].into_iter();
        let own = prefixes.find(|prefix| self.name().starts_with(prefix));
        let prefix = own.unwrap_or(PREFIX);
        let found = find(client, &self.namespace, &ours).await?.into_iter();
        let mut others: Vec<Self> = found
            .filter(|kept| kept.name().starts_with(prefix) && kept.name() != self.name())
            .collect();
        others.sort_by(|a, b| a.name().cmp(b.name()));
        let surplus = (others.len() + 1).saturating_sub(most);
        for old in others.iter().take(surplus) {
            old.remove(client).await?;
        }
        Ok(())
    }

    fn object(&self) -> String {
        format!("{}/{}", self.namespace, self.name())
    }
}

/// Reads a packed report; `None` when that `ConfigMap` holds none.
///
/// # Errors
/// When there is no such `ConfigMap`, or it cannot be read.
pub async fn read(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Vec<u8>>, CallError> {
    let object = format!("{namespace}/{name}");
    let request = Request::new(path(namespace)).get(name, &GetParams::default());
    let found: ConfigMap = client.call(&call("get", &object), request).await?;
    let mut data = found.binary_data.unwrap_or_default();
    Ok(data.remove(KEY).map(|bytes| bytes.0))
}

/// Finds `ConfigMap`s; of each only what it is called and labelled.
async fn find(
    client: &Client,
    namespace: &str,
    which: &ListParams,
) -> Result<Vec<Kept>, CallError> {
    let request = Request::new(path(namespace)).list_metadata(which);
    let call = call("list", namespace);
    let found: ObjectList<PartialObjectMeta<ConfigMap>> = client.call(&call, request).await?;
    let found = found.items.into_iter().map(|item| Kept {
        namespace: namespace.to_owned(),
        meta: item.metadata,
    });
    Ok(found.collect())
}

/// A name for the report of a run that began then; two runs of one moment have different ones.
#[must_use]
pub fn name_for(datastore: Datastore, started: k8s_openapi::jiff::Timestamp) -> String {
    let time = started.strftime("%Y%m%d-%H%M%S-%3f");
    let random = retry::random_below(0x10000);
    let prefix = match datastore {
        Datastore::Kubernetes => PREFIX,
        Datastore::Etcd => ETCD_PREFIX,
    };
    format!("{prefix}{time}-{random:04x}")
}

fn filled(report: &Fitted, summary: &str) -> ConfigMap {
    let bytes = ByteString(report.packed.clone());
    ConfigMap {
        binary_data: Some(BTreeMap::from([(KEY.to_owned(), bytes)])),
        data: Some(BTreeMap::from([("summary".to_owned(), summary.to_owned())])),
        ..ConfigMap::default()
    }
}

fn body(call: &Call<'_>, object: &ConfigMap) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(object).map_err(|error| call.unreadable(error))
}

fn path(namespace: &str) -> String {
    ConfigMap::url_path(&(), Some(namespace))
}

fn call<'a>(verb: &'static str, object: &'a str) -> Call<'a> {
    Call {
        verb,
        resource: CONFIG_MAPS,
        object,
    }
}
