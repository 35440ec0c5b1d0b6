//! TLS to the servers of engines.

#[cfg_attr(not(feature = "tls"), path = "absent.rs")]
mod client;

use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{EngineError, EngineErrorKind};
pub(crate) use client::TlsStream;

/// How a server proves which one it is, and the bridge who it is.
///
/// Files are read for each connection, so that renewed certificates apply from the next one on. At least TLS 1.2 is
/// spoken. The default trusts the authorities of the system and has no certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file with the authorities to trust instead of those of the system.
    pub authorities: Option<PathBuf>,
    /// PEM files with the certificate of the bridge and those that lead to its authority, and with its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The name that the certificate of the server must have instead of the host in the URL.
    pub server_name: Option<String>,
}

impl TlsOptions {
    /// Checks that the files can be used.
    ///
    /// # Errors
    /// If one of them cannot be read, or has no certificate or key, or this build has no TLS.
    pub fn check(&self) -> Result<(), EngineError> {
        client::check(self).map_err(TlsError::into_engine_error)
    }

    /// Makes a connection of TLS with a server of this name.
    pub(crate) fn connect(&self, socket: TcpStream, host: &str, timeout: Duration) -> io::Result<TlsStream> {
        client::connect(self, socket, host, timeout)
    }
}

/// Why there is no connection of TLS. It passes from the inside of an [`io::Error`] to an [`EngineError`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
struct TlsError {
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
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }

    fn in_io_error(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    fn into_engine_error(self) -> EngineError {
        EngineError::new(self.what, &self.remedy, EngineErrorKind::Transient)
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::other(error)
    }
}
