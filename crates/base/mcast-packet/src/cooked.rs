//! The link-layer header of Linux captures on all interfaces at once, in two versions. tcpdump calls these
//! captures "cooked".

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

#[cfg(test)]
mod tests {
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
}
