//! The keys, certificates and tokens of one control plane (pure but for randomness).

use std::hash::{BuildHasher, Hasher, RandomState};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// The names under which the API server may be addressed.
const SERVER_NAMES: [&str; 6] = [
    "127.0.0.1",
    // The first address of the services, by which pods know it.
    "10.96.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
];

/// Everything secret that a control plane needs, as the text of the files.
pub(super) struct Credentials {
    /// The certificate of the authority, which clients trust.
    pub(super) ca: String,
    /// The API server's certificate.
    pub(super) certificate: String,
    /// The key of `certificate`.
    pub(super) key: String,
    /// Signs the tokens of service accounts.
    pub(super) service_account_key: String,
    /// The public half of `service_account_key`, which verifies those tokens.
    pub(super) service_account_public_key: String,
    /// The administrator's token.
    pub(super) admin_token: String,
}

impl Credentials {
    /// Makes new ones.
    pub(super) fn generate() -> Result<Credentials, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "test control plane");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let mut params = CertificateParams::new(SERVER_NAMES.map(String::from).to_vec())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &ca)?;
        let service_accounts = KeyPair::generate()?;

        Ok(Credentials {
            ca: ca.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            service_account_key: service_accounts.serialize_pem(),
            service_account_public_key: service_accounts.public_key_pem(),
            admin_token: random_token(),
        })
    }

    /// The API server's token file: token, user, user number, groups.
    pub(super) fn token_file(&self, nodes: &[String]) -> String {
        let admin = format!("{},admin,1,\"system:masters\"\n", self.admin_token);
        let line = |node: &String| {
            let token = node_token(&self.admin_token, node);
            format!("{token},system:node:{node},{node},\"system:nodes\"\n")
        };
        nodes.iter().map(line).fold(admin, |all, line| all + &line)
    }
}

/// The token of a node's kubelet.
pub(crate) fn node_token(admin_token: &str, node: &str) -> String {
    format!("{node}-{admin_token}")
}

/// 128 bits from the seeds of the standard hasher: the server listens on the loopback only, for
/// minutes, so this need not withstand more than chance.
fn random_token() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}
