//! Which clients of a TCP server beside a stream are served, when the others may come back, and at which rate bytes are
//! sent, without sockets or clocks.
//!
//! `docs/protocol.md` specifies what clients see of it, under *Snapshot servers* and *History servers*.

mod admission;
mod pace;

pub use admission::{
    Admission, AdmissionLimits, AdmissionQueue, ClientId, ConnectDecision, Excess, QueueToken,
};
pub use pace::SharedPace;
