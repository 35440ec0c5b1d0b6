//! IPv6 extension headers (RFC 8200 section 4).
//!
//! etherparse 0.21 determines where they end. This module iterates over them itself, because the iterator of
//! etherparse reads out of bounds if the last header of the chain is truncated.

use crate::bytes::{array_at, u8_at, u16_at};
use crate::ip::Fragment;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// The contents of the extension headers that matter for multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) router_alert: Option<u16>,
    pub(crate) fragment: Option<Fragment>,
}

impl Extensions {
    /// Decodes the headers up to the first truncated one. `first` is the type of the first header.
    pub(crate) fn decode(first: u8, bytes: &[u8]) -> Self {
        let mut extensions = Self::default();
        let (mut kind, mut rest) = (first, bytes);
        while let Some((header, remaining)) = split(kind, rest) {
            match kind {
                HOP_BY_HOP => extensions.router_alert = router_alert(header.get(2..).unwrap_or_default()),
                FRAGMENT => extensions.fragment = fragment(header),
                _ => {}
            }
            (kind, rest) = (u8_at(header, 0).unwrap_or_default(), remaining);
        }
        extensions
    }
}

/// Splits the header at the start of the bytes from the rest.
fn split(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let field = usize::from(u8_at(bytes, 1)?);
    let length = match kind {
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (field + 1) * 8,
        FRAGMENT => 8,
        AUTHENTICATION => (field + 2) * 4,
        _ => return None,
    };
    bytes.split_at_checked(length)
}

/// Decodes a fragment header. Returns `None` for an atomic fragment, which is a whole datagram (RFC 6946).
fn fragment(header: &[u8]) -> Option<Fragment> {
    let field = u16_at(header, 2)?;
    let fragment = Fragment {
        identification: u32::from_be_bytes(array_at(header, 4)?),
        offset: usize::from(field & 0xfff8),
        more: field & 1 == 1,
    };
    (fragment.offset > 0 || fragment.more).then_some(fragment)
}

/// Returns the value of the router alert option (RFC 2711): option 5 with a 2-byte value.
fn router_alert(options: &[u8]) -> Option<u16> {
    const PAD_ONE: u8 = 0;
    const ROUTER_ALERT: u8 = 5;
    let mut rest = options;
    loop {
        match *rest {
            [] | [_] => return None,
            [PAD_ONE, ..] => rest = rest.get(1..)?,
            [ROUTER_ALERT, 2, ..] => return u16_at(rest, 2),
            [_, length, ..] => rest = rest.get(usize::from(length) + 2..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn router_alert_is_found_after_other_options() {
        assert_eq!(router_alert(&[0, 5, 2, 0, 0, 1]), Some(0));
        assert_eq!(router_alert(&[1, 0, 5, 2, 0, 7]), Some(7));
        assert_eq!(router_alert(&[1, 200]), None);
    }

    #[test]
    fn fragment_header_is_found_after_options() {
        let bytes = [FRAGMENT, 0, 5, 2, 0, 0, 1, 0, 17, 0, 0x05, 0xc9, 0, 0, 0, 7];
        let extensions = Extensions::decode(HOP_BY_HOP, &bytes);
        assert_eq!(extensions.router_alert, Some(0));
        assert_eq!(extensions.fragment, Some(Fragment { identification: 7, offset: 1480, more: true }));
    }

    #[test]
    fn authentication_header_length_is_in_4_byte_words() {
        let mut bytes = [0; 24];
        bytes[..2].copy_from_slice(&[FRAGMENT, 2]);
        bytes[16..].copy_from_slice(&[17, 0, 0, 1, 0, 0, 0, 9]);
        let fragment = Extensions::decode(AUTHENTICATION, &bytes).fragment;
        assert_eq!(fragment, Some(Fragment { identification: 9, offset: 0, more: true }));
    }

    #[test]
    fn atomic_fragment_is_a_whole_datagram() {
        let bytes = [17, 0, 0, 0, 0, 0, 0, 7];
        assert_eq!(Extensions::decode(FRAGMENT, &bytes), Extensions::default());
    }
}
