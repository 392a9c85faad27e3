//! PURE: whether a call failed because a certificate is refused, which asking again does not change.
//!
//! Known by the words of rustls: what h2 passes on of its errors is text.

/// What stands before why we refuse the server's certificate.
const THEIRS: &str = "invalid peer certificate";
/// What is said of a key that is another certificate's.
const OTHER_PAIR: &str = "KeyMismatch";
/// What stands before why the server refuses us.
const ALERT: &str = "received fatal alert: ";
/// Which of these are about our certificate.
const OURS: [&str; 9] = [
    "NoCertificate",
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "CertificateRequired",
    "UnknownCA",
    "AccessDenied",
];

/// Whose certificate is refused, and by which settings it is; `None` where that is not why it failed.
pub(super) fn refused(failure: &str) -> Option<&'static str> {
    if failure.contains(THEIRS) {
        return Some("its certificate is refused (etcd_ca_cert_file, etcd_host)");
    }
    if failure.contains(OTHER_PAIR) {
        return Some("the key is not that of the certificate (etcd_cert_file, etcd_key_file)");
    }
    let (_, alert) = failure.split_once(ALERT)?;
    let name = alert.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    OURS.contains(&name)
        .then_some("it refuses our certificate (etcd_cert_file, etcd_key_file)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_about_certificates_are_final() {
        for (failure, whose) in [
            ("tls: invalid peer certificate: UnknownIssuer", Some("its")),
            (
                "received fatal alert: CertificateRequired",
                Some("it refuses"),
            ),
            (
                "h2: received fatal alert: UnknownCA: stream",
                Some("it refuses"),
            ),
            ("keys may not be consistent: KeyMismatch", Some("the key")),
            ("received fatal alert: InternalError", None),
            ("stream closed because of a broken pipe", None),
            ("", None),
        ] {
            let found = refused(failure);
            assert_eq!(found.is_some(), whose.is_some(), "{failure}");
            assert!(found.unwrap_or("").starts_with(whose.unwrap_or("")));
        }
    }
}
