//! A program as a process: how long it took, what it cost, and how big it became.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4;

/// What one run of a program cost.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    /// From start to exit, in seconds.
    pub(crate) wall: f64,
    /// Time on a processor, in seconds.
    pub(crate) cpu: f64,
    /// The most memory that was resident, in MiB.
    pub(crate) resident: f64,
    /// What it printed, and how it ended.
    pub(crate) output: Output,
}

impl Cost {
    /// Ends the measurement if the program failed.
    pub(crate) fn expect_success(self, what: &str) -> Self {
        let Output { status, stderr, .. } = &self.output;
        let said = String::from_utf8_lossy(stderr);
        assert!(status.success(), "{what} failed ({status}): {said}");
        self
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command, input: &str) -> Cost {
    let started = Instant::now();
    let mut child = start(command);
    let mut pipe = child.stdin.take().expect("standard input is a pipe");
    // A program that does not read its input closes the pipe: that is no failure.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    let stdout = collect(child.stdout.take().expect("standard output is a pipe"));
    let stderr = collect(child.stderr.take().expect("standard error is a pipe"));
    let ended = child.wait4().expect("a child can be waited for");
    let wall = started.elapsed();
    let seconds = |time: Duration| time.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "memory is no number of 53 bits")]
    let resident = ended.rusage.maxrss as f64 / (1024.0 * 1024.0);
    Cost {
        wall: seconds(wall),
        cpu: seconds(ended.rusage.utime + ended.rusage.stime),
        resident,
        output: Output {
            status: ended.status,
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        },
    }
}

fn start(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()))
}

fn collect(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        text
    })
}
