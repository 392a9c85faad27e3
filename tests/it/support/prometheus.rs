//! The real tools of Prometheus: a Pushgateway, promtool, and a look at what they serve (I/O).

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use http::Request;
use kube::Client;

use crate::support::cluster::client_for;
use crate::support::control_plane::tether::{Removes, Tether, new_folder};
use crate::support::run::{Outcome, Run};

/// How long a Pushgateway may take until it answers; a tenth of a second is usual.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The pause between two looks at one that is starting.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often the start is repeated when another process took the free port meanwhile.
const ATTEMPTS: u32 = 5;
/// What every name of the program's metrics begins with.
const PREFIX: &str = "whereabouts_reconciler_";

/// A tool that `make monitoring` has built.
fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/monitoring")
        .join(name);
    assert!(
        path.is_file(),
        "{name} is not built yet: run `make monitoring` first"
    );
    path
}

/// Runs promtool on a text.
pub(crate) async fn promtool(arguments: &[&str], input: &str) -> Outcome {
    let mut command = Command::new(tool("promtool"));
    command.args(arguments);
    Run::of(command, input.to_owned()).output().await
}

/// What a Pushgateway is to do beside the usual.
#[derive(Default)]
pub(crate) struct Guard<'a> {
    /// The text of its web configuration, for TLS and passwords.
    pub(crate) config: &'a str,
    /// The file with the certificate authority that signed its own.
    pub(crate) ca: Option<&'a Path>,
    /// A user and a password.
    pub(crate) credentials: Option<(&'a str, &'a str)>,
}

/// A running Pushgateway; dropping it ends it.
pub(crate) struct Pushgateway {
    tether: Tether,
    client: Client,
    url: String,
}

impl Pushgateway {
    /// Starts one that anybody may push to.
    pub(crate) async fn start() -> Pushgateway {
        Pushgateway::guarded(&Guard::default()).await
    }

    /// Starts one with a web configuration.
    pub(crate) async fn guarded(guard: &Guard<'_>) -> Pushgateway {
        for _ in 0..ATTEMPTS {
            if let Some(gateway) = Pushgateway::attempt(guard).await {
                return gateway;
            }
        }
        panic!("the Pushgateway found its port taken {ATTEMPTS} times");
    }

    async fn attempt(guard: &Guard<'_>) -> Option<Pushgateway> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let folder = new_folder().unwrap();
        let config = folder.join("web.yaml");
        fs::write(&config, guard.config).unwrap();
        let scheme = if guard.ca.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{port}");
        let flags = [
            format!("--web.listen-address=127.0.0.1:{port}"),
            format!("--web.config.file={}", config.display()),
        ];
        let kubeconfig = folder.join("client");
        fs::write(&kubeconfig, client_file(&url, guard)).unwrap();
        let log = folder.join("log");
        let removes = Removes::Folder(&folder);
        let tether = Tether::start(&removes, log, &tool("pushgateway"), &flags).unwrap();
        let gateway = Pushgateway {
            tether,
            client: client_for(&kubeconfig).await,
            url,
        };
        gateway.ready().await.then_some(gateway)
    }

    /// Waits until it answers; whether it did, and did not find its port taken.
    async fn ready(&self) -> bool {
        let started = Instant::now();
        while self.get("/-/ready").await.is_err() {
            if self.tether.has_ended() {
                let log = self.tether.log_tail();
                assert!(log.contains("address already in use"), "{log}");
                return false;
            }
            assert!(
                started.elapsed() < READY_WITHIN,
                "{}",
                self.tether.log_tail()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Its address, without a path.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What Prometheus would scrape.
    pub(crate) async fn scrape(&self) -> Scrape {
        Scrape::read(&self.get("/metrics").await.unwrap())
    }

    async fn get(&self, path: &str) -> kube::Result<String> {
        let request = Request::get(path).body(Vec::new()).unwrap();
        self.client.request_text(request).await
    }
}

/// The settings of an HTTP client, in the form that the tests have a reader for.
fn client_file(url: &str, guard: &Guard<'_>) -> String {
    let user = guard
        .credentials
        .map(|(user, password)| serde_json::json!({"username": user, "password": password}))
        .unwrap_or_default();
    let cluster = serde_json::json!({"server": url, "certificate-authority": guard.ca});
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gateway", "cluster": cluster}],
        "users": [{"name": "gateway", "user": user}],
        "contexts": [{"name": "gateway", "context": {"cluster": "gateway", "user": "gateway"}}],
        "current-context": "gateway",
    })
    .to_string()
}

/// The metrics of the program in a text: for each name and set of labels, the value.
#[derive(Debug, PartialEq)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Reads a text; labels that the Pushgateway adds are left out.
    pub(crate) fn read(text: &str) -> Scrape {
        let samples = text.lines().filter_map(|line| {
            let (series, value) = line.strip_prefix(PREFIX)?.rsplit_once(' ')?;
            let series = series
                .replace("instance=\"\",job=\"ip-reconciler\",", "")
                .replace("{instance=\"\",job=\"ip-reconciler\"}", "");
            Some((series, value.parse().unwrap()))
        });
        Scrape(samples.collect())
    }

    /// The value of a series, written without the prefix of its name.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// Panics unless the series has that value.
    pub(crate) fn expect(&self, series: &str, value: f64) {
        assert_eq!(self.get(series), Some(value), "{series} in {self:#?}");
    }

    /// Panics unless the values of all series of that name have that sum.
    pub(crate) fn expect_sum(&self, name: &str, sum: f64) {
        let is_of = |series: &str| series.split('{').next() == Some(name);
        let all = self.0.iter().filter(|(series, _)| is_of(series));
        let found: f64 = all.map(|(_, value)| value).sum();
        assert_eq!(Some(found), Some(sum), "{name} in {self:#?}");
    }

    /// All names, with the prefix.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> + '_ {
        let names = self.0.keys().filter_map(|series| series.split('{').next());
        names.map(|name| format!("{PREFIX}{name}"))
    }
}
