//! Telling sockets of one network namespace from those of others.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use socket2::{Domain, Type};

use super::socket::{BorrowedSocket, option_of};

/// `asm-generic/socket.h`, since Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// A network namespace, by which sockets are told apart.
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

    /// Whether the socket lives in it, whatever its process does. By its cookie; before Linux
    /// 5.14 by its namespace, for which the kernel wants `CAP_NET_ADMIN`. A socket that cannot be
    /// told is taken to live here, as nearly all do.
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

/// The namespace that a socket lives in.
fn namespace_of(socket: &OwnedFd) -> io::Result<File> {
    // SAFETY: this request takes no argument and makes a new descriptor.
    let descriptor = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGSKNS as _) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us alone.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::platform::joined::socket::tests::borrowed;

    #[test]
    fn a_socket_of_this_namespace_is_known_by_either_way() {
        let (_socket, borrowed) = borrowed();
        let namespace = Namespace::of_this_thread();
        assert!(namespace.has(&borrowed));
        // For this the kernel wants a right that the tests may not have.
        assert_ne!(namespace.has_by_inode(&borrowed.descriptor), Some(false));
        let another = Namespace { cookie: None, inode: namespace.inode.map(|inode| inode + 1) };
        assert_ne!(another.has_by_inode(&borrowed.descriptor), Some(true));
    }
}
