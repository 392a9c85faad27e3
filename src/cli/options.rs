//! PURE: what the user typed, and what it means.

mod command;
mod contradictions;
mod datastore;
mod reports;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use tracing::level_filters::LevelFilter;

use crate::client;
use crate::log;
use crate::metrics::PushUrl;
use crate::reconcile::nodes::Rules;
use crate::reconcile::plan::{MaxRelease, Scope};
use crate::reconcile::report::{Colours, Format};
use crate::reconcile::{Brakes, Events, Mode, Repairs, Settings};
pub(super) use command::{ByHand, Command, ReportSource};
pub(super) use datastore::{PASSWORD, Records};
pub(super) use reports::Reports;
use values::{MaybePushUrl, age, any_duration, duration, non_empty, push_url};

/// How far two looks at a suspect pod are apart by default.
const SETTLE: Duration = Duration::from_secs(30);

/// When tables have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// Frees addresses that are still reserved for pods which are gone.
///
/// Reads all IP pools, reservations and pods, finds allocations whose pod has ended or vanished, and
/// deletes them. Whatever is unknown, unreadable or in doubt is kept and reported.
#[derive(Debug, Parser)]
#[command(
    name = "ip-reconciler",
    version,
    max_term_width = 98,
    after_help = "Exit codes: 0 done; 1 failed or the view was incomplete; 2 wrong usage; \
        3 orphans found (dry run with --detailed-exitcode); 4 refused by a brake; \
        5 conflicts found (with --detailed-exitcode); 130 aborted by a second signal."
)]
pub(super) struct Options {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// Only report what would be released; nothing is written.
    #[arg(long, env = "IP_RECONCILER_DRY_RUN", value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    dry_run: Option<bool>,

    /// Read `kubectl get -o yaml|json` dumps instead of a cluster; - is standard input. Implies
    /// --dry-run.
    #[arg(long, env = "IP_RECONCILER_SNAPSHOT", value_name = "FILE", value_delimiter = ',', num_args = 1.., conflicts_with_all = ["kubeconfig", "context"])]
    pub(super) snapshot: Vec<PathBuf>,

    /// How to print the report of a run or an undo.
    #[arg(
        short,
        long,
        env = "IP_RECONCILER_OUTPUT",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(super) output: Format,

