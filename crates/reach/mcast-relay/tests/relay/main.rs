//! What one relay does with what arrives.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod amt;
mod anything;
mod forwarding;
mod kept_sources;
mod mdns;
mod membership;
mod peers;
mod replies;
mod subject;
mod tunnels;
