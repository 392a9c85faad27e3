//! PURE: one call, from its environment to its answer.

use std::io;

use super::environment::{Command, Environment, is_identifier};
use super::error::{Code, Error};
use super::input::{network_name, version_text};
use super::print::{Node, Object};
use super::result::IpamResult;
use super::version::{Version, parse_parts};

/// What a plugin does for each command.
///
/// A call is refused before it gets here unless its environment and the protocol's part of its
/// configuration are in order. No method may write to stdout.
pub trait Plugin {
    /// Gives addresses to an interface.
    fn add(&mut self, call: &Call) -> Result<IpamResult, Error>;

    /// Takes them back; what is not there needs no taking back.
    fn del(&mut self, call: &Call) -> Result<(), Error>;

    /// Confirms that the interface still has them.
    fn check(&mut self, call: &Call) -> Result<(), Error>;

    /// Takes back what no valid attachment has.
    fn gc(&mut self, call: &Call) -> Result<(), Error>;

    /// Confirms that [`Plugin::add`] could serve a call.
    fn status(&mut self, call: &Call) -> Result<(), Error>;

    /// Whether a path leads to the network namespace that the plugin itself runs in; one that
    /// cannot be opened does not.
    fn is_own_netns(&self, netns: &str) -> bool;
}

/// A call that the protocol has no objection to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The container's id; empty for GC and STATUS.
    pub container_id: String,
    /// The path of the container's network namespace; may be empty for DEL, GC and STATUS.
    pub netns: String,
    /// The name of the interface in it; empty for GC and STATUS.
    pub ifname: String,
    /// The text of `CNI_ARGS`, for [`super::args::Args::parse`].
    pub args: String,
    /// The directories with plugins, with colons between them.
    pub path: String,
    /// The configuration's version, which is also that of the result.
    pub version: Version,
    /// The network's name.
    pub network: String,
    /// The configuration: bytes that are a JSON object.
    pub stdin: Vec<u8>,
}

/// The answer to a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// One JSON document, or nothing.
    pub stdout: Vec<u8>,
    /// Words for a person who runs the program by hand.
    pub stderr: Vec<u8>,
    /// The exit code: 0, or 1 with an error on stdout.
    pub exit: u8,
}

impl Reply {
    /// The answer that a call failed.
    #[must_use]
    pub fn failure(error: &Error) -> Self {
        Self {
            stdout: error.render(),
            stderr: Vec::new(),
            exit: 1,
        }
    }

    fn success(stdout: Vec<u8>) -> Self {
        Self {
            stdout,
            ..Self::default()
        }
    }

    /// The answer to a person who runs the program without a command.
    fn about(about: &str) -> Self {
        let versions = Version::ALL.map(Version::as_str).join(", ");
        Self {
            stderr: format!("{about}\nCNI protocol versions supported: {versions}\n").into_bytes(),
            ..Self::default()
        }
    }
}

/// Answers one call.
///
/// `read_stdin` is called only for commands that have a configuration; `about` says which program
/// this is.
pub fn dispatch(
    environment: &Environment,
    read_stdin: impl FnOnce() -> io::Result<Vec<u8>>,
    plugin: &mut impl Plugin,
    about: &str,
) -> Reply {
    if environment.command.is_empty() {
        return Reply::about(about);
    }
    match serve(environment, read_stdin, plugin) {
        Ok(stdout) => Reply::success(stdout),
        Err(error) => Reply::failure(&error),
    }
}

fn serve(
    environment: &Environment,
    read_stdin: impl FnOnce() -> io::Result<Vec<u8>>,
    plugin: &mut impl Plugin,
) -> Result<Vec<u8>, Error> {
    environment.check()?;
    if environment.asks_for_versions() {
        return Ok(supported_versions());
    }
    let stdin = read_stdin()
        .map_err(|error| Error::new(Code::Io, format!("error reading from stdin: {error}")))?;
    let network = checked_network_name(&stdin)?;
    let Some(command) = environment.command() else {
        let msg = format!("unknown CNI_COMMAND: {}", environment.command);
        return Err(Error::new(Code::InvalidEnvironment, msg));
    };
    let version = checked_version(command, &version_text(&stdin)?)?;
    let (container_id, ifname) = environment.interface(command);
    let call = Call {
        container_id: container_id.to_owned(),
        netns: environment.netns.clone(),
        ifname: ifname.to_owned(),
        args: environment.args.clone(),
        path: environment.path.clone(),
        version,
        network,
        stdin,
    };
    run(command, &call, environment, plugin)
}

fn run(
    command: Command,
    call: &Call,
    environment: &Environment,
    plugin: &mut impl Plugin,
) -> Result<Vec<u8>, Error> {
    match command {
        Command::Add => {
            // Refused before the work: an address given afterwards would stay taken.
            refuse_own_netns(environment, plugin)?;
            return plugin.add(call)?.render(call.version);
        }
        Command::Del => {
            plugin.del(call)?;
            // Refused after the work: what is there is to be taken back whatever the namespace.
            refuse_own_netns(environment, plugin)?;
        }
        Command::Check => plugin.check(call)?,
        Command::Gc => plugin.gc(call)?,
        Command::Status => plugin.status(call)?,
    }
    Ok(Vec::new())
}

fn checked_network_name(stdin: &[u8]) -> Result<String, Error> {
    let name = network_name(stdin)?;
    if name.is_empty() {
        return Err(Error::new(Code::InvalidConfig, "missing network name"));
    }
    if !is_identifier(&name) {
        let msg = "invalid characters found in network name";
        return Err(Error::new(Code::InvalidConfig, msg).with_details(name));
    }
    Ok(name)
}

/// The configuration's version, when it has the command and the plugin has the version.
fn checked_version(command: Command, text: &str) -> Result<Version, Error> {
    let Some((name, since)) = command.added_in() else {
        return Ok(text.parse::<Version>()?);
    };
    let parts = parse_parts(text).map_err(|error| Error::new(Code::Decoding, error.to_string()))?;
    let too_far = if parts < since.parts() {
        "config"
    } else if parts > Version::NEWEST.parts() {
        "plugin"
    } else {
        return Ok(text.parse::<Version>()?);
    };
    let msg = format!("{too_far} version does not allow {name}");
    Err(Error::new(Code::IncompatibleVersion, msg))
}

fn refuse_own_netns(environment: &Environment, plugin: &impl Plugin) -> Result<(), Error> {
    let netns = environment.netns.as_str();
    if netns.is_empty() || environment.allows_own_netns() || !plugin.is_own_netns(netns) {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidNetNs,
        "plugin's netns and netns from CNI_NETNS should not be the same",
    ))
}

/// The answer to VERSION, which ends in a newline.
fn supported_versions() -> Vec<u8> {
    let versions = Version::ALL.map(|version| Node::Text(version.to_string()));
    let mut document = Object::default()
        .text("cniVersion", Version::NEWEST.as_str())
        .list_unless_empty("supportedVersions", versions.into())
        .compact();
    document.push(b'\n');
    document
}

#[cfg(test)]
mod tests;
