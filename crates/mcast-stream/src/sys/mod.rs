//! Waiting for two sockets at once. Every family of systems offers:
//!
//! `wait(receiver, control, timeout)`: until one of them may have something, or the time is over.

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
