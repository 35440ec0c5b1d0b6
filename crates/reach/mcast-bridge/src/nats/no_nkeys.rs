//! No keys.

use std::path::Path;

use crate::engine::EngineError;

/// Credentials, of which there are none.
pub(super) struct Credentials(std::convert::Infallible);

impl Credentials {
    pub(super) fn read(_: &Path) -> Result<Self, EngineError> {
        Err(EngineError {
            what: "this build of mcast has no keys of NATS".into(),
            remedy: Some("build it with the feature tls, which needs a C compiler".into()),
            is_transient: false,
        })
    }

    pub(super) const fn add_to(&self, _: &mut serde_json::Value, _: &str) {
        match self.0 {}
    }
}
