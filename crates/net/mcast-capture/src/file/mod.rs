//! Capture files in the formats pcap and pcapng, as used by tcpdump, tshark and Wireshark.
//!
//! The crate pcap-file splits files into records and writes them. The options of pcapng records are parsed
//! here, because that crate rejects files that other programs accept: files with clocks that count in powers
//! of two, or with option lists without an end marker.

mod error;
mod input;
mod interface;
mod options;
mod packet_block;
mod pcap;
mod pcapng;
mod reader;
mod recorder;
mod series;
mod spool;
mod writer;

pub use error::{FileError, FileErrorKind};
pub use interface::{FileInterface, LinkNumber};
pub use reader::{CaptureFile, FileFormat, FileStatistics};
pub use recorder::{RecordedFile, Recorder, RecorderEvent, RecorderOptions};
pub use writer::{CaptureWriter, WriteFormat};
