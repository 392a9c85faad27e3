//! PURE: the environment of a call, and the checks that come before anything else is read.

use std::ffi::OsStr;

use super::error::{Code, Error};
use super::version::Version;

/// The longest interface name that the kernel takes, in bytes.
const MAX_INTERFACE_NAME: usize = 15;

/// The variables that make a call; one that is not set is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    pub(super) command: String,
    pub(super) container_id: String,
    pub(super) netns: String,
    pub(super) ifname: String,
    pub(super) args: String,
    pub(super) path: String,
    pub(super) netns_override: String,
}

/// What the caller wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Del,
    Check,
    Gc,
    Status,
}

/// A variable that some commands need.
#[derive(Debug, Clone, Copy)]
enum Variable {
    ContainerId,
    NetNs,
    IfName,
    Path,
}

impl<K: AsRef<OsStr>, V: AsRef<OsStr>> FromIterator<(K, V)> for Environment {
    /// Of a variable that is given twice, the first one counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let mut environment = Self::default();
        let mut seen = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.as_ref().to_str() else {
                continue;
            };
            let Some(place) = environment.place_of(name) else {
                continue;
            };
            if !seen.iter().any(|seen| seen == name) {
                *place = value.as_ref().to_string_lossy().into_owned();
                seen.push(name.to_owned());
            }
        }
        environment
    }
}

impl Environment {
    fn place_of(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "CNI_COMMAND" => &mut self.command,
            "CNI_CONTAINERID" => &mut self.container_id,
            "CNI_NETNS" => &mut self.netns,
            "CNI_IFNAME" => &mut self.ifname,
            "CNI_ARGS" => &mut self.args,
            "CNI_PATH" => &mut self.path,
            "CNI_NETNS_OVERRIDE" => &mut self.netns_override,
            _ => return None,
        })
    }

    /// The command, if it is one.
    pub(super) fn command(&self) -> Option<Command> {
        Some(match self.command.as_str() {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "GC" => Command::Gc,
            "STATUS" => Command::Status,
            _ => return None,
        })
    }

    /// Whether the caller only wants to know the plugin's versions.
    pub(super) fn asks_for_versions(&self) -> bool {
        self.command == "VERSION"
    }

    /// Whether the caller wants the plugin to work in its own network namespace.
    pub(super) fn allows_own_netns(&self) -> bool {
        self.netns_override == "1" || self.netns_override.eq_ignore_ascii_case("true")
    }

    /// Checks what the command needs: a value that is there before those that are missing.
    pub(super) fn check(&self) -> Result<(), Error> {
        let needed = self.command().map_or(&[][..], Command::needs);
        let mut missing = Vec::new();
        for variable in needed {
            let value = self.value(*variable);
            if value.is_empty() {
                missing.push(variable.name());
            } else {
                variable.check(value)?;
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let missing = missing.join(",");
        Err(invalid(format!(
            "required env variables [{missing}] missing"
        )))
    }

    /// The container and the interface in it; other commands do not have these checked.
    pub(super) fn interface(&self, command: Command) -> (&str, &str) {
        match command {
            Command::Add | Command::Del | Command::Check => (&self.container_id, &self.ifname),
            Command::Gc | Command::Status => ("", ""),
        }
    }

    fn value(&self, variable: Variable) -> &str {
        match variable {
            Variable::ContainerId => &self.container_id,
            Variable::NetNs => &self.netns,
            Variable::IfName => &self.ifname,
            Variable::Path => &self.path,
        }
    }
}

impl Command {
    /// The command's name and its first version, unless all versions have it.
    pub(super) fn added_in(self) -> Option<(&'static str, Version)> {
        match self {
            Self::Add | Self::Del => None,
            Self::Check => Some(("CHECK", Version::V0_4_0)),
            Self::Gc => Some(("GC", Version::V1_1_0)),
            Self::Status => Some(("STATUS", Version::V1_1_0)),
        }
    }

    /// The variables that must be there, in the order in which they are named when missing.
    fn needs(self) -> &'static [Variable] {
        match self {
            Self::Add | Self::Check => &[
                Variable::ContainerId,
                Variable::NetNs,
                Variable::IfName,
                Variable::Path,
            ],
            Self::Del => &[Variable::ContainerId, Variable::IfName, Variable::Path],
            Self::Gc | Self::Status => &[Variable::Path],
        }
    }
}

