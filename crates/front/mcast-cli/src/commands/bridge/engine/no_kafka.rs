//! Without Kafka.

use mcast_bridge::{EngineError, EngineErrorKind, EnginePassword};

use super::super::Arguments;
use super::Target;

pub(super) fn target(
    _: &str,
    _: Option<EnginePassword>,
    _: Option<&String>,
    _: &Arguments,
) -> Result<Target, EngineError> {
    Err(EngineError {
        what: "this build of mcast has no client of Kafka".into(),
        remedy: Some(
            "on Linux and other Unix systems, build it with: cargo install mcast-cli --features kafka".into(),
        ),
        kind: EngineErrorKind::Permanent,
    })
}
