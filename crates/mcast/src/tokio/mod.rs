//! The same two types for tokio (feature `tokio`).
//!
//! Every call is cancel-safe unless it says otherwise: a future that is dropped has taken no
//! datagram. Memberships are changed through the [`Receiver`](crate::Receiver) inside, whose
//! calls are short and do not wait for the network.

#[cfg(unix)]
#[path = "readiness_unix.rs"]
mod readiness;

#[cfg(not(unix))]
#[path = "readiness_by_thread.rs"]
mod readiness;

mod receiver;
mod sender;

pub use receiver::Receiver;
pub use sender::Sender;
