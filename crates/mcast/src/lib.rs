//! Send and receive IP multicast correctly, and know for each datagram how it came.
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
//! println!("for {} from {}", datagram.group(), datagram.source());
//! # Ok(()) }
//! ```
//!
//! # What is promised
//! A datagram is handed out only if it was sent to a group that was joined, came in on an
//! interface on which it was joined, from a source that is admitted; never twice. Whatever the
//! system can count of loss is counted and told. Nothing is taken from other programs.
//!
//! # Platforms
//! Linux, Android, macOS, FreeBSD and Windows. Elsewhere everything compiles and returns
//! [`ErrorKind::Unsupported`]. What a platform cannot do is that error, too, never silence.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Where nothing is supported, much of what serves the platforms has nobody to serve.
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
mod outgoing;
mod receiver;
mod sender;
#[allow(unsafe_code)]
mod sys;
mod timing;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use batch::{Batch, Cursor};
pub use datagram::{Arrival, Datagram, KeptDatagram};
pub use error::{Error, ErrorKind, Operation, Result};
pub use exchange::{DatagramSink, DatagramSource};
pub use interface::{
    Bridge, BridgeQuerier, Interface, InterfaceChange, InterfaceWatcher, bridges, default_interface,
    default_interface_of, find, interface_towards, interfaces, queue_disciplines,
};
pub use mcast_group as group;
pub use mcast_group::{
    Destination, Family, Group, GroupAddr, InterfaceIndex, InterfaceSelector, Membership, ParseError,
    SourceFilter,
};
pub use outgoing::Outgoing;
pub use receiver::{
    Drops, InterfaceStatus, MembershipStatus, Reader, ReaderThread, Receiver, ReceiverBuilder, Statistics,
    Waker,
};
pub use sender::{Allowance, Answer, Pacer, Rate, SendStatistics, Sender, SenderBuilder};
pub use timing::{LaunchClock, pin_to_processor};

/// The README's example, compiled with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
