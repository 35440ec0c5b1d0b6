//! Frames with packets that were not decoded, as JSON.

use mcast_capture::UnexaminedFrames;
use mcast_json::record;
use mcast_packet::{EncapsulationProtocol, UnexaminedReason};

record! {
    fn new(protocol: EncapsulationProtocol, reason: UnexaminedReason, frames: u64) {}

    /// Frames that carry packets which were not decoded
    pub(super) struct UnexaminedRecord {
        /// Protocol around the packets
        protocol: &'static str = protocol.name(),
        /// Why the packets were not decoded
        #[cfg_attr(
            feature = "schema",
            schemars(extend("enum" = [
                "encrypted", "not decoded", "malformed or cut off", "nested too deeply", "fragments are missing"
            ]))
        )]
        reason: String = reason.to_string(),
        /// Number of frames
        frames: u64 = frames,
    }
}

impl UnexaminedRecord {
    pub(super) fn list(unexamined: &UnexaminedFrames) -> Vec<Self> {
        unexamined.iter().map(|(protocol, reason, frames)| Self::new(protocol, reason, frames)).collect()
    }
}
