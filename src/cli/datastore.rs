//! I/O: connects to where the records are.

use tokio::time::Instant;

use super::options::Options;
use crate::client::{self, Client};
use crate::reconcile;
use crate::reconcile::ledger::{Cluster, Datastore};
use crate::reconcile::stop::Stop;

/// Why the records cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nothing was asked of any server.
    #[error("--datastore etcd cannot be used: {0}")]
    Unusable(String),
    /// etcd did not answer, or refused.
    #[error("{0}")]
    Unreachable(String),
}

/// Finds the cluster and its records, unless somebody asks to end before.
pub(super) async fn connect(
    options: &Options,
    deadline: Instant,
    stop: &Stop,
) -> Result<Cluster, super::Error> {
    let datastore = Datastores::of(options)?;
    let connecting = async {
        let connection = client::connect(options.cluster(), deadline).await?;
        let client = Client::new(connection, deadline);
        Ok(datastore.connect(client, deadline).await?)
    };
    tokio::select! {
        connected = connecting => connected,
        () = stop.requested() => Err(reconcile::Error::Interrupted.into()),
    }
}

/// How to reach the records, found out before anything is asked of anybody.
enum Datastores {
    /// They are where the pods are.
    Kubernetes,
    /// They are in etcd.
    #[cfg(feature = "etcd")]
    Etcd(crate::config::EtcdConfig),
}

impl Datastores {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// When one of them cannot be read, or the program has no etcd.
    fn of(options: &Options) -> Result<Self, Error> {
        match options.records.datastore {
            Datastore::Kubernetes => Ok(Self::Kubernetes),
            #[cfg(feature = "etcd")]
            Datastore::Etcd => etcd::config(&options.records).map(Self::Etcd),
            #[cfg(not(feature = "etcd"))]
            Datastore::Etcd => Err(Error::Unusable(
                "this ip-reconciler was built without etcd: build it with `--features etcd`"
                    .to_owned(),
            )),
        }
    }

    /// Connects to the records of a cluster.
    ///
    /// # Errors
    /// When that is not possible.
    #[cfg_attr(
        not(feature = "etcd"),
        expect(
            clippy::unused_async,
            reason = "custom resources need no connection of their own"
        )
    )]
    async fn connect(self, client: Client, until: Instant) -> Result<Cluster, Error> {
        match self {
            Self::Kubernetes => {
                let _ = until;
                Ok(Cluster::of(client))
            }
            #[cfg(feature = "etcd")]
            Self::Etcd(config) => {
                let connected = Cluster::with_etcd(client, config, until).await;
                connected.map_err(Error::Unreachable)
            }
        }
    }
}

#[cfg(feature = "etcd")]
mod etcd {
    use std::fs;
    use std::io;
    use std::path::Path;

    use super::super::options::{PASSWORD, Records};
    use super::Error;
    use crate::config::EtcdConfig;
    use crate::store::etcd::connect;

    /// What the flags, the environment and the files say.
    pub(super) fn config(records: &Records) -> Result<EtcdConfig, Error> {
        let mut settings = records.settings();
        let password = password(records)?;
        settings.extend(password.map(|password| ("etcd_password", password)));
        let read = |path: &Path| match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        };
        let loaded = EtcdConfig::load(settings, records.flat_file(), &read);
        let (config, warnings) = loaded.map_err(Error::Unusable)?;
        if let Some(file) = records.flat_file() {
            for warning in warnings {
                tracing::warn!(file = %file.display(), "{warning}");
            }
        }
        connect::check(&config).map_err(Error::Unusable)?;
        Ok(config)
    }

    fn password(records: &Records) -> Result<Option<String>, Error> {
        let said = std::env::var(PASSWORD).ok();
        let said = said.filter(|password| !password.is_empty());
        let Some(path) = records.password_file() else {
            return Ok(said);
        };
        if said.is_some() {
            let twice = format!("--etcd-password-file and {PASSWORD} say the same twice");
            return Err(Error::Unusable(twice));
        }
        let text = fs::read_to_string(path).map_err(|error| {
            let path = path.display();
            Error::Unusable(format!("cannot read --etcd-password-file {path}: {error}"))
        })?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}
