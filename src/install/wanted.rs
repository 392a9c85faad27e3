//! PURE: what the files on the node are to say.

use k8s_openapi::ByteString;
use serde_json::json;

/// What a kubeconfig and the flat file are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The API server, as a URL.
    pub server: String,
    /// The certificate authority of the API server, as PEM.
    pub authority: Vec<u8>,
    /// The service account's token.
    pub token: String,
    /// Where the records are.
    pub namespace: String,
    /// The node's name.
    pub node: String,
    /// Where the kubeconfig is, as the plugin sees it; the other files are beside it.
    pub kubeconfig: String,
}

/// The name of the flat file.
pub const FLAT_FILE: &str = "whereabouts.conf";
/// The name of the file with the node's name.
pub const NODE_NAME: &str = "nodename";

/// One file beside the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the folder.
    pub name: String,
    /// All of it.
    pub content: Vec<u8>,
    /// Who may read it.
    pub mode: u32,
}

/// The files, the one that refers to the others last.
#[must_use]
pub fn files(facts: &Facts) -> [File; 3] {
    let Facts {
        server,
        authority,
        token,
        namespace,
        node,
        kubeconfig: path,
    } = facts;
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    // JSON is YAML too, and needs no thought about quotes.
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {
            "server": server,
            "certificate-authority-data": ByteString(authority.clone()),
        }}],
        "users": [{"name": "whereabouts", "user": {"token": token}}],
        "contexts": [{"name": "whereabouts", "context": {
            "cluster": "cluster", "user": "whereabouts", "namespace": namespace,
        }}],
        "current-context": "whereabouts",
    });
    let flat = json!({
        "datastore": "kubernetes",
        "kubernetes": {"kubeconfig": path},
        "configuration_path": folder,
    });
    [
        File {
            name: NODE_NAME.to_owned(),
            content: format!("{node}\n").into_bytes(),
            mode: 0o644,
        },
        File {
            name: name.to_owned(),
            content: format!("{kubeconfig:#}\n").into_bytes(),
            mode: 0o600,
        },
        File {
            name: FLAT_FILE.to_owned(),
            content: format!("{flat:#}\n").into_bytes(),
            mode: 0o644,
        },
    ]
}

/// The URL of an API server from what the kubelet tells every container.
#[must_use]
pub fn server(host: &str, port: &str) -> String {
    // An IPv6 address has to stand in brackets (RFC 3986, 3.2.2).
    if host.contains(':') && !host.starts_with('[') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_either_family_makes_a_url() {
        assert_eq!(server("10.96.0.1", "443"), "https://10.96.0.1:443");
        assert_eq!(server("fd00::1", "6443"), "https://[fd00::1]:6443");
    }

    #[test]
    fn a_kubeconfig_holds_what_the_plugin_needs_whatever_is_in_it() {
        let facts = Facts {
            server: "https://10.96.0.1:443".to_owned(),
            authority: b"-----BEGIN".to_vec(),
            token: "a\"b: {c".to_owned(),
            namespace: "kube-system".to_owned(),
            node: "node-a".to_owned(),
            kubeconfig: "/etc/cni/net.d/whereabouts.d/w.kubeconfig".to_owned(),
        };
        let [node, kubeconfig, flat] = files(&facts);
        assert_eq!(node.content, b"node-a\n");
        assert_eq!(
            (&*kubeconfig.name, kubeconfig.mode),
            ("w.kubeconfig", 0o600)
        );
        let read: kube::config::Kubeconfig = serde_yaml::from_slice(&kubeconfig.content).unwrap();
        let read = serde_json::to_value(read).unwrap();
        assert_eq!(read["users"][0]["user"]["token"], facts.token);
        let authority = &read["clusters"][0]["cluster"]["certificate-authority-data"];
        assert_eq!(authority, "LS0tLS1CRUdJTg==");
        let flat: serde_json::Value = serde_json::from_slice(&flat.content).unwrap();
        assert_eq!(flat["kubernetes"]["kubeconfig"], facts.kubeconfig);
        assert_eq!(flat["configuration_path"], "/etc/cni/net.d/whereabouts.d");
    }
}
