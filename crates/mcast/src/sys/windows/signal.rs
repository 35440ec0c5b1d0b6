//! A signal that a poll of sockets sees: Windows can wait for sockets only together with sockets.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::time::Duration;

use super::readable::readable;

/// Two sockets on the loopback interface, each connected to the other, so that nobody else can
/// raise the signal.
pub(crate) struct Signal {
    raising: UdpSocket,
    raised: UdpSocket,
}

impl Signal {
    pub(crate) fn new() -> io::Result<Self> {
        let raising = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let raised = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        raising.connect(raised.local_addr()?)?;
        raised.connect(raising.local_addr()?)?;
        raising.set_nonblocking(true)?;
        raised.set_nonblocking(true)?;
        Ok(Self { raising, raised })
    }

    /// Raises it; once is as good as often. When the socket's buffer is full, it is raised.
    pub(crate) fn raise(&self) -> io::Result<()> {
        match self.raising.send(&[1]) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lowers it; says whether it was raised. Of several threads one gets it.
    pub(crate) fn take(&self) -> bool {
        let mut byte = [0];
        let raised = self.raised.recv(&mut byte).is_ok();
        while self.raised.recv(&mut byte).is_ok() {}
        raised
    }

    /// Whether it is raised, or was in time.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        readable(self.as_socket(), timeout)
    }
}

impl AsSocket for Signal {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.raised.as_socket()
    }
}
