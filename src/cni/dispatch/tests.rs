use std::io::ErrorKind;

use serde_json::Value;

use super::*;
use crate::cni::Address;

mod netns;
mod properties;
mod versions;

const ABOUT: &str = "whereabouts 9.9.9 linux/amd64";
const OWN_NETNS: &str = "/proc/self/ns/net";

/// A plugin that notes what it is asked, and answers as it is told.
#[derive(Default)]
struct Recorder {
    result: IpamResult,
    error: Option<Error>,
    calls: Vec<(&'static str, Call)>,
}

impl Recorder {
    fn note(&mut self, method: &'static str, call: &Call) -> Result<(), Error> {
        self.calls.push((method, call.clone()));
        self.error.clone().map_or(Ok(()), Err)
    }
}

impl Plugin for Recorder {
    fn add(&mut self, call: &Call) -> Result<IpamResult, Error> {
        self.note("add", call)?;
        Ok(self.result.clone())
    }

    fn del(&mut self, call: &Call) -> Result<(), Error> {
        self.note("del", call)
    }

    fn check(&mut self, call: &Call) -> Result<(), Error> {
        self.note("check", call)
    }

    fn gc(&mut self, call: &Call) -> Result<(), Error> {
        self.note("gc", call)
    }

    fn status(&mut self, call: &Call) -> Result<(), Error> {
        self.note("status", call)
    }

