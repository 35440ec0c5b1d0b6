//! Capture files: pcap and pcapng, as tcpdump, tshark and Wireshark write and read them.
//!
//! The crate pcap-file takes the files apart into records and writes them. What a record of pcapng says
//! in its options is read here: that crate refuses files that all others read, with clocks that count in
//! powers of two, or with lists of options that lack their end.

mod error;
mod input;
mod interface;
mod options;
mod packet_block;
mod pcap;
mod pcapng;
mod reader;
mod spool;
mod writer;

pub use error::{FileError, FileErrorKind};
pub use interface::{FileInterface, LinkNumber};
pub use reader::{CaptureFile, FileFormat, FileStatistics};
pub use writer::{CaptureWriter, WriteFormat};
