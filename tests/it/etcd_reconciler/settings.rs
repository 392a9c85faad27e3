//! How a run finds etcd, and who it is there.

use etcd_client::{Certificate, Client, ConnectOptions, Identity, PermissionType, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;

use super::{add, keys, network, run};
use crate::support::cluster::Cluster;
use crate::support::etcd::Etcd;
use crate::support::run::{Run, reconciler};

/// An etcd that asks for passwords, with a user that may do what the documentation says.
async fn guarded() -> Etcd {
    let etcd = Etcd::start();
    guard(&etcd).await;
    etcd
}

async fn guard(etcd: &Etcd) {
    let mut client = etcd.client().await;
    client.role_add("whereabouts").await.unwrap();
    let permission = etcd_client::Permission::new(PermissionType::Readwrite, "/whereabouts/v1/");
    let grant = client.role_grant_permission("whereabouts", permission.with_prefix());
    grant.await.unwrap();
    for (user, role) in [
        ("root", "root"),
        ("whereabouts", "whereabouts"),
        ("nobody", "none"),
    ] {
        client.user_add(user, "open-sesame", None).await.unwrap();
        if role == "none" {
            client.role_add(role).await.unwrap();
        }
        client.user_grant_role(user, role).await.unwrap();
    }
    client.auth_enable().await.unwrap();
}

/// An etcd that asks for certificates; those of a client are in its folder.
pub(super) fn with_certificates() -> Etcd {
    Etcd::with("https", |dir| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let write = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let sign = |name: &str| {
            let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            let key = KeyPair::generate().unwrap();
            let signed = params.signed_by(&key, &ca).unwrap();
            let cert = write(&format!("{name}.crt"), signed.pem());
            (cert, write(&format!("{name}.key"), key.serialize_pem()))
        };
        let (cert, key) = sign("server");
        sign("client");
        let ca = write("ca.crt", ca.pem());
        vec![
            format!("--cert-file={cert}"),
            format!("--key-file={key}"),
            format!("--trusted-ca-file={ca}"),
            "--client-cert-auth".to_owned(),
        ]
    })
}

/// A client with these certificates.
pub(super) async fn client_certificates(etcd: &Etcd) -> Client {
    let read = |name: &str| std::fs::read(etcd.path(name)).unwrap();
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(read("ca.crt")))
        .identity(Identity::from_pem(read("client.crt"), read("client.key")));
    let options = ConnectOptions::new().with_tls(tls);
    let url = format!("https://{}", etcd.host());
    Client::connect([url], Some(options)).await.unwrap()
}

#[tokio::test]
async fn certificates_are_asked_for_and_checked() {
    let (cluster, etcd) = (Cluster::lock().await, with_certificates());
    let file = |name: &str| etcd.path(name).display().to_string();
    let flags = |ca: &str, cert: &str| {
        let run = run(&cluster, &etcd).args(["--etcd-ca-cert-file", &file(ca), "--timeout", "10s"]);
        let (cert, key) = (file(&format!("{cert}.crt")), file(&format!("{cert}.key")));
        run.args(["--etcd-cert-file", &cert, "--etcd-key-file", &key])
    };
    flags("ca.crt", "client").output().await.expect(0);
    flags("client.crt", "client").output().await.expect(1);
    let missing = flags("ca.crt", "none").output().await.expect(2);
    assert!(
        missing.stderr.contains("cannot read etcd_cert_file"),
        "{missing:#?}"
    );
    let bare = run(&cluster, &etcd)
        .args(["--timeout", "10s"])
        .output()
        .await;
    let bare = bare.expect(1);
    assert!(bare.stderr.contains(&etcd.host()), "{bare:#?}");
}

