//! Captures of wireless networks: IEEE 802.11 frames, with or without the radiotap header in front of them.

use crate::link::MacAddress;
use crate::list::{array_at, u8_at, u16_at};

/// The header of an IEEE 802.11 frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wireless {
    /// The final destination; of a frame that carries no data, the receiver.
    pub destination: MacAddress,
    /// The original source; of a frame that carries no data, the transmitter. `None` for frames without one.
    pub source: Option<MacAddress>,
    /// What the frame carries.
    pub kind: WirelessKind,
    /// The length of all headers before the network layer in bytes.
    pub(crate) length: usize,
    /// The bytes of the frame before its frame check sequence.
    pub(crate) end: usize,
}

/// What an IEEE 802.11 frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WirelessKind {
    /// Data of this protocol: see [`crate::ether_type`].
    Data(u16),
    /// No data: a management or control frame, or one that only states the sender's power mode.
    NoData,
}

impl Wireless {
    /// Decodes an IEEE 802.11 frame that follows a radiotap header.
    pub(crate) fn decode_radiotap(bytes: &[u8]) -> Result<Self, &'static str> {
        const TIMER: u32 = 1;
        const FLAGS: u32 = 2;
        const MORE_WORDS: u32 = 1 << 31;
        const HAS_CHECK_SEQUENCE: u8 = 0x10;
        const CHECK_SEQUENCE: usize = 4;
        let word = |offset| array_at(bytes, offset).map(u32::from_le_bytes);
        let length = usize::from(array_at(bytes, 2).map(u16::from_le_bytes).ok_or(SHORT)?);
        if u8_at(bytes, 0) != Some(0) || length < 8 {
            return Err("has no radiotap header of version 0");
        }
        let present = word(4).ok_or(SHORT)?;
        let mut fields = 8;
        let mut last = present;
        while last & MORE_WORDS != 0 {
            last = word(fields).ok_or(SHORT)?;
            fields += 4;
        }
        // The fields are aligned to their size, from the start of the header.
        let flags_at = if present & TIMER == 0 { fields } else { fields.next_multiple_of(8) + 8 };
        let flags = if present & FLAGS == 0 { 0 } else { u8_at(bytes, flags_at).ok_or(SHORT)? };
        let has_check_sequence = flags & HAS_CHECK_SEQUENCE != 0;
        let end = bytes.len() - if has_check_sequence { CHECK_SEQUENCE.min(bytes.len()) } else { 0 };
        let frame = bytes.get(length..end).ok_or(SHORT)?;
        let header = Self::decode(frame)?;
        Ok(Self { length: header.length + length, end, ..header })
    }

    /// Decodes an IEEE 802.11 frame.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        const TO_ACCESS_POINT: u8 = 0x01;
        const FROM_ACCESS_POINT: u8 = 0x02;
        const ENCRYPTED: u8 = 0x40;
        const ORDERED: u8 = 0x80;
        const SEVERAL_PACKETS: u8 = 0x80;
        let (control, flags) = (u8_at(bytes, 0).ok_or(SHORT)?, u8_at(bytes, 1).ok_or(SHORT)?);
        let address = |offset| array_at(bytes, offset).map(MacAddress);
        let (version, kind, subtype) = (control & 3, control >> 2 & 3, control >> 4);
        let receiver = address(4).ok_or(SHORT)?;
        let end = bytes.len();
        if version != 0 || kind > 2 {
            return Err("is not an IEEE 802.11 frame of version 0");
        }
        let (has_quality, has_no_data) = (subtype & 8 != 0, subtype & 4 != 0);
        if kind < 2 || has_no_data {
            let kind = WirelessKind::NoData;
            return Ok(Self { destination: receiver, source: address(10), kind, length: end, end });
        }
        let both = TO_ACCESS_POINT | FROM_ACCESS_POINT;
        let (destination, source, mut length) = match flags & both {
            0 => (receiver, address(10), 24),
            TO_ACCESS_POINT => (address(16).ok_or(SHORT)?, address(10), 24),
            FROM_ACCESS_POINT => (receiver, address(16), 24),
            _ => (address(16).ok_or(SHORT)?, address(24), 30),
        };
        if flags & ENCRYPTED != 0 {
            return Err("is encrypted");
        }
        if has_quality {
            if u8_at(bytes, length).ok_or(SHORT)? & SEVERAL_PACKETS != 0 {
                return Err("is an aggregate of several packets (A-MSDU)");
            }
            length += if flags & ORDERED == 0 { 2 } else { 6 };
        }
        // LLC and SNAP (RFC 1042).
        if array_at(bytes, length).is_none_or(|header: [u8; 3]| header != [0xaa, 0xaa, 3]) {
            return Err("carries no SNAP header");
        }
        let ether_type = u16_at(bytes, length + 6).ok_or(SHORT)?;
        let kind = WirelessKind::Data(ether_type);
        Ok(Self { destination, source: Some(source.ok_or(SHORT)?), kind, length: length + 8, end })
    }
}

const SHORT: &str = "is shorter than its header";

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const GROUP: [u8; 6] = [1, 0, 0x5e, 1, 2, 3];
    const ACCESS_POINT: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const STATION: [u8; 6] = [2, 0, 0, 0, 0, 2];

    /// Returns a data frame from an access point with this frame control.
    fn frame(control: [u8; 2], quality: &[u8]) -> Vec<u8> {
        let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
        [&control[..], &[0, 0], &GROUP, &ACCESS_POINT, &STATION, &[0, 0], quality, &snap, &[0x45]].concat()
    }

    #[test]
    fn data_frames_of_an_access_point_are_decoded() {
        for (control, quality, length) in [([0x08, 2], &[][..], 32), ([0x88, 2], &[0, 0][..], 34)] {
            let header = Wireless::decode(&frame(control, quality)).unwrap();
            let expected = (MacAddress(GROUP), Some(MacAddress(STATION)), WirelessKind::Data(0x0800), length);
            assert_eq!((header.destination, header.source, header.kind, header.length), expected);
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_what_carries_nothing_is_not() {
        assert_eq!(Wireless::decode(&frame([0x08, 0x42], &[])), Err("is encrypted"));
        let aggregate = Wireless::decode(&frame([0x88, 2], &[0x80, 0]));
        assert_eq!(aggregate, Err("is an aggregate of several packets (A-MSDU)"));
        assert_eq!(Wireless::decode(&frame([0x80, 0], &[])).unwrap().kind, WirelessKind::NoData, "a beacon");
        assert!(Wireless::decode(&frame([0x09, 2], &[])).is_err());
    }

    #[test]
    fn radiotap_header_states_whether_the_frame_ends_with_a_check_sequence() {
        let header = [0, 0, 18, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10, 0];
        let bytes = [&header[..], &frame([0x08, 2], &[]), &[9, 9, 9, 9]].concat();
        let decoded = Wireless::decode_radiotap(&bytes).unwrap();
        assert_eq!((decoded.length, decoded.end), (18 + 32, bytes.len() - 4));
        assert!(Wireless::decode_radiotap(&bytes[..20]).is_err());
        assert!(Wireless::decode_radiotap(&frame([0x08, 2], &[])).is_err());
    }
}