    fn is_own_netns(&self, netns: &str) -> bool {
        netns == OWN_NETNS
    }
}

/// A call under construction; it is complete, and tests spoil it.
struct Given {
    variables: Vec<(&'static str, String)>,
    stdin: Vec<u8>,
    plugin: Recorder,
}

fn given(command: &str) -> Given {
    let variables = [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c-1"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "net1"),
        ("CNI_ARGS", "IP=x"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];
    let address = Address {
        address: "10.0.0.5/24".parse().unwrap(),
        gateway: None,
    };
    Given {
        variables: variables
            .map(|(name, value)| (name, value.to_owned()))
            .into(),
        stdin: br#"{"cniVersion":"1.1.0","name":"blue"}"#.to_vec(),
        plugin: Recorder {
            result: IpamResult {
                addresses: vec![address],
                ..IpamResult::default()
            },
            ..Recorder::default()
        },
    }
}

impl Given {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.retain(|(other, _)| *other != name);
        self.variables.push((name, value.to_owned()));
        self
    }

    fn stdin(mut self, stdin: &str) -> Self {
        self.stdin = stdin.as_bytes().to_vec();
        self
    }

    fn version(self, version: &str) -> Self {
        let stdin = serde_json::json!({ "cniVersion": version, "name": "blue" });
        self.stdin(&stdin.to_string())
    }

    fn failing(mut self, error: Error) -> Self {
        self.plugin.error = Some(error);
        self
    }

    fn run(&mut self) -> Reply {
        let environment = self.variables.iter().map(|(name, value)| (name, value));
        let stdin = self.stdin.clone();
        let environment: Environment = environment.collect();
        dispatch(&environment, || Ok(stdin), &mut self.plugin, ABOUT)
    }

    /// Runs a call that does not get as far as the plugin; its code, message and details.
    fn refused(mut self) -> (u64, String, String) {
        let reply = self.run();
        assert!(self.plugin.calls.is_empty(), "the plugin was called");
        failure(&reply)
    }

    fn called(&self) -> Vec<&'static str> {
        self.plugin
            .calls
            .iter()
            .map(|(method, _)| *method)
            .collect()
    }
}

fn failure(reply: &Reply) -> (u64, String, String) {
    assert_eq!(reply.exit, 1);
    assert!(reply.stderr.is_empty());
    let document: Value = serde_json::from_slice(&reply.stdout).unwrap();
    let text = |member: &str| document[member].as_str().unwrap_or_default().to_owned();
    (
        document["code"].as_u64().unwrap(),
        text("msg"),
        text("details"),
    )
}

fn said(code: u64, msg: &str, details: &str) -> (u64, String, String) {
    (code, msg.to_owned(), details.to_owned())
}

#[test]
fn without_a_command_a_person_is_told_what_this_is() {
    for command in [None, Some("")] {
        let mut given = given("").stdin("no JSON");
        if command.is_none() {
            given.variables.clear();
        }
        let reply = given.run();
        assert_eq!((reply.exit, reply.stdout.len()), (0, 0));
        assert_eq!(
            String::from_utf8(reply.stderr).unwrap(),
            "whereabouts 9.9.9 linux/amd64\nCNI protocol versions supported: \
             0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
        );
    }
}

#[test]
fn version_needs_nothing_but_the_command_and_reads_no_stdin() {
    let environment = [("CNI_COMMAND", "VERSION"), ("CNI_CONTAINERID", "/")];
    let environment: Environment = environment.into_iter().collect();
    let unread = || -> io::Result<Vec<u8>> { panic!("stdin was read") };
    let reply = dispatch(&environment, unread, &mut Recorder::default(), ABOUT);
    assert_eq!((reply.exit, reply.stderr.len()), (0, 0));
    assert_eq!(
        String::from_utf8(reply.stdout).unwrap(),
        "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\
         \"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"
    );
}

#[test]
fn missing_variables_are_named_in_a_fixed_order() {
    let all = "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH";
    for (command, missing) in [
        ("ADD", all),
        ("CHECK", all),
        ("DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ] {
        let mut given = given(command).stdin("no JSON");
        given.variables.retain(|(name, _)| *name == "CNI_COMMAND");
        let msg = format!("required env variables [{missing}] missing");
        assert_eq!(given.refused(), said(4, &msg, ""), "{command}");
    }
    let one = given("ADD").with("CNI_NETNS", "").refused();
    assert_eq!(
        one,
        said(4, "required env variables [CNI_NETNS] missing", "")
    );
}

#[test]
fn a_variable_that_is_no_good_comes_before_those_that_are_missing() {
    let id = |command| {
        given(command)
            .with("CNI_CONTAINERID", "a/b")
            .with("CNI_PATH", "")
    };
    let name = |command| {
        given(command)
            .with("CNI_IFNAME", "..")
            .with("CNI_CONTAINERID", "")
    };
    for command in ["ADD", "CHECK", "DEL"] {
        assert_eq!(
            id(command).with("CNI_IFNAME", "..").refused(),
            said(4, "invalid characters in containerID", "a/b")
        );
        assert_eq!(
            name(command).refused(),
            said(4, "interface name is . or ..", "")
        );
    }
    assert_eq!(
        given("ADD")
            .with("CNI_IFNAME", "1234567890123456")
            .refused(),
        said(
            4,
            "interface name is too long",
            "interface name should be less than 16 characters"
        )
    );
    assert_eq!(
        given("ADD").with("CNI_IFNAME", "a b").refused(),
        said(
            4,
            "interface name contains / or : or whitespace characters",
            ""
        )
    );
}

#[test]
fn a_variable_that_the_command_does_not_need_is_not_looked_at() {
    for command in ["GC", "STATUS"] {
        let mut given = given(command)
            .with("CNI_CONTAINERID", "a/b")
            .with("CNI_IFNAME", "..");
        assert_eq!(given.run(), Reply::default());
        let (_, call) = given.plugin.calls.pop().unwrap();
        assert_eq!((call.container_id.as_str(), call.ifname.as_str()), ("", ""));
    }
    let mut given = given("DEL").with("CNI_NETNS", "");
    assert_eq!(given.run(), Reply::default());
}

#[test]
fn stdin_that_cannot_be_read_is_an_error() {
    let environment: Environment = given("GC").variables.into_iter().collect();
    let broken = || Err(io::Error::new(ErrorKind::BrokenPipe, "gone"));
    let reply = dispatch(&environment, broken, &mut Recorder::default(), ABOUT);
    assert_eq!(
        failure(&reply),
        said(5, "error reading from stdin: gone", "")
    );
}

#[test]
fn stdin_is_an_object_with_the_networks_name() {
    for command in ["ADD", "DEL", "CHECK", "GC", "STATUS", "add", "NO SUCH"] {
        for stdin in [
            "",
            "{",
            "[]",
            "5",
            "\"x\"",
            "{} {}",
            r#"{"name":5}"#,
            "\u{0}",
        ] {
            let (code, msg, details) = given(command).stdin(stdin).refused();
            assert_eq!((code, details.as_str()), (6, ""), "{command} {stdin}");
            assert!(
                msg.starts_with("error unmarshall network config: "),
                "{msg}"
            );
        }
        for stdin in ["{}", "null", r#"{"name":""}"#, r#"{"name":null}"#] {
            let refused = given(command).stdin(stdin).refused();
            assert_eq!(
                refused,
                said(7, "missing network name", ""),
                "{command} {stdin}"
            );
        }
        for name in ["-a", "a b", "ä", "a/b", "a\n"] {
            let stdin = serde_json::json!({ "name": name }).to_string();
            let refused = given(command).stdin(&stdin).refused();
            let expected = said(7, "invalid characters found in network name", name);
            assert_eq!(refused, expected, "{command}");
        }
    }
    let bytes = Given {
        stdin: b"{\"name\":\"\xff\"}".to_vec(),
        ..given("ADD")
    };
    assert_eq!(bytes.refused().0, 6);
}

#[test]
fn a_command_is_unknown_unless_spelt_exactly() {
    for command in ["add", "Add", "ADD ", "UPDATE", "version"] {
        let msg = format!("unknown CNI_COMMAND: {command}");
        assert_eq!(given(command).refused(), said(4, &msg, ""));
    }
    let undecodable = given("UPDATE").stdin(r#"{"name":"a","cniVersion":5}"#);
    assert_eq!(
        undecodable.refused(),
        said(4, "unknown CNI_COMMAND: UPDATE", "")
    );
}

#[test]
fn a_call_in_order_reaches_the_plugin_as_it_was_given() {
    let stdin = r#"{"cniVersion":"0.4.0","NAME":"blue","ipam":{"type":"whereabouts"}}"#;
    for (command, method) in [("ADD", "add"), ("DEL", "del"), ("CHECK", "check")] {
        let mut given = given(command).stdin(stdin);
        assert_eq!(given.run().exit, 0);
        assert_eq!(given.called(), [method]);
        let expected = Call {
            container_id: "c-1".to_owned(),
            netns: "/run/netns/x".to_owned(),
            ifname: "net1".to_owned(),
            args: "IP=x".to_owned(),
            path: "/opt/cni/bin".to_owned(),
            version: Version::V0_4_0,
            network: "blue".to_owned(),
            stdin: stdin.as_bytes().to_vec(),
        };
        assert_eq!(given.plugin.calls[0].1, expected);
    }
    for (command, method) in [("GC", "gc"), ("STATUS", "status")] {
        let mut given = given(command);
        given.run();
        assert_eq!(given.called(), [method]);
    }
}

#[test]
fn only_add_prints_its_success() {
    for command in ["DEL", "CHECK", "GC", "STATUS"] {
        assert_eq!(given(command).run(), Reply::default());
    }
    let reply = given("ADD").run();
    assert_eq!((reply.exit, reply.stderr.len()), (0, 0));
    insta::assert_snapshot!(String::from_utf8(reply.stdout).unwrap(), @r#"
    {
        "cniVersion": "1.1.0",
        "ips": [
            {
                "address": "10.0.0.5/24"
            }
        ]
    }
    "#);
}

#[test]
fn the_plugins_error_is_the_answer() {
    for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let error = Error::new(Code::TryAgain, "busy").with_details("store");
        let mut refused = given(command).failing(error);
        assert_eq!(failure(&refused.run()), said(11, "busy", "store"));
        let mut refused = given(command).failing(Error::internal("odd"));
        assert_eq!(failure(&refused.run()), said(999, "odd", ""));
    }
}

#[test]
fn a_result_that_the_version_cannot_hold_is_an_error() {
    let mut given = given("ADD").version("0.2.0");
    given.plugin.result = IpamResult::default();
    let expected = said(999, "cannot convert: no valid IP addresses", "");
    assert_eq!(failure(&given.run()), expected);
}
