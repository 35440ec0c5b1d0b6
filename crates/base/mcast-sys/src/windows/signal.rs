//! A signal that socket polls notice. Windows can wait for sockets only together with other
//! sockets.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::time::Duration;

use super::readable::readable;

/// Two connected sockets on the loopback interface, so that no other program can raise the signal.
#[derive(Debug)]
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

    /// Raises the signal. Raising it again has no effect; a full socket buffer means that it is
    /// raised.
    pub(crate) fn raise(&self) -> io::Result<()> {
        match self.raising.send(&[1]) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Clears the signal; returns whether it was raised. Only one of several threads gets it.
    pub(crate) fn take(&self) -> bool {
        let mut byte = [0];
        let raised = self.raised.recv(&mut byte).is_ok();
        while self.raised.recv(&mut byte).is_ok() {}
        raised
    }

    /// Waits until the signal is raised; returns `false` on timeout.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        readable(self.as_socket(), timeout)
    }
}

impl AsSocket for Signal {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.raised.as_socket()
    }
}
