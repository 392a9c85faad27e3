//! PURE: what the user typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::NonEmptyStringValueParser;
use tracing::level_filters::LevelFilter;

use crate::{duration, log};

/// Puts the CNI plugin onto a node, with a kubeconfig that stays valid, and keeps both right.
///
/// Writes the program, the flat file, the node's name, and a kubeconfig with this pod's token, each by
/// a rename; looks again every few seconds, because the kubelet replaces the token. It makes no call to
/// the API server. When it ends it leaves everything where it is.
#[derive(Debug, Parser)]
#[command(
    name = "whereabouts-install",
    version,
    args_override_self = true,
    max_term_width = 98,
    after_help = "Exit codes: 0 installed, or ended by a signal; 1 failed, or --check found \
        something amiss; 2 wrong usage."
)]
pub(super) struct Options {
    /// Only say whether everything is in place, and change nothing.
    #[arg(long, conflicts_with = "once")]
    pub(super) check: bool,

    /// Install once and end.
    #[arg(long)]
    pub(super) once: bool,

    /// The program to install.
    #[arg(
        long,
        env = "WHEREABOUTS_INSTALL_SOURCE",
        value_name = "FILE",
        default_value = "/whereabouts"
    )]
    pub(super) source: PathBuf,

    /// The node's folder of CNI programs, as this container sees it; it has to exist.
    #[arg(
        long,
        env = "WHEREABOUTS_INSTALL_CNI_BIN_DIR",
        value_name = "DIR",
        default_value = "/host/opt/cni/bin"
    )]
    pub(super) cni_bin_dir: PathBuf,

    /// The folder of the configuration, as this container sees it; the folder around it has to exist.
    #[arg(
        long,
        env = "WHEREABOUTS_INSTALL_CNI_CONF_DIR",
        value_name = "DIR",
        default_value = "/host/etc/cni/net.d/whereabouts.d"
    )]
    pub(super) cni_conf_dir: PathBuf,

    /// The kubeconfig in that folder, as the plugin sees it on the node.
    #[arg(long, env = "WHEREABOUTS_INSTALL_KUBECONFIG_PATH", value_name = "FILE", default_value = "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig", value_parser = path_of_a_file)]
    pub(super) kubeconfig_path: String,

    /// The node's name, as the API server knows it.
    #[arg(long, env = "NODE_NAME", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) node_name: String,

    /// The namespace in which addresses are recorded.
    #[arg(
        long,
        env = "WHEREABOUTS_INSTALL_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "kube-system"
    )]
    pub(super) namespace: String,

    /// The folder with this pod's token and the certificate authority.
    #[arg(
        long,
        env = "WHEREABOUTS_INSTALL_SERVICE_ACCOUNT_DIR",
        value_name = "DIR",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount"
    )]
    pub(super) service_account_dir: PathBuf,

    /// The API server, as the node reaches it [default: the one that the kubelet tells].
    #[arg(long, env = "WHEREABOUTS_INSTALL_API_SERVER", value_name = "URL")]
    pub(super) api_server: Option<String>,

    /// How often to look whether the token has changed.
    #[arg(long, env = "WHEREABOUTS_INSTALL_INTERVAL", value_name = "DURATION", default_value = "5s", value_parser = interval)]
    pub(super) interval: Duration,

    /// What to log: off, error, warn, info, debug or trace.
    #[arg(long, env = "WHEREABOUTS_INSTALL_LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = log::parse_level)]
    pub(super) log_level: LevelFilter,

    /// How a line of the log looks.
    #[arg(
        long,
        env = "WHEREABOUTS_INSTALL_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(super) log_format: log::Format,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text).map_err(|error| error.to_string())?;
    let most = Duration::from_hours(1);
    if interval < Duration::from_millis(100) || interval > most {
        return Err("it has to be between 100ms and 1h".to_owned());
    }
    Ok(interval)
}

/// An absolute path of a file in a folder: the plugin is started anywhere.
fn path_of_a_file(text: &str) -> Result<String, String> {
    let path = std::path::Path::new(text);
    if path.is_absolute() && path.file_name().is_some() && path.parent().is_some() {
        Ok(text.to_owned())
    } else {
        Err("it has to be the absolute path of a file".to_owned())
    }
}
