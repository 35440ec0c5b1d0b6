//! JSON Lines: one record per line. The files in `schemas/` describe the records. All follow one convention: `event`
//! is the type of a record; a name ends in the unit of its number (`_seconds`, `_ms`, `_us`, `_per_second`) unless it
//! is a count or a length in bytes; `protocol` is a name in lowercase.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcast_packet::protocol;
use serde::{Serialize, Serializer};

/// Writes an object as one line.
pub(crate) fn write_json(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// Writes a record with `event` before its own fields.
pub(crate) fn write_record(
    out: &mut impl Write,
    event: &'static str,
    fields: &impl Serialize,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Record<'a, T> {
        event: &'static str,
        #[serde(flatten)]
        fields: &'a T,
    }

    write_json(out, &Record { event, fields })
}

/// Bytes as fields of an object: `text` if they are UTF-8, otherwise `base64`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Payload<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self { text: Some(text), base64: None },
            Err(_) => Self { text: None, base64: Some(STANDARD.encode(bytes)) },
        }
    }
}

/// Returns the name of an IP protocol, or its number if it has no name here.
pub(crate) fn protocol_name(number: u8) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        protocol::UDP => "udp",
        protocol::TCP => "tcp",
        protocol::IGMP => "igmp",
        protocol::PIM => "pim",
        protocol::ICMP => "icmp",
        protocol::ICMPV6 => "icmpv6",
        number => return Cow::Owned(number.to_string()),
    })
}

/// Serializes a field as its `Display` text.
pub(crate) fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_starts_with_its_event() {
        let mut line = Vec::new();
        write_record(&mut line, "bytes", &Payload::new(b"x")).unwrap();
        assert_eq!(line, b"{\"event\":\"bytes\",\"text\":\"x\"}\n");
    }

    #[test]
    fn a_protocol_is_always_text() {
        assert_eq!([17, 2, 89].map(protocol_name), ["udp", "igmp", "89"]);
    }

    #[test]
    fn utf8_bytes_are_text_and_others_base64() {
        let json = |bytes: &[u8]| serde_json::to_string(&Payload::new(bytes)).unwrap();
        assert_eq!(json("grüß\n".as_bytes()), r#"{"text":"grüß\n"}"#);
        assert_eq!(json(b""), r#"{"text":""}"#);
        assert_eq!(json(&[0xff, 0]), r#"{"base64":"/wA="}"#);
    }
}
