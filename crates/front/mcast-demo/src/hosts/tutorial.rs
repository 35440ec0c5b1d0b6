//! The groups of the tutorial that this demonstration follows, and the packet that the tutorial captured.

use std::ops::Range;

use mcast::{GroupAddr, ParseError};

/// The UDP port of both groups.
pub(super) const PORT: u16 = 50001;
/// What midwood sends.
pub(super) const TEXT: &str = "Hello, World!";
/// What midwood sends to the second group.
pub(super) const SECOND_TEXT: &str = "Hello, bushwick!";

/// The frame that the tutorial's bushwick captured, with padding to Ethernet's minimum of 60 bytes.
const FRAME: &[u8] = &[
    0x01, 0x00, 0x5e, 0x01, 0x01, 0x05, 0x08, 0x00, 0x27, 0xa1, 0x33, 0xb4, 0x08, 0x00, 0x45, 0x00, //
    0x00, 0x29, 0x0d, 0xc7, 0x40, 0x00, 0x01, 0x11, 0x91, 0xe7, 0xc0, 0xa8, 0x38, 0x67, 0xe0, 0x01, //
    0x01, 0x05, 0xcd, 0x66, 0xc3, 0x51, 0x00, 0x15, 0x53, 0xc9, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x2c, //
    0x20, 0x57, 0x6f, 0x72, 0x6c, 0x64, 0x21, 0x00, 0x00, 0x00, 0x00, 0x00,
];

/// The fields of a frame with a UDP datagram in IPv4.
const FIELDS: &[(Range<usize>, &str)] = &[
    (0..6, "Ethernet destination"),
    (6..12, OTHER_CARD),
    (12..14, "Ethernet type"),
    (14..18, "IP length"),
    (18..20, OTHER_IDENTIFICATION),
    (20..22, "fragment field"),
    (22..24, "TTL and protocol"),
    (24..26, OTHER_HEADER_CHECKSUM),
    (26..34, "IP addresses"),
    (34..40, "UDP ports and length"),
    (40..42, "UDP checksum"),
    (42..55, "text"),
    (55..60, NO_PADDING),
];

const OTHER_CARD: &str = "Ethernet source";
const OTHER_IDENTIFICATION: &str = "IP identification";
const OTHER_HEADER_CHECKSUM: &str = "IP checksum";
const NO_PADDING: &str = "padding";

/// The fields that must differ: another network card, another packet count, and virtual links that do not pad.
pub(super) const DIFFERENCES: &[&str] =
    &[OTHER_CARD, OTHER_IDENTIFICATION, OTHER_HEADER_CHECKSUM, NO_PADDING];

/// The group that eastny and flatbush join.
pub(super) fn first_group() -> Result<GroupAddr, ParseError> {
    "224.1.1.5:50001".parse()
}

/// The group that bushwick joins.
pub(super) fn second_group() -> Result<GroupAddr, ParseError> {
    "234.3.2.1:50001".parse()
}

/// Returns the fields in which a frame differs from the tutorial's.
pub(super) fn differences(frame: &[u8]) -> Vec<&'static str> {
    let differs = |range: &Range<usize>| frame.get(range.clone()) != FRAME.get(range.clone());
    FIELDS.iter().filter(|(range, _)| differs(range)).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_cover_the_frame() {
        let mut end = 0;
        for (range, name) in FIELDS {
            assert_eq!(range.start, end, "{name}");
            end = range.end;
        }
        assert_eq!(end, FRAME.len());
    }

    #[test]
    fn a_frame_differs_where_it_was_changed() {
        assert_eq!(differences(FRAME), [""; 0]);
        let mut frame = FRAME.to_vec();
        frame[41] ^= 1;
        assert_eq!(differences(&frame), ["UDP checksum"]);
        assert_eq!(differences(&FRAME[..55]), ["padding"]);
    }
}
