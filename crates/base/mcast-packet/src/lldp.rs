//! LLDP (IEEE 802.1AB): which port of which switch a link leads to.

use core::fmt;
use core::net::IpAddr;

use crate::link::MacAddress;
use crate::list::u16_at;

/// An LLDP data unit, which a switch sends about itself and the port by which it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lldp<'a> {
    /// The chassis, which identifies the switch.
    pub chassis: LldpId<'a>,
    /// The port by which the data unit was sent.
    pub port: LldpId<'a>,
    /// How long the information is valid, in seconds. 0: the sender withdraws it.
    pub lifetime: u16,
    /// The description of the port.
    pub port_description: Option<LldpText<'a>>,
    /// The name of the switch.
    pub system_name: Option<LldpText<'a>>,
    /// The description of the switch: often its model and software.
    pub system_description: Option<LldpText<'a>>,
    /// The VLAN of untagged frames at the port (IEEE 802.1Q annex D.2.1).
    pub port_vlan: Option<u16>,
    /// The maximum frame size at the port (IEEE 802.3 clause 79.3.4).
    pub max_frame_size: Option<u16>,
    /// What the system states to be: the bits of IEEE 802.1AB table 8-4 that are enabled.
    pub capabilities: Option<u16>,
    /// The fields after the mandatory ones.
    fields: &'a [u8],
}

/// The identifier of a chassis or a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LldpId<'a> {
    kind: IdKind,
    bytes: &'a [u8],
}

/// The form of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdKind {
    Mac,
    Network,
    Text,
}

/// Text of a data unit, as its sender wrote it. Its `Display` form replaces what is not printable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LldpText<'a>(pub &'a [u8]);

/// The types of the fields.
mod field {
    pub(super) const END: u8 = 0;
    pub(super) const CHASSIS: u8 = 1;
    pub(super) const PORT: u8 = 2;
    pub(super) const LIFETIME: u8 = 3;
    pub(super) const PORT_DESCRIPTION: u8 = 4;
    pub(super) const SYSTEM_NAME: u8 = 5;
    pub(super) const SYSTEM_DESCRIPTION: u8 = 6;
    pub(super) const CAPABILITIES: u8 = 7;
    pub(super) const MANAGEMENT_ADDRESS: u8 = 8;
    pub(super) const ORGANIZATION: u8 = 127;
}

/// The organization of IEEE 802.1 with the subtype of the port VLAN.
const PORT_VLAN: [u8; 4] = [0x00, 0x80, 0xc2, 1];
/// The organization of IEEE 802.3 with the subtype of the maximum frame size.
const MAX_FRAME_SIZE: [u8; 4] = [0x00, 0x12, 0x0f, 4];
/// The largest number of bytes in text that is shown (IEEE 802.1AB section 8.5).
const MAX_TEXT: usize = 255;

impl<'a> Lldp<'a> {
    /// The Ethernet address to which data units are sent. Switches do not forward it.
    pub const DESTINATION: MacAddress = MacAddress([0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]);

