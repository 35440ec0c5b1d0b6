//! What goes on in a network, as its packets tell: which streams there are and what of them is lost, who
//! has joined what, and which routers there are. Without sockets and without clocks: packets and times
//! go in, rows come out.
//!
//! A [`Watch`] is the table behind `mcast top`. Its memory is bounded whatever comes: under a flood of
//! made-up groups and sources the streams that have lasted stay, and what had to go is counted.
//!
//! ```
//! use mcast_packet::{MacAddress, Packet, UdpFrame};
//! use mcast_watch::{Options, Seen, Time, Watch};
//!
//! let mut watch = Watch::new(Options::default());
//! let mut frame = [0; 128];
//! let datagram = UdpFrame {
//!     mac: MacAddress([2, 0, 0, 0, 0, 1]),
//!     source: "10.0.0.7".parse()?,
//!     source_port: 4000,
//!     group: "239.1.2.3".parse()?,
//!     destination_port: 5000,
//!     hop_limit: 4,
//!     payload: b"hello",
//! };
//! let interface = mcast_group::InterfaceIndex::new(2).ok_or("no index")?;
//! let length = datagram.emit(&mut frame)?;
//! let packet = Packet::ethernet(&frame[..length]);
//! let start = Time::from_secs(1_700_000_000);
//! watch.begin(start);
//! watch.observe(&Seen { time: start, interface, outgoing: false, length, packet: &packet, numbered: None });
//!
//! let report = watch.report(Time::from_secs(1_700_000_001));
//! assert_eq!(report.streams[0].now.datagrams_per_second, 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clock;
mod history;
mod jitter;
mod ledger;
mod log;
mod lru;
mod members;
mod numbering;
mod report;
mod routers;
mod stream;
mod time;
mod watch;

pub use history::Slot;
pub use jitter::{JitterBasis, JitterValue};
pub use ledger::{Identity, Numbered};
pub use log::Entry;
pub use members::Member;
pub use numbering::{Format, Numbers, Unit};
pub use report::{Rate, Report, Row, Totals};
pub use routers::{PimNeighbor, Protocol, Querier, RouterAdvertisement};
pub use stream::StreamKey;
pub use time::Time;
pub use watch::{Options, Seen, Watch};
