//! Random histories of small clusters: no address that a live container holds is ever free, and at
//! rest no orphan is left.
//!
//! A history has two nodes, three names of pods and a range of six addresses, so that what is freed
//! is soon given out again. [`model`] knows what is true: which containers run on which node, with
//! which address. The programs under test see none of that; they see the API, which knows less, and
//! later. After each step, and after each run, every container that holds an address must still
//! have its entry and its reservation. In the end everything is repaired, the reconciler runs, and
//! entries and reservations are exactly those of the containers that run.
//!
//! There are two tests:
//!
//! - [`runs`]: on the real API server, with the real `ip-reconciler` as a process. The plugin is called
//!   as a process in a tenth of the histories, and through its library in the others. The Go program is
//!   played by its requests ([`go`]).
//! - [`thought`]: many more histories without a server, through the real decoding, joining, judging,
//!   planning and remembering, with a clock. Reads, guards and both plugins are imitated there.
//!
//! # Faults
//!
//! In both: nodes crash, are cut off (their containers run on), have their plug pulled, come back,
//! are tainted as out of service and removed once they are off; pods are deleted with grace and by force,
//! also behind a broken network, are made anew under the same name on either node, complete, are
//! evicted, and are said to have failed by somebody who has not looked; mirror pods get new uids; sandboxes
//! are made anew under a pod that stays; the network status is missing, late, or that of the sandbox
//! before; kubelets are late in saying that a sandbox is being made, but not by more than `--settle`; DEL
//! comes late, twice, or never; CNI GC; the Go program beside ours on every node, with entries that
//! name no node, takeovers of reservations as they are, and ADDs that read before a run's write and
//! write after it; calls of the plugin and runs that are cut off behind any of their writes; steps
//! between any two calls of a run, and in particular just before its writes; clocks that differ.
//!
//! On the API server also: writes that are refused, dropped before or after the server has carried
//! them out, or answered with an error although they have been carried out.
//!
//! In thought also, in half of the histories, what `--grace` is for: containers that run on after their
//! pod was deleted by force or their node came back, and nodes whose failure is noticed late (each by up to
//! 50 s, with `--grace 2m` and clocks that differ by up to 30 s).
//!
//! # Not covered
//!
//! - Without `--grace` the world is never behind: the histories on the API server have no such delays,
//!   and no pod vanishes from a node that was cut off while the same run was reading.
//! - Pods that the Go program recorded vanish behind a broken network only with `--strict`, and not
//!   together with delays: their records name no node that could be waited for.
//! - A mirror pod is never seen missing: it is deleted and made anew in one step.
//! - The calls of the plugin for one pod come one after the other; a call of ours and a run overlap only
//!   where one of them is cut off. A reservation that a run deletes under a takeover of the Go program
//!   is put back by that run; if the run is killed just there, it is missing.
//! - A takeover by an ADD of the Go program, or of its entry, ends the claim of the container before,
//!   wherever that runs: that is its own doing.
//! - Brakes are off; one network, one range, IPv4; no node slices.
//!
//! # To repeat it
//!
//! `SIMULATION_SEED` and `SIMULATION_HISTORIES` say which histories and how many; a failure prints both.
//! Each history follows from the seed alone; on the API server the order of calls of histories beside
//! each other does not, but it does not matter to them.

mod cut;
mod desk;
mod dice;
mod event;
mod go;
mod live;
mod model;
mod objects;
mod records;
mod rest;
mod runs;
mod thought;
