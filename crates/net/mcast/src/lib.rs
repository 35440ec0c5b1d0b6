//! Sends and receives IP multicast correctly, and reports the group, interface and source of each
//! datagram.
//!
//! ```no_run
//! use mcast::{Receiver, Sender};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let receiver = Receiver::join_one("239.255.2.3%eth0:7000".parse()?)?;
//! let sender = Sender::to("239.255.2.3%eth0:7000".parse()?)?;
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
//! # Receiving
//! | call | when |
//! |---|---|
//! | [`Reader::next`] of [`Receiver::reader`] | one datagram after the other; the reader receives batches, so this is as fast |
//! | [`Receiver::recv_batch`] | the program handles a whole batch at once; a timeout of zero only takes what is there |
//! | [`Receiver::recv`], [`Receiver::recv_timeout`] | into the program's own buffer; a timeout of zero does not wait |
//! | [`Receiver::wait`] | another thread or an interpreter receives, or signals must end the wait |
//! | `tokio::Receiver` | in asynchronous programs |
//!
//! A [`Waker`] ends each of these waits from another thread.
//!
//! # Sending
//! | call | when |
//! |---|---|
//! | [`Sender::send`] | one datagram to the destinations of the sender |
//! | [`Sender::send_to`] | one datagram to another group |
//! | [`Sender::send_one`] | one [`Outgoing`] with settings of its own: destination, interface, hop limit, launch time |
//! | [`Sender::send_batch`] | many datagrams with as few system calls as possible |
//! | [`Sender::send_batch_while`] | the same, or one datagram, where the wait for the pace must be cancellable |
//! | [`Sender::try_send_one`] of [`Sender::expand`] | in another event loop: nothing waits |
//! | `tokio::Sender` | in asynchronous programs |
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
//! Linux, Android, macOS, FreeBSD and Windows; nothing compiles elsewhere. An operation that one platform does not support
//! returns [`ErrorKind::Unsupported`]; it is never silently ignored.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod datagram;
mod error;
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
pub use mcast_group as group;
#[doc(inline)]
pub use mcast_group::{
    Destination, Family, Group, GroupAddr, HostAddr, InterfaceIndex, InterfaceSelector, Membership,
    ParseError, SourceFilter,
};
pub use receiver::{
    Drops, InterfaceStatus, MembershipStatus, Reader, Receiver, ReceiverBuilder, Statistics, Waker, Wire,
    WireStatus, WireSupport, wire_support,
};
pub use sender::{PaceDecision, Pacer, ParseRateError, Rate, Reply, SendStatistics, Sender, SenderBuilder};
pub use timing::LaunchClock;

/// The README's example, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../../../README.md")]
struct Readme;

/// The example of the product's README, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ProductReadme;
