//! A real Kubernetes control plane (etcd and kube-apiserver) on loopback ports (I/O).
//!
//! It uses nothing but the standard library and rcgen, because the `controlplane` example includes
//! this file as well.

#[path = "control_plane/credentials.rs"]
pub(crate) mod credentials;
#[path = "control_plane/tether.rs"]
pub(crate) mod tether;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use credentials::Credentials;
use tether::{Removes, Tether, new_folder};

/// How long the API server may take until it is ready; 3 seconds are usual.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// The pause between two looks at a server that is starting.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the start is repeated when another process took one of the free ports meanwhile.
const ATTEMPTS: u32 = 5;
/// What both servers write when that has happened.
const PORT_TAKEN: &str = "address already in use";

/// What a test may want to be different.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Further flags for kube-apiserver.
    pub(crate) apiserver: Vec<String>,
    /// Further flags for etcd.
    pub(crate) etcd: Vec<String>,
    /// The names of nodes that shall come: for them and their pods the API server listens on port
    /// 443 of every address, and wants service accounts.
    pub(crate) nodes: Vec<String>,
}

/// A running control plane; dropping it ends the servers and removes their folder.
///
/// The same happens in whatever way the process ends that holds it.
pub(crate) struct ControlPlane {
    // Fields are dropped in this order: the API server first, then etcd with the folder.
    components: Vec<Tether>,
    apiserver: Option<Tether>,
    etcd: Tether,
    dir: PathBuf,
    kubeconfig: PathBuf,
    binaries: PathBuf,
    credentials: Credentials,
    ports: Ports,
    options: Options,
}

/// The ports of one attempt.
#[derive(Clone, Copy)]
struct Ports {
    etcd: u16,
    apiserver: u16,
}

/// Why an attempt to start failed.
enum Failure {
    /// A port was not free any more: another attempt will help.
    PortTaken,
    /// Anything else, for the reader.
    Other(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Other(message)
    }
}

impl ControlPlane {
    /// Starts the servers and waits until the API server is ready.
    pub(crate) fn start(options: &Options) -> Result<ControlPlane, String> {
        let binaries = binaries()?;
        for _ in 0..ATTEMPTS {
            match ControlPlane::attempt(&binaries, options) {
                Ok(plane) => return Ok(plane),
                Err(Failure::PortTaken) => {}
                Err(Failure::Other(message)) => return Err(message),
            }
        }
        Err(format!(
            "the control plane found its ports taken {ATTEMPTS} times"
        ))
    }

    fn attempt(binaries: &Path, options: &Options) -> Result<ControlPlane, Failure> {
        let mut ports = Ports::free()?;
        if !options.nodes.is_empty() {
            ports.apiserver = 443;
        }
        let dir = new_folder()?;
        // etcd first: from here on its tether removes the folder.
        let etcd = start_etcd(binaries, &dir, ports, options)?;
        let credentials = Credentials::generate().map_err(|error| error.to_string())?;
        let mut plane = ControlPlane {
            components: Vec::new(),
            apiserver: None,
            etcd,
            kubeconfig: dir.join("kubeconfig"),
            dir,
            binaries: binaries.to_owned(),
            credentials,
            ports,
            options: options.clone(),
        };
        plane.write_files()?;
        plane.launch_apiserver()?;
        Ok(plane)
    }

    /// Starts the API server again, on the same port, after [`Self::stop_apiserver`].
    pub(crate) fn start_apiserver(&mut self) -> Result<(), String> {
        self.launch_apiserver().map_err(|failure| match failure {
            Failure::PortTaken => format!("port {} is taken", self.ports.apiserver),
            Failure::Other(message) => message,
        })
    }

    /// Ends the API server at once, as a crash would; etcd keeps the data.
    pub(crate) fn stop_apiserver(&mut self) {
        self.apiserver = None;
    }

