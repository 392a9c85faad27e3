//! PURE: what can be done instead of a run.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::ip::parse_address;
use crate::pod::PodRef;
use crate::reconcile::explain::Target;

/// What to do instead of a run.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Say why an address, or those of a pod, are kept or freed, and what can be done; changes
    /// nothing.
    Explain {
        /// An address such as 10.0.0.5, or a pod as NAMESPACE/NAME.
        #[arg(value_name = "ADDRESS|NAMESPACE/POD")]
        target: Target,
    },
    /// Free the records of one address by hand, after a look at them and a question; never one that
    /// a pod may use which exists.
    Release(ByHand),
    /// Put back what a saved report says was released, where nothing has taken its place.
    Undo {
        /// A file that --report has written, - for standard input, or configmap/[NAMESPACE/]NAME
        /// for a report that --keep-reports has kept.
        #[arg(value_name = "REPORT")]
        report: ReportSource,
    },
}

/// What is to be freed by hand.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct ByHand {
    /// The address, in any spelling.
    #[arg(value_parser = address)]
    pub(in crate::cli) address: IpAddr,

    /// Only what is recorded for this pod.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod)]
    pub(in crate::cli) pod: Option<PodRef>,

    /// Do not ask.
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
}

/// Where a saved report is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum ReportSource {
    /// On standard input.
    Input,
    /// In a file.
    File(PathBuf),
    /// In a `ConfigMap`, where --keep-reports puts them if no namespace is named.
    Kept {
        /// Its namespace.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
}

impl FromStr for ReportSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(rest) = text.strip_prefix("configmap/") else {
            return match text {
                "" => Err("it names no report".to_owned()),
                "-" => Ok(Self::Input),
                path => Ok(Self::File(path.into())),
            };
        };
        let (namespace, name) = match rest.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, rest),
        };
        // The names become parts of a path.
        let is_name = |text: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            !text.is_empty() && text.chars().all(plain) && !text.contains("..")
        };
        if is_name(name) && namespace.is_none_or(is_name) {
            Ok(Self::Kept {
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
            })
        } else {
            Err(format!("{rest:?} is no [NAMESPACE/]NAME of a ConfigMap"))
        }
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    parse_address(text).ok_or_else(|| format!("{text:?} is no address"))
}

fn pod(text: &str) -> Result<PodRef, String> {
    PodRef::parse(text).ok_or_else(|| format!("{text:?} is no pod as NAMESPACE/NAME"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_file_or_standard_input_or_a_config_map() {
        let kept = |namespace: Option<&str>| ReportSource::Kept {
            namespace: namespace.map(str::to_owned),
            name: "a-1".to_owned(),
        };
        for (text, source) in [
            ("-", ReportSource::Input),
            ("a.json", ReportSource::File("a.json".into())),
            ("./configmap/a", ReportSource::File("./configmap/a".into())),
            ("configmap/a-1", kept(None)),
            ("configmap/kube-system/a-1", kept(Some("kube-system"))),
        ] {
            assert_eq!(text.parse(), Ok(source), "{text}");
        }
        for text in [
            "",
            "configmap/",
            "configmap/a/b/c",
            "configmap/../pods",
            "configmap/A",
            "configmap//a",
        ] {
            assert!(text.parse::<ReportSource>().is_err(), "{text:?}");
        }
    }
}
