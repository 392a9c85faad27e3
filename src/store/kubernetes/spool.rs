//! I/O: what the processes of a node that wait for their turn ask of the one that has it.
//!
//! A process files a request before it waits, and keeps it locked. Whoever has the turn takes all
//! requests at once, and answers them in files beside. A request that its process has left, however
//! that ended, is not locked any more. One that was taken cannot be withdrawn: its process waits for
//! the answer, or for the turn, which tells that whoever took it has ended without one.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::record::ObjectId;
use crate::retry;
use crate::store::Attachment;

/// Waits to be taken.
const WAITING: &str = "request";
/// Was taken by the process that has, or had, the turn.
const TAKEN: &str = "taken";
/// Beside one that was taken: the address.
const ANSWER: &str = "answer";
/// Beside any: what the pool recorded for the attachment when the request was there already.
const BEFORE: &str = "before";
/// Is being written.
const PART: &str = "part";

/// What is asked for: an address for an attachment that has none in the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wish {
    /// From which range, with which exclusions, on which server, as a text: only who wants an
    /// address from the very same can be asked.
    pub(super) from: String,
    /// For whom.
    pub(super) attachment: Attachment,
    /// Which addresses it has already.
    pub(super) avoid: BTreeSet<IpAddr>,
}

/// The request of this process; removed when dropped.
pub(super) struct Request {
    waiting: PathBuf,
    lock: File,
}

impl Request {
    /// Files a request.
    pub(super) fn file(folder: &Path, pool: &ObjectId, wish: &Wish) -> io::Result<Self> {
        let folder = of_pool(folder, pool);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        // A process of another namespace may have the same id.
        let id = retry::random_below(usize::MAX);
        let name = folder.join(format!("{}-{id:x}", std::process::id()));
        let (part, waiting) = (name.with_extension(PART), name.with_extension(WAITING));
        let mut lock = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&part)?;
        lock.try_lock()?;
        lock.write_all(&serde_json::to_vec(wish)?)?;
        fs::rename(&part, &waiting)?;
        Ok(Self { waiting, lock })
    }

    /// Takes the request back; whether nobody has begun with it.
    pub(super) fn withdraw(&self) -> bool {
        fs::remove_file(&self.waiting).is_ok()
    }

    /// The address, if it was answered.
    pub(super) fn answer(&self) -> Option<IpAddr> {
        let text = fs::read_to_string(self.waiting.with_extension(ANSWER)).ok()?;
        text.parse().ok()
    }

    /// What the pool recorded for the attachment at some time after the request was filed, if whoever
    /// had the turn has looked since.
    pub(super) fn before(&self) -> Option<BTreeSet<Box<str>>> {
        let text = fs::read(self.waiting.with_extension(BEFORE)).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        for left in [WAITING, TAKEN, ANSWER, BEFORE] {
            remove(&self.waiting.with_extension(left));
        }
        // Closing the file would do, but for a copy of it in the child of a caller.
        let _ = self.lock.unlock();
    }
}

/// A request of another process, which waits until this is dropped.
pub(super) struct Taken {
    /// What it asks for.
    pub(super) wish: Wish,
    taken: PathBuf,
}

impl Taken {
    /// Takes all requests for the same addresses, but not more than so many; and clears away what
    /// processes have left that are gone. Only for the one that has the turn.
    pub(super) fn all(folder: &Path, pool: &ObjectId, from: &str, most: usize) -> Vec<Self> {
        let Ok(files) = fs::read_dir(of_pool(folder, pool)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for path in files.filter_map(|file| Some(file.ok()?.path())) {
            if is_beside(&path) {
                if !is_there(&path) {
                    remove(&path);
                }
                continue;
            }
            match is_held(&path) {
                Ok(false) if path.extension().is_some_and(|kind| kind == PART) => remove(&path),
                Ok(false) => clear(&path),
                Ok(true) if is_waiting(&path) && found.len() < most => {
                    found.extend(Self::take(&path, from));
                }
                _ => {}
            }
        }
        found
    }

    fn take(path: &Path, from: &str) -> Option<Self> {
        let wish = read(path, from)?;
        let taken = path.with_extension(TAKEN);
        fs::rename(path, &taken).ok()?;
        Some(Self { wish, taken })
    }

    /// Whether its process still waits.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(is_held(&self.taken), Ok(true))
    }

