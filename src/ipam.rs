//! I/O: what the plugin does for each CNI command.

mod node;
mod places;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use crate::client::{self, Client, Target};
use crate::cni::args::Args;
use crate::cni::{
    Address, Call, Code, Error, IpamResult, Plugin, previous_addresses, valid_attachments,
};
use crate::config::{EtcdConfig, IpamConfig};
use crate::log;
use crate::store::kubernetes::{Kubernetes, namespace_of};
use crate::store::{self, Acquired, Any, Attachment, Garbage, Range, Store};
use places::Place;

/// How long CHECK, GC and STATUS may take.
const QUICK: Duration = Duration::from_mins(1);

/// The plugin: reads its files and talks to its store when it is called.
#[derive(Debug, Default)]
pub struct Whereabouts;

/// One call, ready to be carried out.
struct Job {
    config: IpamConfig,
    args: Args,
    node: Option<String>,
}

impl Job {
    fn prepare(call: &Call) -> Result<Self, Error> {
        let loaded = IpamConfig::load(&call.stdin, &call.args, call.version, &node::read_if_there);
        let (config, args) = loaded.map_err(Error::internal)?;
        log::start_for_call(config.log_level.as_deref(), config.log_file.as_deref());
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let node = node::name(config.configuration_path.as_deref());
        Ok(Self { config, args, node })
    }

    /// Connects, and runs one command against its deadline.
    fn run<T>(
        &self,
        timeout: Duration,
        prefix: &str,
        command: impl AsyncFnOnce(&Any) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::internal)?;
        let done = runtime.block_on(async {
            let store = self.connect(timeout).await;
            let store = store.map_err(|error| Error::internal(format!("{prefix}: {error}")))?;
            command(&store).await
        });
        // A look-up of a host name or a credential plugin can take longer than the call has time.
        runtime.shutdown_background();
        done
    }

    async fn connect(&self, timeout: Duration) -> Result<Any, String> {
        let deadline = Instant::now() + timeout;
        if let Some(etcd) = &self.config.etcd {
            return connect_etcd(etcd, deadline).await;
        }
        let path = Path::new(&self.config.kubeconfig);
        let namespace = namespace_of(path)?;
        let target = Target {
            kubeconfig: Some(path.to_owned()),
            context: None,
        };
        let connection = client::connect(target, deadline)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Any::Kubernetes(Kubernetes::new(
            Client::new(connection, deadline),
            namespace,
            self.config.lock_dir.clone(),
        )))
    }

    fn podref(&self) -> Option<String> {
        let name = self.args.pod_name.as_deref()?;
        let namespace = self.args.pod_namespace.as_deref().unwrap_or_default();
        Some(format!("{namespace}/{name}"))
    }
}

impl Job {
    /// The ranges as they are on this node.
    async fn places(&self, store: &impl Store) -> Result<Vec<Place>, store::Error> {
        Place::all(&self.config, self.node.as_deref(), store).await
    }

    /// Those of a call that takes something back.
    async fn places_left(&self, store: &impl Store) -> Result<Vec<Place>, store::Error> {
        Place::left(&self.config, self.node.as_deref(), store).await
    }

    async fn acquire_all(
        &self,
        store: &impl Store,
        attachment: &Attachment,
    ) -> Result<Vec<Address>, store::Error> {
        let places = self.places(store).await?;
        let mut acquired: Vec<Acquired> = Vec::new();
        for place in &places {
            let given = acquired.iter().map(|acquired| acquired.address).collect();
            let range = place.range(&self.config);
            match store.acquire(&range, attachment, &given).await {
                Ok(more) => acquired.push(more),
                Err(error) => {
                    let made = places.iter().zip(&acquired);
                    self.undo(store, attachment, made).await;
                    return Err(error);
                }
            }
        }
        let gateway = self.config.gateway;
        let shown = places.iter().zip(acquired).map(|(place, acquired)| {
            let address = IpNet::new(acquired.address, place.prefix_len);
            let address = address.map_err(|error| store::Error::Mismatch(error.to_string()))?;
            Ok(Address { address, gateway })
        });
        shown.collect()
    }

    /// An ADD that fails leaves nothing behind that it made. What was there before it stays, and the
    /// rest of the call with it: the container may be running, and has a DEL of its own to come.
    async fn undo(
        &self,
        store: &impl Store,
        attachment: &Attachment,
        made: impl Iterator<Item = (&Place, &Acquired)> + Clone,
    ) {
        if made.clone().any(|(_, acquired)| acquired.was_held) {
            return;
        }
        for (place, _) in made {
            let undone = store.undo(&place.range(&self.config), attachment).await;
            if let Err(error) = undone {
                tracing::warn!(%error, "An address is left for the reconciler");
            }
        }
    }

    /// Every range has one of the addresses, and every address of a range is recorded in one of them:
    /// parts of one range share a pool.
    async fn check_all(
        &self,
        store: &impl Store,
        call: &Call,
        addresses: &[IpAddr],
    ) -> Result<(), Error> {
        let places = self.places(store).await.map_err(failed)?;
        let mut failures = Vec::new();
        let mut held = BTreeSet::new();
        for place in &places {
            let range = place.range(&self.config);
            let verified = store.verify(&range, &call.container_id, &call.ifname, addresses);
            match verified.await {
                Ok(more) => held.extend(more),
                Err(error) => failures.push(error.to_string()),
            }
        }
        let is_static = |at: IpAddr| self.config.addresses.iter().any(|a| a.address.addr() == at);
        let of_ranges = addresses
            .iter()
            .filter(|at| !is_static(**at) && places.iter().any(|place| place.contains(**at)));
        let lost = of_ranges.filter(|at| !held.contains(at));
        failures.extend(lost.map(|at| {
            format!(
                "{at} is not recorded for container {} on {}",
                call.container_id, call.ifname
            )
        }));
        all_went_well(&failures)
    }