    /// The administrator's kubeconfig file.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The address of the API server.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.apiserver)
    }

    /// The address of etcd.
    pub(crate) fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.etcd)
    }

    /// The certificate of the authority that signed the API server's.
    pub(crate) fn ca_pem(&self) -> &str {
        &self.credentials.ca
    }

    /// The file that holds [`Self::ca_pem`].
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// The token of a member of `system:masters`.
    pub(crate) fn admin_token(&self) -> &str {
        &self.credentials.admin_token
    }

    /// The folder of this control plane, for files that shall go with it.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder that holds etcd, kube-apiserver and kubectl.
    pub(crate) fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// A kubectl command for this control plane.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = Command::new(self.binaries.join("kubectl"));
        self.point(&mut command);
        command
    }

    /// Lets `command` reach this control plane, and keeps kubectl out of the home folder.
    pub(crate) fn point(&self, command: &mut Command) {
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.dir.join("kubectl-cache"))
            .env("KUBERC", "off");
    }

    /// Starts kube-controller-manager or kube-scheduler with these flags.
    pub(crate) fn start_component(&mut self, name: &str, flags: &[&str]) -> Result<(), String> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        let mut all = vec![kubeconfig.as_str(), "--secure-port=0"];
        all.extend(flags);
        let log = self.dir.join(format!("{name}.log"));
        let command = self.binaries.join(name);
        let started = Tether::start(&Removes::Nothing, log, &command, &all);
        self.components.push(started?);
        Ok(())
    }

    fn write_files(&self) -> Result<(), String> {
        let secrets = &self.credentials;
        let kubeconfig = kubeconfig_text(&self.url(), &secrets.admin_token, Some("ca.crt"));
        let files = [
            ("ca.crt", &secrets.ca),
            ("server.crt", &secrets.certificate),
            ("server.key", &secrets.key),
            ("service-account.key", &secrets.service_account_key),
            ("service-account.pub", &secrets.service_account_public_key),
            ("tokens.csv", &secrets.token_file(&self.options.nodes)),
            ("kubeconfig", &kubeconfig),
        ];
        for (name, content) in files {
            let path = self.dir.join(name);
            fs::write(&path, content)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        Ok(())
    }

    fn launch_apiserver(&mut self) -> Result<(), Failure> {
        let log = self.dir.join("kube-apiserver.log");
        let command = self.binaries.join("kube-apiserver");
        let flags = self.apiserver_flags();
        let _ = fs::remove_file(self.dir.join("kube-apiserver.log.ended"));
        let server = Tether::start(&Removes::Nothing, log, &command, &flags)?;
        let started = Instant::now();
        while !self.is_ready() {
            for (name, tether) in [("etcd", &self.etcd), ("kube-apiserver", &server)] {
                if tether.has_ended() {
                    let tail = tether.log_tail();
                    if tail.contains(PORT_TAKEN) {
                        return Err(Failure::PortTaken);
                    }
                    return Err(Failure::Other(format!(
                        "{name} ended at its start:\n{tail}"
                    )));
                }
            }
            if started.elapsed() > READY_WITHIN {
                let tail = server.log_tail();
                let message = format!("kube-apiserver is not ready in {READY_WITHIN:?}:\n{tail}");
                return Err(Failure::Other(message));
            }
            sleep(LOOK_EVERY);
        }
        self.apiserver = Some(server);
        Ok(())
    }

    /// Asks kubectl only when something listens: it takes long in comparison.
    fn is_ready(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.apiserver)).is_ok()
            && self
                .kubectl()
                .args(["get", "--raw=/readyz", "--request-timeout=10s"])
                .output()
                .is_ok_and(|output| output.status.success() && output.stdout == b"ok")
    }

    fn apiserver_flags(&self) -> Vec<String> {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let mut flags = vec![
            format!("--etcd-servers={}", self.etcd_url()),
            format!("--secure-port={}", self.ports.apiserver),
            format!("--tls-cert-file={}", path("server.crt")),
            format!("--tls-private-key-file={}", path("server.key")),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--anonymous-auth=false".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", path("service-account.pub")),
            format!(
                "--service-account-signing-key-file={}",
                path("service-account.key")
            ),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            // The endpoint of the `kubernetes` service may not be a loopback address.
            "--endpoint-reconciler-type=none".to_owned(),
            "--delete-collection-workers=8".to_owned(),
        ];
        if self.options.nodes.is_empty() {
            flags.push("--bind-address=127.0.0.1".to_owned());
            flags.push("--advertise-address=127.0.0.1".to_owned());
            // No controller manager runs, so nobody makes the default service accounts.
            flags.push("--disable-admission-plugins=ServiceAccount".to_owned());
        }
        flags.extend(self.options.apiserver.iter().cloned());
        flags
    }
}

impl Ports {
    /// Two ports that are free now: both are held until both are known, lest they be the same.
    fn free() -> Result<Ports, String> {
        let listen = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = listener.local_addr()?.port();
            std::io::Result::Ok((listener, port))
        };
        let (first, second) = (listen(), listen());
        match (first, second) {
            (Ok((_, etcd)), Ok((_, apiserver))) => Ok(Ports { etcd, apiserver }),
            (Err(error), _) | (_, Err(error)) => Err(format!("no free port: {error}")),
        }
    }
}

fn start_etcd(
    binaries: &Path,
    dir: &Path,
    ports: Ports,
    options: &Options,
) -> Result<Tether, String> {
    let url = format!("http://127.0.0.1:{}", ports.etcd);
    let mut flags = vec![
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    flags.extend(options.etcd.iter().cloned());
    let log = dir.join("etcd.log");
    Tether::start(&Removes::Folder(dir), log, &binaries.join("etcd"), &flags)
}

/// A kubeconfig file; `ca` is the path of the authority's certificate, for `https` addresses.
pub(crate) fn kubeconfig_text(url: &str, token: &str, ca: Option<&str>) -> String {
    let ca = ca.map_or_else(String::new, |path| {
        format!(", certificate-authority: {path:?}")
    });
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: test
  cluster: {{server: {url:?}{ca}}}
users:
- name: test
  user: {{token: {token:?}}}
contexts:
- name: test
  context: {{cluster: test, user: test}}
current-context: test
"
    )
}

/// Finds the folder with the servers: `KUBEBUILDER_ASSETS`, or else what `make controlplane` built.
pub(crate) fn binaries() -> Result<PathBuf, String> {
    let complete = |dir: &Path| {
        ["etcd", "kube-apiserver", "kubectl"]
            .iter()
            .all(|name| dir.join(name).is_file())
    };
    if let Some(dir) = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from)
        && complete(&dir)
    {
        return Ok(dir);
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/controlplane");
    if complete(&dir) {
        return Ok(dir);
    }
    Err(
        "the test control plane is not built yet: run `make controlplane` first \
         (or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl)"
            .to_owned(),
    )
}
