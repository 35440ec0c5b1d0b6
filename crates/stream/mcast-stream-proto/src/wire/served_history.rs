//! That a publisher serves the history of its stream, as heartbeats show it.

use core::net::SocketAddr;

use super::extension::ExtensionKind;
use super::view::DatagramView;
use super::writer::{DatagramWriter, WriteError};

/// A publisher serves the history of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedHistory {
    /// The TCP port at the publisher's address; 0 if only announcements have the address.
    pub port: u16,
}

impl ServedHistory {
    /// The length of the extension, in bytes.
    pub(crate) const LENGTH: usize = 4;

    /// Reads the extension; `None` if there is none.
    #[must_use]
    pub fn of(view: &DatagramView<'_>) -> Option<Self> {
        view.extensions.find(ExtensionKind::HISTORY).map(|extension| Self { port: extension.small })
    }

    /// Adds the extension.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.extension(ExtensionKind::HISTORY, self.port, &[])
    }

    /// Returns the address of the server, if that of its publisher has this one.
    #[must_use]
    pub fn address(self, publisher: SocketAddr) -> Option<SocketAddr> {
        (self.port != 0).then(|| SocketAddr::new(publisher.ip(), self.port))
    }
}
