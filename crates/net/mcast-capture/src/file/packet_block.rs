//! Writes the pcapng block of a frame. It is encoded by hand, because it is by far the most frequent block.

use std::time::Duration;

use super::pcapng::ENHANCED_PACKET;

/// An enhanced packet block (draft-ietf-opsawg-pcapng section 4.3), with times in nanoseconds.
pub(super) struct PacketBlock<'a> {
    /// The interface's number in the section.
    pub(super) interface_id: u32,
    /// Time since 1970.
    pub(super) time: Duration,
    pub(super) original_length: u32,
    pub(super) bytes: &'a [u8],
    /// The value of `epb_flags`; 0 is omitted.
    pub(super) flags: u32,
}

impl PacketBlock<'_> {
    /// Length of type, length, fixed fields, and the repeated length.
    const FIXED: usize = 8 + 20 + 4;

    /// Length of the flags option and the end marker.
    const OPTIONS: usize = 8 + 4;

    /// Appends the block to the buffer, in little-endian order.
    pub(super) fn put(&self, buffer: &mut Vec<u8>) {
        const FLAGS: [u8; 4] = [2, 0, 4, 0];
        const END: [u8; 4] = [0; 4];
        let padding = self.bytes.len().next_multiple_of(4) - self.bytes.len();
        let options = if self.flags == 0 { 0 } else { Self::OPTIONS };
        let length = (Self::FIXED + self.bytes.len() + padding + options) as u32;
        let nanoseconds = self.time.as_nanos() as u64;
        let captured = self.bytes.len() as u32;
        let (high, low) = ((nanoseconds >> 32) as u32, nanoseconds as u32);
        let head = [ENHANCED_PACKET, length, self.interface_id, high, low, captured, self.original_length];
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
    fn block_equals_the_one_of_pcap_file() {
        for (length, flags) in [(0, 0), (1, 1), (2, 9), (3, 2), (4, 0), (106, 9), (65_535, 2)] {
            let bytes = vec![0xa5; length];
            let time = Duration::new(1_795_000_000, 123_456_789);
            let ours = PacketBlock { interface_id: 3, time, original_length: 70_000, bytes: &bytes, flags };
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
