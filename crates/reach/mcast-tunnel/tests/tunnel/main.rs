//! Single rules of the tunnel.
#![allow(clippy::unwrap_used, clippy::panic)]

mod anything;
mod golden;
mod handshake;