#[tokio::test]
async fn the_flat_file_of_the_plugin_or_flags_or_the_environment_say_how() {
    let (cluster, etcd) = (Cluster::lock().await, guarded().await);
    let user = json!({"datastore": "etcd", "etcd_host": etcd.host(),
        "etcd_username": "whereabouts", "etcd_password": "open-sesame", "range": "10.0.0.0/24"});
    let lan = crate::plugin::call::Network::new(&cluster, user.clone());
    let flat = cluster.file(&user.to_string());
    let secret = cluster.file("open-sesame\n");
    let plain = || reconciler(cluster.kubeconfig()).args(["-o", "json"]);
    let by_flags = || {
        let run = plain().args(["--datastore", "etcd", "--etcd-host", &etcd.host()]);
        run.args(["--etcd-username", "whereabouts"])
    };
    let all: [Run; 4] = [
        plain().args(["--datastore=etcd", "--etcd-config", flat.to_str().unwrap()]),
        by_flags().args(["--etcd-password-file", secret.to_str().unwrap()]),
        by_flags().env("IP_RECONCILER_ETCD_PASSWORD", "open-sesame"),
        plain()
            .env("IP_RECONCILER_DATASTORE", "etcd")
            .env("IP_RECONCILER_ETCD_HOST", &etcd.host())
            .env("IP_RECONCILER_ETCD_USERNAME", "whereabouts")
            .env("IP_RECONCILER_ETCD_PASSWORD_FILE", secret.to_str().unwrap()),
    ];
    for run in all {
        add(&lan, "default", "gone").await;
        let done = run.args(["--grace", "0s"]).output().await.expect(0);
        assert_eq!(done.json()["summary"]["released"], 1, "{done:#?}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_named_and_a_password_never_is() {
    let (cluster, etcd) = (Cluster::lock().await, guarded().await);
    let refused = |user: &str, password: &str| {
        let run = run(&cluster, &etcd).args(["--etcd-username", user, "--log-level", "trace"]);
        run.env("IP_RECONCILER_ETCD_PASSWORD", password)
    };
    for (user, password, why) in [
        ("whereabouts", "open-barley", "authentication failed"),
        (
            "nobody",
            "open-sesame",
            "grant its role readwrite on /whereabouts/v1/",
        ),
    ] {
        let refused = refused(user, password).output().await.expect(1);
        assert!(refused.stderr.contains(why), "{refused:#?}");
        assert!(!format!("{refused:?}").contains(password), "{refused:#?}");
    }
    let nameless = run(&cluster, &etcd).output().await.expect(1);
    assert!(
        nameless.stderr.contains("user name is empty"),
        "{nameless:#?}"
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anything_is_read() {
    let cluster = Cluster::lock().await;
    let bad = cluster.file("no JSON");
    let (bad, none) = (bad.to_str().unwrap(), "/none/at/all");
    let mistyped = cluster.file(r#"{"etcd_hosts": "a:1"}"#);
    let mistyped = mistyped.to_str().unwrap();
    for (arguments, why) in [
        (
            &["--etcd-host", "a:1"][..],
            "give them with --datastore etcd",
        ),
        (&["--datastore", "etcd"], "etcd_host is missing"),
        (
            &[
                "--datastore",
                "etcd",
                "--etcd-host",
                "a:1",
                "--snapshot",
                "-",
            ],
            "--snapshot does not go",
        ),
        (
            &[
                "--datastore",
                "etcd",
                "--etcd-host",
                "a:1",
                "--etcd-cert-file",
                "c",
            ],
            "go together",
        ),
        (
            &["--datastore", "etcd", "--etcd-config", bad],
            "JSON Parsing Error",
        ),
        (
            &["--datastore", "etcd", "--etcd-config", none],
            "there is no file /none/at/all",
        ),
        (
            &["--datastore", "etcd", "--etcd-config", mistyped],
            "etcd_host is missing: write HOST:PORT; the file: \"etcd_hosts\" is no setting",
        ),
        (
            &["--datastore", "etcd", "--etcd-host", "etcd.example.com"],
            "etcd_host has \"etcd.example.com\": write HOST:PORT",
        ),
        (
            &[
                "--datastore",
                "etcd",
                "--etcd-host",
                "https://a:1",
                "--etcd-ca-cert-file",
                none,
            ],
            "cannot read etcd_ca_cert_file /none/at/all",
        ),
        (
            &[
                "--datastore",
                "etcd",
                "--etcd-host",
                "https://a:1",
                "--etcd-ca-cert-file",
                bad,
            ],
            "has no certificate in PEM",
        ),
        (
            &["--datastore", "etcd", "--etcd-password-file", none],
            "cannot read --etcd-password-file",
        ),
        (
            &["--datastore", "consul"],
            "possible values: kubernetes, etcd",
        ),
    ] {
        let mut run = reconciler(cluster.kubeconfig());
        if arguments.contains(&"--snapshot") {
            run = run.env_remove("KUBECONFIG");
        }
        for argument in arguments {
            run = run.args([*argument]);
        }
        let refused = run.output().await.expect(2);
        assert!(refused.stderr.contains(why), "{refused:#?}");
    }
}

#[tokio::test]
async fn a_wrong_setting_of_the_environment_is_refused_too() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "gone").await;
    let misspelt = run(&cluster, &etcd).env("IP_RECONCILER_ETCD_PASWORD", "x");
    misspelt.output().await.expect(2);
    let secret = cluster.file("x");
    let twice = run(&cluster, &etcd).args(["--etcd-username", "a"]);
    let twice = twice.args(["--etcd-password-file", secret.to_str().unwrap()]);
    let twice = twice.env("IP_RECONCILER_ETCD_PASSWORD", "x");
    twice.output().await.expect(2);
    assert_eq!(keys(&etcd).await.len(), 1);
}

#[tokio::test]
async fn a_question_may_stand_there_longer_than_etcd_remembers_who_asked() {
    let cluster = Cluster::lock().await;
    let etcd = Etcd::with("http", |_| vec!["--auth-token-ttl=5".to_owned()]);
    guard(&etcd).await;
    let user = json!({"datastore": "etcd", "etcd_host": etcd.host(), "range": "10.0.0.0/24",
        "etcd_username": "whereabouts", "etcd_password": "open-sesame"});
    let flat = cluster.file(&user.to_string());
    add(
        &crate::plugin::call::Network::new(&cluster, user),
        "default",
        "gone",
    )
    .await;
    let program = format!(
        "{} release 10.0.0.1 --datastore etcd --etcd-config {} --kubeconfig {}",
        env!("CARGO_BIN_EXE_ip-reconciler"),
        flat.display(),
        cluster.kubeconfig().display()
    );
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        "{ sleep 8; echo y; } | script --quiet --return --command \"$0\" /dev/null",
    ]);
    command.arg(program);
    let freed = Run::of(command, String::new()).output().await.expect(0);
    assert!(
        freed
            .stdout
            .contains("released: Allocation networks/10.0.0.0-24/1"),
        "{freed:#?}"
    );
}
