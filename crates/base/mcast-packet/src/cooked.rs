//! The link-layer headers of captures on all interfaces of a Linux system at once, in two versions, which tcpdump calls
//! "cooked", and of wireless networks: IEEE 802.11 frames, with or without the radiotap header in front of them.

use crate::EmitError;
use crate::link::{LinkType, MacAddress, Vlan, Vlans};
use crate::list::{Writer, array_at, u8_at, u16_at, u32_at};

/// A header of `LINKTYPE_LINUX_SLL` or `LINKTYPE_LINUX_SLL2`, with the VLAN tags that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cooked {
    /// The direction of the packet and the kind of its link-layer destination.
    pub kind: CookedKind,
    /// The hardware type of the interface (`ARPHRD_*` on Linux): 1 for Ethernet.
    pub hardware: u16,
    /// The index of the interface on the capturing machine; only in the second version.
    pub interface: Option<u32>,
    /// The length of the sender's link-layer address in bytes. Only the first 8 bytes are captured.
    pub address_length: u16,
    /// The sender's link-layer address, padded with zeros.
    pub address: [u8; 8],
    /// The protocol after the last tag: see [`crate::ether_type`].
    pub ether_type: u16,
    vlans: Vlans,
    version: Version,
}

/// The direction of a packet and the kind of its link-layer destination (`PACKET_*` in `packet(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CookedKind {
    /// Received, addressed to the capturing machine.
    ToUs,
    /// Received, addressed to the broadcast address.
    Broadcast,
    /// Received, addressed to a group.
    Multicast,
    /// Received, addressed to another machine.
    ToOthers,
    /// Sent by the capturing machine.
    Outgoing,
    /// An undefined number.
    Other(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Version {
    /// `LINKTYPE_LINUX_SLL`.
    Sll,
    /// `LINKTYPE_LINUX_SLL2`.
    Sll2,
}

impl Version {
    const fn header_length(self) -> usize {
        match self {
            Self::Sll => 16,
            Self::Sll2 => 20,
        }
    }
}

impl Cooked {
    /// Creates a header without tags for a packet of an Ethernet interface: of the second version if an
    /// interface is given, otherwise of the first.
    #[must_use]
    pub const fn new(kind: CookedKind, source: MacAddress, ether_type: u16, interface: Option<u32>) -> Self {
        let [a, b, c, d, e, f] = source.0;
        Self {
            kind,
            hardware: 1,
            interface,
            address_length: 6,
            address: [a, b, c, d, e, f, 0, 0],
            ether_type,
            vlans: Vlans::none(),
            version: if interface.is_some() { Version::Sll2 } else { Version::Sll },
        }
    }

    /// Returns the VLAN tags, outermost first.
    pub fn vlans(&self) -> impl Iterator<Item = Vlan> + '_ {
        self.vlans.iter()
    }

    /// Returns the length of header and tags in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.version.header_length() + self.vlans.length()
    }

    /// Returns the link type of captures with this header.
    #[must_use]
    pub const fn link_type(&self) -> LinkType {
        match self.version {
            Version::Sll => LinkType::LinuxCooked,
            Version::Sll2 => LinkType::LinuxCooked2,
        }
    }

    /// Writes the header, without tags, to the start of the buffer and returns its length.
    ///
    /// # Errors
    /// Returns [`EmitError::BufferTooShort`] if the header does not fit.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let mut writer = Writer::new(buffer);
        match self.version {
            Version::Sll => {
                writer.put_u16(self.kind.number())?;
                writer.put_u16(self.hardware)?;
                writer.put_u16(self.address_length)?;
                writer.put(&self.address)?;
                writer.put_u16(self.ether_type)?;
            }
            Version::Sll2 => {
                writer.put_u16(self.ether_type)?;
                writer.put_u16(0)?;
                writer.put_u32(self.interface.unwrap_or(0))?;
                writer.put_u16(self.hardware)?;
                writer.put(&[self.kind.number() as u8, self.address_length as u8])?;
                writer.put(&self.address)?;
            }
        }
        Ok(writer.position())
    }

    /// Decodes a header. Returns `None` if the header or a tag is truncated.
    pub(crate) fn decode_sll(bytes: &[u8]) -> Option<Self> {
        let version = Version::Sll;
        let (vlans, ether_type) = Vlans::decode(u16_at(bytes, 14)?, bytes.get(version.header_length()..)?)?;
        Some(Self {
            kind: CookedKind::from(u16_at(bytes, 0)?),
            hardware: u16_at(bytes, 2)?,
            interface: None,
            address_length: u16_at(bytes, 4)?,
            address: array_at(bytes, 6)?,
            ether_type,
            vlans,
            version,
        })
    }

    /// Decodes a header. Returns `None` if the header or a tag is truncated.
    pub(crate) fn decode_sll2(bytes: &[u8]) -> Option<Self> {
        let version = Version::Sll2;
        let (vlans, ether_type) = Vlans::decode(u16_at(bytes, 0)?, bytes.get(version.header_length()..)?)?;
        Some(Self {
            kind: CookedKind::from(u16::from(u8_at(bytes, 10)?)),
            hardware: u16_at(bytes, 8)?,
            interface: Some(u32_at(bytes, 4)?),
            address_length: u16::from(u8_at(bytes, 11)?),
            address: array_at(bytes, 12)?,
            ether_type,
            vlans,
            version,
        })
    }
}

impl CookedKind {
    const fn number(self) -> u16 {
        match self {
            Self::ToUs => 0,
            Self::Broadcast => 1,
            Self::Multicast => 2,
            Self::ToOthers => 3,
            Self::Outgoing => 4,
            Self::Other(number) => number,
        }
    }
}

impl From<u16> for CookedKind {
    fn from(number: u16) -> Self {
        match number {
            0 => Self::ToUs,
            1 => Self::Broadcast,
            2 => Self::Multicast,
            3 => Self::ToOthers,
            4 => Self::Outgoing,
            _ => Self::Other(number),
        }
    }
}

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
    use std::vec::Vec;

    use super::*;
    use crate::link::ether_type;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 5]);

    #[test]
    fn both_versions_round_trip() {
        let mut buffer = [0xaa; 20];
        let first = Cooked::new(CookedKind::Multicast, MAC, ether_type::IPV4, None);
        assert_eq!(first.emit(&mut buffer), Ok(16));
        assert_eq!(Cooked::decode_sll(&buffer[..16]), Some(first));
        assert_eq!(Cooked::decode_sll(&buffer[..15]), None);
        let second = Cooked::new(CookedKind::Outgoing, MAC, ether_type::IPV6, Some(7));
        assert_eq!(second.emit(&mut buffer), Ok(20));
        assert_eq!(Cooked::decode_sll2(&buffer), Some(second));
        assert_eq!(Cooked::decode_sll2(&buffer[..19]), None);
    }

    #[test]
    fn tags_after_the_header_are_decoded() {
        let mut bytes = [0; 24];
        bytes[..2].copy_from_slice(&[0x81, 0]);
        bytes[20..].copy_from_slice(&[0, 42, 8, 0]);
        let cooked = Cooked::decode_sll2(&bytes).unwrap();
        assert_eq!((cooked.ether_type, cooked.length()), (ether_type::IPV4, 24));
        assert_eq!(cooked.vlans().next().unwrap().id, 42);
    }

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
