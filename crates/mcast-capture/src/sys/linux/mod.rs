//! Linux: packet sockets (`packet(7)`).

mod filter;
mod message;
mod receive;
mod socket;

pub(crate) use receive::{BATCH_BYTES, LONGEST_FRAME};
pub(crate) use socket::{Socket, error_kind, interface_index, is_unreadable};
