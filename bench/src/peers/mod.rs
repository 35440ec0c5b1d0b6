//! Contestants written in Rust, each following the documentation of its library.
//!
//! Like all our contestants, they print `ready` when their sockets are open, and one JSON object at the end. A separate
//! thread samples the counters, so that hot loops do not read the clock.

mod blocking;
mod latency;
mod mcast_async;
mod mcast_batches;
mod mcast_single;
#[cfg_attr(not(target_env = "gnu"), path = "mcrx_absent.rs")]
mod mcrx;
mod messages;
mod quinn;
mod sampler;
mod sockets;
mod standard;
#[allow(unsafe_code)]
mod sys;
mod tokio_socket;
mod work;

use std::convert::Infallible;

use anyhow::Result;
use mcast::Wire;

use mcast_single::Details;

pub(crate) use sockets::set_buffer;

pub use messages::{MessagesArguments, run as run_messages};
pub use work::{Name, PeerArguments, Role, Work};

/// Runs a contestant, which exits at the end of its window.
///
/// # Errors
/// If a socket fails.
pub fn run(peer: &PeerArguments) -> Result<()> {
    let work = &peer.work;
    match (peer.role, peer.name) {
        (Role::Receive, name) => receive(name, work).map(|never| match never {}),
        (Role::Send, name) => send(name, work).map(|never| match never {}),
        (Role::Ping, name) => latency::ping(work, wire(name)),
        (Role::Pong, name) => latency::pong(work, wire(name)).map(|never| match never {}),
    }
}

fn receive(name: Name, work: &Work) -> Result<Infallible> {
    match name {
        Name::McastSingle => mcast_single::receive(work, Details::On),
        Name::McastLean => mcast_single::receive(work, Details::Off),
        Name::McastReader => mcast_batches::read(work),
        Name::McastBatched => mcast_batches::receive(work),
        Name::McastWire => mcast_batches::receive_from_wire(work),
        Name::McastTokio => mcast_async::receive(work),
        Name::Std => standard::receive(work, sockets::Options::AsWritten),
        Name::StdSameOptions => standard::receive(work, sockets::Options::AsMcast),
        Name::Tokio => tokio_socket::receive(work),
        Name::Quinn => quinn::receive(work),
        Name::Mcrx => mcrx::receive(work),
    }
}

/// Whether to take datagrams off the interface.
fn wire(name: Name) -> Wire {
    if name == Name::McastWire { Wire::Require } else { Wire::Off }
}

fn send(name: Name, work: &Work) -> Result<Infallible> {
    match name {
        Name::McastSingle | Name::McastLean => mcast_single::send(work),
        Name::McastReader | Name::McastBatched => mcast_batches::send(work),
        Name::McastWire => anyhow::bail!("AF_XDP only receives"),
        Name::McastTokio => mcast_async::send(work),
        Name::Std | Name::StdSameOptions => standard::send(work),
        Name::Tokio => tokio_socket::send(work),
        Name::Quinn => quinn::send(work),
        Name::Mcrx => anyhow::bail!("mcrx-core does not send"),
    }
}
