//! Reliable messages: our stream, and TCP for comparison.
//!
//! They have the same command line and output as third-party peers: see `bench/peers/README.md`.

mod logged;
mod publish;
mod source;
mod subscribe;
mod tally;
mod tcp;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

/// How long either side waits for the other to start.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A contestant written in Rust, and what to do.
#[derive(Args, Clone, Debug)]
pub struct MessagesArguments {
    /// The role.
    role: Role,
    /// The transport and the calls to use.
    #[arg(long)]
    how: How,
    #[command(flatten)]
    setup: Setup,
    #[command(flatten)]
    work: Work,
}

/// How a stream is set up, beside the calls that publish. Both sides are given the same.
#[derive(Args, Clone, Copy, Debug)]
struct Setup {
    /// Seal each datagram.
    #[arg(long)]
    sealed: bool,
    /// Sign the stream, and verify what it signed.
    #[arg(long)]
    signed: bool,
    /// Let the subscriber poll in a loop.
    #[arg(long)]
    spin: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Publish,
    Subscribe,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// A stream: `Publisher::publish`, one message per call.
    Publish,
    /// The same, with parity by measured loss.
    Corrected,
    /// A stream: `Publisher::publish_all`.
    All,
    /// The same, each sent immediately.
    Each,
    /// A stream in a log, which two subscribers acknowledge: `LoggedPublisher::publish`, each in the log before it is sent.
    Logged,
    /// The same: `LoggedPublisher::publish_all`.
    LoggedAll,
    /// The same, each batch synced before it is sent: `LoggedPublisher::append_all`, which does not wait for that.
    SyncedQueue,
    /// The same, and before the next one is published: `LoggedPublisher::publish_all`.
    SyncedAll,
    /// A TCP connection to each subscriber.
    Tcp,
    /// A stream: each message is published when all subscribers have acknowledged the one before.
    Acked,
    /// The same over TCP connections, on which each subscriber replies with a byte.
    TcpAcked,
}

/// The work of a contestant.
#[derive(Args, Clone, Debug)]
struct Work {
    /// The group and the port.
    #[arg(long)]
    group: SocketAddr,
    /// The address of the local interface.
    #[arg(long)]
    interface: IpAddr,
    /// Bytes per message.
    #[arg(long)]
    size: usize,
    /// How long to publish, in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Messages per second, evenly spaced, each with its time. Default: as fast as possible, without times.
    #[arg(long)]
    rate: Option<u32>,
    /// How many subscribers to wait for.
    #[arg(long, default_value_t = 1)]
    receivers: usize,
    /// How long the publisher stays for repairs at most, in seconds.
    #[arg(long, default_value_t = 10.0)]
    linger: f64,
    /// How long a subscriber runs after the first message at most, in seconds.
    #[arg(long, default_value_t = 30.0)]
    timeout: f64,
    /// How many threads publish at once with one publisher, one message per call. Each numbers its own messages.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=source::MAX_LANES as i64))]
    threads: u8,
    /// The directory of a log, which is replaced and removed.
    #[arg(long)]
    log: Option<PathBuf>,
    /// The address of the publisher, which a connection needs.
    #[arg(long)]
    publisher: Option<IpAddr>,
}

#[cfg(test)]
impl Work {
    /// Messages of the minimum size, as fast as possible.
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
            threads: 1,
            log: None,
            publisher: None,
        }
    }
}

/// Runs a contestant.
///
/// # Errors
/// If a socket fails, or no subscriber joins.
pub fn run(arguments: &MessagesArguments) -> Result<()> {
    let MessagesArguments { role, how, setup, work } = arguments;
    match (role, how) {
        (Role::Publish, How::Tcp | How::TcpAcked) => tcp::publish(work, *how == How::TcpAcked),
        (Role::Subscribe, How::Tcp | How::TcpAcked) => tcp::subscribe(work, *how == How::TcpAcked),
        (Role::Publish, How::Logged | How::LoggedAll | How::SyncedQueue | How::SyncedAll) => {
            logged::publish(work, *how)
        }
        (Role::Publish, how) => publish::run(work, *how, *setup),
        (Role::Subscribe, _) => subscribe::run(work, *setup),
    }
}
