//! Users and certificates of etcd.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::super::call::{Network, addresses, call};
use super::{add, network};
use crate::support::etcd::Etcd;
use crate::support::run::Running;

/// A year until which certificates are valid, and one until which they were.
const LATER: i32 = 2100;
const PAST: i32 = 2020;

fn start(network: &Network) -> Running {
    call("ADD", network)
        .container("b")
        .pod("default", "b")
        .spawn()
}

#[tokio::test]
async fn users_are_asked_for_their_password_which_is_never_shown() {
    let etcd = Etcd::start();
    let mut client = etcd.client().await;
    client.user_add("root", "open-7", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.auth_enable().await.unwrap();
    let log = etcd.path("plugin.log");
    let network = network(&etcd, "10.0.0.0/24")
        .with("etcd_username", json!("root"))
        .with("add_timeout", json!("5s"))
        .with("log_level", json!("debug"))
        .with("log_file", json!(log));
    let with = |password: &str| network.with("etcd_password", json!(password));
    assert_eq!(addresses(&add(&with("open-7"), "a").await), ["10.0.0.1/24"]);
    let wrong = with("sesame");
    let host = |host: &str| wrong.with("etcd_host", json!(host));
    let in_host = host("http://root:sesame@127.0.0.1:1").with("etcd_password", json!(""));
    for (network, expected) in [
        (wrong.clone(), "authentication failed"),
        (
            host("127.0.0.1:1"),
            "cannot connect to etcd: http://127.0.0.1:1: ",
        ),
        (in_host, "etcd_host names a user"),
        (network.with("etcd_username", json!("")), "etcd"),
    ] {
        let refused = start(&network).wait().await.expect(1);
        assert!(refused.stdout.contains(expected), "{refused:#?}");
        assert!(!format!("{refused:?}").contains("sesame"), "{refused:#?}");
    }
    let log = std::fs::read_to_string(log).unwrap_or_default();
    assert!(!log.contains("sesame") && !log.contains("open-7"), "{log}");
}

/// An authority that signs certificates into a folder.
struct Authority<'a> {
    dir: &'a Path,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority<'_> {
    fn new<'a>(dir: &'a Path, name: &str) -> Authority<'a> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(dir.join(format!("{name}.crt")), issuer.pem()).unwrap();
        Authority { dir, issuer }
    }

    /// Writes a certificate that is valid until a year, and its key.
    fn sign(&self, name: &str, until: i32) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let write = |kind: &str, text: String| {
            std::fs::write(self.dir.join(format!("{name}.{kind}")), text).unwrap();
        };
        write("crt", signed.pem());
        write("key", key.serialize_pem());
    }
}

/// The flags of a server that wants certificates; its own is valid until a year.
fn certificates(dir: &Path, until: i32) -> Vec<String> {
    let ca = Authority::new(dir, "ca");
    ca.sign("server", until);
    ca.sign("client", LATER);
    ca.sign("expired", PAST);
    Authority::new(dir, "foreign").sign("stranger", LATER);
    let file = |flag: &str, name: &str| format!("--{flag}={}", dir.join(name).display());
    vec![
        file("cert-file", "server.crt"),
        file("key-file", "server.key"),
        file("trusted-ca-file", "ca.crt"),
        "--client-cert-auth".to_owned(),
    ]
}

/// A network with the certificates of an authority and of a client.
fn with_certificates(etcd: &Etcd, authority: &str, client: &str) -> Network {
    let file = |name: &str, kind: &str| json!(etcd.path(&format!("{name}.{kind}")));
    network(etcd, "10.0.0.0/24")
        .with("etcd_ca_cert_file", file(authority, "crt"))
        .with("etcd_cert_file", file(client, "crt"))
        .with("etcd_key_file", file(client, "key"))
        .with("add_timeout", json!("5s"))
}

