//! An etcd of its own, to be stopped, started again and configured (I/O).

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions};

use super::control_plane::binaries;
use super::control_plane::tether::{Removes, Tether};

/// An etcd that takes longer to listen does not come.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

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
        let port = {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            listener.local_addr().unwrap().port()
        };
        let dir = tempfile::tempdir().unwrap();
        let flags = flags(dir.path());
        let mut etcd = Etcd {
            process: None,
            dir,
            port,
            scheme,
            flags,
        };
        etcd.start_again();
        etcd
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    pub(crate) fn start_again(&mut self) {
        let url = format!("{}://127.0.0.1:{}", self.scheme, self.port);
        let mut flags = vec![
            format!("--data-dir={}", self.path("data").display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        flags.extend(self.flags.iter().cloned());
        let program = binaries().unwrap().join("etcd");
        let log = self.path("etcd.log");
        self.process = Some(Tether::start(&Removes::Nothing, log, &program, &flags).unwrap());
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(
                begun.elapsed() < LISTENS_WITHIN,
                "{}",
                std::fs::read_to_string(self.path("etcd.log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
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

    /// All keys and values of Whereabouts.
    pub(crate) async fn all(&self) -> Vec<(String, String)> {
        let options = GetOptions::new().with_prefix();
        let found = self
            .client()
            .await
            .get("/whereabouts/", Some(options))
            .await;
        let found = found.unwrap();
        let text = |kv: &etcd_client::KeyValue| {
            let text = |text: Result<&str, _>| text.unwrap().to_owned();
            (text(kv.key_str()), text(kv.value_str()))
        };
        found.kvs().iter().map(text).collect()
    }
}
