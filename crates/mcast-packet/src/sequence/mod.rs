//! Counting lost, duplicate and reordered datagrams by their sequence numbers.
//!
//! ```
//! use mcast_packet::sequence::{SequenceField, SequenceTracker};
//!
//! // A 2-byte number at the start of each datagram.
//! let field: SequenceField = "0:2".parse()?;
//! let mut tracker = SequenceTracker::new(field.bits());
//! for datagram in [b"\xff\xfehello", b"\xff\xffhello", b"\x00\x01hello"] {
//!     if let Some(number) = field.read(datagram) {
//!         tracker.observe(number);
//!     }
//! }
//! assert_eq!(tracker.counts().missing, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod field;
mod tracker;

pub use field::{FieldError, SequenceField};
pub use tracker::{Observation, SequenceCounts, SequenceTracker};
