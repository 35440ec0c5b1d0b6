//! Messages that must all arrive: our stream, and TCP for context.
//!
//! They speak as the programs of others do (`bench/peers/README.md`): two roles, the same words, one
//! line of JSON at the end.

mod publish;
mod source;
mod subscribe;
mod tally;
mod tcp;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

/// How long either side waits for the other to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// One of the contestants written in Rust, and what it does.
#[derive(Args, Clone, Debug)]
pub struct MessagesArguments {
    /// What.
    role: Role,
    /// Over what, and by which calls.
    #[arg(long)]
    how: How,
    /// Seal each datagram.
    #[arg(long)]
    sealed: bool,
    #[command(flatten)]
    work: Work,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Publish,
    Subscribe,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// A stream: `Publisher::queue`, one message a call; they share trains.
    Queue,
    /// A stream: `Publisher::publish_all`.
    All,
    /// A stream: `Publisher::publish`, each sent at once.
    Each,
    /// A TCP connection a receiver.
    Tcp,
}

/// The details.
#[derive(Args, Clone, Debug)]
struct Work {
    /// The group and the port.
    #[arg(long)]
    group: SocketAddr,
    /// The address of one's own interface.
    #[arg(long)]
    interface: IpAddr,
    /// Bytes of each message.
    #[arg(long)]
    size: usize,
    /// How long to publish.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Messages a second, evenly, each with its time. Default: as fast as it goes, without.
    #[arg(long)]
    rate: Option<u32>,
    /// How many subscribers to wait for.
    #[arg(long, default_value_t = 1)]
    receivers: usize,
    /// How long the publisher stays for repairs, at most.
    #[arg(long, default_value_t = 10.0)]
    linger: f64,
    /// How long a subscriber stays from the first message on, at most.
    #[arg(long, default_value_t = 30.0)]
    timeout: f64,
    /// Where the publisher is: a connection has to know.
    #[arg(long)]
    publisher: Option<IpAddr>,
}

#[cfg(test)]
impl Work {
    /// Messages of the least size, as fast as they go.
    fn for_tests() -> Self {
        Self {
            group: SocketAddr::from(([239, 77, 0, 1], 7700)),
            interface: IpAddr::from([10, 77, 0, 1]),
            size: source::HEAD,
            seconds: 10.0,
            rate: None,
            receivers: 1,
            linger: 1.0,
            timeout: 10.0,
            publisher: None,
        }
    }
}

/// Runs one of them.
///
/// # Errors
/// What its sockets say; that nobody came.
pub fn run(arguments: &MessagesArguments) -> Result<()> {
    let MessagesArguments { role, how, sealed, work } = arguments;
    match (role, how) {
        (Role::Publish, How::Tcp) => tcp::publish(work),
        (Role::Subscribe, How::Tcp) => tcp::subscribe(work),
        (Role::Publish, how) => publish::run(work, *how, *sealed),
        (Role::Subscribe, _) => subscribe::run(work, *sealed),
    }
}