    /// Whether tables have colours: auto (on a terminal, unless `NO_COLOR` is set), always or never.
    #[arg(
        long,
        env = "IP_RECONCILER_COLOR",
        value_name = "WHEN",
        default_value = "auto"
    )]
    color: Color,

    /// Exit with 5 when two pods have one address or can get one, and with 3 when a dry run finds
    /// orphans.
    #[arg(long, env = "IP_RECONCILER_DETAILED_EXITCODE", value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    detailed_exitcode: Option<bool>,

    /// Only records in this namespace; pods are always those of all namespaces.
    #[arg(
        short,
        long,
        env = "IP_RECONCILER_NAMESPACE",
        value_name = "NAMESPACE",
        help_heading = "Scope"
    )]
    namespace: Option<String>,

    /// Only records of pools of this name.
    #[arg(
        long,
        env = "IP_RECONCILER_POOL",
        value_name = "NAME",
        help_heading = "Scope"
    )]
    pool: Option<String>,

    /// How much one run may release: a percentage of all records in scope (counted only above 100
    /// records), or a number of records [default: 50%].
    #[arg(
        long,
        env = "IP_RECONCILER_MAX_RELEASE",
        value_name = "LIMIT",
        help_heading = "Safety"
    )]
    max_release: Option<MaxRelease>,

    /// Put back what a live pod provably uses: an entry or a reservation that is missing. Nothing is
    /// ever overwritten.
    #[arg(long, env = "IP_RECONCILER_REPAIR", value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Safety")]
    repair: Option<bool>,

    /// Release even when a brake would refuse.
    #[arg(long, env = "IP_RECONCILER_FORCE", value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Safety")]
    force: Option<bool>,

    /// Write events on the pools: what was released or refused, and conflicts [default: true].
    #[arg(long, env = "IP_RECONCILER_EVENTS", value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    events: Option<bool>,

    /// Also hold records that name no node, while some node is not Ready and their pod is gone.
    #[arg(long, env = "IP_RECONCILER_STRICT", value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Safety")]
    strict: Option<bool>,

    /// UNSAFE: release addresses held for a node that has not been Ready for so long. A node that is
    /// only cut off may still use them, and then two pods have one address [default: never].
    #[arg(long, env = "IP_RECONCILER_RELEASE_UNREACHABLE_AFTER", value_name = "DURATION", value_parser = age, help_heading = "Safety")]
    release_unreachable_after: Option<Duration>,

    /// Release an orphan only when it has been seen as one for so long, and its node has been Ready
    /// for as long. What was seen is remembered from run to run, on the pools [default: 0s].
    #[arg(long, env = "IP_RECONCILER_GRACE", value_name = "DURATION", value_parser = any_duration, help_heading = "Safety")]
    grace: Option<Duration>,

    /// How far two looks at a pod are apart, before it is believed that it does not have an
    /// address [default: 30s].
    #[arg(long, env = "IP_RECONCILER_SETTLE", value_name = "DURATION", value_parser = duration, help_heading = "Safety")]
    settle: Option<Duration>,

    /// When the whole run has to be over.
    #[arg(long, env = "IP_RECONCILER_TIMEOUT", value_name = "DURATION", default_value = "4m", value_parser = duration, help_heading = "Safety")]
    timeout: Duration,

    /// The kubeconfig to use; without one KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(
        long,
        env = "IP_RECONCILER_KUBECONFIG",
        value_name = "FILE",
        help_heading = "Cluster"
    )]
    kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig to use.
    #[arg(
        long,
        env = "IP_RECONCILER_CONTEXT",
        value_name = "NAME",
        help_heading = "Cluster"
    )]
    context: Option<String>,

    #[command(flatten)]
    pub(super) records: Records,

    /// How many objects to read in one page of a list.
    #[arg(long, env = "IP_RECONCILER_PAGE_SIZE", value_name = "OBJECTS", default_value = "5000", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Cluster")]
    page_size: u32,

    /// How many calls to make side by side.
    #[arg(long, env = "IP_RECONCILER_CONCURRENCY", value_name = "CALLS", default_value = "16", value_parser = clap::value_parser!(u8).range(1..), help_heading = "Cluster")]
    concurrency: u8,

    /// Push the metrics of the run to this Pushgateway; a user and a password may stand before the
    /// host.
    #[arg(
        long,
        env = "IP_RECONCILER_METRICS_PUSH",
        hide_env_values = true,
        value_name = "URL",
        value_parser = push_url,
        help_heading = "Metrics"
    )]
    metrics_push: Option<MaybePushUrl>,

    /// Write the metrics of the run to this file, for the textfile collector of node-exporter.
    #[arg(
        long,
        env = "IP_RECONCILER_METRICS_FILE",
        value_name = "FILE",
        help_heading = "Metrics"
    )]
    pub(super) metrics_file: Option<PathBuf>,

    #[command(flatten)]
    pub(super) reports: Reports,

    /// What to log: off, error, warn, info, debug or trace.
    #[arg(long, env = "IP_RECONCILER_LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = log::parse_level, help_heading = "Log")]
    pub(super) log_level: LevelFilter,

    /// How a line of the log looks.
    #[arg(
        long,
        env = "IP_RECONCILER_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Log"
    )]
    pub(super) log_format: log::Format,
}