impl Variable {
    fn name(self) -> &'static str {
        match self {
            Self::ContainerId => "CNI_CONTAINERID",
            Self::NetNs => "CNI_NETNS",
            Self::IfName => "CNI_IFNAME",
            Self::Path => "CNI_PATH",
        }
    }

    fn check(self, value: &str) -> Result<(), Error> {
        match self {
            Self::ContainerId if !is_identifier(value) => {
                Err(invalid("invalid characters in containerID").with_details(value))
            }
            Self::IfName => check_interface_name(value),
            Self::ContainerId | Self::NetNs | Self::Path => Ok(()),
        }
    }
}

/// Whether a text can be a container's id or a network's name (CNI 1.0.0, sections 2 and 3).
pub(super) fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn check_interface_name(name: &str) -> Result<(), Error> {
    if name.len() > MAX_INTERFACE_NAME {
        return Err(invalid("interface name is too long")
            .with_details("interface name should be less than 16 characters"));
    }
    if name == "." || name == ".." {
        return Err(invalid("interface name is . or .."));
    }
    if name.contains(|char: char| char == '/' || char == ':' || char.is_whitespace()) {
        return Err(invalid(
            "interface name contains / or : or whitespace characters",
        ));
    }
    Ok(())
}

fn invalid(msg: impl Into<String>) -> Error {
    Error::new(Code::InvalidEnvironment, msg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_variables_counts_and_others_are_skipped() {
        let environment: Environment = [
            ("PATH", "/bin"),
            ("CNI_COMMAND", "ADD"),
            ("CNI_COMMAND", "DEL"),
            ("CNI_ARGS", ""),
            ("CNI_ARGS", "IP=x"),
            ("CNI_NETNS", "/run/netns/x"),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            environment,
            Environment {
                command: "ADD".to_owned(),
                netns: "/run/netns/x".to_owned(),
                ..Environment::default()
            }
        );
    }

    #[test]
    fn a_value_that_is_no_text_is_still_a_value() {
        use std::os::unix::ffi::OsStrExt;

        let id = OsStr::from_bytes(b"c\xff");
        let command = OsStr::new("DEL");
        let variables = [("CNI_COMMAND", command), ("CNI_CONTAINERID", id)];
        let error = variables.into_iter().collect::<Environment>().check();
        let expected = invalid("invalid characters in containerID").with_details("c\u{fffd}");
        assert_eq!(error, Err(expected));
    }

    #[test]
    fn identifiers_begin_with_a_letter_or_a_digit() {
        for text in ["a", "0", "Az09_.-", "a-", "0_."] {
            assert!(is_identifier(text), "{text:?}");
        }
        for text in ["", "-a", "_a", ".a", "a b", "a/b", "a\n", "ä", "a\u{fffd}"] {
            assert!(!is_identifier(text), "{text:?}");
        }
    }

    #[test]
    fn interface_names_are_those_that_the_kernel_takes() {
        for name in ["e", "eth0", "123456789012345", "...", "a\u{200b}", "ä"] {
            assert_eq!(check_interface_name(name), Ok(()), "{name:?}");
        }
        for (name, msg) in [
            ("1234567890123456", "interface name is too long"),
            ("ääääääää", "interface name is too long"),
            (".", "interface name is . or .."),
            ("..", "interface name is . or .."),
            (
                "a/b",
                "interface name contains / or : or whitespace characters",
            ),
            (
                "a:b",
                "interface name contains / or : or whitespace characters",
            ),
            (
                "a b",
                "interface name contains / or : or whitespace characters",
            ),
            (
                "a\u{85}",
                "interface name contains / or : or whitespace characters",
            ),
            (
                "a\u{2003}",
                "interface name contains / or : or whitespace characters",
            ),
        ] {
            let error = check_interface_name(name).unwrap_err();
            assert_eq!(
                (error.code.number(), error.msg.as_str()),
                (4, msg),
                "{name:?}"
            );
        }
    }

    #[test]
    fn only_one_and_true_allow_the_plugins_own_namespace() {
        for (value, allowed) in [
            ("1", true),
            ("true", true),
            ("TRUE", true),
            ("", false),
            ("0", false),
            ("yes", false),
            ("t", false),
        ] {
            let environment: Environment = [("CNI_NETNS_OVERRIDE", value)].into_iter().collect();
            assert_eq!(environment.allows_own_netns(), allowed, "{value:?}");
        }
    }
}
