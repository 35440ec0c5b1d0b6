//! Linux: packet sockets (`packet(7)`).

mod block;
mod filter;
mod message;
mod poller;
mod receive;
mod ring;
mod socket;

pub(crate) use super::names::{interface_index, interface_name};
pub(crate) use poller::Poller;
pub(crate) use receive::{BATCH_BYTES, BATCH_PACKETS, MAX_FRAME_BYTES};
pub(crate) use socket::{Socket, error_kind, is_unreadable};
