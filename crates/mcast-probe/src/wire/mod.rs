//! The messages of `mcast perf`, `mcast ping` and `mcast doctor --probe`.
//!
//! Each begins with the same 32 bytes, most significant byte first:
//!
//! | bytes | what |
//! |---|---|
//! | 0-2 | `mcp` |
//! | 3 | the version, 1 |
//! | 4 | the kind |
//! | 5 | reserved: sent as 0, not looked at |
//! | 6-7 | the stream within the session |
//! | 8-15 | the session, a random number |
//! | 16-23 | the sequence number within the stream; in a closing, how many were sent |
//! | 24-31 | when it was sent: nanoseconds since 1970 (UTC) by the sender's clock |
//!
//! What follows depends on the kind; what is longer than needed is padding. An answer is never
//! longer than what it answers: that is checked where the messages are defined.

mod bytes;
mod header;
mod message;
mod path;
mod ping;
mod report;
mod settings;

pub use header::{Header, Kind, SessionId, UnixNanos};
pub use message::{Message, WireError};
pub use path::{PATH_PROBE_LENGTH, PathAnswer, PathProbe};
pub use ping::{Answer, PROBE_LENGTH, Probe};
pub use report::Report;
pub use settings::{CLOSING_LENGTH, Settings};

/// The length of what every message begins with: the least size of a datagram that carries data.
pub const HEADER_LENGTH: usize = header::LENGTH;

/// The least size of a datagram of the ping-pong: the header and a token.
pub const PING_LENGTH: usize = HEADER_LENGTH + 8;
