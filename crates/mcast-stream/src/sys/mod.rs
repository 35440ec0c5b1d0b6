//! Waiting for a receiver and for the socket of the control datagrams.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::wait;

#[cfg(not(unix))]
mod other;
#[cfg(not(unix))]
pub(crate) use other::wait;
