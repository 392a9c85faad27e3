//! PURE: how to reach etcd, as the configuration says.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Map;

use super::raw::Ipam;
use super::{Error, ReadFile, merge};

/// How to reach etcd.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Each with its port, and its scheme where that is written.
    pub endpoints: Vec<String>,
    /// Name and password.
    pub user: Option<(String, String)>,
    /// Who signs the servers' certificates.
    pub ca_cert_file: Option<PathBuf>,
    /// The own certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}

impl fmt::Debug for EtcdConfig {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish_non_exhaustive()
    }
}

impl EtcdConfig {
    /// Checks settings that stand in no network configuration, by their names there; what they leave
    /// out, the flat file says.
    pub fn load(
        settings: impl IntoIterator<Item = (&'static str, String)>,
        flat_file: Option<&Path>,
        read_file: ReadFile<'_>,
    ) -> Result<Self, Error> {
        let settings = settings.into_iter();
        let mut document: Map<_, _> = settings
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        if let Some(path) = flat_file {
            let path = path.display().to_string();
            let flat = merge::first_of(std::iter::once(&*path), read_file)?;
            let flat = flat.ok_or_else(|| Error::FlatFile {
                path: path.clone(),
                reason: "there is no such file".to_owned(),
            })?;
            merge::fill(&mut document, flat);
        }
        let ipam = merge::typed(&document).map_err(|error| Error::Json {
            reason: error.to_string(),
            bytes: "(not shown: there may be a password in it)".to_owned(),
        })?;
        Self::of(&ipam)
    }

    pub(super) fn of(ipam: &Ipam) -> Result<Self, Error> {
        let endpoints = ipam.etcd_host.split([',', ' ']).map(str::trim);
        let endpoints: Vec<String> = endpoints
            .filter(|endpoint| !endpoint.is_empty())
            .map(|endpoint| endpoint.trim_end_matches('/').to_owned())
            .collect();
        if endpoints.is_empty() {
            return Err(Error::Etcd("etcd_host is missing: write HOST:PORT"));
        }
        if endpoints.iter().any(|endpoint| endpoint.contains('@')) {
            // Endpoints are shown in errors.
            return Err(Error::Etcd(
                "etcd_host names a user: write that into etcd_username and etcd_password",
            ));
        }
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let (cert_file, key_file) = (path(&ipam.etcd_cert_file), path(&ipam.etcd_key_file));
        if cert_file.is_some() != key_file.is_some() {
            return Err(Error::Etcd("etcd_cert_file and etcd_key_file go together"));
        }
        let (name, password) = (&ipam.etcd_username, &ipam.etcd_password);
        if name.is_empty() && !password.is_empty() {
            return Err(Error::Etcd("etcd_password needs etcd_username"));
        }
        if !ipam.node_slice_size.is_empty() {
            return Err(Error::Etcd(
                "node slices are objects of Kubernetes: leave node_slice_size out",
            ));
        }
        Ok(Self {
            endpoints,
            user: (!name.is_empty()).then(|| (name.clone(), password.clone())),
            ca_cert_file: path(&ipam.etcd_ca_cert_file),
            cert_file,
            key_file,
        })
    }
}
