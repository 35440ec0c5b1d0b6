//! The text of a playlist, whatever it is encoded in.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// The line that names the encoding of a list.
const DECLARATION: &str = "#EXTENC:";

/// Returns the text, and the encoding if it is another one than UTF-8. What is not valid in it is replaced.
pub(super) fn decode(bytes: &[u8]) -> (String, Option<&'static str>) {
    if let Some((encoding, length)) = Encoding::for_bom(bytes) {
        return decoded(&bytes[length..], encoding);
    }
    if let Some(encoding) = wide(bytes) {
        return decoded(bytes, encoding);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => decoded(bytes, declared(bytes).unwrap_or_else(|| guessed(bytes))),
    }
}

fn decoded(bytes: &[u8], encoding: &'static Encoding) -> (String, Option<&'static str>) {
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    (text.into_owned(), (encoding != UTF_8).then(|| encoding.name()))
}

/// Returns the form of UTF-16 in which a list without a mark would start with `#`.
const fn wide(bytes: &[u8]) -> Option<&'static Encoding> {
    match bytes {
        [b'#', 0, ..] => Some(UTF_16LE),
        [0, b'#', ..] => Some(UTF_16BE),
        _ => None,
    }
}

fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let mut lines = bytes.split(|byte| b"\r\n".contains(byte)).map(<[u8]>::trim_ascii);
    let is_declaration = |line: &&[u8]| {
        line.get(..DECLARATION.len()).is_some_and(|start| start.eq_ignore_ascii_case(DECLARATION.as_bytes()))
    };
    let label = lines.find(is_declaration)?.get(DECLARATION.len()..)?;
    Encoding::for_label(label).filter(|encoding| *encoding != UTF_8)
}

/// Guesses as browsers do. Addresses are ASCII in each of the encodings, so that at most names are wrong.
fn guessed(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Deny)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_providers_are_read_in_their_encoding() {
        let gbk = "央视新闻综合频道".as_bytes();
        let (encoded, _, _) = encoding_rs::GBK.encode("央视新闻综合频道");
        assert_ne!(&*encoded, gbk);
        let utf16 = |big: bool, mark: bool| {
            let text = if mark { "\u{feff}#EXTM3U Télé" } else { "#EXTM3U Télé" };
            let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
            text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
        };
        for (bytes, text, encoding) in [
            ("#EXTM3U Télé".as_bytes().to_vec(), "#EXTM3U Télé", None),
            ("\u{feff}#EXTM3U Télé".as_bytes().to_vec(), "#EXTM3U Télé", None),
            (encoded.to_vec(), "央视新闻综合频道", Some("GBK")),
            (b"#EXTM3U T\xe9l\xe9 fran\xe7aise".to_vec(), "#EXTM3U Télé française", Some("windows-1252")),
            (b"#EXTENC: ISO-8859-2\n\xb9\xe9".to_vec(), "#EXTENC: ISO-8859-2\nšé", Some("ISO-8859-2")),
            (utf16(false, true), "#EXTM3U Télé", Some("UTF-16LE")),
            (utf16(true, true), "#EXTM3U Télé", Some("UTF-16BE")),
            (utf16(false, false), "#EXTM3U Télé", Some("UTF-16LE")),
            (utf16(true, false), "#EXTM3U Télé", Some("UTF-16BE")),
        ] {
            assert_eq!(decode(&bytes), (text.to_owned(), encoding));
        }
        // Whatever it is, the addresses are there.
        let (text, _) = decode(b"\xff\xfe\xff\x80\n\xc3rtp://239.1.2.3:5000\n");
        assert!(!text.is_empty());
        assert!(decode(b"a\xff\x81\nrtp://239.1.2.3:5000\n").0.contains("\nrtp://239.1.2.3:5000\n"));
    }
}
