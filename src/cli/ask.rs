//! I/O: a question that a person at a terminal answers.

use std::io::{self, IsTerminal, Write};

use tokio::sync::oneshot;

use crate::reconcile::stop::Stop;

/// Whether there is somebody to ask.
pub(super) fn can() -> bool {
    io::stdin().is_terminal()
}

/// Whether the answer is yes. A signal, and the end of the input, are a no.
pub(super) async fn ask(question: &str, stop: &Stop) -> bool {
    let mut terminal = io::stderr();
    let _ = write!(terminal, "{question} [y/N] ");
    let _ = terminal.flush();
    let (answer, answered) = oneshot::channel();
    // Nothing can wake a thread that reads: it ends with the process.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        let _ = answer.send(read.map(|_| line).unwrap_or_default());
    });
    tokio::select! {
        line = answered => is_yes(&line.unwrap_or_default()),
        () = stop.requested() => false,
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