    /// Parses the payload of a frame of type [`ether_type::LLDP`](crate::ether_type::LLDP). Returns `None` unless it
    /// starts with the three mandatory fields. Damaged fields after them end the data unit.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Fields { bytes };
        let chassis = LldpId::chassis(fields.expect(field::CHASSIS)?)?;
        let port = LldpId::port(fields.expect(field::PORT)?)?;
        let lifetime = u16_at(fields.expect(field::LIFETIME)?, 0)?;
        let mut unit = Self {
            chassis,
            port,
            lifetime,
            port_description: None,
            system_name: None,
            system_description: None,
            port_vlan: None,
            max_frame_size: None,
            capabilities: None,
            fields: fields.bytes,
        };
        fields.for_each(|(kind, value)| unit.set(kind, value));
        Some(unit)
    }

    /// Returns the addresses by which the switch is managed.
    pub fn management_addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let fields = Fields { bytes: self.fields };
        fields.filter(|(kind, _)| *kind == field::MANAGEMENT_ADDRESS).filter_map(|(_, value)| {
            let (length, rest) = value.split_first()?;
            network_address(rest.get(..usize::from(*length))?)
        })
    }

    fn set(&mut self, kind: u8, value: &'a [u8]) {
        let text = (!value.is_empty()).then_some(LldpText(value));
        match kind {
            field::PORT_DESCRIPTION => self.port_description = text,
            field::SYSTEM_NAME => self.system_name = text,
            field::SYSTEM_DESCRIPTION => self.system_description = text,
            field::CAPABILITIES => self.capabilities = u16_at(value, 2),
            field::ORGANIZATION if value.starts_with(&PORT_VLAN) => {
                self.port_vlan = u16_at(value, PORT_VLAN.len());
            }
            field::ORGANIZATION if value.starts_with(&MAX_FRAME_SIZE) => {
                self.max_frame_size = u16_at(value, MAX_FRAME_SIZE.len());
            }
            _ => {}
        }
    }
}

/// An iterator over the fields: the type of each and its value.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn expect(&mut self, kind: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == kind).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let head = u16_at(self.bytes, 0)?;
        let (kind, length) = ((head >> 9) as u8, usize::from(head & 0x01ff));
        let value = self.bytes.get(2..2 + length)?;
        self.bytes = self.bytes.get(2 + length..)?;
        (kind != field::END).then_some((kind, value))
    }
}

impl<'a> LldpId<'a> {
    fn chassis(value: &'a [u8]) -> Option<Self> {
        const MAC: u8 = 4;
        const NETWORK: u8 = 5;
        Self::new(value, MAC, NETWORK)
    }

    fn port(value: &'a [u8]) -> Option<Self> {
        const MAC: u8 = 3;
        const NETWORK: u8 = 4;
        Self::new(value, MAC, NETWORK)
    }

    fn new(value: &'a [u8], mac: u8, network: u8) -> Option<Self> {
        let (subtype, bytes) = value.split_first().filter(|(_, bytes)| !bytes.is_empty())?;
        let kind = match *subtype {
            subtype if subtype == mac && bytes.len() == 6 => IdKind::Mac,
            subtype if subtype == network && network_address(bytes).is_some() => IdKind::Network,
            _ => IdKind::Text,
        };
        Some(Self { kind, bytes })
    }
}

/// Reads an address family and an IPv4 or IPv6 address.
fn network_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.split_first()? {
        (1, address) => <[u8; 4]>::try_from(address).ok().map(IpAddr::from),
        (2, address) => <[u8; 16]>::try_from(address).ok().map(IpAddr::from),
        _ => None,
    }
}

impl fmt::Display for LldpId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.bytes) {
            (IdKind::Mac, &[a, b, c, d, e, g]) => MacAddress([a, b, c, d, e, g]).fmt(f),
            (IdKind::Network, bytes) => network_address(bytes).iter().try_for_each(|address| address.fmt(f)),
            _ => LldpText(self.bytes).fmt(f),
        }
    }
}

impl fmt::Display for LldpText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..MAX_TEXT).unwrap_or(self.0);
        for chunk in shown.utf8_chunks() {
            for character in chunk.valid().chars() {
                let is_plain = !character.is_control() && !is_direction_mark(character);
                fmt::Write::write_char(f, if is_plain { character } else { '?' })?;
            }
            if !chunk.invalid().is_empty() {
                f.write_str("?")?;
            }
        }
        Ok(())
    }
}

