//! What went wrong, and what to do about it.

use std::io;

use crate::engine::EngineError;

/// Why there is no connection of TLS. It passes from the inside of an [`io::Error`] to an [`EngineError`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct TlsError {
    what: String,
    /// Empty if there is none.
    remedy: String,
}

/// Returns the error of a server at this address, if TLS is the cause. It may pass: certificates are renewed.
pub(crate) fn engine_error(address: &str, cause: &io::Error) -> Option<EngineError> {
    let cause = TlsError::in_io_error(cause)?.clone();
    Some(TlsError { what: format!("{address}: {}", cause.what), ..cause }.into_engine_error())
}

impl TlsError {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }

    pub(super) fn in_io_error(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(super) fn into_engine_error(self) -> EngineError {
        let remedy = Some(self.remedy).filter(|remedy| !remedy.is_empty());
        EngineError { what: self.what, remedy, is_transient: true }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::other(error)
    }
}
