//! An etcd of its own, to be stopped, started again and configured (I/O).

pub(crate) mod relay;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, GetResponse};

use super::control_plane::binaries;
use super::control_plane::tether::{Removes, Tether};

/// An etcd that takes longer to listen, or to elect a leader, does not come.
const COMES_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One etcd; its data outlives a stop.
pub(crate) struct Etcd {
    process: Option<Tether>,
    dir: tempfile::TempDir,
    port: u16,
    scheme: &'static str,
    flags: Vec<String>,
}

impl Etcd {
    /// One without TLS.
    pub(crate) fn start() -> Etcd {
        Etcd::with("http", |_| Vec::new())
    }

    /// One with these flags, which may name files that are put into its folder.
    pub(crate) fn with(scheme: &'static str, flags: impl FnOnce(&Path) -> Vec<String>) -> Etcd {
        let mut etcd = Etcd::new(scheme);
        etcd.flags = flags(etcd.dir.path());
        etcd.flags
            .push("--listen-peer-urls=http://127.0.0.1:0".to_owned());
        etcd.start_again();
        etcd
    }

    /// The three members of one cluster, which has a leader.
    pub(crate) async fn three() -> [Etcd; 3] {
        let peers = [0, 1, 2].map(|_| format!("http://127.0.0.1:{}", free_port()));
        let all = [0, 1, 2].map(|n| format!("member-{n}={}", peers[n]));
        let mut members = [0, 1, 2].map(|n| {
            let mut etcd = Etcd::new("http");
            etcd.flags = vec![
                format!("--name=member-{n}"),
                format!("--listen-peer-urls={}", peers[n]),
                format!("--initial-advertise-peer-urls={}", peers[n]),
                format!("--initial-cluster={}", all.join(",")),
            ];
            etcd
        });
        for member in &mut members {
            member.launch();
        }
        for member in &members {
            member.wait_until_it_listens();
            member.wait_for_a_leader().await;
        }
        members
    }

    fn new(scheme: &'static str) -> Etcd {
        Etcd {
            process: None,
            dir: tempfile::tempdir().unwrap(),
            port: free_port(),
            scheme,
            flags: Vec::new(),
        }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    pub(crate) fn start_again(&mut self) {
        self.launch();
        self.wait_until_it_listens();
    }

    fn launch(&mut self) {
        let url = format!("{}://127.0.0.1:{}", self.scheme, self.port);
        let mut flags = vec![
            format!("--data-dir={}", self.path("data").display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        flags.extend(self.flags.iter().cloned());
        let program = binaries().unwrap().join("etcd");
        let log = self.path("etcd.log");
        self.process = Some(Tether::start(&Removes::Nothing, log, &program, &flags).unwrap());
    }

    fn wait_until_it_listens(&self) {
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(begun.elapsed() < COMES_WITHIN, "{}", self.log());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until it can answer for the whole cluster.
    pub(crate) async fn wait_for_a_leader(&self) {
        let begun = Instant::now();
        while let Err(error) = self.get("/none").await {
            assert!(begun.elapsed() < COMES_WITHIN, "{error} {}", self.log());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("etcd.log")).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Host and port.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client of one without TLS.
    pub(crate) async fn client(&self) -> Client {
        Client::connect([format!("http://{}", self.host())], None)
            .await
            .unwrap()
    }

    async fn get(&self, prefix: &str) -> Result<GetResponse, etcd_client::Error> {
        let options = GetOptions::new().with_prefix();
        self.client().await.get(prefix, Some(options)).await
    }

    /// All keys and values of Whereabouts.
    pub(crate) async fn all(&self) -> Vec<(String, String)> {
        let found = self.get("/whereabouts/").await.unwrap();
        let text = |kv: &etcd_client::KeyValue| {
            let text = |text: Result<&str, _>| text.unwrap().to_owned();
            (text(kv.key_str()), text(kv.value_str()))
        };
        found.kvs().iter().map(text).collect()
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
