//! Injects causes into lab networks: the doctor must find each cause, and nothing else.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod boxes;
mod combined;
mod depth;
mod drops;
mod files;
mod filters;
mod firewall;
mod fleet;
mod goals;
mod healthy;
mod ipv6;
mod measure;

mod net;
mod path;
mod programs;
mod remedies;
mod routers;
mod sockets;
mod started;
mod strangers;
mod switches;
mod table;
mod treatment;
mod unseen;
mod unusual;
mod wire;
