//! What Linux says of trains (`UDP_SEGMENT`, 4.18).

use std::io;

use crate::sys::trains::Lesson;

/// Segments that the kernel takes: 128 since Linux 6.9, 64 before (`UDP_MAX_SEGMENTS`).
pub(super) const MOST: usize = 128;
const MOST_BEFORE: usize = 64;

/// What the refusal of a train of so many segments teaches.
pub(super) fn lesson(error: &io::Error, segments: usize) -> Option<Lesson> {
    match error.raw_os_error() {
        // A device that cannot compute checksums, before Linux could in its place.
        Some(libc::EIO) => Some(Lesson::None),
        Some(libc::EINVAL) if segments > MOST_BEFORE => Some(Lesson::Shorter(MOST_BEFORE)),
        // Larger than the MTU (which older kernels call EINVAL), or a kernel without trains,
        // which then shows at every size.
        Some(libc::EMSGSIZE | libc::EINVAL) => Some(Lesson::TooLarge),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(number: i32, segments: usize) -> Option<Lesson> {
        lesson(&io::Error::from_raw_os_error(number), segments)
    }

    #[test]
    fn each_refusal_teaches_what_it_means() {
        assert_eq!(learnt(libc::EINVAL, 128), Some(Lesson::Shorter(64)));
        assert_eq!(learnt(libc::EINVAL, 64), Some(Lesson::TooLarge));
        assert_eq!(learnt(libc::EMSGSIZE, 128), Some(Lesson::TooLarge));
        assert_eq!(learnt(libc::EIO, 2), Some(Lesson::None));
        assert_eq!(learnt(libc::ENOBUFS, 64), None);
    }
}
