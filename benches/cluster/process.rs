//! A program as a process: how long it took, what it cost, and how big it became.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
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
        let Output {
            status,
            stdout,
            stderr,
        } = &self.output;
        // A CNI plugin tells its error on standard output.
        let said = [stdout, stderr].map(|text| String::from_utf8_lossy(text));
        assert!(status.success(), "{what} failed ({status}): {said:?}");
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
    let resident = watch(child.id());
    let ended = child.wait4().expect("a child can be waited for");
    let wall = started.elapsed();
    let seconds = |time: Duration| time.as_secs_f64();
    Cost {
        wall: seconds(wall),
        cpu: seconds(ended.rusage.utime + ended.rusage.stime),
        resident: resident.join().unwrap(),
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

/// Watches the high-water mark of a process until it has ended, in MiB.
///
/// What `wait4` tells of memory will not do: a child inherits the mark of the process that started
/// it, and this one is large.
fn watch(pid: u32) -> JoinHandle<f64> {
    std::thread::spawn(move || {
        let mut most = 0.0;
        while let Some(resident) = resident(pid) {
            most = resident;
            std::thread::sleep(Duration::from_millis(1));
        }
        most
    })
}

/// The high-water mark of a process that still has memory, in MiB.
fn resident(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mark = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = mark.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

fn collect(mut pipe: impl std::io::Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        text
    })
}
