//! The header that Linux puts before packets of every kind of interface when somebody captures on all
//! of them at once: "cooked", in two versions.

use crate::EmitError;
use crate::bytes::{Writer, array_at, u8_at, u16_at, u32_at};
use crate::link::{LinkType, MacAddress, Vlan, Vlans};

/// A header of `LINKTYPE_LINUX_SLL` or `LINKTYPE_LINUX_SLL2`, with the VLAN tags behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cooked {
    /// Which way the packet went, and whom it was for.
    pub kind: CookedKind,
    /// What the interface is: Linux' `ARPHRD_*`, 1 for Ethernet.
    pub hardware: u16,
    /// The interface's index on the machine that captured; only the second version says it.
    pub interface: Option<u32>,
    /// How long the sender's link-layer address is in bytes; more than 8 are cut off.
    pub address_length: u16,
    /// The sender's link-layer address, filled up with zeros.
    pub address: [u8; 8],
    /// The protocol of what follows the last tag: [`crate::ether_type`].
    pub ether_type: u16,
    vlans: Vlans,
    version: Version,
}

/// Which way a packet went, and whom its link-layer address meant (`PACKET_*` in `packet(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CookedKind {
    /// It came in, addressed to the machine that captured.
    ToUs,
    /// It came in, addressed to everybody.
    Broadcast,
    /// It came in, addressed to a group.
    Multicast,
    /// It came in, addressed to another machine.
    ToOthers,
    /// The machine that captured sent it.
    Outgoing,
    /// A number that has no meaning yet.
    Other(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Version {
    First,
    Second,
}

impl Version {
    const fn header_length(self) -> usize {
        match self {
            Self::First => 16,
            Self::Second => 20,
        }
    }
}

impl Cooked {
    /// A header without tags, as for a packet of an Ethernet interface: of the second version if the
    /// interface is told, of the first if not.
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
            version: if interface.is_some() { Version::Second } else { Version::First },
        }
    }

    /// The VLAN tags, outermost first.
    pub fn vlans(&self) -> impl Iterator<Item = Vlan> + '_ {
        self.vlans.iter()
    }

    /// The length of header and tags in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.version.header_length() + self.vlans.length()
    }

    /// The link type of a capture of such packets.
    #[must_use]
    pub const fn link_type(&self) -> LinkType {
        match self.version {
            Version::First => LinkType::LinuxCooked,
            Version::Second => LinkType::LinuxCooked2,
        }
    }

    /// Writes the header, without tags, to the start of the buffer, and says how long it is.
    ///
    /// # Errors
    /// [`EmitError::BufferTooShort`].
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let mut writer = Writer::new(buffer);
        match self.version {
            Version::First => {
                writer.put_u16(self.kind.number())?;
                writer.put_u16(self.hardware)?;
                writer.put_u16(self.address_length)?;
                writer.put(&self.address)?;
                writer.put_u16(self.ether_type)?;
            }
            Version::Second => {
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

    /// `None` when the bytes are too few for the header or for a tag that it announces.
    pub(crate) fn decode_first(bytes: &[u8]) -> Option<Self> {
        let version = Version::First;
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

    /// `None` when the bytes are too few for the header or for a tag that it announces.
    pub(crate) fn decode_second(bytes: &[u8]) -> Option<Self> {
        let version = Version::Second;
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
    fn both_versions_survive_a_round_trip() {
        let mut buffer = [0xaa; 20];
        let first = Cooked::new(CookedKind::Multicast, MAC, ether_type::IPV4, None);
        assert_eq!(first.emit(&mut buffer), Ok(16));
        assert_eq!(Cooked::decode_first(&buffer[..16]), Some(first));
        assert_eq!(Cooked::decode_first(&buffer[..15]), None);
        let second = Cooked::new(CookedKind::Outgoing, MAC, ether_type::IPV6, Some(7));
        assert_eq!(second.emit(&mut buffer), Ok(20));
        assert_eq!(Cooked::decode_second(&buffer), Some(second));
        assert_eq!(Cooked::decode_second(&buffer[..19]), None);
    }

    #[test]
    fn tags_behind_the_header_are_read() {
        let mut bytes = [0; 24];
        bytes[..2].copy_from_slice(&[0x81, 0]);
        bytes[20..].copy_from_slice(&[0, 42, 8, 0]);
        let cooked = Cooked::decode_second(&bytes).unwrap();
        assert_eq!((cooked.ether_type, cooked.length()), (ether_type::IPV4, 24));
        assert_eq!(cooked.vlans().next().unwrap().id, 42);
    }
}
