//! Kernel notices about groups joined or left on an interface.

use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use socket2::Socket;

use super::super::netlink::listen;
use crate::readable::readable;

/// Rtnetlink groups, since Linux 6.15 (`linux/rtnetlink.h`).
const RTNLGRP_IPV4_MCADDR: u32 = 37;
const RTNLGRP_IPV6_MCADDR: u32 = 38;

/// Receives the notices of the namespace it was opened in, if the kernel sends any.
#[derive(Debug)]
pub struct Notices(Option<Socket>);

impl Notices {
    /// Starts to receive notices.
    pub fn open() -> io::Result<Self> {
        let socket = listen(0)?;
        for group in [RTNLGRP_IPV4_MCADDR, RTNLGRP_IPV6_MCADDR] {
            match subscribe(&socket, group) {
                // An older kernel has no such group.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(Self(None)),
                result => result?,
            }
        }
        Ok(Self(Some(socket)))
    }

    /// Waits at most `timeout`; returns whether a notice arrived.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let Some(socket) = &self.0 else {
            std::thread::sleep(timeout);
            return Ok(false);
        };
        let notified = readable(socket.as_fd(), Some(timeout))?;
        if notified {
            discard_all(socket)?;
        }
        Ok(notified)
    }
}

fn subscribe(socket: &Socket, group: u32) -> io::Result<()> {
    // SAFETY: the option takes a number of this size, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_ADD_MEMBERSHIP,
            (&raw const group).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Discards all notices. Their contents are not needed, because the tables are read again.
fn discard_all(mut socket: &Socket) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // The kernel dropped notices, which does not matter here.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
