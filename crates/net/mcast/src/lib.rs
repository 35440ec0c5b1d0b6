//! Sends and receives IP multicast correctly, and reports the group, interface and source of each
//! datagram.
//!
//! ```no_run
//! use mcast::{Receiver, Sender};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let receiver = Receiver::join_one("239.1.2.3%eth0:7000".parse()?)?;
//! let sender = Sender::to("239.1.2.3%eth0:7000".parse()?)?;
//! sender.send(b"hello")?;
//!
//! let mut buffer = [0; 65_536];
//! let datagram = receiver.recv(&mut buffer)?;
//! assert_eq!(datagram.payload(), b"hello");
//! println!("for {} from {}", datagram.destination, datagram.source.ip());
//! # Ok(()) }
//! ```
//!
//! # Guarantees
//! A datagram is delivered only if it was sent to a joined group, arrived on an interface on which
//! that group is joined, and came from an admitted source. It is never delivered twice. All loss
//! that the system can count is counted and reported. No datagram is taken from other programs.
//!
//! # Networks without multicast
//! [`SenderBuilder::to_host`] sends to hosts and to all hosts of a subnet, and [`ReceiverBuilder::listen`] receives
//! such datagrams, both by explicit request only.
//!
//! # Asynchronous programs
//! The feature `tokio` adds the module `tokio` with the same receiver and sender for tokio, and the feature `futures`
//! a `Stream` of owned datagrams and a `Sink`. An [`OwnedDatagram`] becomes `bytes::Bytes` (feature `bytes`). For
//! other runtimes, a receiver is one descriptor (`AsFd` on Unix) that is readable when a receive
//! has work to do.
//!
//! # Diagnosis
//! With the feature `tracing`, each receiver has a span `receiver` with an event for each group that it joins, leaves or
//! cannot join, and for changed interfaces. Nothing is recorded per datagram.
//!
//! # Platforms
//! Linux, Android, macOS, FreeBSD and Windows. Elsewhere everything compiles and returns
//! [`ErrorKind::Unsupported`]. An operation that one platform does not support also returns this
//! error; it is never silently ignored.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// On unsupported systems, nothing calls much of what serves the other platforms.
#![cfg_attr(
    not(any(
        target_os = "linux",
        target_os = "android",
        target_vendor = "apple",
        target_os = "freebsd",
        windows
    )),
    allow(dead_code, unused_imports)
)]

mod batch;
mod datagram;
mod error;
mod exchange;
pub mod interface;
pub mod joined;
mod receiver;
mod sender;
mod timing;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use batch::{Batch, CoalescedBuffer, Cursor};
pub use datagram::{Arrival, Datagram, Outgoing, OwnedDatagram};
pub use error::{Error, ErrorKind, Operation, Result};
pub use exchange::{DatagramSink, DatagramSource};
pub use interface::{
    Bridge, BridgeQuerier, Interface, InterfaceChange, InterfaceWatcher, bridges, default_interface,
    default_interface_of, find, interface_towards, interfaces, queue_disciplines,
};
pub use mcast_group as group;
pub use mcast_group::{
    Destination, Family, Group, GroupAddr, HostAddr, InterfaceIndex, InterfaceSelector, Membership,
    ParseError, SourceFilter,
};
pub use receiver::{
    Drops, InterfaceStatus, MembershipStatus, Reader, ReaderThread, Receiver, ReceiverBuilder, Statistics,
    Waker, Wire, WireStatus, WireSupport, wire_support,
};
pub use sender::{
    PaceDecision, Pacer, ParseRateError, Rate, Reply, SendStatistics, Sender, SenderBuilder, pause,
};
pub use timing::{LaunchClock, pin_to_processor};

/// The README's example, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../../../README.md")]
struct Readme;

/// The example of the product's README, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ProductReadme;

/// Raises the process's soft limit on file descriptors (`RLIMIT_NOFILE`) as far as the system
/// allows. Returns whether the limit grew.
///
/// The library never does this on its own: child processes inherit the limit, and `select(2)` fails for descriptors of
/// 1,024 and above, the usual soft limit. A receiver needs one descriptor per IPv6 group, so joining very many groups
/// can fail with [`ErrorKind::LimitReached`]; raise the limit before joining, or after that error. Windows has no such
/// limit, and nothing changes there.
pub fn raise_descriptor_limit() -> bool {
    mcast_sys::process::raise_descriptor_limit()
}
