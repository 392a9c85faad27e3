//! I/O: finds the cluster and the credentials.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use tokio::time::Instant;

use super::error::innermost;
use super::transport;

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(10);

/// Which cluster to talk to.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// A kubeconfig; without one the usual places are looked at.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; without one its current context.
    pub context: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing says which cluster is meant.
    #[error(
        "no cluster to talk to: there is no --kubeconfig, no KUBECONFIG, no ~/.kube/config, and \
         this is not a pod ({0}); name a kubeconfig, or read a dump with --snapshot FILE"
    )]
    NoTarget(String),
    /// A kubeconfig cannot be used.
    #[error("cannot use kubeconfig {path}: {reason}")]
    Kubeconfig {
        /// Which file or files.
        path: String,
        /// Why.
        reason: String,
    },
    /// A credential plugin, or the file itself, takes longer than there is time.
    #[error(
        "{0} was not usable in time; if it names a credential plugin, that did not answer in time: \
         run its command by hand to see why"
    )]
    Slow(String),
    /// The settings are readable but no client can be made of them.
    #[error("cannot make a client from {path}: {reason}")]
    Client {
        /// Where the settings come from.
        path: String,
        /// Why.
        reason: String,
    },
}

/// A client, and where it leads.
pub struct Connection {
    /// The client.
    pub client: kube::Client,
    /// The server's address, for messages.
    pub server: String,
}

/// Finds the cluster as kubectl does, then as a pod does; until then at the latest.
pub async fn connect(target: Target, deadline: Instant) -> Result<Connection, ConnectError> {
    let path = target.kubeconfig.clone();
    // On a thread of its own: what asks a credential plugin waits for it without end.
    let runtime = tokio::runtime::Handle::current();
    let finding = tokio::task::spawn_blocking(move || runtime.block_on(find(&target)));
    let path = || {
        let path = path.as_ref().map(|path| path.display().to_string());
        path.or_else(default_path).unwrap_or_default()
    };
    match tokio::time::timeout_at(deadline, finding).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => Err(ConnectError::Client {
            path: path(),
            reason: error.to_string(),
        }),
        Err(_) => Err(ConnectError::Slow(path())),
    }
}

async fn find(target: &Target) -> Result<Connection, ConnectError> {
    let (path, mut config) = config(target).await?;
    // Whoever calls decides whether asking again is safe; kube would do it for minutes.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(super::SILENCE);
    let server = config
        .cluster_url
        .to_string()
        .trim_end_matches('/')
        .to_owned();
    match transport::client(config) {
        Ok(client) => Ok(Connection { client, server }),
        Err(error) => Err(ConnectError::Client {
            path,
            reason: innermost(&error),
        }),
    }
}

async fn config(target: &Target) -> Result<(String, Config), ConnectError> {
    let options = KubeConfigOptions {
        context: target.context.clone(),
        ..Default::default()
    };
    let (path, read) = match &target.kubeconfig {
        Some(path) => (path.display().to_string(), Kubeconfig::read_from(path)),
        None => match default_path() {
            Some(path) => (path, Kubeconfig::read()),
            None => return in_cluster(target),
        },
    };
    let config = match read {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
        Err(error) => Err(error),
    };
    match config {
        Ok(config) => Ok((path, config)),
        Err(error) => Err(ConnectError::Kubeconfig {
            path,
            reason: kubeconfig_problem(&error),
        }),
    }
}

/// The kubeconfig that kubectl would read without a flag, if there is one.
fn default_path() -> Option<String> {
    if let Some(paths) = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty()) {
        return Some(paths.to_string_lossy().into_owned());
    }
    let path = Path::new(&std::env::var_os("HOME")?).join(".kube/config");
    path.exists().then(|| path.display().to_string())
}

fn in_cluster(target: &Target) -> Result<(String, Config), ConnectError> {
    if let Some(context) = &target.context {
        let reason = format!("--context {context:?} needs a kubeconfig");
        return Err(ConnectError::NoTarget(reason));
    }
    let config = Config::incluster().map_err(|error| ConnectError::NoTarget(error.to_string()))?;
    Ok(("the pod's service account".to_owned(), config))
}

/// Says why without quoting the file: a parser's message may show the line with a token in it.
#[must_use]
pub fn kubeconfig_problem(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(_) => "it is no kubeconfig in YAML or JSON".to_owned(),
        KubeconfigError::LoadContext(name) => format!("it has no context {name:?}"),
        other => other.to_string(),
    }
}
