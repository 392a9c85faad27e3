//! PURE: where the reports of what was released are saved.

use std::path::{Path, PathBuf};

/// Where what was released is saved, so that it can be put back.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Reports {
    /// Save what is released to this file, for undo: before the first release, and again at the end.
    /// If it cannot be written, nothing is released.
    #[arg(
        long = "report",
        id = "report_file",
        env = "IP_RECONCILER_REPORT",
        value_name = "FILE",
        help_heading = "Undo"
    )]
    file: Option<PathBuf>,

    /// Keep the reports of the last runs that released something, for undo, as config maps; 0 keeps
    /// none.
    #[arg(long = "keep-reports", id = "keep_reports", env = "IP_RECONCILER_KEEP_REPORTS", value_name = "REPORTS", help_heading = "Undo", default_value = "0", value_parser = clap::value_parser!(u16).range(0..=1000))]
    keep: u16,

    /// The namespace of these config maps [default: that of the pod, or of the kubeconfig's context].
    #[arg(
        long = "reports-namespace",
        id = "reports_namespace",
        env = "IP_RECONCILER_REPORTS_NAMESPACE",
        value_name = "NAMESPACE",
        help_heading = "Undo"
    )]
    namespace: Option<String>,
}

impl Reports {
    /// The file for the report.
    pub(in crate::cli) fn file(&self) -> Option<&Path> {
        let file = self.file.as_deref();
        file.filter(|path| !path.as_os_str().is_empty())
    }

    /// How many reports to keep.
    pub(in crate::cli) fn keep(&self) -> usize {
        self.keep.into()
    }

    /// In which namespace.
    pub(in crate::cli) fn namespace(&self) -> Option<&str> {
        let namespace = self.namespace.as_deref();
        namespace.filter(|namespace| !namespace.is_empty())
    }
}