impl Options {
    /// Reads the arguments, after the program's name, and the environment.
    ///
    /// # Errors
    /// When they make no sense, alone or together; also for `--help` and `--version`.
    pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        // Flags may stand before and behind a command.
        let command = Self::command().mut_args(|argument| argument.global(true));
        let matches = command.try_get_matches_from(go_style(arguments))?;
        let options = Self::from_arg_matches(&matches)?;
        if let Some(name) = unknown_variable(std::env::vars_os().map(|(name, _)| name)) {
            let message =
                format!("{name} in the environment is no setting: see --help for their names");
            return Err(Self::command().error(ErrorKind::UnknownArgument, message));
        }
        if let Some(Err(error)) = &options.metrics_push {
            let message = format!("--metrics-push cannot be used: {error}");
            return Err(Self::command().error(ErrorKind::ValueValidation, message));
        }
        match options.contradiction() {
            Some(message) => Err(Self::command().error(ErrorKind::ArgumentConflict, message)),
            None => Ok(options),
        }
    }

    pub(super) fn detailed_exitcode(&self) -> bool {
        self.detailed_exitcode == Some(true)
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            scope: Scope {
                namespace: non_empty(self.namespace.as_ref()),
                pool: non_empty(self.pool.as_ref()),
                address: None,
            },
            mode: self.mode(),
            repairs: if self.repair == Some(true) {
                Repairs::On
            } else {
                Repairs::Off
            },
            max_release: self.max_release.unwrap_or(MaxRelease::DEFAULT),
            brakes: if self.force == Some(true) {
                Brakes::Overridden
            } else {
                Brakes::On
            },
            nodes: Rules {
                strict: self.strict == Some(true),
                release_after: self.release_unreachable_after,
            },
            grace: self.grace.unwrap_or_default(),
            events: if self.events == Some(false) {
                Events::Off
            } else {
                Events::On
            },
            settle: self.settle.unwrap_or(SETTLE),
            page: self.page_size,
            at_once: self.concurrency.into(),
            datastore: self.records.datastore,
        }
    }

    pub(super) fn mode(&self) -> Mode {
        let only_looks = matches!(self.command, Some(Command::Explain { .. }));
        if self.dry_run == Some(true) || only_looks || !self.snapshot.is_empty() {
            Mode::DryRun
        } else {
            Mode::Release
        }
    }

    pub(super) fn cluster(&self) -> client::Target {
        client::Target {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
        }
    }

    pub(super) fn metrics_push(&self) -> Option<&PushUrl> {
        self.metrics_push.as_ref()?.as_ref().ok()?.as_ref()
    }

    pub(super) fn colours(&self) -> Colours {
        let wanted = match self.color {
            Color::Always => true,
            Color::Never => false,
            // Knows of NO_COLOR, CLICOLOR and TERM=dumb.
            Color::Auto => AutoStream::choice(&std::io::stdout()) != ColorChoice::Never,
        };
        if wanted { Colours::On } else { Colours::Off }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// A variable that looks like a setting and is none: with a misspelt `DRY_RUN` a real run would
/// start.
fn unknown_variable(names: impl Iterator<Item = OsString>) -> Option<String> {
    let command = Options::command();
    let is_known = |name: &str| {
        command
            .get_arguments()
            .any(|a| a.get_env().is_some_and(|env| env == name))
            || name == PASSWORD
    };
    names
        .filter_map(|name| name.into_string().ok())
        .find(|name| {
            name.strip_prefix("IP_RECONCILER_").is_some_and(|rest| {
                // What Kubernetes sets for a Service of that name.
                let of_service = rest.starts_with("SERVICE_") || rest.starts_with("PORT");
                !of_service && !is_known(name)
            })
        })
}

/// Accepts long flags with one dash, as the Go program takes them.
fn go_style(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let command = Options::command();
    let is_long = |name: &str| {
        name.len() > 1
            && (matches!(name, "help" | "version")
                || command
                    .get_arguments()
                    .any(|argument| argument.get_long() == Some(name)))
    };
    let mut only_values = false;
    let adapt = |argument: OsString| {
        only_values |= argument == "--";
        let flag = argument.to_str().and_then(|text| text.strip_prefix('-'));
        match flag {
            Some(flag) if !only_values && is_long(flag.split('=').next().unwrap_or(flag)) => {
                OsString::from(format!("--{flag}"))
            }
            _ => argument,
        }
    };
    arguments.into_iter().map(adapt).collect()
}
