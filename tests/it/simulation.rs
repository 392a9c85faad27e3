//! Random histories of small clusters: no address that a live container holds is ever free, and at
//! rest no orphan is left.
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
