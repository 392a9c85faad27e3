//! PURE: `CNI_ARGS`, the extra arguments of a call.

use super::error;

/// The arguments that the plugin knows, as they were given; an empty one is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    /// `IP`: addresses that the caller wants.
    pub ip: Option<String>,
    /// `GATEWAY`: gateways for them.
    pub gateway: Option<String>,
    /// `K8S_POD_NAME`.
    pub pod_name: Option<String>,
    /// `K8S_POD_NAMESPACE`.
    pub pod_namespace: Option<String>,
    /// `K8S_POD_INFRA_CONTAINER_ID`.
    pub infra_container_id: Option<String>,
    /// `K8S_POD_UID`, which counts as unknown: a caller gives it with `IgnoreUnknown` only.
    pub pod_uid: Option<String>,
}

/// Why a text is no list of arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A pair does not have exactly one `=`.
    #[error("ARGS: invalid pair {0:?}")]
    InvalidPair(String),
    /// The value of `IgnoreUnknown` is neither true nor false.
    #[error(
        "ARGS: error parsing value of pair {pair:?}: boolean unmarshal error: invalid input {value}"
    )]
    NoBoolean {
        /// The pair as it was given.
        pair: String,
        /// Its value in lower case.
        value: String,
    },
    /// Pairs with unknown keys, which are not to be ignored.
    #[error("ARGS: unknown args [{list}]", list = quoted(.0))]
    Unknown(Vec<String>),
}

impl From<Error> for error::Error {
    fn from(error: Error) -> Self {
        Self::internal(format!("LoadArgs - CNI Args Parsing Error: {error}"))
    }
}

/// Whether unknown keys are an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UnknownKeys {
    Refused,
    Ignored,
}

impl Args {
    /// Reads `KEY=VALUE` pairs with semicolons between them; the last one of a key counts.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut args = Self::default();
        let mut unknown = Vec::new();
        let mut unknown_keys = UnknownKeys::Refused;
        if text.is_empty() {
            return Ok(args);
        }
        for pair in text.split(';') {
            let (key, value) = split_pair(pair)?;
            let given = Some(value.to_owned()).filter(|value| !value.is_empty());
            match key {
                "IgnoreUnknown" => unknown_keys = parse_ignore(pair, value)?,
                "IP" => args.ip = given,
                "GATEWAY" => args.gateway = given,
                "K8S_POD_NAME" => args.pod_name = given,
                "K8S_POD_NAMESPACE" => args.pod_namespace = given,
                "K8S_POD_INFRA_CONTAINER_ID" => args.infra_container_id = given,
                _ => {
                    if key == "K8S_POD_UID" {
                        args.pod_uid = given;
                    }
                    unknown.push(pair.to_owned());
                }
            }
        }
        if unknown_keys == UnknownKeys::Refused && !unknown.is_empty() {
            return Err(Error::Unknown(unknown));
        }
        Ok(args)
    }
}

fn split_pair(pair: &str) -> Result<(&str, &str), Error> {
    pair.split_once('=')
        .filter(|(_, value)| !value.contains('='))
        .ok_or_else(|| Error::InvalidPair(pair.to_owned()))
}

fn parse_ignore(pair: &str, value: &str) -> Result<UnknownKeys, Error> {
    let value = value.to_lowercase();
    match value.as_str() {
        "1" | "true" => Ok(UnknownKeys::Ignored),
        "0" | "false" => Ok(UnknownKeys::Refused),
        _ => Err(Error::NoBoolean {
            pair: pair.to_owned(),
            value,
        }),
    }
}

