//! CDP, of Cisco: which port of which switch a link leads to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::link::MacAddress;
use crate::list::{u8_at, u16_at, u32_at};
use crate::lldp::LldpText;

/// A CDP message, which a switch sends about itself and the port by which it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cdp<'a> {
    /// How long the information is valid, in seconds. 0: the sender withdraws it.
    pub lifetime: u8,
    /// The name of the switch.
    pub device: LldpText<'a>,
    /// The port by which the message was sent.
    pub port: Option<LldpText<'a>>,
    /// The model.
    pub platform: Option<LldpText<'a>>,
    /// The software.
    pub software: Option<LldpText<'a>>,
    /// The VLAN of untagged frames at the port.
    pub native_vlan: Option<u16>,
    addresses: &'a [u8],
}

/// The types of the fields.
mod field {
    pub(super) const DEVICE: u16 = 0x0001;
    pub(super) const ADDRESSES: u16 = 0x0002;
    pub(super) const PORT: u16 = 0x0003;
    pub(super) const SOFTWARE: u16 = 0x0005;
    pub(super) const PLATFORM: u16 = 0x0006;
    pub(super) const NATIVE_VLAN: u16 = 0x000a;
}

impl<'a> Cdp<'a> {
    /// The Ethernet address to which messages are sent. Switches that speak CDP do not forward it.
    pub const DESTINATION: MacAddress = MacAddress([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc]);

    /// The beginning of the payload: LLC with SNAP, and the protocol of Cisco.
    const SNAP: [u8; 8] = [0xaa, 0xaa, 0x03, 0x00, 0x00, 0x0c, 0x20, 0x00];

    /// Parses the payload of an IEEE 802.3 frame. Returns `None` if it is another protocol, or names no device. A damaged field
    /// ends the message.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let message = bytes.strip_prefix(&Self::SNAP)?;
        let mut rest = message.get(4..).filter(|_| matches!(message.first(), Some(1 | 2)))?;
        let mut cdp = Self {
            lifetime: u8_at(message, 1)?,
            device: LldpText(&[]),
            port: None,
            platform: None,
            software: None,
            native_vlan: None,
            addresses: &[],
        };
        // The length includes the type and itself.
        while let (Some(kind), Some(length)) = (u16_at(rest, 0), u16_at(rest, 2))
            && let Some((value, after)) = rest.split_at_checked(length.into())
            && let Some(value) = value.get(4..)
        {
            match kind {
                field::DEVICE => cdp.device = LldpText(value),
                field::ADDRESSES => cdp.addresses = value,
                field::PORT => cdp.port = Some(LldpText(value)),
                field::PLATFORM => cdp.platform = Some(LldpText(value)),
                field::SOFTWARE => cdp.software = Some(LldpText(value)),
                field::NATIVE_VLAN => cdp.native_vlan = u16_at(value, 0),
                _ => {}
            }
            rest = after;
        }
        Some(cdp).filter(|cdp| !cdp.device.0.is_empty())
    }

    /// Returns the addresses of the switch. Those of other protocols than IP are left out.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let mut count = u32_at(self.addresses, 0).unwrap_or_default();
        let mut rest = self.addresses.get(4..).unwrap_or_default();
        core::iter::from_fn(move || {
            count = count.checked_sub(1)?;
            let (address, after) = rest.get(2 + usize::from(u8_at(rest, 1)?)..)?.split_at_checked(2)?;
            let (address, after) = after.split_at_checked(usize::from(u16_at(address, 0)?))?;
            rest = after;
            Some(match (<[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address)) {
                (Ok(v4), _) => Some(Ipv4Addr::from(v4).into()),
                (_, Ok(v6)) => Some(Ipv6Addr::from(v6).into()),
                _ => None,
            })
        })
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn field(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &(value.len() as u16 + 4).to_be_bytes(), value].concat()
    }

    fn message(fields: &[Vec<u8>]) -> Vec<u8> {
        [&Cdp::SNAP[..], &[2, 180, 0, 0], &fields.concat()].concat()
    }

    #[test]
    fn switch_is_read_with_its_port_and_addresses() {
        let v4 = [0, 0, 0, 2, 1, 1, 0xcc, 0, 4, 10, 0, 0, 7];
        let v6 =
            [&[2, 8, 0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd, 0, 16, 0xfe, 0x80][..], &[0; 13], &[9]].concat();
        let bytes = message(&[
            field(1, b"sw3.example"),
            field(2, &[&v4[..], &v6].concat()),
            field(3, b"GigabitEthernet1/0/7"),
            field(6, b"cisco C9300"),
            field(0x0a, &[0, 42]),
            field(0x1234, b"?"),
        ]);
        let cdp = Cdp::parse(&bytes).unwrap();
        assert_eq!((cdp.lifetime, cdp.native_vlan), (180, Some(42)));
        assert_eq!(cdp.device.to_string(), "sw3.example");
        assert_eq!(cdp.port.unwrap().to_string(), "GigabitEthernet1/0/7");
        assert_eq!(cdp.platform.unwrap().to_string(), "cisco C9300");
        let addresses: Vec<_> = cdp.addresses().map(|address| address.to_string()).collect();
        assert_eq!(addresses, ["10.0.0.7", "fe80::9"]);
    }

    #[test]
    fn damaged_field_ends_the_message() {
        let mut bytes = message(&[field(1, b"sw3"), field(3, b"Gi1")]);
        bytes.truncate(bytes.len() - 1);
        assert_eq!(Cdp::parse(&bytes).unwrap().port, None);
        // A length of 0 would never end.
        let bytes = message(&[field(1, b"sw3"), [0, 3, 0, 0].to_vec(), field(3, b"Gi1")]);
        assert_eq!(Cdp::parse(&bytes).unwrap().port, None);
        assert_eq!(Cdp::parse(&message(&[field(3, b"Gi1")])), None);
        assert_eq!(Cdp::parse(&[0xaa, 0xaa, 3, 0, 0, 0x0c, 0x01, 0x0b, 2, 180, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            addresses in proptest::collection::vec(any::<u8>(), 0..60),
            more in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let bytes = message(&[field(1, b"sw3"), field(2, &addresses), more]);
            let cdp = Cdp::parse(&bytes).unwrap();
            prop_assert!(cdp.addresses().count() <= bytes.len());
        }
    }
}
