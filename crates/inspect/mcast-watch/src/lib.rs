//! Observes multicast traffic and reports streams and their loss, group members, and routers. The tables use
//! neither sockets nor clocks: packets and times go in, rows come out. The module `live` (feature `live`) fills
//! them with captured frames.
//!
//! A [`Watch`] is the table behind `mcast top`. Its memory is bounded: during a flood of forged groups and
//! sources, established streams stay, and evictions are counted. A [`PacketTally`] is the summary of `mcast
//! sniff`.
//!
//! ```
//! use mcast_packet::{MacAddress, Packet, UdpFrame};
//! use mcast_watch::{ObservedPacket, PacketState, Time, Watch, WatchOptions};
//!
//! let mut watch = Watch::new(WatchOptions::default());
//! let mut frame = [0; 128];
//! let datagram = UdpFrame {
//!     mac: MacAddress([2, 0, 0, 0, 0, 1]),
//!     source: "10.0.0.7".parse()?,
//!     source_port: 4000,
//!     group: "239.255.2.3".parse()?,
//!     destination_port: 5000,
//!     hop_limit: 4,
//!     payload: b"hello",
//! };
//! let interface = mcast_group::InterfaceIndex::new(2).ok_or("no index")?;
//! let length = datagram.emit(&mut frame)?;
//! let packet = Packet::ethernet(&frame[..length]);
//! let start = Time::from_secs(1_700_000_000);
//! watch.begin(start);
//! watch.observe(&ObservedPacket {
//!     time: start,
//!     interface,
//!     outgoing: false,
//!     length,
//!     packet: &packet,
//!     state: PacketState::Whole,
//!     tunnel: None,
//!     sequence_info: None,
//! });
//!
//! let report = watch.report(Time::from_secs(1_700_000_001));
//! assert_eq!(report.streams[0].now.datagrams_per_second, 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod announcements;
mod clock;
pub mod discovery;
mod flows;
mod ledger;
#[cfg(feature = "live")]
pub mod live;
mod lru;
mod members;
mod origin;
mod queriers;
mod sequence_meter;
mod stream;
mod tally;
mod tunnels;
mod watch;

pub use announcements::{AnnouncementContent, StreamAnnouncement};
pub use clock::{IntervalCounts, JitterBasis, JitterValue, Time};
pub use flows::{FragmentPorts, RtpFlows};
pub use ledger::{SequenceInfo, StreamIdentity};
#[cfg(feature = "live")]
pub use live::Discovery;
pub use members::{GroupMember, LogEntry};
pub use queriers::{
    ObservedQuerier, ObservedQuery, PimNeighbor, Protocol, QuerierTable, RouterAdvertisement,
};
pub use sequence_meter::{Format, SequenceMeter, SequenceStatistics, SequenceUpdate, Unit};
pub use stream::{Row, StreamKey, StreamRate, WatchReport, WatchTotals};
pub use tally::{FlowVolumes, PacketCounts, PacketFlow, PacketTally, TrafficVolume};
pub use watch::{ObservedPacket, PacketState, Watch, WatchOptions};
