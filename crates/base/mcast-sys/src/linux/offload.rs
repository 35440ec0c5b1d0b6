//! Segmentation offload on Linux (`UDP_SEGMENT`, 4.18).

use std::io;

use crate::gso::Lesson;

/// The maximum number of segments: 128 since Linux 6.9, 64 before (`UDP_MAX_SEGMENTS`).
pub(super) const MAX_SEGMENTS: usize = 128;
const MAX_SEGMENTS_BEFORE_6_9: usize = 64;

/// Returns the limit that the refusal of a buffer with this number of segments shows.
pub(super) fn lesson(error: &io::Error, segments: usize) -> Option<Lesson> {
    match error.raw_os_error() {
        // The device cannot compute checksums, and this kernel does not compute them instead.
        Some(libc::EIO) => Some(Lesson::None),
        Some(libc::EINVAL) if segments > MAX_SEGMENTS_BEFORE_6_9 => {
            Some(Lesson::Shorter(MAX_SEGMENTS_BEFORE_6_9))
        }
        // The segments exceed the MTU (which older kernels report as EINVAL), or the kernel does
        // not support segmentation, which then fails at every size.
        Some(libc::EMSGSIZE | libc::EINVAL) => Some(Lesson::TooLarge),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson_of(number: i32, segments: usize) -> Option<Lesson> {
        lesson(&io::Error::from_raw_os_error(number), segments)
    }

    #[test]
    fn each_refusal_shows_its_limit() {
        assert_eq!(lesson_of(libc::EINVAL, 128), Some(Lesson::Shorter(64)));
        assert_eq!(lesson_of(libc::EINVAL, 64), Some(Lesson::TooLarge));
        assert_eq!(lesson_of(libc::EMSGSIZE, 128), Some(Lesson::TooLarge));
        assert_eq!(lesson_of(libc::EIO, 2), Some(Lesson::None));
        assert_eq!(lesson_of(libc::ENOBUFS, 64), None);
    }
}
