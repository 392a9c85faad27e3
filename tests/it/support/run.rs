//! The program as a process: started as a user would, bounded in time, never left behind (I/O).

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A program that takes longer than this hangs, and its test fails.
const ENDS_WITHIN: Duration = Duration::from_mins(2);
/// The pause between two looks whether the program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// What the environment of the developer or the CI must not bring into a test.
const FOREIGN_VARIABLES: [&str; 5] = [
    "KUBECONFIG",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "RUST_LOG",
    "NO_COLOR",
];

/// Prepares a run of `ip-reconciler` that finds `kubeconfig` through `KUBECONFIG`.
pub(crate) fn reconciler(kubeconfig: &Path) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ip-reconciler"));
    let own = |name: &OsString| name.to_string_lossy().starts_with("IP_RECONCILER_");
    for name in std::env::vars_os().map(|(name, _)| name).filter(own) {
        command.env_remove(name);
    }
    for name in FOREIGN_VARIABLES {
        command.env_remove(name);
    }
    command.env("KUBECONFIG", kubeconfig);
    Run {
        command,
        input: String::new(),
    }
}

/// A run to be.
pub(crate) struct Run {
    command: Command,
    input: String,
}

impl Run {
    /// A run of any program.
    pub(crate) fn of(command: Command, input: String) -> Run {
        Run { command, input }
    }

    /// Adds arguments.
    pub(crate) fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets what the program reads on its standard input.
    pub(crate) fn stdin(mut self, input: &str) -> Self {
        input.clone_into(&mut self.input);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes an environment variable: `KUBECONFIG`, to see what happens without.
    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs the program to its end.
    pub(crate) async fn output(self) -> Outcome {
        self.spawn().wait().await
    }

    /// Starts the program.
    pub(crate) fn spawn(mut self) -> Running {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // A program that does not read its input closes the pipe: that is no failure.
        std::thread::spawn(move || pipe.write_all(self.input.as_bytes()));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Running {
            child,
            stdout: Some(stdout),
            stderr: Some(stderr),
            started: Instant::now(),
        }
    }
}

/// A program that runs; dropping this kills it.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    started: Instant,
}

impl Running {
    /// Sends a signal: `TERM`, `INT`, ...
    pub(crate) fn signal(&self, name: &str) {
        let number = self.child.id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &number])
            .status()
            .unwrap();
        assert!(status.success(), "cannot send SIG{name}");
    }

    /// Sends a signal to a program that may have ended on its own.
    pub(crate) fn signal_if_running(&self, name: &str) {
        let number = self.child.id().to_string();
        let _ = Command::new("kill")
            .args(["-s", name, &number])
            .stderr(Stdio::null())
            .status();
    }

    /// Whether it has ended.
    #[cfg(feature = "etcd")]
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end of the program, in a way that lets the proxy of the same test work.
    pub(crate) async fn wait(mut self) -> Outcome {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.started.elapsed() > ENDS_WITHIN {
                let _ = self.child.kill();
                let stderr = self.stderr.take().unwrap().join().unwrap();
                panic!("the program still runs after {ENDS_WITHIN:?}:\n{stderr}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        Outcome {
            code: status.code(),
            stdout: self.stdout.take().unwrap().join().unwrap(),
            stderr: self.stderr.take().unwrap().join().unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail for a program that has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code, or none if a signal ended the program.
    pub(crate) code: Option<i32>,
    /// Everything from the standard output.
    pub(crate) stdout: String,
    /// Everything from the standard error.
    pub(crate) stderr: String,
}

impl Outcome {
    /// The standard output as one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON: {error}\n{self:#?}"))
    }

    /// Panics with all output unless the exit code is `code`.
    pub(crate) fn expect(self, code: i32) -> Outcome {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// Reads a pipe to its end, beside the program, lest that block on a full pipe.
fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    })
}
