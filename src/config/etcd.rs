//! PURE: how to reach etcd, as the configuration says.

use std::fmt;
use std::path::{Path, PathBuf};

use http::uri::Authority;
use serde_json::Map;

use super::raw::Ipam;
use super::{Error, ReadFile, members, merge};

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

/// Whether it is a host with its port, and maybe a scheme that etcd has.
fn is_endpoint(text: &str) -> bool {
    let schemes = ["http://", "https://"];
    let authority = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    let authority = authority.unwrap_or(text).parse::<Authority>();
    authority.is_ok_and(|authority| authority.port_u16().is_some() && !authority.host().is_empty())
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
    /// out, the flat file says. Beside them, what of the flat file is no setting.
    ///
    /// # Errors
    /// When something of it cannot be used; what is no setting is named then as well, since a mistyped
    /// one may be why.
    pub fn load(
        settings: impl IntoIterator<Item = (&'static str, String)>,
        flat_file: Option<&Path>,
        read_file: ReadFile<'_>,
    ) -> Result<(Self, Vec<String>), String> {
        let unread = |error: Error| error.to_string();
        let settings = settings.into_iter();
        let mut document: Map<_, _> = settings
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        if let Some(path) = flat_file {
            let path = path.display().to_string();
            let flat = merge::first_of(std::iter::once(&*path), read_file).map_err(unread)?;
            let flat = flat.ok_or_else(|| format!("there is no file {path}"))?;
            merge::fill(&mut document, flat);
        }
        let ipam = merge::typed(&document).map_err(|error| {
            let bytes = "(not shown: there may be a password in it)".to_owned();
            let reason = error.to_string();
            unread(Error::Json { reason, bytes })
        })?;
        let unknown = members::unknown("the file", &document);
        match Self::of(&ipam) {
            Ok(config) => Ok((config, unknown)),
            Err(error) => Err(std::iter::once(error.to_string())
                .chain(unknown)
                .collect::<Vec<_>>()
                .join("; ")),
        }
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
        if let Some(odd) = endpoints.iter().find(|endpoint| !is_endpoint(endpoint)) {
            return Err(Error::Endpoint(odd.clone()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_with_its_port() {
        for good in [
            "a:1",
            "10.0.0.1:2379",
            "[fd00::1]:2379",
            "http://a.b:1",
            "https://[::1]:1",
        ] {
            assert!(is_endpoint(good), "{good}");
        }
        for bad in [
            "a",
            "a:",
            ":1",
            "a:x",
            "a:99999",
            "fd00::1:2379",
            "htps://a:1",
            "http://a",
            "a:1/v3",
            "https://a:1?x",
            "http://",
            "http://http://a:1",
        ] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }
}
