//! MoldUDP64 as a profile: receive with re-requests and several paths, send, and serve re-requests.
//!
//! It is what exchanges send market data by (Nasdaq, MoldUDP64 1.00): messages of up to 65,535 bytes,
//! numbered from 1 within a session, several to a datagram, without fragments, seals or flow control. What is
//! missing is asked of a server by unicast. Neither machine has sockets or clocks: time is in nanoseconds. The example
//! `exchange_feed` gives them some: a feed to two groups, and a server of re-requests.

mod extent;
mod receiver;
mod sender;

pub use receiver::{MoldConfig, MoldItem, MoldReceiver, MoldStatistics};
pub use sender::{MoldError, MoldSender};

/// A session's name: ASCII letters and digits, filled up with spaces.
pub type Session = [u8; 10];

/// The header of every datagram: session, number, count.
const HEADER: usize = 20;

/// A request for messages: session, the first one's number, how many.
fn request(session: Session, first: u64, count: u16) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..10].copy_from_slice(&session);
    bytes[10..18].copy_from_slice(&first.to_be_bytes());
    bytes[18..].copy_from_slice(&count.to_be_bytes());
    bytes
}
