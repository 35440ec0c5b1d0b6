//! Sending datagrams and messages: where to, at what pace, and what the kernel accepts.

mod dispatch;
mod message_pacer;
mod pace;
mod read_ahead;
pub(crate) mod targets;

pub(crate) use dispatch::{Count, Dispatch};
pub(crate) use message_pacer::MessagePacer;
pub(crate) use pace::{Pace, SLEEP_ERROR};
pub(crate) use read_ahead::{Next, ReadAhead};
pub(crate) use targets::Target;