    /// Answers it.
    pub(super) fn answer(self, address: IpAddr) -> io::Result<()> {
        let part = self.taken.with_extension(PART);
        fs::write(&part, address.to_string())?;
        fs::rename(part, self.taken.with_extension(ANSWER))
    }
}

impl Drop for Taken {
    /// Without an answer it may be withdrawn again, if there is somebody to do that.
    fn drop(&mut self) {
        if !self.is_wanted() {
            clear(&self.taken);
        } else if !self.taken.with_extension(ANSWER).exists() {
            let _ = fs::rename(&self.taken, self.taken.with_extension(WAITING));
        }
    }
}

/// Those that wait for the same addresses at one time, taken or not.
#[derive(Default)]
pub(super) struct Waiting(Vec<(PathBuf, Attachment)>);

impl Waiting {
    /// Those that wait now. Only for the one that has the turn.
    pub(super) fn now(folder: &Path, pool: &ObjectId, from: &str) -> Self {
        let files = fs::read_dir(of_pool(folder, pool)).into_iter().flatten();
        let paths = files.filter_map(|file| Some(file.ok()?.path()));
        let asked = paths.filter(|path| !is_beside(path) && !path.with_extension(BEFORE).exists());
        Self(
            asked
                .filter_map(|path| {
                    let attachment = read(&path, from)?.attachment;
                    Some((path, attachment))
                })
                .collect(),
        )
    }

    /// Tells each what a pool that was read since records for it, so that not all need to look.
    pub(super) fn tell(&self, recorded: impl Fn(&Attachment) -> BTreeSet<Box<str>>) {
        for (path, attachment) in &self.0 {
            let tell = || -> io::Result<()> {
                let part = path.with_extension(PART);
                fs::write(&part, serde_json::to_vec(&recorded(attachment))?)?;
                fs::rename(part, path.with_extension(BEFORE))
            };
            if let Err(error) = tell() {
                tracing::debug!(%error, "Nothing could be told");
            }
        }
    }
}

/// What a request asks for, if it is for the same addresses.
fn read(path: &Path, from: &str) -> Option<Wish> {
    let wish: Wish = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (wish.from == from).then_some(wish)
}

fn is_waiting(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == WAITING)
}

/// Whether it is not a request, but stands beside one.
fn is_beside(path: &Path) -> bool {
    let kind = path.extension();
    kind.is_some_and(|kind| kind == ANSWER || kind == BEFORE)
}

/// Whether the request is there beside which it stands.
fn is_there(path: &Path) -> bool {
    let requests = [WAITING, TAKEN].map(|kind| path.with_extension(kind));
    requests.iter().any(|request| request.exists())
}

/// Removes a request whose process is gone, and what stands beside it.
fn clear(request: &Path) {
    remove(request);
    for beside in [ANSWER, BEFORE] {
        remove(&request.with_extension(beside));
    }
}

