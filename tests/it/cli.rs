//! What a person types, and what comes back when it makes no sense.

use std::path::Path;

use crate::support::cluster::Cluster;
use crate::support::control_plane::Options;
use crate::support::objects::{Object, pod, pool, reservation};
use crate::support::proxy::Proxy;
use crate::support::run::{Outcome, reconciler};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/crashed-node.yaml");

/// A self-signed certificate that has nothing to do with any cluster.
const OTHER_AUTHORITY: &str = include_str!("cli/other-authority.pem");

/// A run without any cluster in reach.
fn offline() -> crate::support::run::Run {
    reconciler(Path::new("/nonexistent"))
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
}

fn assert_says(run: &Outcome, code: i32, text: &str) {
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(code), ""),
        "{run:#?}"
    );
    assert!(run.stderr.contains(text), "{text:?} is not in {run:#?}");
}

#[tokio::test]
async fn a_dump_is_judged_without_a_cluster_from_files_and_from_standard_input() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let from_file = offline()
        .args(["--snapshot", EXAMPLE, "-o", "name"])
        .output()
        .await
        .expect(0);
    assert_eq!(from_file.stdout.lines().count(), 8);
    let from_stdin = offline()
        .args(["--snapshot=-", "-o", "name"])
        .stdin(&text)
        .output()
        .await;
    assert_eq!(from_stdin.expect(0).stdout, from_file.stdout);
    let json: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let items = json["items"].as_array().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (at, chunk) in items.chunks(4).enumerate() {
        let path = folder.path().join(format!("{at}.json"));
        let texts: Vec<String> = chunk.iter().map(ToString::to_string).collect();
        std::fs::write(&path, texts.join("\n")).unwrap();
        paths.push(path.display().to_string());
    }
    let mut run = offline().args(["-o=name", "--snapshot"]);
    for path in &paths {
        run = run.args([path]);
    }
    assert_eq!(run.output().await.expect(0).stdout, from_file.stdout);
    offline()
        .args(["--snapshot", EXAMPLE, "--detailed-exitcode"])
        .output()
        .await
        .expect(3);
}

#[tokio::test]
async fn what_kubectl_dumps_gives_the_report_of_the_cluster() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/gone", "net1", "c1")
        .entry(2, "default/live", "net1", "c2")
        .entry(3, "default/done", "net1", "c3")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.1", "default/gone")
        .create(client)
        .await;
    pod("default", "live")
        .shows("net1", &["10.0.0.2"])
        .create(client)
        .await;
    pod("default", "done").phase("Failed").create(client).await;
    let live = reconciler(cluster.kubeconfig())
        .args(["--dry-run", "-o", "json"])
        .output()
        .await;
    let live = live.expect(0).json();
    let kinds = "ippools,overlappingrangeipreservations,nodes,pods";
    for format in ["yaml", "json"] {
        let dump = cluster.kubectl(&["get", kinds, "-A", "-o", format]);
        let run = offline()
            .args(["--snapshot", "-", "-o", "json"])
            .stdin(&dump)
            .output()
            .await;
        let report = run.expect(0).json();
        assert_eq!(report["records"], live["records"]);
        assert_eq!(report["summary"], live["summary"]);
    }
}

