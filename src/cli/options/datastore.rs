//! PURE: where the records are, and how to get there.

use std::path::{Path, PathBuf};

use crate::reconcile::ledger::Datastore;

/// The variable that has the password for etcd: what is typed, others can read.
pub(in crate::cli) const PASSWORD: &str = "IP_RECONCILER_ETCD_PASSWORD";

/// Where the records are.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Records {
    /// Where the plugin keeps its records.
    #[arg(
        long,
        env = "IP_RECONCILER_DATASTORE",
        value_name = "DATASTORE",
        default_value = "kubernetes",
        help_heading = "Records"
    )]
    pub(in crate::cli) datastore: Datastore,

    /// The flat file of the plugin, for what the following flags leave out: its members begin with
    /// `etcd_`.
    #[arg(
        long,
        env = "IP_RECONCILER_ETCD_CONFIG",
        value_name = "FILE",
        help_heading = "Records"
    )]
    etcd_config: Option<PathBuf>,

    /// One endpoint or several, with commas between them.
    #[arg(
        long,
        env = "IP_RECONCILER_ETCD_HOST",
        value_name = "HOST:PORT",
        help_heading = "Records"
    )]
    etcd_host: Option<String>,

    /// The user, where etcd asks for one; the password is that of --etcd-password-file or of
    /// the environment variable `IP_RECONCILER_ETCD_PASSWORD`.
    #[arg(
        long,
        env = "IP_RECONCILER_ETCD_USERNAME",
        value_name = "NAME",
        help_heading = "Records"
    )]
    etcd_username: Option<String>,

    /// The file that has the user's password.
    #[arg(
        long,
        env = "IP_RECONCILER_ETCD_PASSWORD_FILE",
        value_name = "FILE",
        help_heading = "Records"
    )]
    etcd_password_file: Option<PathBuf>,

    /// Who signs the servers' certificates; without it, those that the machine trusts.
    #[arg(
        long,
        env = "IP_RECONCILER_ETCD_CA_CERT_FILE",
        value_name = "FILE",
        help_heading = "Records"
    )]
    etcd_ca_cert_file: Option<PathBuf>,

    /// The own certificate for etcd.
    #[arg(
        long,
        env = "IP_RECONCILER_ETCD_CERT_FILE",
        value_name = "FILE",
        help_heading = "Records"
    )]
    etcd_cert_file: Option<PathBuf>,

    /// The key of the own certificate.
    #[arg(
        long,
        env = "IP_RECONCILER_ETCD_KEY_FILE",
        value_name = "FILE",
        help_heading = "Records"
    )]
    etcd_key_file: Option<PathBuf>,
}

impl Records {
    /// The flat file, if one is named.
    pub(in crate::cli) fn flat_file(&self) -> Option<&Path> {
        non_empty(self.etcd_config.as_ref())
    }

    /// The file of the password, if one is named.
    pub(in crate::cli) fn password_file(&self) -> Option<&Path> {
        non_empty(self.etcd_password_file.as_ref())
    }

    /// What the flags say, by the names that the plugin has for it.
    pub(in crate::cli) fn settings(&self) -> Vec<(&'static str, String)> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let path = |path: &Option<PathBuf>| {
            let path = path.as_ref().map(|path| path.display().to_string());
            path.unwrap_or_default()
        };
        let all = [
            ("etcd_host", text(&self.etcd_host)),
            ("etcd_username", text(&self.etcd_username)),
            ("etcd_ca_cert_file", path(&self.etcd_ca_cert_file)),
            ("etcd_cert_file", path(&self.etcd_cert_file)),
            ("etcd_key_file", path(&self.etcd_key_file)),
        ];
        let said = all.into_iter().filter(|(_, value)| !value.is_empty());
        said.collect()
    }

    /// Whether anything is said of etcd.
    pub(super) fn name_etcd(&self) -> bool {
        let files = self.flat_file().is_some() || self.password_file().is_some();
        files || !self.settings().is_empty()
    }
}

/// An empty name, as a manifest's variable may have, is as good as none.
fn non_empty(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path)
        .filter(|path| !path.as_os_str().is_empty())
}
