//! The bodies that only options of the protocol read and write.

#[cfg(any(feature = "dissect", feature = "signatures"))]
mod manifest;
#[cfg(feature = "history")]
mod origin;
#[cfg(any(feature = "dissect", feature = "parity"))]
mod parity;
#[cfg(any(feature = "dissect", feature = "local-repair"))]
mod repairers;

#[cfg(any(feature = "dissect", feature = "signatures"))]
pub use manifest::{Digest, Manifest};
#[cfg(feature = "history")]
pub use origin::{EngineKey, Origin, RecallIndex, ServedHistory, VisitedEngines};
#[cfg(any(feature = "dissect", feature = "parity"))]
pub use parity::Parity;
#[cfg(any(feature = "dissect", feature = "local-repair"))]
pub use repairers::{ListedRepairer, RepairerList};
