//! I/O: puts the plugin onto a node, and keeps it and its kubeconfig right.

mod generation;
mod options;
mod place;
pub mod wanted;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::log;
use crate::reconcile::report::escape;
use generation::Generation;
use options::Options;
use wanted::{Facts, File, files};

/// The name of the program in the folder of CNI programs.
const PROGRAM: &str = "whereabouts";

/// Who may run it.
const PROGRAM_MODE: u32 = 0o755;

/// The most that is read of a token or a certificate, in bytes.
const MAX_SECRET: u64 = 1 << 20;

/// Why nothing can be installed, or not all of it.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{} is empty; the kubelet has not written it yet, or the volume is not the right one",
        path.display()
    )]
    Empty { path: PathBuf },
    #[error(
        "no API server is known: KUBERNETES_SERVICE_HOST is not set, as it is in every pod; name one \
         with --api-server"
    )]
    NoServer,
    #[error(
        "cannot put files into {}: {source}; mount the node's folder there, writable, or name \
         another one with {flag}",
        path.display()
    )]
    Folder {
        flag: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("not as it should be: {0}")]
    Amiss(String),
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
}

/// Runs the program.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            // Help and version are no errors; a closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let done = log::start(options.log_level, options.log_format)
        .map_err(|error| error.to_string())
        .and_then(|()| run(&options).map_err(|error| error.to_string()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "whereabouts-install: {}", escape(&message));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Error> {
    let program = read("the program", &options.source, u64::MAX)?;
    if options.check {
        return check(options, &program);
    }
    let facts = facts(options)?;
    prepare(options)?;
    if options.once {
        return begin(options, &program, &facts);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Signals)?;
    runtime.block_on(async {
        // Before anything is written: whoever waits for that may end this program a moment later.
        let signals = Signals::listen()?;
        let generation = Generation::new(&options.cni_conf_dir, options.interval);
        generation.is_the_last();
        begin(options, &program, &facts)?;
        keep(options, &program, &generation, signals).await;
        generation.end();
        Ok(())
    })
}

/// Installs for the first time.
fn begin(options: &Options, program: &[u8], facts: &Facts) -> Result<(), Error> {
    install(options, program, facts)?;
    tracing::info!(
        node = %escape(&options.node_name),
        programs = %options.cni_bin_dir.display(),
        configuration = %options.cni_conf_dir.display(),
        "Installed"
    );
    Ok(())
}

/// The signals that ask the program to end.
struct Signals(Signal, Signal);

impl Signals {
    fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::Signals);
        Ok(Self(
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
        ))
    }
}

/// Puts right what changes, until a signal comes.
async fn keep(options: &Options, program: &[u8], generation: &Generation, signals: Signals) {
    let Signals(mut term, mut int) = signals;
    loop {
        tokio::select! {
            () = tokio::time::sleep(options.interval) => {}
            _ = term.recv() => break,
            _ = int.recv() => break,
        }
        if !generation.is_the_last() {
            continue;
        }
        // What is there stays until what should be there is known: a token that is being replaced
        // may be missing for a moment.
        let done = facts(options).and_then(|facts| install(options, program, &facts));
        if let Err(error) = done {
            let message = error.to_string();
            tracing::warn!("{}; trying again", escape(&message));
        }
    }
    tracing::info!("Asked to stop; what is installed stays");
}

/// Reads all that goes into the files.
fn facts(options: &Options) -> Result<Facts, Error> {
    let secret = |what, name: &str| {
        let path = options.service_account_dir.join(name);
        let content = read(what, &path, MAX_SECRET)?;
        let is_blank = content.iter().all(u8::is_ascii_whitespace);
        if is_blank {
            return Err(Error::Empty { path });
        }
        Ok(content)
    };
    let token = secret("the token", "token")?;
    let authority = secret("the certificate authority", "ca.crt")?;
    let server = options.api_server.clone().map_or_else(told_server, Ok)?;
    Ok(Facts {
        server,
        authority,
        token: String::from_utf8_lossy(&token).trim().to_owned(),
        namespace: options.namespace.clone(),
        node: options.node_name.clone(),
        kubeconfig: options.kubeconfig_path.clone(),
    })
}

/// The API server that the kubelet tells every container.
fn told_server() -> Result<String, Error> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = variable("KUBERNETES_SERVICE_HOST").ok_or(Error::NoServer)?;
    let port = variable("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
    Ok(wanted::server(&host, &port))
}

/// Finds out whether both folders can be written, before anything is changed.
fn prepare(options: &Options) -> Result<(), Error> {
    let folder = |flag, path: &Path, source| Error::Folder {
        flag,
        path: path.to_owned(),
        source,
    };
    let (programs, configuration) = (&options.cni_bin_dir, &options.cni_conf_dir);
    place::check_folder(programs).map_err(|error| folder("--cni-bin-dir", programs, error))?;
    let made = match fs::create_dir(configuration) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => place::check_folder(configuration),
    };
    made.map_err(|error| folder("--cni-conf-dir", configuration, error))?;
    place::clean(programs);
    place::clean(configuration);
    Ok(())
}

/// Writes what is not as it should be; the program last, which needs the others.
fn install(options: &Options, program: &[u8], facts: &Facts) -> Result<(), Error> {
    let write = |path: &Path, content: &[u8], mode| match place::place(path, content, mode) {
        Ok(true) => {
            tracing::info!(path = %path.display(), "Written");
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(source) => Err(Error::Write {
            path: path.to_owned(),
            source,
        }),
    };
    for File {
        name,
        content,
        mode,
    } in files(facts)
    {
        write(&options.cni_conf_dir.join(&name), &content, mode)?;
    }
    write(&options.cni_bin_dir.join(PROGRAM), program, PROGRAM_MODE)
}

/// Says what is not as it should be.
fn check(options: &Options, program: &[u8]) -> Result<(), Error> {
    let facts = facts(options)?;
    let mut amiss: Vec<String> = Vec::new();
    let mut look = |path: &Path, content: &[u8], mode| {
        if !place::is_as_wanted(path, content, mode) {
            amiss.push(path.display().to_string());
        }
    };
    // While somebody keeps it right, the token in it may be that of a pod started after this one.
    let is_kept = generation::is_kept(&options.cni_conf_dir, options.interval);
    for file in files(&facts) {
        let path = options.cni_conf_dir.join(&file.name);
        let may_differ = is_kept && options.kubeconfig_path.ends_with(&file.name);
        if !may_differ || !path.is_file() {
            look(&path, &file.content, file.mode);
        }
    }
    look(&options.cni_bin_dir.join(PROGRAM), program, PROGRAM_MODE);
    if amiss.is_empty() {
        Ok(())
    } else {
        Err(Error::Amiss(amiss.join(", ")))
    }
}

fn read(what: &'static str, path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let mut content = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut content));
    match read {
        Ok(_) => Ok(content),
        Err(source) => Err(Error::Read {
            what,
            path: path.to_owned(),
            source,
        }),
    }
}