#[tokio::test]
async fn a_file_that_is_no_complete_dump_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let json: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let without = |kind: &str| {
        let items = json["items"].as_array().unwrap().iter();
        let items: Vec<_> = items.filter(|item| item["kind"] != kind).collect();
        serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
    };
    for (content, message) in [
        (String::new(), "the file is empty"),
        ("---\n---\n".to_owned(), "the file is empty"),
        (json.to_string()[..1500].to_owned(), "not complete JSON"),
        ("kind: [\n".to_owned(), "not YAML"),
        (text[..text.len() / 2].to_owned(), "cut off"),
        (
            text[..text.find("- apiVersion: v1\n  kind: Pod").unwrap()].to_owned(),
            "has no kind",
        ),
        ("\u{1}binary\u{0}\n".to_owned(), "not YAML"),
        ("hello\n".to_owned(), "has no kind"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n".to_owned(),
            "ConfigMap",
        ),
        (without("Pod"), "hold no Pods"),
        (
            serde_json::json!({"apiVersion": "v1", "kind": "PodList", "items": []}).to_string(),
            "hold no IPPools",
        ),
        (format!("{text}\n---\n{text}"), "twice"),
    ] {
        let path = folder.path().join("dump");
        std::fs::write(&path, content).unwrap();
        let path = path.display().to_string();
        let run = offline().args(["--snapshot", &path]).output().await;
        assert_says(&run, 1, message);
    }
    let run = offline()
        .args(["--snapshot", "/nonexistent/dump.yaml"])
        .output()
        .await;
    assert_says(
        &run,
        1,
        "cannot read /nonexistent/dump.yaml: No such file or directory",
    );
    let nothing = offline().args(["--snapshot", "-"]).stdin("");
    assert_says(
        &nothing.output().await,
        1,
        "standard input: the file is empty",
    );
    let folder = folder.path().display().to_string();
    assert_says(
        &offline().args(["--snapshot", &folder]).output().await,
        1,
        "Is a directory",
    );
}

#[tokio::test]
async fn flags_are_those_of_the_go_program_too_and_nonsense_is_refused() {
    offline()
        .args(["-snapshot", EXAMPLE, "-log-level=debug"])
        .output()
        .await
        .expect(0);
    offline()
        .args(["-snapshot", EXAMPLE, "-log-level", "verbose"])
        .output()
        .await
        .expect(0);
    for (args, message) in [
        (
            &["--no-such-flag"][..],
            "unexpected argument '--no-such-flag'",
        ),
        (&["-kubeconfg", "x"], "unexpected argument"),
        (&["pods"], "unrecognized subcommand 'pods'"),
        (&["explain", "10.0.0.5/24"], "such as 10.0.0.5"),
        (&["explain", "fd00::5/64"], "such as fd00::5"),
        (&["-o", "xml"], "invalid value 'xml'"),
        (&["--timeout=-1s"], "is not a duration such as 90s or 1m30s"),
        (&["--timeout", "soon"], "90s or 1m30s"),
        (&["--timeout", "1h-5m"], "90s or 1m30s"),
        (&["--settle", "99999999999999999999h"], "90s or 1m30s"),
        (&["--max-release", "120%"], "neither a percentage"),
        (&["--page-size", "0"], "invalid value '0'"),
        (&["--log-level", "loud"], "none of off, error"),
        (
            &["--snapshot", EXAMPLE, "--kubeconfig", "x"],
            "cannot be used with",
        ),
        (
            &["--snapshot", EXAMPLE, "--dry-run=false"],
            "always is a dry run",
        ),
        (
            &["--force", "--max-release", "5"],
            "--force overrides every brake",
        ),
        (
            &["--settle", "2m", "--timeout", "1m"],
            "--settle has to be shorter",
        ),
        (&["--timeout", "0s"], "no time to do anything"),
        (&["--snapshot", "-", "-"], "can be read only once"),
    ] {
        let mut run = offline();
        for argument in args {
            run = run.args([argument]);
        }
        assert_says(&run.output().await, 2, message);
    }
    let from_environment = offline().env("IP_RECONCILER_OUTPUT", "xml").output().await;
    assert_says(&from_environment, 2, "invalid value 'xml'");
    let run = offline()
        .env("IP_RECONCILER_SNAPSHOT", EXAMPLE)
        .env("IP_RECONCILER_OUTPUT", "name");
    assert_eq!(run.output().await.expect(0).stdout.lines().count(), 8);
}

