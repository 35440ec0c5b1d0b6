//! The messages of `mcast perf`, `mcast ping` and `mcast doctor --probe`.
//!
//! Each starts with the same 32 bytes, in big-endian order:
//!
//! | bytes | contents |
//! |---|---|
//! | 0-2 | `mcp` |
//! | 3 | version, 1 |
//! | 4 | message type |
//! | 5 | reserved: sent as 0, ignored on receipt |
//! | 6-7 | stream within the session |
//! | 8-15 | session, a random number |
//! | 16-23 | sequence number within the stream; in a closing message, the number of datagrams sent |
//! | 24-31 | send time: nanoseconds since 1970-01-01 UTC by the sender's clock |
//!
//! The rest depends on the message type; extra bytes are padding. A reply is never longer than its request,
//! which prevents amplification; the constants that ensure this are checked where the messages are defined.

mod bytes;
mod examination;
mod header;
mod message;
mod probe;
mod report;
mod settings;
mod stream_message;

pub use examination::{EXAMINATION_LENGTH, Examination, examination_request};
pub use header::{MessageType, SessionHeader, SessionId, UnixNanos};
pub use message::SessionMessage;
pub use probe::{PROBE_LENGTH, ProbeCase, ProbeReply, ProbeRequest};
pub use report::{ClockRelation, Percentiles, ReceiverReport};
pub(crate) use settings::nanoseconds;
pub use settings::{CLOSING_LENGTH, SessionSettings};
pub use stream_message::{STREAM_MESSAGE_LENGTH, StreamMessage};

/// The length of the header, which is the minimum size of a data datagram.
pub const HEADER_LENGTH: usize = header::LENGTH;

/// The minimum size of a ping-pong datagram: the header and a token.
pub const PING_LENGTH: usize = HEADER_LENGTH + 8;