    /// Does it for all ranges, then reports all that failed.
    async fn each<'a, F: Future<Output = Result<(), store::Error>>>(
        &'a self,
        places: &'a [Place],
        mut action: impl FnMut(Range<'a>) -> F,
    ) -> Result<(), Error> {
        let mut failures = Vec::new();
        for place in places {
            if let Err(error) = action(place.range(&self.config)).await {
                failures.push(error.to_string());
            }
        }
        all_went_well(&failures)
    }
}

#[cfg(feature = "etcd")]
async fn connect_etcd(config: &EtcdConfig, deadline: Instant) -> Result<Any, String> {
    let etcd = crate::store::etcd::Etcd::connect(config, deadline).await?;
    Ok(Any::Etcd(Box::new(etcd)))
}

#[cfg(not(feature = "etcd"))]
#[expect(clippy::unused_async, reason = "as the other one")]
async fn connect_etcd(_: &EtcdConfig, _: Instant) -> Result<Any, String> {
    Err("this program was built without etcd: build it with `--features etcd`".to_owned())
}

fn all_went_well(failures: &[String]) -> Result<(), Error> {
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Error::internal(failures.join("; ")))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: store::Error) -> Error {
    Error::internal(format!("error at storage engine: {error}"))
}

impl Plugin for Whereabouts {
    fn add(&mut self, call: &Call) -> Result<IpamResult, Error> {
        let job = Job::prepare(call)?;
        let mut result = IpamResult {
            addresses: Vec::new(),
            routes: job.config.routes.clone(),
            dns: job.config.dns.clone(),
        };
        if !job.config.ranges.is_empty() {
            let podref = job.podref().ok_or_else(|| {
                Error::internal(
                    "error at storage engine: IPAM client initialization error: no pod name",
                )
            })?;
            let attachment = Attachment {
                network: call.network.clone(),
                container: call.container_id.clone(),
                interface: call.ifname.clone(),
                podref,
                pod_uid: job.args.pod_uid.clone(),
                node: job.node.clone(),
            };
            let prefix = if job.config.etcd.is_some() {
                "failed to create etcd IPAM manager"
            } else {
                "failed to create Kubernetes IPAM manager"
            };
            result.addresses = job.run(job.config.add_timeout, prefix, async |store| {
                let acquired = job.acquire_all(store, &attachment).await;
                acquired.map_err(failed)
            })?;
        }
        result
            .addresses
            .extend(job.config.addresses.iter().copied());
        Ok(result)
    }

    fn del(&mut self, call: &Call) -> Result<(), Error> {
        let job = Job::prepare(call)?;
        let prefix = "IPAM client initialization error";
        job.run(job.config.del_timeout, prefix, async |store| {
            let places = job.places_left(store).await.map_err(failed)?;
            job.each(&places, |range| async move {
                store
                    .release(&range, &call.container_id, &call.ifname)
                    .await
            })
            .await
        })
    }

    fn check(&mut self, call: &Call) -> Result<(), Error> {
        let job = Job::prepare(call)?;
        let previous = previous_addresses(&call.stdin)?.ok_or_else(|| {
            Error::new(
                Code::InvalidConfig,
                "CHECK needs the result of ADD as prevResult",
            )
        })?;
        let addresses: Vec<IpAddr> = previous.iter().map(|shown| shown.address.addr()).collect();
        job.run(QUICK, "IPAM client initialization error", async |store| {
            job.check_all(store, call, &addresses).await
        })
    }

    fn gc(&mut self, call: &Call) -> Result<(), Error> {
        // Without a list nobody said what is still there.
        let Some(valid) = valid_attachments(&call.stdin)? else {
            return Ok(());
        };
        let job = Job::prepare(call)?;
        let Some(node) = job.node.as_deref() else {
            tracing::warn!(
                "GC frees nothing: the node has no name (NODENAME, or the file nodename beside the flat file)"
            );
            return Ok(());
        };
        let valid: BTreeSet<String> = valid.into_iter().map(|valid| valid.container_id).collect();
        if valid.is_empty() {
            return Ok(());
        }
        job.run(QUICK, "IPAM client initialization error", async |store| {
            let places = job.places_left(store).await.map_err(failed)?;
            let garbage = Garbage {
                network: &call.network,
                node,
                valid: &valid,
            };
            job.each(&places, |range| async move {
                store.collect(&range, &garbage).await
            })
            .await
        })
    }

    fn status(&mut self, call: &Call) -> Result<(), Error> {
        let unavailable = |error: Error| Error {
            code: Code::NotAvailable,
            ..error
        };
        let job = Job::prepare(call).map_err(unavailable)?;
        if job.config.ranges.is_empty() {
            return Ok(());
        }
        let has_free = job.run(QUICK, "IPAM client initialization error", async |store| {
            let places = job.places(store).await.map_err(failed)?;
            let ranges: Vec<Range> = places
                .iter()
                .map(|place| place.range(&job.config))
                .collect();
            // A range of which nothing could ever be given is not full: it is wrong.
            let mut windows = ranges.iter().map(|range| &range.config.window);
            if let Some(reason) = windows.find_map(|window| window.as_ref().err()) {
                return Err(Error::internal(reason));
            }
            for range in &ranges {
                if store.has_free(range).await.map_err(failed)? {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        if has_free.map_err(unavailable)? {
            return Ok(());
        }
        Err(Error::new(
            Code::NotAvailable,
            "every range of the network is full",
        ))
    }

    fn is_own_netns(&self, netns: &str) -> bool {
        node::is_own_netns(Path::new(netns))
    }
}
