//! What systems have calls of their own for. Every family offers:
//!
//! - `wait(receiver, control, timeout)`: until one of the two may have something, or the time is over.
//! - `send_train(socket, to, train)`: datagrams to one address, all of one length but the last, which may be shorter,
//!   with one call and one walk through the stack; and `MOST`, how many. 1 where there are no trains.

#[cfg(all(unix, feature = "tokio"))]
pub(crate) mod registration;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::wait;

#[cfg(not(unix))]
mod other;
#[cfg(not(unix))]
pub(crate) use other::wait;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod trains;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use trains::{MOST, send_train};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod no_trains;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use no_trains::{MOST, send_train};