#[tokio::test]
async fn a_dry_run_asked_for_by_the_environment_writes_nothing() {
    let cluster = Cluster::lock().await;
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/gone", "net1", "c")
        .create(cluster.client())
        .await;
    for (argument, value) in [
        ("--dry-run", ""),
        ("-dry-run", ""),
        ("", "true"),
        ("", "1"),
        ("", "yes"),
    ] {
        let proxy = Proxy::start(&cluster).await;
        let mut run = reconciler(&proxy.kubeconfig(&cluster, cluster.token()));
        if !argument.is_empty() {
            run = run.args([argument]);
        }
        if !value.is_empty() {
            run = run.env("IP_RECONCILER_DRY_RUN", value);
        }
        let run = run.output().await.expect(0);
        assert!(run.stdout.contains("Planned"), "{run:#?}");
        assert!(proxy.writes().is_empty() && !proxy.log().is_empty());
    }
    // A setting that is misspelt must not start a real run.
    let misspelt = reconciler(cluster.kubeconfig()).env("IP_RECONCILER_DRYRUN", "1");
    assert_says(&misspelt.output().await, 2, "IP_RECONCILER_DRYRUN");
    let service = reconciler(cluster.kubeconfig()).env("IP_RECONCILER_SERVICE_HOST", "10.0.0.1");
    service.args(["--dry-run"]).output().await.expect(0);
    let unclear = reconciler(cluster.kubeconfig()).env("IP_RECONCILER_DRY_RUN", "perhaps");
    assert_says(&unclear.output().await, 2, "perhaps");
}

#[tokio::test]
async fn a_cluster_that_cannot_be_used_is_named() {
    assert_says(&offline().output().await, 1, "no cluster to talk to");
    let missing = offline()
        .args(["--kubeconfig", "/nonexistent/config"])
        .output()
        .await;
    assert_says(&missing, 1, "cannot use kubeconfig /nonexistent/config");

    let cluster = Cluster::lock().await;
    let token = "eyJ-secret-token";
    let broken = cluster.file(&format!(
        "apiVersion: v1\nusers: [{{user: {{token: {token}}}}}, {{\n"
    ));
    let run = offline()
        .args(["--kubeconfig", &show(&broken)])
        .output()
        .await;
    assert_says(&run, 1, "it is no kubeconfig in YAML or JSON");
    assert!(!run.stderr.contains(token));

    let wrong_token = cluster.kubeconfig_for(token, &cluster.url());
    let run = offline()
        .args(["--kubeconfig", &show(&wrong_token)])
        .output()
        .await;
    assert_says(&run, 1, "401");
    assert!(!run.stderr.contains(token) && run.stderr.contains("credentials"));

    let down = cluster.kubeconfig_for(cluster.token(), "https://127.0.0.1:1");
    let run = offline()
        .args(["--kubeconfig", &show(&down)])
        .output()
        .await;
    assert_says(&run, 1, "cannot list ippools.whereabouts.cni.cncf.io");
    assert!(run.stderr.contains("refused"), "{run:#?}");

    // Another authority than the one that signed the server's certificate.
    let known = cluster.kubeconfig_for(cluster.token(), &cluster.url());
    let known = std::fs::read_to_string(known).unwrap();
    let authority = cluster.ca_file().display().to_string();
    let untrusted = cluster.file(&known.replace(&authority, &show(&cluster.file(OTHER_AUTHORITY))));
    let run = offline()
        .args(["--kubeconfig", &show(&untrusted)])
        .output()
        .await;
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert!(
        run.stderr.to_lowercase().contains("certificate"),
        "{run:#?}"
    );

    let run = reconciler(cluster.kubeconfig())
        .args(["--context", "nowhere"])
        .output()
        .await;
    assert_says(&run, 1, "it has no context \"nowhere\"");
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn missing_definitions_are_named_with_the_command_that_installs_them() {
    let cluster = Cluster::separate(&Options::default()).await;
    for missing in ["overlappingrangeipreservations", "ippools"] {
        let name = format!("{missing}.whereabouts.cni.cncf.io");
        cluster.kubectl(&["delete", "crd", &name]);
        let run = reconciler(cluster.kubeconfig()).output().await;
        assert_says(
            &run,
            1,
            &format!("{name} is not installed: kubectl apply -f manifests/crds"),
        );
    }
}

#[tokio::test]
async fn a_reader_that_has_gone_away_is_no_failure_and_a_full_disk_is_one() {
    let command = |redirect: &str| {
        let program = env!("CARGO_BIN_EXE_ip-reconciler");
        let script = format!("{program} --snapshot {EXAMPLE} -o json {redirect}");
        std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap()
    };
    let closed = command("3>&1 >&- | true; exit 0");
    assert!(closed.status.success());
    let pipe = command("| head -c 10");
    assert!(!String::from_utf8_lossy(&pipe.stderr).contains("panic"));
    let full = command("> /dev/full");
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&full.stderr).contains("cannot write the report"));
}

