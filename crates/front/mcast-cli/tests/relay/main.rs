//! `mcast relay` on real kernels, with other relays, senders and receivers beside it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod amt;
mod avahi;
mod bound;
mod browser;
mod clock;
mod combinations;
mod forwarding;
#[path = "../command/full_disk.rs"]
mod full_disk;
mod hostile;
mod http;
mod kept_sources;
mod kubernetes;
mod loops;
mod namespaces;
mod neighbors;
mod network;
mod operating;
mod playlists;
mod programs;
mod replies;
#[path = "../command/schemas.rs"]
mod schemas;
#[path = "../command/set_clock.rs"]
mod set_clock;
mod sites;
mod snapshot;
#[path = "../command/stalled.rs"]
mod stalled;
mod streams;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
mod takeover;
mod tunnels;
mod wire;
