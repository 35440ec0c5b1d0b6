//! Differentiated services code points: `46`, `EF`, `AF41`, `CS5`.

use mcast::SenderBuilder;

/// Parses a number from 0 to 63, or a name of RFC 2474 (`CS0` to `CS7`), RFC 2597 (`AF11` to `AF43`),
/// RFC 3246 (`EF`), RFC 5865 (`VA`) or RFC 8622 (`LE`).
pub(crate) fn parse_dscp(text: &str) -> Result<u8, String> {
    let error = || "write a number from 0 to 63, or a name such as EF, AF41 or CS5".to_owned();
    let name = text.to_ascii_uppercase();
    let digits: Vec<u8> = name.bytes().skip(2).map(|byte| byte.wrapping_sub(b'0')).collect();
    match (name.get(..2), digits.as_slice()) {
        (Some("EF"), []) => Ok(46),
        (Some("VA"), []) => Ok(44),
        (Some("LE"), []) => Ok(1),
        (Some("CS"), [class @ 0..=7]) => Ok(class << 3),
        (Some("AF"), [class @ 1..=4, drop @ 1..=3]) => Ok(class << 3 | drop << 1),
        _ => text.parse().ok().filter(|number| *number < 64).ok_or_else(error),
    }
}

/// Returns a builder whose datagrams have this code point, if one is given.
pub(crate) fn with_dscp(builder: SenderBuilder, dscp: Option<u8>) -> SenderBuilder {
    match dscp {
        Some(dscp) => builder.traffic_class(dscp << 2),
        None => builder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let numbers =
            ["46", "ef", "AF41", "af13", "CS5", "cs0", "LE", "0", "63"].map(|text| parse_dscp(text).unwrap());
        assert_eq!(numbers, [46, 46, 34, 14, 40, 0, 1, 0, 63]);
        for text in ["", "64", "-1", "AF44", "AF5", "CS8", "EF1", "é", "x"] {
            parse_dscp(text).unwrap_err();
        }
    }
}
