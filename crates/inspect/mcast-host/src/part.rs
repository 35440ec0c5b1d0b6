//! What was read of a machine, and what could not be.

use std::fmt;

use serde::Serialize;

/// A part of this machine or its network that was examined, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExaminedPart {
    /// Part, such as the wire of an interface
    pub part: String,
    /// Why it could not be examined, at least not completely; omitted if it was
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<String>,
}

impl ExaminedPart {
    /// Returns a part that was examined.
    #[must_use]
    pub fn new(part: impl Into<String>) -> Self {
        Self { part: part.into(), gap: None }
    }

    /// Sets why it could not be examined.
    #[must_use]
    pub fn without(self, reason: impl fmt::Display) -> Self {
        Self { gap: Some(reason.to_string()), ..self }
    }
}

/// Why the system refused an observation, such as the frames of an interface or the drops of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservationRefusal {
    /// The reason, as a clause: `it needs permission to trace the kernel`.
    pub why: String,
    /// Whether a privilege is missing.
    pub needs_rights: bool,
}
