//! PURE: what the body of an error says.

use kube::core::Status;
use prost::Message;

use super::Encoding;

/// What an error's body says; bodies of proxies and load balancers are no `Status`.
pub(super) fn read(code: u16, encoding: Encoding, body: &[u8]) -> Status {
    let status = match encoding {
        Encoding::Json => serde_json::from_slice(body).ok(),
        Encoding::Protobuf => from_protobuf(body),
    };
    let Some(status) = status.filter(Status::is_failure) else {
        let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
        return Status::failure(text.trim(), "").with_code(code);
    };
    if status.code == 0 {
        status.with_code(code)
    } else {
        status
    }
}

/// The envelope (`runtime.Unknown` of k8s.io/apimachinery), behind its magic.
#[derive(Message)]
struct Envelope {
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

/// `meta.v1.Status`, without its details: only lists are asked for in protocol buffers, and nobody asks
/// about those of a list.
#[derive(Message)]
struct Wire {
    #[prost(string, tag = "2")]
    status: String,
    #[prost(string, tag = "3")]
    message: String,
    #[prost(string, tag = "4")]
    reason: String,
    #[prost(int32, tag = "6")]
    code: i32,
}

fn from_protobuf(body: &[u8]) -> Option<Status> {
    let envelope = Envelope::decode(body.strip_prefix(Encoding::MAGIC)?).ok()?;
    let wire = Wire::decode(&*envelope.raw).ok()?;
    let status = Status::failure(&wire.message, &wire.reason)
        .with_code(u16::try_from(wire.code).unwrap_or_default());
    (wire.status == "Failure").then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_both_encodings() {
        let wire = Wire {
            status: "Failure".to_owned(),
            message: "the provided continue parameter is too old".to_owned(),
            reason: "Expired".to_owned(),
            code: 410,
        };
        let envelope = Envelope {
            raw: wire.encode_to_vec(),
        };
        let body = [Encoding::MAGIC, &envelope.encode_to_vec()].concat();
        let expected = Status::failure(&wire.message, &wire.reason).with_code(410);
        assert_eq!(read(410, Encoding::Protobuf, &body), expected);
        let json = serde_json::to_vec(&expected).unwrap();
        assert_eq!(read(410, Encoding::Json, &json), expected);
    }

    #[test]
    fn whatever_else_was_answered_is_shown_with_its_code() {
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            for body in [&b""[..], b"k8s\0", b"k8s\0\x12\xff", b"{}", b"null"] {
                let status = read(502, encoding, body);
                assert!(status.is_failure() && status.code == 502, "{body:?}");
            }
            let status = read(502, encoding, b" Bad Gateway\n");
            assert_eq!(status.message, "Bad Gateway");
        }
    }
}