#[tokio::test]
async fn a_log_that_cannot_be_written_costs_neither_the_run_nor_its_report() {
    let cluster = Cluster::lock().await;
    for level in ["info", "trace"] {
        let name = format!("{level}-net");
        let records = pool("kube-system", "10.0.0.0/24").network(&name);
        records
            .entry(1, "default/gone", "net1", "c")
            .create(cluster.client())
            .await;
        let script = format!(
            "{} -o name --log-level {level} 2>/dev/full",
            env!("CARGO_BIN_EXE_ip-reconciler")
        );
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", &script])
            .env("KUBECONFIG", cluster.kubeconfig());
        let run = command.output().unwrap();
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        let freed = format!("ippools.whereabouts.cni.cncf.io/kube-system/{name}-10.0.0.0-24/1\n");
        assert_eq!(String::from_utf8_lossy(&run.stdout), freed);
    }
    let script = format!(
        "{} --snapshot none 2>/dev/full",
        env!("CARGO_BIN_EXE_ip-reconciler")
    );
    let run = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(1), "{run:?}");
}

#[tokio::test]
async fn a_failed_run_is_one_line_of_the_log_too() {
    let args = ["--log-format", "json", "--kubeconfig", "/nonexistent"];
    let run = offline().args(args).output().await.expect(1);
    let line: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(
        (&line["message"], &line["conclusion"]),
        (&"Reconciled".into(), &"Failed".into())
    );
    assert!(line["error"].as_str().unwrap().contains("/nonexistent"));
}

#[tokio::test]
async fn nothing_from_the_cluster_reaches_a_terminal_unescaped() {
    let cluster = Cluster::lock().await;
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/gone\u{1b}[2J\nFAKE", "net1\u{7}", "c\u{202e}")
        .entry(2, "default/\u{1b}]0;x", "net1", "c")
        .create(cluster.client())
        .await;
    for format in ["table", "wide", "name", "json", "yaml"] {
        let run = reconciler(cluster.kubeconfig())
            .args(["--dry-run", "-o", format])
            .output()
            .await;
        let run = run.expect(0);
        let odd = |c: char| c.is_control() && c != '\n';
        assert!(
            !run.stdout.contains(odd) && !run.stderr.contains(odd),
            "{run:#?}"
        );
        assert!(
            !run.stdout.lines().any(|line| line.starts_with("FAKE")),
            "{run:#?}"
        );
    }
}

#[tokio::test]
async fn a_credential_plugin_that_hangs_keeps_neither_the_time_nor_a_signal_from_ending_it() {
    let cluster = Cluster::lock().await;
    let hanging = cluster.file(
        r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"exec": {"command": "/bin/sleep", "args": ["30"],
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never"}}}]}"#,
    );
    let quick = ["--timeout", "1s", "--settle", "100ms"];
    let run = reconciler(&hanging).args(quick).output().await.expect(1);
    assert!(run.stderr.contains("did not answer in time"), "{run:#?}");
    let running = reconciler(&hanging).spawn();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    running.signal("TERM");
    let run = running.wait().await.expect(1);
    assert!(run.stderr.contains("interrupted"), "{run:#?}");
}
