//! Users and certificates of etcd.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::json;

use super::super::call::{Network, addresses, call};
use super::{add, network};
use crate::support::etcd::Etcd;

#[tokio::test]
async fn users_are_asked_for_their_password() {
    let etcd = Etcd::start();
    let mut client = etcd.client().await;
    client.user_add("root", "open", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.auth_enable().await.unwrap();
    let network = network(&etcd, "10.0.0.0/24").with("etcd_username", json!("root"));
    let with = |password: &str| network.with("etcd_password", json!(password));
    assert_eq!(addresses(&add(&with("open"), "a").await), ["10.0.0.1/24"]);
    let refused = call("ADD", &with("sesame"))
        .container("b")
        .pod("default", "b");
    let refused = refused.run().await.expect(1);
    assert!(
        refused.stdout.contains("authentication failed"),
        "{refused:#?}"
    );
    assert!(!format!("{refused:?}").contains("sesame"));
}

/// A server's and a client's certificate of one authority; the server's is valid until a year.
fn certificates(dir: &std::path::Path, until: i32) -> Vec<String> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let sign = |name: &str, until: i32| {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &ca).unwrap();
        let cert = write(&format!("{name}.crt"), signed.pem());
        (cert, write(&format!("{name}.key"), key.serialize_pem()))
    };
    let (cert, key) = sign("server", until);
    sign("client", 2100);
    let ca = write("ca.crt", ca.pem());
    vec![
        format!("--cert-file={cert}"),
        format!("--key-file={key}"),
        format!("--trusted-ca-file={ca}"),
        "--client-cert-auth".to_owned(),
    ]
}

fn with_certificates(etcd: &Etcd, network: &Network) -> Network {
    let file = |name| json!(etcd.path(name));
    network
        .with("etcd_ca_cert_file", file("ca.crt"))
        .with("etcd_cert_file", file("client.crt"))
        .with("etcd_key_file", file("client.key"))
        .with("add_timeout", json!("5s"))
}

#[tokio::test]
async fn certificates_are_asked_for_and_checked() {
    let etcd = Etcd::with("https", |dir| certificates(dir, 2100));
    let bare = network(&etcd, "10.0.0.0/24");
    let network = with_certificates(&etcd, &bare);
    assert_eq!(addresses(&add(&network, "a").await), ["10.0.0.1/24"]);
    let other = etcd.path("client.crt");
    for wrong in [
        bare.with("add_timeout", json!("5s")),
        network.with("etcd_ca_cert_file", json!(other)),
        network
            .with("etcd_cert_file", json!(""))
            .with("etcd_key_file", json!("")),
    ] {
        let refused = call("ADD", &wrong).container("b").pod("default", "b");
        refused.run().await.expect(1);
    }
    let missing = network.with("etcd_ca_cert_file", json!("/none/ca.crt"));
    let refused = call("ADD", &missing).container("b").pod("default", "b");
    let refused = refused.run().await.expect(1);
    assert!(
        refused.stdout.contains("etcd_ca_cert_file /none/ca.crt"),
        "{refused:#?}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_named_as_the_reason() {
    let etcd = Etcd::with("https", |dir| certificates(dir, 2020));
    let network = with_certificates(&etcd, &network(&etcd, "10.0.0.0/24"));
    let refused = call("ADD", &network).container("a").pod("default", "a");
    let refused = refused.run().await.expect(1);
    assert!(
        refused.stdout.to_lowercase().contains("expired"),
        "{refused:#?}"
    );
}