/// Returns whether a character changes the direction of the text around it.
const fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes the port and the switch: `Gi1/0/7 of sw3`.
impl fmt::Display for Lldp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port.kind, self.port_description) {
            // A description says more than an address.
            (IdKind::Mac | IdKind::Network, Some(description)) => description.fmt(f)?,
            _ => self.port.fmt(f)?,
        }
        match self.system_name {
            Some(name) => write!(f, " of {name}"),
            None => write!(f, " of {}", self.chassis),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let head = u16::from(kind) << 9 | value.len() as u16;
        [&head.to_be_bytes(), value].concat()
    }

    fn unit(port: &[u8], more: &[Vec<u8>]) -> Vec<u8> {
        let chassis = tlv(1, &[4, 2, 0, 0, 0, 0, 7]);
        [&[chassis, tlv(2, port), tlv(3, &[0, 120])], more, &[tlv(0, &[])]].concat().concat()
    }

    #[test]
    fn the_port_and_the_name_of_a_switch_are_shown() {
        let more = [
            tlv(4, b"uplink to rack 4"),
            tlv(5, b"sw3"),
            tlv(6, b"Switch OS 1.2"),
            tlv(7, &[0, 0x1c, 0, 0x04]),
            tlv(8, &[5, 1, 10, 0, 0, 7, 2, 0, 0, 0, 1, 0]),
            tlv(8, &[200, 1, 10, 0, 0, 8]),
            tlv(127, &[0x00, 0x80, 0xc2, 1, 0, 42]),
            tlv(127, &[0x00, 0x12, 0x0f, 4, 0x24, 0]),
        ];
        let bytes = unit(b"\x05Gi1/0/7", &more);
        let unit = Lldp::parse(&bytes).unwrap();
        assert_eq!(unit.to_string(), "Gi1/0/7 of sw3");
        assert_eq!((unit.lifetime, unit.port_vlan, unit.max_frame_size), (120, Some(42), Some(9216)));
        assert_eq!(unit.system_description.unwrap().to_string(), "Switch OS 1.2");
        assert_eq!(unit.capabilities, Some(4));
        assert_eq!(unit.management_addresses().collect::<Vec<_>>(), ["10.0.0.7".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn addresses_are_shown_where_there_is_no_name() {
        let text =
            |port: &[u8], more: &[Vec<u8>]| -> String { Lldp::parse(&unit(port, more)).unwrap().to_string() };
        assert_eq!(text(&[3, 2, 0, 0, 0, 0, 9], &[]), "02:00:00:00:00:09 of 02:00:00:00:00:07");
        assert_eq!(text(&[3, 2, 0, 0, 0, 0, 9], &[tlv(4, b"port 9")]), "port 9 of 02:00:00:00:00:07");
        assert_eq!(text(&[4, 1, 10, 0, 0, 1], &[tlv(5, b"sw")]), "10.0.0.1 of sw");
    }

    #[test]
    fn text_cannot_control_a_terminal() {
        let bytes = unit(b"\x05\x1b[31m\xff", &[tlv(5, "a\u{202e}b\n".as_bytes())]);
        assert_eq!(Lldp::parse(&bytes).unwrap().to_string(), "?[31m? of a?b?");
    }

    #[test]
    fn a_unit_without_a_mandatory_field_is_refused() {
        let whole = unit(b"\x05x", &[]);
        assert!(Lldp::parse(&whole).is_some());
        for end in 0..whole.len() - 2 {
            assert_eq!(Lldp::parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(Lldp::parse(&whole[2..]), None);
        assert_eq!(Lldp::parse(&unit(b"\x05", &[])), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Lldp::parse(&bytes).map(|unit| unit.to_string());
        }

        #[test]
        fn arbitrary_fields_never_panic(
            port in proptest::collection::vec(any::<u8>(), 0..40),
            fields in proptest::collection::vec((0_u8..128, proptest::collection::vec(any::<u8>(), 0..60)), 0..8),
        ) {
            let fields: Vec<_> = fields.iter().map(|(kind, value)| tlv(*kind, value)).collect();
            let bytes = unit(&port, &fields);
            prop_assert_eq!(Lldp::parse(&bytes).is_some(), port.len() > 1);
            let _ = Lldp::parse(&bytes).map(|unit| unit.to_string());
        }
    }
}
