//! The wire format: views over the bytes of a datagram, and writers.
//!
//! Every datagram begins with a header of 32 bytes in network byte order:
//!
//! | bytes | field |
//! |---|---|
//! | 0-1 | `MC` |
//! | 2 | the version: major in the upper four bits, minor in the lower |
//! | 3 | the kind |
//! | 4 | the length of header and extensions in words of four bytes, 8 to 63 |
//! | 5 | flags |
//! | 6-7 | the key epoch; 0 if the datagram is not sealed |
//! | 8-15 | the stream |
//! | 16-19 | the incarnation of its publisher |
//! | 20-23 | the lower half of the number of the first message in the datagram |
//! | 24-31 | the sequence of a datagram of data; in all others, a count kept by their publisher |
//!
//! Extensions follow, then the body. A sealed datagram ends with a tag of 16 bytes. Parsing allocates nothing and never
//! panics.

mod announce;
mod header;
mod heartbeat;
mod identity;
mod nak;
mod options;
mod status;
mod view;

pub use announce::{Announce, AnnouncedPath};
#[cfg(feature = "history")]
pub(crate) use announce::{put_socket, read_socket};
#[cfg(feature = "history")]
pub(crate) use header::LONGEST_HEADER;
pub use header::{
    Extension, ExtensionKind, Extensions, Flags, HEADER_LENGTH, Header, Kind, MAGIC, MAJOR, MINOR, WireError,
};
pub use heartbeat::{FlowControl, Heartbeat, Probe, Reset, ResetReason};
pub use identity::{
    AddressToken, Incarnation, IncarnationSalt, KeyEpoch, MessageKey, MessageNumber, Position, Sequence,
    SignerId, StreamId, SubscriberId,
};
pub(crate) use nak::{CROWD_NAK_RATE, DATAGRAMS_PER_CROWD_NAK, NAK_INTERVAL};
pub use nak::{Nak, NakWriter, Ncf, Ranges};
#[cfg(any(feature = "history", feature = "local-repair", feature = "parity", feature = "signatures"))]
pub use options::*;
pub use status::{Acknowledgement, Status, SubscriberName, SubscriberNameError};
pub use view::{DatagramView, DatagramWriter, Messages, WriteError, batch_overhead, push_message};

/// The length of the tag that sealing adds to a datagram, in bytes.
pub const TAG_LENGTH: usize = 16;

#[cfg(test)]
mod tests;
