//! Sending datagrams and messages: where to, at what pace, and what the kernel accepts.

mod dispatch;
mod pace;
pub(crate) mod targets;

pub(crate) use dispatch::{Count, Dispatch};
pub(crate) use pace::{MessagePacer, Pace, pause};
pub(crate) use targets::Target;
