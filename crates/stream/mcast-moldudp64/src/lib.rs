//! MoldUDP64: a receiver with re-requests and several paths, a sender, and a re-request server.
//!
//! MoldUDP64 1.00 is a protocol by Nasdaq in which exchanges send market data: messages of up to 65,535 bytes, numbered
//! from 1 within a session, several to a datagram, without fragments, seals or flow control. Missing messages are
//! requested from a server by unicast. The state machines have no sockets and no clocks: the caller passes the time.
//! The example `exchange_feed` runs them on sockets: a feed to two groups, and a re-request server.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod extent;
mod receiver;
mod sender;

pub use mcast_stream_proto::ClockTime;
pub use receiver::{MoldConfig, MoldItem, MoldReceiver, MoldStatistics};
pub use sender::{MoldError, MoldSender};

/// The name of a session: ASCII letters and digits, padded with spaces.
pub type SessionName = [u8; 10];

/// The length of the header of every datagram: session, number, count.
const HEADER: usize = 20;

/// Returns a request for messages: session, number of the first message, number of messages.
fn request(session: SessionName, first: u64, count: u16) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..10].copy_from_slice(&session);
    bytes[10..18].copy_from_slice(&first.to_be_bytes());
    bytes[18..].copy_from_slice(&count.to_be_bytes());
    bytes
}
