//! Tests of what the other tests stand on: a support that lies would let them all pass.

mod cluster;
mod control_plane;
mod objects;
mod proxy;
mod run;
