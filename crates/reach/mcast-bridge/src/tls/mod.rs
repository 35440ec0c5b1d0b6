//! TLS to the servers of engines.

#[cfg_attr(not(feature = "tls"), path = "absent.rs")]
mod client;
mod error;

use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::EngineError;
pub(crate) use client::TlsStream;
use error::TlsError;
pub(crate) use error::engine_error;

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
