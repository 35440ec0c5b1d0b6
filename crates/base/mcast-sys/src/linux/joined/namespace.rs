//! Distinguishing the sockets of one network namespace from those of others.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use socket2::{Domain, Type};

use super::socket::{BorrowedSocket, option_of};

/// `asm-generic/socket.h`, since Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The identity of a network namespace.
#[derive(Default)]
pub(super) struct Namespace {
    cookie: Option<u64>,
    inode: Option<u64>,
}

impl Namespace {
    pub(super) fn of_this_thread() -> Self {
        let socket = socket2::Socket::new(Domain::IPV4, Type::DGRAM, None).map(OwnedFd::from);
        let cookie = socket.and_then(|socket| cookie_of(&socket)).ok();
        let namespace = std::fs::metadata("/proc/thread-self/ns/net");
        Self { cookie, inode: namespace.ok().map(|namespace| namespace.ino()) }
    }

    /// Returns whether the socket belongs to this namespace, whichever namespace its process is in
    /// now. It compares cookies; before Linux 5.14 it compares the namespaces, for which the kernel
    /// requires `CAP_NET_ADMIN`. A socket that cannot be checked is assumed to belong, as nearly
    /// all do.
    pub(super) fn has(&self, socket: &BorrowedSocket) -> bool {
        match (self.cookie, cookie_of(&socket.descriptor)) {
            (Some(own), Ok(other)) => own == other,
            _ => self.has_by_inode(&socket.descriptor).unwrap_or(true),
        }
    }

    fn has_by_inode(&self, socket: &OwnedFd) -> Option<bool> {
        let other = namespace_of(socket).and_then(|namespace| namespace.metadata()).ok()?;
        self.inode.map(|own| own == other.ino())
    }
}

fn cookie_of(socket: &OwnedFd) -> io::Result<u64> {
    option_of(socket, libc::SOL_SOCKET, SO_NETNS_COOKIE)
}

/// Returns the namespace that a socket belongs to.
fn namespace_of(socket: &OwnedFd) -> io::Result<File> {
    // SAFETY: this request takes no argument and creates a new descriptor.
    let descriptor = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGSKNS as _) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just created it, and it has no other owner.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::joined::socket::tests::borrowed;

    #[test]
    fn a_socket_of_this_namespace_is_recognized_both_ways() {
        let (_socket, borrowed) = borrowed();
        let namespace = Namespace::of_this_thread();
        assert!(namespace.has(&borrowed));
        // The kernel requires a capability for this, which the tests may not have.
        assert_ne!(namespace.has_by_inode(&borrowed.descriptor), Some(false));
        let another = Namespace { cookie: None, inode: namespace.inode.map(|inode| inode + 1) };
        assert_ne!(another.has_by_inode(&borrowed.descriptor), Some(true));
    }
}
