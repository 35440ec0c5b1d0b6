//! Receiver and sender for tokio (feature `tokio`).
//!
//! Every call is cancel-safe unless its documentation says otherwise: a future that is dropped has
//! not consumed a datagram. Calls that change memberships are short and do not wait for the
//! network.
//!
//! ```
//! use mcast::tokio::Receiver;
//!
//! async fn receive() -> mcast::Result<Vec<u8>> {
//!     let receiver = Receiver::new(mcast::Receiver::builder().build()?)?;
//!     let mut buffer = [0; 2_000];
//!     Ok(receiver.recv(&mut buffer).await?.payload().to_vec())
//! }
//! ```
//!
//! Blocking calls are not available:
//!
//! ```compile_fail
//! fn blocks(receiver: &mcast::tokio::Receiver) {
//!     let _ = receiver.recv_timeout(&mut [0; 2_000], std::time::Duration::from_secs(1));
//! }
//! ```

#[cfg(unix)]
#[path = "readiness_unix.rs"]
mod readiness;

#[cfg(not(unix))]
#[path = "readiness_by_thread.rs"]
mod readiness;

#[cfg(feature = "futures")]
mod futures;
mod receiver;
mod sender;

pub use receiver::Receiver;
pub use sender::Sender;
