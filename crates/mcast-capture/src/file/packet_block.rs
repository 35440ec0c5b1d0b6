//! The block of pcapng that is written for every frame: by hand, as nothing else is written so often.

use std::time::Duration;

use super::pcapng::ENHANCED_PACKET;

/// An enhanced packet block (draft-ietf-opsawg-pcapng section 4.3), with times in nanoseconds.
pub(super) struct PacketBlock<'a> {
    /// The interface's place in the section.
    pub(super) place: u32,
    /// Since 1970.
    pub(super) time: Duration,
    pub(super) original_length: u32,
    pub(super) bytes: &'a [u8],
    /// What there is to say in `epb_flags`; 0 is not written.
    pub(super) flags: u32,
}

impl PacketBlock<'_> {
    /// Type and length, what is always there, and the length again.
    const FIXED: usize = 8 + 20 + 4;

    /// The option with the flags, and the end of options.
    const OPTIONS: usize = 8 + 4;

    /// Puts the block behind what is in the buffer, in little endian.
    pub(super) fn put(&self, buffer: &mut Vec<u8>) {
        const FLAGS: [u8; 4] = [2, 0, 4, 0];
        const END: [u8; 4] = [0; 4];
        let padding = self.bytes.len().next_multiple_of(4) - self.bytes.len();
        let options = if self.flags == 0 { 0 } else { Self::OPTIONS };
        let length = (Self::FIXED + self.bytes.len() + padding + options) as u32;
        let nanoseconds = self.time.as_nanos() as u64;
        let captured = self.bytes.len() as u32;
        let (high, low) = ((nanoseconds >> 32) as u32, nanoseconds as u32);
        let head = [ENHANCED_PACKET, length, self.place, high, low, captured, self.original_length];
        buffer.reserve(length as usize);
        head.iter().for_each(|number| buffer.extend_from_slice(&number.to_le_bytes()));
        buffer.extend_from_slice(self.bytes);
        buffer.extend_from_slice(END.get(..padding).unwrap_or_default());
        if self.flags != 0 {
            buffer.extend_from_slice(&FLAGS);
            buffer.extend_from_slice(&self.flags.to_le_bytes());
            buffer.extend_from_slice(&END);
        }
        buffer.extend_from_slice(&length.to_le_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::borrow::Cow;

    use byteorder_slice::LittleEndian;
    use pcap_file::pcapng::PcapNgBlock;
    use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};

    use super::*;

    #[test]
    fn it_is_what_another_writes() {
        for (length, flags) in [(0, 0), (1, 1), (2, 9), (3, 2), (4, 0), (106, 9), (65_535, 2)] {
            let bytes = vec![0xa5; length];
            let time = Duration::new(1_795_000_000, 123_456_789);
            let ours = PacketBlock { place: 3, time, original_length: 70_000, bytes: &bytes, flags };
            let mut buffer = b"before".to_vec();
            ours.put(&mut buffer);
            let theirs = EnhancedPacketBlock {
                interface_id: 3,
                timestamp: time,
                original_len: 70_000,
                data: Cow::Borrowed(&bytes),
                options: if flags == 0 { Vec::new() } else { vec![EnhancedPacketOption::Flags(flags)] },
            };
            let mut expected = b"before".to_vec();
            theirs.into_block().write_to::<LittleEndian, _>(&mut expected).unwrap();
            assert_eq!(buffer, expected, "{length} bytes");
        }
    }
}
