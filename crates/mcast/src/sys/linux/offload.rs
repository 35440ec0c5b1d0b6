//! What is known of sending trains: runs of equal datagrams that the kernel or the device cuts
//! apart (`UDP_SEGMENT`, Linux 4.18). What was refused once is not tried again.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use mcast_group::InterfaceIndex;

/// Segments that the kernel takes: 128 since Linux 6.9, 64 before (`UDP_MAX_SEGMENTS`).
pub(super) const MOST: usize = 128;
const MOST_BEFORE: usize = 64;

/// What one socket has learnt.
#[derive(Debug)]
pub(crate) struct Offload {
    /// Segments of a train, 1 where there are no trains.
    most: AtomicUsize,
    /// Datagrams from this size on do not go out by this interface in trains: they exceed its MTU.
    too_large: RwLock<Vec<(Option<InterfaceIndex>, usize)>>,
}

/// A train that the kernel refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) interface: Option<InterfaceIndex>,
    /// Bytes of each datagram but the last.
    pub(super) size: usize,
    pub(super) segments: usize,
}

impl Default for Offload {
    fn default() -> Self {
        Self { most: AtomicUsize::new(MOST), too_large: RwLock::default() }
    }
}

impl Offload {
    /// Sends no trains from now on, or tries them.
    pub(crate) fn allow(&self, on: bool) {
        self.most.store(if on { MOST } else { 1 }, Ordering::Relaxed);
    }

    /// Segments that a train may have, whatever their size.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Segments that a train of datagrams of this size may have on this interface.
    pub(super) fn most_of(&self, interface: Option<InterfaceIndex>, size: usize) -> usize {
        let limits = self.too_large.read().unwrap_or_else(PoisonError::into_inner);
        let refused = limits.iter().any(|(by, limit)| *by == interface && size >= *limit);
        if refused { 1 } else { self.most() }
    }

    /// Learns from an error; says whether the same datagrams may go with what is known now.
    pub(super) fn learn(&self, error: &io::Error, train: Refused) -> bool {
        if train.segments < 2 {
            return false;
        }
        match error.raw_os_error() {
            // A device that cannot compute checksums, before Linux could in its place.
            Some(libc::EIO) => self.most.store(1, Ordering::Relaxed),
            Some(libc::EINVAL) if train.segments > MOST_BEFORE => {
                self.most.store(MOST_BEFORE, Ordering::Relaxed);
            }
            // Larger than the MTU (which older kernels call EINVAL), or a kernel without trains,
            // which then shows at every size.
            Some(libc::EMSGSIZE | libc::EINVAL) => {
                self.too_large
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((train.interface, train.size));
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(size: usize, segments: usize) -> Refused {
        Refused { interface: InterfaceIndex::new(3), size, segments }
    }

    fn error(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    #[test]
    fn an_older_kernel_gets_shorter_trains() {
        let offload = Offload::default();
        assert!(offload.learn(&error(libc::EINVAL), refused(100, 128)));
        assert_eq!(offload.most_of(None, 100), 64);
    }

    #[test]
    fn what_exceeds_the_mtu_goes_alone_on_that_interface() {
        let offload = Offload::default();
        assert!(offload.learn(&error(libc::EMSGSIZE), refused(2000, 32)));
        let by = |number| InterfaceIndex::new(number);
        assert_eq!(
            [offload.most_of(by(3), 2000), offload.most_of(by(3), 1999), offload.most_of(by(4), 2000)],
            [1, 128, 128]
        );
    }

    #[test]
    fn a_device_without_checksums_gets_no_trains() {
        let offload = Offload::default();
        assert!(offload.learn(&error(libc::EIO), refused(100, 2)));
        assert_eq!(offload.most(), 1);
    }

    #[test]
    fn other_errors_teach_nothing() {
        let offload = Offload::default();
        assert!(!offload.learn(&error(libc::ENOBUFS), refused(100, 64)));
        assert!(!offload.learn(&error(libc::EMSGSIZE), refused(70_000, 1)));
        assert_eq!(offload.most_of(None, 70_000), 128);
    }
}