#[tokio::test]
async fn certificates_are_asked_for_and_checked() {
    let etcd = Etcd::with("https", |dir| certificates(dir, LATER));
    let good = with_certificates(&etcd, "ca", "client");
    assert_eq!(addresses(&add(&good, "a").await), ["10.0.0.1/24"]);
    let nobody = good
        .with("etcd_cert_file", json!(""))
        .with("etcd_key_file", json!(""));
    let bare = network(&etcd, "10.0.0.0/24").with("add_timeout", json!("5s"));
    let port = etcd.host().rsplit_once(':').unwrap().1.to_owned();
    let by_name = good.with("etcd_host", json!(format!("localhost:{port}")));
    let missing = good.with("etcd_ca_cert_file", json!("/none/ca.crt"));
    // Why a server refuses a client does not always reach that.
    let of_ours = "";
    let running = [
        (bare, ""),
        (nobody, of_ours),
        (with_certificates(&etcd, "ca", "expired"), of_ours),
        (with_certificates(&etcd, "ca", "stranger"), of_ours),
        (
            with_certificates(&etcd, "foreign", "client"),
            "invalid peer certificate",
        ),
        (
            with_certificates(&etcd, "client", "client"),
            "invalid peer certificate",
        ),
        (by_name, "localhost"),
        (missing, "etcd_ca_cert_file /none/ca.crt"),
    ]
    .map(|(network, expected)| (start(&network), expected));
    for (running, expected) in running {
        let refused = running.wait().await.expect(1);
        assert!(refused.stdout.contains("etcd"), "{refused:#?}");
        assert!(refused.stdout.contains(expected), "{refused:#?}");
    }
    assert_eq!(addresses(&add(&good, "c").await), ["10.0.0.2/24"]);
}

#[tokio::test]
async fn an_expired_certificate_is_named_as_the_reason() {
    let etcd = Etcd::with("https", |dir| certificates(dir, PAST));
    let refused = start(&with_certificates(&etcd, "ca", "client"));
    let refused = refused.wait().await.expect(1);
    assert!(
        refused.stdout.to_lowercase().contains("expired"),
        "{refused:#?}"
    );
}

/// Passes connections on to a server, and counts them.
async fn counted(host: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, count) = (
        listener.local_addr().unwrap(),
        Arc::<AtomicUsize>::default(),
    );
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            let host = host.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(host).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (near.to_string(), count)
}

#[tokio::test]
async fn a_certificate_that_is_refused_ends_a_call_at_once() {
    let etcd = Etcd::with("https", |dir| certificates(dir, LATER));
    let calls = async |network: &Network, expected: &str| {
        for command in ["ADD", "DEL", "CHECK", "STATUS"] {
            let network = network.previous(&json!({"ips": []}));
            let refused = call(command, &network).pod("default", "b");
            let begun = Instant::now();
            let refused = refused.run().await.expect(1);
            assert!(refused.stdout.contains(expected), "{command} {refused:#?}");
            // Asking a few times takes five seconds.
            let elapsed = begun.elapsed();
            assert!(elapsed < Duration::from_secs(3), "{command} {elapsed:?}");
        }
    };
    let (host, connections) = counted(etcd.host()).await;
    let theirs = with_certificates(&etcd, "foreign", "client");
    let theirs = theirs.with("etcd_host", json!(host));
    calls(&theirs, "its certificate is refused").await;
    assert!(connections.load(Ordering::Relaxed) <= 8);
}

#[tokio::test]
async fn a_member_whose_certificate_is_refused_stops_no_other_one_from_serving() {
    let etcd = Etcd::with("https", |dir| certificates(dir, LATER));
    let other = Etcd::with("https", |dir| certificates(dir, LATER));
    let good = with_certificates(&etcd, "ca", "client");
    for round in 0..3 {
        // Which member is asked first is chance.
        for n in 0..4 {
            let hosts = format!("{},{}", other.host(), etcd.host());
            let pod = format!("web-{round}-{n}");
            add(&good.with("etcd_host", json!(hosts)), &pod).await;
        }
    }
    // One that is only down is asked again, whoever else is refused.
    let later = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = later.local_addr().unwrap();
    drop(later);
    let hosts = format!("{},{address}", other.host());
    let running = start(&good.with("etcd_host", json!(hosts)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let host = etcd.host();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(&host).await.unwrap();
            tokio::spawn(
                async move { tokio::io::copy_bidirectional(&mut client, &mut server).await },
            );
        }
    });
    running.wait().await.expect(0);
}
