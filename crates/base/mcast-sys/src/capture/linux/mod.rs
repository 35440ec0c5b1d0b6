//! Linux: packet sockets (`packet(7)`).

mod block;
mod message;
mod receive;
mod ring;
mod socket;

pub use receive::{BATCH_BYTES, BATCH_PACKETS, MAX_FRAME_BYTES};
pub use socket::{CaptureSocket, is_unreadable, missing};
