//! Which versions each command accepts.

use super::*;

#[test]
fn a_version_that_is_no_string_cannot_be_decoded() {
    for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let stdin = r#"{"name":"a","cniVersion":5}"#;
        let (code, msg, details) = given(command).stdin(stdin).refused();
        assert_eq!((code, details.as_str()), (6, ""));
        assert!(
            msg.starts_with("decoding version from network config: "),
            "{msg}"
        );
    }
}

#[test]
fn the_version_is_one_of_the_supported_ones() {
    for command in ["ADD", "DEL"] {
        for version in Version::ALL {
            let mut given = given(command).version(version.as_str());
            assert_eq!(given.run().exit, 0, "{command} {version}");
            assert_eq!(given.plugin.calls[0].1.version, version);
        }
        for stdin in [r#"{"name":"a"}"#, r#"{"name":"a","cniVersion":""}"#] {
            let mut given = given(command).stdin(stdin);
            assert_eq!(given.run().exit, 0);
            assert_eq!(given.plugin.calls[0].1.version, Version::V0_1_0);
        }
        for version in ["1.2.0", "1.1", "x", "1.0.0.0", "2", "0.5.0"] {
            let details = format!(
                "config is \"{version}\", plugin supports [\"0.1.0\" \"0.2.0\" \"0.3.0\" \
                 \"0.3.1\" \"0.4.0\" \"1.0.0\" \"1.1.0\"]"
            );
            assert_eq!(
                given(command).version(version).refused(),
                said(1, "incompatible CNI versions", &details)
            );
        }
    }
}

#[test]
fn later_commands_need_a_later_version() {
    for (command, since) in [
        ("CHECK", Version::V0_4_0),
        ("GC", Version::V1_1_0),
        ("STATUS", Version::V1_1_0),
    ] {
        let config = format!("config version does not allow {command}");
        for version in Version::ALL {
            if version < since {
                let refused = given(command).version(version.as_str()).refused();
                assert_eq!(refused, said(1, &config, ""), "{command} {version}");
            } else {
                let mut given = given(command).version(version.as_str());
                assert_eq!(given.run(), Reply::default(), "{command} {version}");
            }
        }
        let absent = given(command).stdin(r#"{"name":"a"}"#).refused();
        assert_eq!(absent, said(1, &config, ""));
        for version in ["0", "-1.0.0", "0.3.99"] {
            assert_eq!(
                given(command).version(version).refused(),
                said(1, &config, "")
            );
        }
        let plugin = format!("plugin version does not allow {command}");
        for version in ["1.1.1", "1.2.0", "2"] {
            assert_eq!(
                given(command).version(version).refused(),
                said(1, &plugin, "")
            );
        }
        let (code, msg, details) = given(command).version("1.1").refused();
        assert_eq!((code, msg.as_str()), (1, "incompatible CNI versions"));
        assert!(details.starts_with("config is \"1.1\", plugin supports ["));
    }
    let between = given("CHECK").version("0.5.0").refused();
    assert_eq!(
        (between.0, between.1.as_str()),
        (1, "incompatible CNI versions")
    );
}

#[test]
fn later_commands_need_a_version_that_can_be_compared() {
    for command in ["CHECK", "GC", "STATUS"] {
        for (version, reason) in [
            ("x", "failed to convert major version part \"x\": "),
            ("1.y.0", "failed to convert minor version part \"y\": "),
            ("1.0.z", "failed to convert micro version part \"z\": "),
            ("1.0.0.0", "invalid version \"1.0.0.0\": too many parts"),
        ] {
            let (code, msg, details) = given(command).version(version).refused();
            assert_eq!((code, details.as_str()), (6, ""));
            assert!(msg.starts_with(reason), "{msg}");
        }
    }
}
