//! I/O: the processes of one node change a pool one after the other.
//!
//! This is for speed only: a pool that many change at once refuses nearly all of them, while the
//! API server works on every one. What keeps records right are the guards of each write, so
//! whoever cannot get the lock goes on without it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use crate::record::ObjectId;

/// How long after other nodes were in this one's way they are expected to be so again.
const CROWDED: Duration = Duration::from_secs(10);
/// How long it counts with how many addresses they were there.
const SIZE_COUNTS: Duration = Duration::from_secs(2);
/// More addresses than these make no difference.
const MAX_CROWD: usize = 1000;

/// Notes that other nodes are at the same pool, with so many addresses: in the time of the lock file, which
/// lies in the future then, and in its length. It is a hint for the next processes of this node, and worth
/// no error.
pub(super) fn note_crowd(folder: &Path, pool: &ObjectId, size: usize) {
    let until = SystemTime::now().checked_add(CROWDED);
    if let (Ok(file), Some(until)) = (open(folder, pool), until) {
        let size = u64::try_from(size.clamp(1, MAX_CROWD)).unwrap_or_default();
        let _ = file.set_len(size).and_then(|()| file.set_modified(until));
    }
}

/// With how many addresses other nodes were at the same pool a moment ago; none if there were no others, and
/// at least one if there were.
pub(super) fn crowd(folder: &Path, pool: &ObjectId) -> usize {
    let noted = open(folder, pool).and_then(|file| {
        let noted = file.metadata()?;
        Ok((noted.modified()?, noted.len()))
    });
    let Ok((until, size)) = noted else {
        return 0;
    };
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    // Not longer than noted: the clock may have been set back.
    if left.is_zero() || left > CROWDED {
        return 0;
    }
    if left < CROWDED.saturating_sub(SIZE_COUNTS) {
        return 1;
    }
    usize::try_from(size).map_or(MAX_CROWD, |size| size.clamp(1, MAX_CROWD))
}

/// The right to change a pool before the other processes of this node; given back when dropped,
/// also by a process that is killed.
pub(super) struct Turn(Option<File>);

impl Turn {
    /// Takes its turn if nobody else has it; without a lock file there is nobody to wait for.
    pub(super) fn now(folder: &Path, pool: &ObjectId) -> Option<Self> {
        let Ok(file) = open(folder, pool) else {
            return Some(Self(None));
        };
        match file.try_lock() {
            Ok(()) => Some(Self(Some(file))),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(_)) => Some(Self(None)),
        }
    }

    /// Waits for its turn, but not longer than so.
    pub(super) async fn wait(folder: &Path, pool: &ObjectId, patience: Duration) -> Self {
        let file = match open(folder, pool) {
            Ok(file) => file,
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "No lock file");
                return Self(None);
            }
        };
        let (locked, turn) = oneshot::channel();
        // A thread that nobody waits for: the process may end while the lock is not free yet.
        std::thread::spawn(move || {
            let taken = file.lock().map(|()| file);
            // Whoever waited too long has gone on without it.
            let _ = locked.send(taken);
        });
        let Ok(Ok(Ok(file))) = tokio::time::timeout(patience, turn).await else {
            tracing::debug!(%pool, "No turn in time");
            return Self(None);
        };
        Self(Some(file))
    }

    /// Lets the next process have its turn.
    pub(super) fn end(&mut self) {
        if let Some(file) = self.0.take() {
            // Closing the file would do, but for a copy of it in the child of a caller.
            let _ = file.unlock();
        }
    }

    /// No turn: for what needs none any more.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Whether it is had, and not only done without.
    pub(super) fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}

fn open(folder: &Path, pool: &ObjectId) -> std::io::Result<File> {
    let name = format!("{}.{}.lock", pool.namespace, pool.name);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_after_the_other_and_nobody_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let pool = ObjectId {
            namespace: "kube-system".into(),
            name: "10.0.0.0-24".into(),
        };
        let wait = |millis| Turn::wait(folder.path(), &pool, Duration::from_millis(millis));
        let first = wait(1000).await;
        assert!(first.is_held());
        assert!(!wait(50).await.is_held());
        assert!(Turn::now(folder.path(), &pool).is_none());
        drop(first);
        assert!(wait(5000).await.is_held());
        assert!(Turn::now(folder.path(), &pool).unwrap().is_held());
        assert_eq!(crowd(folder.path(), &pool), 0);
        for (size, noted) in [(0, 1), (7, 7), (5, 5), (usize::MAX, MAX_CROWD)] {
            note_crowd(folder.path(), &pool, size);
            assert_eq!(crowd(folder.path(), &pool), noted);
        }
        let lock = open(folder.path(), &pool).unwrap();
        for (seconds, noted) in [(11, 0), (9, 1000), (7, 1), (1, 1)] {
            let until = SystemTime::now() + Duration::from_secs(seconds);
            lock.set_modified(until).unwrap();
            assert_eq!(crowd(folder.path(), &pool), noted, "{seconds} s left");
        }
        lock.set_modified(SystemTime::now()).unwrap();
        assert_eq!(crowd(folder.path(), &pool), 0);
        let nowhere = Turn::wait(Path::new("/proc/none"), &pool, Duration::from_secs(1)).await;
        assert!(!nowhere.is_held());
    }
}