/// Whether some process keeps it locked.
fn is_held(path: &Path) -> io::Result<bool> {
    match File::open(path)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Nothing to remove is as good.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

fn of_pool(folder: &Path, pool: &ObjectId) -> PathBuf {
    folder.join(format!("{}.{}.requests", pool.namespace, pool.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> ObjectId {
        ObjectId {
            namespace: "kube-system".into(),
            name: "10.0.0.0-24".into(),
        }
    }

    fn wish(container: &str) -> Wish {
        Wish {
            from: "lan".to_owned(),
            attachment: Attachment {
                network: "lan".to_owned(),
                container: container.to_owned(),
                interface: "net1".to_owned(),
                podref: format!("default/{container}"),
                pod_uid: None,
                node: Some("node-a".to_owned()),
            },
            avoid: BTreeSet::new(),
        }
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(of_pool(folder, &pool())).unwrap().count()
    }

    #[test]
    fn a_request_is_taken_once_and_answered() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| Request::file(folder.path(), &pool(), &wish(name)).unwrap();
        let (one, other) = (file("one"), file("other"));
        let all = |from, most| Taken::all(folder.path(), &pool(), from, most);
        assert!(all("elsewhere", 9).is_empty());
        let first = all("lan", 1);
        assert_eq!(first.len(), 1);
        let second = all("lan", 9);
        assert_eq!(second.len(), 1);
        assert!(all("lan", 9).is_empty());
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        for taken in first.into_iter().chain(second) {
            assert!(taken.is_wanted());
            assert!(taken.wish == wish("one") || taken.wish == wish("other"));
            taken.answer(address).unwrap();
        }
        for request in [one, other] {
            assert_eq!(request.answer(), Some(address));
            assert!(!request.withdraw());
        }
        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn those_that_waited_at_a_look_are_told_what_it_showed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| Request::file(folder.path(), &pool(), &wish(name)).unwrap();
        let recorded =
            |attachment: &Attachment| BTreeSet::from([attachment.podref.as_str().into()]);
        let one = file("one");
        let taken = Taken::all(folder.path(), &pool(), "lan", 9);
        let (other, elsewhere) = (
            file("other"),
            Waiting::now(folder.path(), &pool(), "elsewhere"),
        );
        let waiting = Waiting::now(folder.path(), &pool(), "lan");
        let late = file("late");
        elsewhere.tell(recorded);
        assert_eq!((one.before(), other.before()), (None, None));
        waiting.tell(recorded);
        assert_eq!(one.before(), Some(BTreeSet::from(["default/one".into()])));
        assert_eq!(
            other.before(),
            Some(BTreeSet::from(["default/other".into()]))
        );
        assert_eq!(late.before(), None);
        // What is told first counts: it is of the time nearest to the call's beginning.
        Waiting::now(folder.path(), &pool(), "lan").tell(|_| BTreeSet::new());
        assert_eq!(one.before(), Some(BTreeSet::from(["default/one".into()])));
        assert_eq!(late.before(), Some(BTreeSet::new()));
        drop(taken);
        drop((one, other));
        // It has gone meanwhile, and is told all the same: cleared away by the next.
        waiting.tell(recorded);
        assert_eq!(files(folder.path()), 4);
        assert_eq!(Taken::all(folder.path(), &pool(), "lan", 9).len(), 1);
        drop(late);
        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn what_was_not_answered_can_be_withdrawn_again() {
        let folder = tempfile::tempdir().unwrap();
        let request = Request::file(folder.path(), &pool(), &wish("one")).unwrap();
        let taken = Taken::all(folder.path(), &pool(), "lan", 9);
        assert!(!request.withdraw() && request.answer().is_none());
        drop(taken);
        assert!(request.withdraw());
        assert!(Taken::all(folder.path(), &pool(), "lan", 9).is_empty());
    }

    #[test]
    fn what_a_dead_process_left_is_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let request = Request::file(folder.path(), &pool(), &wish("one")).unwrap();
        let taken = Taken::all(folder.path(), &pool(), "lan", 9).remove(0);
        // As a process that is killed: the lock goes, the files stay.
        let Request { waiting, lock } = &request;
        lock.unlock().unwrap();
        assert!(!taken.is_wanted());
        drop(taken);
        assert_eq!(files(folder.path()), 0);
        fs::write(waiting.with_extension(TAKEN), "{}").unwrap();
        fs::write(waiting.with_extension(ANSWER), "10.0.0.1").unwrap();
        fs::write(waiting.with_file_name("7-7.request"), "{}").unwrap();
        fs::write(waiting.with_file_name("7-8.part"), "").unwrap();
        assert_eq!(files(folder.path()), 4);
        assert!(Taken::all(folder.path(), &pool(), "lan", 9).is_empty());
        assert_eq!(files(folder.path()), 0);
    }
}
