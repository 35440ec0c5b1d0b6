//! The options of a pcapng block. Unknown options are ignored.

use byteorder_slice::ByteOrder;

/// Iterates over the options at the end of a block: their numbers and values.
pub(super) struct Options<'a, B> {
    rest: &'a [u8],
    order: std::marker::PhantomData<B>,
}

impl<'a, B: ByteOrder> Options<'a, B> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, order: std::marker::PhantomData }
    }
}

impl<'a, B: ByteOrder> Iterator for Options<'a, B> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        const END: u16 = 0;
        let (number, length) = (u16_at::<B>(self.rest, 0)?, usize::from(u16_at::<B>(self.rest, 2)?));
        if number == END {
            return None;
        }
        let value = self.rest.get(4..4 + length)?;
        self.rest = self.rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    }
}

pub(super) fn u16_at<B: ByteOrder>(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..offset + 2).map(B::read_u16)
}

pub(super) fn u32_at<B: ByteOrder>(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset + 4).map(B::read_u32)
}

pub(super) fn u64_at<B: ByteOrder>(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..offset + 8).map(B::read_u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use byteorder_slice::BigEndian;

    #[test]
    fn options_end_at_the_end_marker_or_the_last_byte() {
        let bytes = [0, 2, 0, 3, b'l', b'a', b'n', 0, 0, 9, 0, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 3];
        let found: Vec<_> = Options::<BigEndian>::new(&bytes).collect();
        assert_eq!(found, [(2, &b"lan"[..]), (9, &[6][..])]);
        let cut_off: Vec<_> = Options::<BigEndian>::new(&bytes[..10]).collect();
        assert_eq!(cut_off, [(2, &b"lan"[..])]);
    }
}
