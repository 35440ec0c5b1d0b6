//! The header of the point-to-point protocol (RFC 1661, RFC 1662).

use crate::bytes::{u8_at, u16_at};

/// The protocols that carry IP.
const IPV4: u16 = 0x0021;
const IPV6: u16 = 0x0057;

/// What a frame of the point-to-point protocol carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ppp {
    /// An IP packet, at this offset.
    Ip(usize),
    /// A message of a protocol that sets up or supervises the link.
    Control,
}

impl Ppp {
    /// Decodes a header, with or without the address and control bytes of HDLC and with a protocol of one or two bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "is shorter than its header";
        let offset = if u16_at(bytes, 0) == Some(0xff03) { 2 } else { 0 };
        let first = u8_at(bytes, offset).ok_or(SHORT)?;
        let (protocol, length) = match first & 1 {
            1 => (u16::from(first), offset + 1),
            _ => (u16_at(bytes, offset).ok_or(SHORT)?, offset + 2),
        };
        match protocol {
            IPV4 | IPV6 => Ok(Self::Ip(length)),
            // The control protocols of network layers and of the link (RFC 1661 section 2).
            0x8001..=0xbfff | 0xc001..=0xffff => Ok(Self::Control),
            _ => Err("carries another protocol than IP, or is compressed or encrypted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_the_header_are_decoded() {
        assert_eq!(Ppp::decode(&[0xff, 3, 0, 0x21, 0x45]), Ok(Ppp::Ip(4)));
        assert_eq!(Ppp::decode(&[0, 0x57, 0x60]), Ok(Ppp::Ip(2)));
        assert_eq!(Ppp::decode(&[0x21, 0x45]), Ok(Ppp::Ip(1)));
        assert_eq!(Ppp::decode(&[0xff, 3, 0xc0, 0x21, 1]), Ok(Ppp::Control));
        assert!(Ppp::decode(&[0xff, 3, 0, 0xfd]).is_err() && Ppp::decode(&[0]).is_err());
    }
}
