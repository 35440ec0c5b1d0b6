//! Live capture: the frames of interfaces, as they are on the wire; and capture files, pcap and pcapng.
//!
//! A [`Capture`] sees what arrives at an interface and what leaves it, whether anybody on this
//! machine has joined the group or not. What the kernel does for speed is undone: datagrams that it
//! carries as one packet (GSO, GRO) come out one by one, VLAN tags that it has taken off are put
//! back, and a checksum that it has left to the device is said to be so instead of taken for bad.
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
//! A [`CaptureFile`] gives the same frames out of a file, a [`CaptureWriter`] takes them into one:
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
//! Whoever takes a `dyn `[`FrameSource`] reads files as the wire.
//!
//! # Hearing is not joining
//!
//! A capture joins no group: no IGMP or MLD leaves the machine because of it. So a switch that
//! forwards groups only to members (snooping) may hold back what would have been seen, and the
//! interface itself may discard the groups that its hardware filter does not know, which
//! [`CaptureOptions::all_multicast`] or [`CaptureOptions::group`] change.
//!
//! # Platforms
//!
//! | system | |
//! |---|---|
//! | Linux | `AF_PACKET`; needs `CAP_NET_RAW` in the network namespace |
//! | macOS, FreeBSD | BPF devices; needs the right to read `/dev/bpf*`. Times to the microsecond; neither directions nor checksums left to the device are told; compiled and checked against the systems' layouts, not yet run |
//! | Windows | [`ErrorKind::Unsupported`]: the system gives frames to drivers alone; files can be read and written |
//! | Android and others | [`ErrorKind::Unsupported`] |

mod batch;
#[cfg(any(test, target_vendor = "apple", target_os = "freebsd"))]
mod bpf_records;
mod capture;
mod control;
mod error;
mod file;
mod filter;
mod frame;
mod options;
mod source;
#[allow(unsafe_code)]
mod sys;
mod tap;

pub use capture::{Capture, CapturedInterface, Statistics};
pub use control::ControlSender;
pub use error::{Error, ErrorKind};
pub use file::{
    CaptureFile, CaptureWriter, FileError, FileErrorKind, FileFormat, FileInterface, FileStatistics,
    LinkNumber, WriteFormat,
};
pub use filter::Filter;
pub use frame::{Direction, Frame};
pub use options::CaptureOptions;
pub use source::{FrameSource, SourceError};

/// What capturing gives or why it failed.
pub type Result<T> = std::result::Result<T, Error>;