fn quoted(pairs: &[String]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|pair| format!("{pair:?}")).collect();
    pairs.join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(text: &str) -> String {
        Args::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_text_that_is_empty_has_no_arguments() {
        assert_eq!(Args::parse(""), Ok(Args::default()));
    }

    #[test]
    fn each_known_key_has_its_place() {
        let args = Args::parse(
            "IP=10.0.0.5/24, 10.0.0.6/24;GATEWAY=10.0.0.1;K8S_POD_NAME=web-0;\
             K8S_POD_NAMESPACE=shop;K8S_POD_INFRA_CONTAINER_ID=c1",
        );
        let expected = Args {
            ip: Some("10.0.0.5/24, 10.0.0.6/24".to_owned()),
            gateway: Some("10.0.0.1".to_owned()),
            pod_name: Some("web-0".to_owned()),
            pod_namespace: Some("shop".to_owned()),
            infra_container_id: Some("c1".to_owned()),
            pod_uid: None,
        };
        assert_eq!(args, Ok(expected));
    }

    #[test]
    fn what_multus_sends_names_the_pod_with_its_uid() {
        let args = Args::parse(
            "IgnoreUnknown=true;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;\
             K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1",
        );
        let expected = Args {
            pod_name: Some("web-0".to_owned()),
            pod_namespace: Some("shop".to_owned()),
            infra_container_id: Some("c1".to_owned()),
            pod_uid: Some("u1".to_owned()),
            ..Args::default()
        };
        assert_eq!(args, Ok(expected));
    }

    #[test]
    fn the_last_pair_of_a_key_counts_and_an_empty_value_is_absent() {
        let args = Args::parse("IP=a;IP=b;GATEWAY=c;GATEWAY=;K8S_POD_NAME=").unwrap();
        assert_eq!(args.ip, Some("b".to_owned()));
        assert_eq!(args.gateway, None);
        assert_eq!(args.pod_name, None);
        assert_eq!(
            reason("IgnoreUnknown=1;IgnoreUnknown=0;X=1"),
            r#"ARGS: unknown args ["X=1"]"#
        );
    }

    #[test]
    fn each_pair_has_exactly_one_equals_sign() {
        for (text, pair) in [
            ("IP", "IP"),
            ("IP=a;", ""),
            (";IP=a", ""),
            ("IP=a;;GATEWAY=b", ""),
            ("IP=a=b", "IP=a=b"),
            ("IgnoreUnknown=1;X=a=b", "X=a=b"),
            ("X=1;IP", "IP"),
        ] {
            assert_eq!(
                reason(text),
                format!("ARGS: invalid pair {pair:?}"),
                "{text:?}"
            );
        }
    }

    #[test]
    fn unknown_keys_are_ignored_only_when_told_so_at_any_position() {
        for value in ["1", "true", "TRUE", "True", "tRuE"] {
            for text in [
                format!("IgnoreUnknown={value};X=1"),
                format!("X=1;IgnoreUnknown={value}"),
            ] {
                assert_eq!(Args::parse(&text), Ok(Args::default()), "{text:?}");
            }
        }
        for (text, list) in [
            ("FOO=bar", r#""FOO=bar""#),
            ("FOO=bar;IP=a;X=", r#""FOO=bar" "X=""#),
            ("X=1;IgnoreUnknown=0", r#""X=1""#),
            ("IgnoreUnknown=False;X=1", r#""X=1""#),
            ("K8S_POD_UID=u1", r#""K8S_POD_UID=u1""#),
            ("=x", r#""=x""#),
            ("ip=x", r#""ip=x""#),
            ("ignoreunknown=1", r#""ignoreunknown=1""#),
            (" IP=x", r#"" IP=x""#),
        ] {
            assert_eq!(
                reason(text),
                format!("ARGS: unknown args [{list}]"),
                "{text:?}"
            );
        }
    }

    #[test]
    fn ignore_unknown_is_true_or_false() {
        for (pair, value) in [
            ("IgnoreUnknown=x", "x"),
            ("IgnoreUnknown=YES", "yes"),
            ("IgnoreUnknown=", ""),
        ] {
            assert_eq!(
                reason(&format!("X=1;{pair}")),
                format!(
                    "ARGS: error parsing value of pair \"{pair}\": boolean unmarshal error: \
                     invalid input {value}"
                )
            );
        }
    }

    #[test]
    fn the_caller_is_told_with_code_999() {
        let error = error::Error::from(Args::parse("FOO=bar").unwrap_err());
        assert_eq!(error.code.number(), 999);
        assert_eq!(
            error.msg,
            r#"LoadArgs - CNI Args Parsing Error: ARGS: unknown args ["FOO=bar"]"#
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([A-Z=;]|IP|IgnoreUnknown|K8S_POD_UID|\\PC)*") {
            let _ = Args::parse(&text);
        }
    }
}
