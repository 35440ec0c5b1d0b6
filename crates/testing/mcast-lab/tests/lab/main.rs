//! Tests of labs on the real kernel.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_links;
mod commands;
mod hosts;
mod ordinary_user;
mod routers;
mod sockets;
mod switches;
mod topologies;
