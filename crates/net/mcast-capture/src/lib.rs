//! Live capture of frames as they are on the wire, and capture files in the formats pcap and pcapng.
//!
//! A [`Capture`] sees what arrives at an interface and what leaves it, regardless of which groups are joined.
//! It reverses the kernel's optimizations: packets that the kernel carries coalesced (GSO, GRO) are split
//! into their datagrams, VLAN tags that it has removed are restored, and a checksum that it has left to the
//! device is marked as such instead of appearing invalid.
//!
//! ```no_run
//! use mcast_capture::{Capture, CaptureOptions, Filter};
//!
//! let mut capture = Capture::open(CaptureOptions::on_name("eth0").filter(Filter::UdpPort(50001)))?;
//! while let Some(frame) = capture.next(None)? {
//!     println!("{}", frame.packet());
//! }
//! # Ok::<(), mcast_capture::Error>(())
//! ```
//!
//! A [`CaptureFile`] reads the same frames from a file, and a [`CaptureWriter`] writes them to one:
//!
//! ```no_run
//! use mcast_capture::{CaptureFile, CaptureWriter, WriteFormat};
//!
//! let mut all = CaptureFile::open("all.pcap")?;
//! let mut multicast = CaptureWriter::create("multicast.pcapng", WriteFormat::PcapNg)?;
//! while let Some(frame) = all.next()? {
//!     if frame.packet().ip_layer().is_some_and(|ip| ip.destination.is_multicast()) {
//!         multicast.write(&frame)?;
//!     }
//! }
//! multicast.flush()?;
//! # Ok::<(), mcast_capture::FileError>(())
//! ```
//!
//! A [`Recorder`] writes a series of files with a maximum size or age. A [`Replay`] reads the datagrams of a
//! file that can be sent again, and a [`ReplaySchedule`] computes when each is due.
//!
//! An [`Unwrapper`] takes frames apart: packets in tunnels, and datagrams from their fragments.
//!
//! Code that takes a `dyn `[`FrameSource`] works with live captures and files alike.
//!
//! # Capturing does not join
//!
//! A capture joins no group, so the machine sends no IGMP or MLD because of it. A switch with snooping, which
//! forwards groups only to members, may therefore hold back traffic, and the interface itself may discard
//! groups that its hardware filter does not know. [`CaptureOptions::all_multicast`] and
//! [`CaptureOptions::group`] change the latter.
//!
//! # Platforms
//!
//! | system | |
//! |---|---|
//! | Linux | `AF_PACKET`; needs `CAP_NET_RAW` in the network namespace |
//! | macOS, FreeBSD | BPF devices; needs the right to read `/dev/bpf*`. Times in microseconds; directions and checksums left to the device are not reported. Compiled and checked against the systems' layouts, not yet run |
//! | Windows | [`ErrorKind::Unsupported`]: only drivers can see frames; files can be read and written |
//! | Android and others | [`ErrorKind::Unsupported`] |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod capture;
mod control;
mod error;
mod file;
mod frame;
#[cfg_attr(not(target_os = "linux"), path = "unsupported.rs")]
mod kernel_filter;
mod options;
mod packet_filter;
mod replay;
mod source;
mod unwrap;

pub use capture::{Capture, CaptureStatistics, CapturedInterface};
pub use control::{ControlSender, InterfaceQuerier, QuerierEvent, QuerierState};
pub use error::{Error, ErrorKind};
pub use file::{
    CaptureFile, CaptureWriter, FileError, FileErrorKind, FileFormat, FileInterface, FileStatistics,
    LinkNumber, RecordedFile, Recorder, RecorderEvent, RecorderOptions, WriteFormat,
};
pub use frame::Frame;
#[doc(inline)]
pub use mcast_sys::Direction;
pub use options::{CaptureOptions, Filter};
pub use packet_filter::{PacketContext, PacketFilter, PacketProtocol};
pub use replay::{
    AddressMapping, DatagramBatch, MappingError, RecordedDatagram, Replay, ReplayEvent, ReplayRound,
    ReplaySchedule, SkippedFrames, TransmitTimes,
};
pub use source::{FrameSource, SourceError};
pub use unwrap::{Part, UnexaminedFrames, UnwrappedPacket, Unwrapper};

/// The result of a capture operation.
pub type Result<T> = std::result::Result<T, Error>;
