//! The control plane as a test sees it: empty, with the custom resources, and its own (I/O).

mod wipe;

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

use crate::support::control_plane::{ControlPlane, Options, kubeconfig_text};
use crate::support::objects::{self, Object};

/// The namespaces that every test may use.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "tenant-a", "tenant-b"];
/// No single request of a test may hang for longer than this.
const REQUEST_WITHIN: Duration = Duration::from_mins(1);

/// The control plane that all tests of this binary share, once the first test has asked for it.
///
/// tokio's mutex because it stays usable after a test that held it has panicked. Nobody drops this:
/// the tether of the control plane ends the servers with the process.
static SHARED: Mutex<Option<Result<ControlPlane, String>>> = Mutex::const_new(None);

/// A control plane for one test, until it is dropped.
pub(crate) struct Cluster {
    plane: Plane,
    client: Client,
    files: AtomicUsize,
}

/// Where the control plane comes from.
enum Plane {
    Shared(MutexGuard<'static, Option<Result<ControlPlane, String>>>),
    Own(Box<ControlPlane>),
}

impl Deref for Plane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        match self {
            Plane::Shared(guard) => match guard.as_ref() {
                Some(Ok(plane)) => plane,
                Some(Err(message)) => panic!("{message}"),
                None => unreachable!("a guard is handed out only after the start"),
            },
            Plane::Own(plane) => plane,
        }
    }
}

impl Cluster {
    /// Waits until no other test uses the shared control plane, and wipes it.
    pub(crate) async fn lock() -> Cluster {
        let mut guard = SHARED.lock().await;
        if guard.is_none() {
            let started = ControlPlane::start(&Options::default());
            if let Ok(plane) = &started {
                prepare(plane, &client_for(plane.kubeconfig()).await).await;
            }
            *guard = Some(started);
        }
        let cluster = Cluster::over(Plane::Shared(guard)).await;
        wipe::everything(&cluster.client).await;
        cluster
    }

    /// Starts a control plane for this test alone: for other flags, or to stop the server.
    pub(crate) async fn separate(options: &Options) -> Cluster {
        let plane = ControlPlane::start(options).unwrap_or_else(|message| panic!("{message}"));
        let cluster = Cluster::over(Plane::Own(Box::new(plane))).await;
        prepare(&cluster.plane, &cluster.client).await;
        cluster
    }

    // A client belongs to the runtime it is made in, and each test has its own.
    async fn over(plane: Plane) -> Cluster {
        let client = client_for(plane.kubeconfig()).await;
        Cluster {
            plane,
            client,
            files: AtomicUsize::new(0),
        }
    }

    /// Ends the API server; only a test's own may be stopped.
    pub(crate) fn stop_apiserver(&mut self) {
        self.own().stop_apiserver();
    }

    /// Starts the real controllers; only in a test's own control plane.
    pub(crate) fn start_controllers(&mut self, flags: &[&str]) {
        let controllers = "kube-controller-manager";
        self.own().start_component(controllers, flags).unwrap();
    }

    /// Starts the API server again, at the same address and with the same data.
    pub(crate) fn start_apiserver(&mut self) {
        self.own().start_apiserver().unwrap();
    }

    fn own(&mut self) -> &mut ControlPlane {
        match &mut self.plane {
            Plane::Own(plane) => plane,
            Plane::Shared(_) => panic!("other tests need the shared API server"),
        }
    }

    /// The administrator's client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The administrator's kubeconfig file.
    pub(crate) fn kubeconfig(&self) -> &Path {
        self.plane.kubeconfig()
    }

    /// The address of the API server.
    pub(crate) fn url(&self) -> String {
        self.plane.url()
    }

    /// The address of etcd.
    pub(crate) fn etcd_url(&self) -> String {
        self.plane.etcd_url()
    }

    /// The administrator's token.
    pub(crate) fn token(&self) -> &str {
        self.plane.admin_token()
    }

    /// The certificate of the authority that signed the API server's.
    pub(crate) fn ca(&self) -> &str {
        self.plane.ca_pem()
    }

    /// The file that holds [`Self::ca`].
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.plane.ca_file()
    }

    /// Runs kubectl as the administrator; gives its output, and panics with its error.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&self.plane, arguments)
    }

    /// Makes a namespace besides the usual ones; it stays, but is empty for the next test.
    pub(crate) async fn namespace(&self, name: &str) {
        ensure_namespace(&self.client, name).await;
    }

    /// Makes a service account, unless there is one, and gives a token for it.
    pub(crate) async fn service_account_token(&self, namespace: &str, name: &str) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let account = json!({"metadata": {"name": name}});
        let account = serde_json::from_value(account).unwrap();
        accept_existing(accounts.create(&PostParams::default(), &account).await);
        let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}}))
            .expect("a token request needs no more");
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .unwrap();
        answer.status.unwrap().token
    }

    /// Writes a kubeconfig for `token`; an `https` address is trusted if the cluster's authority is
    /// behind it, and `http` is for a [`super::proxy::Proxy`].
    pub(crate) fn kubeconfig_for(&self, token: &str, url: &str) -> PathBuf {
        let ca = self.ca_file().display().to_string();
        let ca = url.starts_with("https:").then_some(ca.as_str());
        self.file(&kubeconfig_text(url, token, ca))
    }

    /// Writes a file that goes with the control plane: for kubeconfigs, whole or broken.
    pub(crate) fn file(&self, content: &str) -> PathBuf {
        let test = std::thread::current()
            .name()
            .unwrap_or("test")
            .replace(':', "-");
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.plane.dir().join(format!("{test}-{number}"));
        fs::write(&path, content).unwrap();
        path
    }
}

/// A client without the retries of its own that would hide what the server really answered.
pub(crate) async fn client_for(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(file, &options)
        .await
        .unwrap();
    config.default_retry = false;
    config.read_timeout = Some(REQUEST_WITHIN);
    config.reset_reader_on_write = true;
    Client::try_from(config).unwrap()
}

async fn prepare(plane: &ControlPlane, client: &Client) {
    for name in NAMESPACES {
        ensure_namespace(client, name).await;
    }
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/crds");
    let crds = crds.display().to_string();
    kubectl(plane, &["apply", "--filename", &crds]);
    let files = ["--filename", &crds, "--timeout=30s"];
    kubectl(
        plane,
        &[&["wait", "--for=condition=Established"], files.as_slice()].concat(),
    );
    wipe::until_served(client).await;
    // The first write of each kind takes a new server up to two seconds, longer than some deadlines.
    objects::pool("kube-system", "192.0.2.0/24")
        .create(client)
        .await;
    objects::reservation("kube-system", "192.0.2.1", "default/none")
        .create(client)
        .await;
    wipe::everything(client).await;
}

fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = plane.kubectl().args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "kubectl {}: {errors}",
        arguments.join(" ")
    );
    String::from_utf8(output.stdout).unwrap()
}

async fn ensure_namespace(client: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    accept_existing(namespaces.create(&PostParams::default(), &namespace).await);
}

fn accept_existing<T>(result: kube::Result<T>) {
    match result {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => panic!("{error}"),
    }
}
