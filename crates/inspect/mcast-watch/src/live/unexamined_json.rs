//! Frames with packets that were not decoded, as JSON.

use mcast_capture::UnexaminedFrames;
use mcast_packet::{EncapsulationProtocol, UnexaminedReason};
use serde::Serialize;

/// Frames that carry packets which were not decoded
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct UnexaminedRecord {
    /// Protocol around the packets
    protocol: &'static str,
    /// Why the packets were not decoded
    #[cfg_attr(
        feature = "schema",
        schemars(extend("enum" = [
            "encrypted", "not decoded", "malformed or cut off", "nested too deeply", "fragments are missing"
        ]))
    )]
    reason: String,
    /// Number of frames
    frames: u64,
}

impl UnexaminedRecord {
    pub(super) fn list(unexamined: &UnexaminedFrames) -> Vec<Self> {
        let record = |(protocol, reason, frames): (EncapsulationProtocol, UnexaminedReason, u64)| Self {
            protocol: protocol.name(),
            reason: reason.to_string(),
            frames,
        };
        unexamined.iter().map(record).collect()
    }
}
