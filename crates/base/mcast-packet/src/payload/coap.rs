//! CoAP (RFC 7252), and the list of a server's resources (RFC 6690).

use core::fmt;
use core::time::Duration;

use super::EscapedText;
use crate::list::{u8_at, u16_at};

/// A message of CoAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coap<'a> {
    /// The type: 0 confirmable, 1 non-confirmable, 2 acknowledgement, 3 reset.
    pub kind: u8,
    /// The method of a request or the status of a response: the class in the upper 3 bits, the detail below.
    pub code: u8,
    /// The identifier by which duplicates are found.
    pub message_id: u16,
    /// The token by which responses belong to requests.
    pub token: &'a [u8],
    /// The options, and the payload behind them.
    rest: &'a [u8],
}

/// The options of CoAP that are read here (RFC 7252 section 5.10).
mod option {
    pub(super) const URI_PATH: u32 = 11;
    pub(super) const CONTENT_FORMAT: u32 = 12;
    pub(super) const MAX_AGE: u32 = 14;
    /// RFC 7959.
    pub(super) const BLOCK2: u32 = 23;
}

impl<'a> Coap<'a> {
    /// The port of CoAP without DTLS.
    pub const PORT: u16 = 5683;
    /// The code of a request for a resource.
    pub const GET: u8 = 1;
    /// The code of a response with content, 2.05.
    pub const CONTENT: u8 = 0x45;
    /// The content format of a list of resources, `application/link-format`.
    pub const LINK_FORMAT: u32 = 40;

    /// Parses the payload of a datagram. Returns `None` if it is not of version 1, or ends within the token.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let first = u8_at(bytes, 0).filter(|first| first >> 6 == 1 && first & 0x0f <= 8)?;
        let (token, rest) = bytes.get(4..)?.split_at_checked(usize::from(first & 0x0f))?;
        Some(Self {
            kind: first >> 4 & 3,
            code: u8_at(bytes, 1)?,
            message_id: u16_at(bytes, 2)?,
            token,
            rest,
        })
    }

    /// Returns the numbers and values of the options. A malformed option ends them.
    #[must_use]
    pub const fn options(&self) -> CoapOptions<'a> {
        CoapOptions { rest: self.rest, number: 0 }
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        let mut options = self.options();
        options.by_ref().for_each(drop);
        options.rest.strip_prefix(&[0xff]).unwrap_or_default()
    }

    /// Returns the segments of the path.
    pub fn path(&self) -> impl Iterator<Item = &'a [u8]> {
        self.options().filter(|(number, _)| *number == option::URI_PATH).map(|(_, value)| value)
    }

    /// Returns the content format of the payload, if it is stated.
    #[must_use]
    pub fn content_format(&self) -> Option<u32> {
        self.unsigned(option::CONTENT_FORMAT)
    }

    /// Returns how long a response holds. Default: 60 s (RFC 7252 section 5.10.5).
    #[must_use]
    pub fn max_age(&self) -> Duration {
        Duration::from_secs(self.unsigned(option::MAX_AGE).unwrap_or(60).into())
    }

    /// Returns whether the payload continues in further blocks (RFC 7959 section 2.2).
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.unsigned(option::BLOCK2).is_some_and(|block| block & 8 != 0)
    }

    /// Returns the links of a list of resources, or `None` if the message is not a response with such a list. Some servers omit its
    /// format.
    #[must_use]
    pub fn links(&self) -> Option<CoapLinks<'a>> {
        let rest = self.payload();
        let is_list = match self.content_format() {
            Some(format) => format == Self::LINK_FORMAT,
            None => rest.starts_with(b"</") && rest.contains(&b'>'),
        };
        (is_list && self.code == Self::CONTENT).then_some(CoapLinks { rest })
    }

    fn unsigned(&self, wanted: u32) -> Option<u32> {
        let (_, value) = self.options().find(|(number, _)| *number == wanted)?;
        (value.len() <= 4).then(|| value.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    pub(super) fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            0 => "CON",
            1 => "NON",
            2 => "ACK",
            _ => "RST",
        };
        write!(f, " {kind} ")?;
        match self.code {
            0 => f.write_str("empty")?,
            Self::GET => f.write_str("GET")?,
            2 => f.write_str("POST")?,
            3 => f.write_str("PUT")?,
            4 => f.write_str("DELETE")?,
            code => write!(f, "{}.{:02}", code >> 5, code & 0x1f)?,
        }
        write!(f, ", message {}", self.message_id)?;
        for (position, segment) in self.path().enumerate() {
            let separator = if position == 0 { ", /" } else { "/" };
            write!(f, "{separator}{}", EscapedText { bytes: segment, max_length: 64 })?;
        }
        Ok(())
    }
}

/// An iterator over the options of a message, each with its number and value.
#[derive(Clone, Debug)]
pub struct CoapOptions<'a> {
    rest: &'a [u8],
    number: u32,
}

impl<'a> Iterator for CoapOptions<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        let (&head, tail) = self.rest.split_first().filter(|(head, _)| **head != 0xff)?;
        let parts = extended(head >> 4, tail).and_then(|(delta, tail)| {
            let (length, tail) = extended(head & 0x0f, tail)?;
            let (value, tail) = tail.split_at_checked(length as usize)?;
            Some((delta, value, tail))
        });
        let Some((delta, value, tail)) = parts else {
            self.rest = &[];
            return None;
        };
        (self.rest, self.number) = (tail, self.number + delta);
        Some((self.number, value))
    }
}

/// Reads an option delta or length that may continue in further bytes.
fn extended(nibble: u8, bytes: &[u8]) -> Option<(u32, &[u8])> {
    match nibble {
        13 => Some((u32::from(u8_at(bytes, 0)?) + 13, bytes.get(1..)?)),
        14 => Some((u32::from(u16_at(bytes, 0)?) + 269, bytes.get(2..)?)),
        15 => None,
        value => Some((value.into(), bytes)),
    }
}

/// A resource in a list of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoapLink<'a> {
    /// Its path or URL.
    pub target: &'a [u8],
    /// Its attributes, such as `rt="temperature";obs`.
    pub attributes: &'a [u8],
}

impl<'a> CoapLink<'a> {
    /// Returns the value of an attribute, without quotes.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'a [u8]> {
        let mut rest = self.attributes;
        while !rest.is_empty() {
            let (attribute, after) = split_unquoted(rest, b';');
            rest = after;
            let value = attribute.trim_ascii().strip_prefix(name.as_bytes());
            if let Some(value) = value.and_then(|value| value.strip_prefix(b"=")) {
                return Some(
                    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value),
                );
            }
        }
        None
    }
}

/// An iterator over the links of a list of resources. What is not a link is skipped.
#[derive(Clone, Debug)]
pub struct CoapLinks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for CoapLinks<'a> {
    type Item = CoapLink<'a>;

    fn next(&mut self) -> Option<CoapLink<'a>> {
        while !self.rest.is_empty() {
            let (link, rest) = split_unquoted(self.rest, b',');
            self.rest = rest;
            let Some(link) = link.trim_ascii().strip_prefix(b"<") else { continue };
            let Some(end) = link.iter().position(|byte| *byte == b'>') else { continue };
            let (target, attributes) = (link.get(..end)?, link.get(end + 1..)?);
            let attributes = attributes.strip_prefix(b";").unwrap_or(attributes);
            return Some(CoapLink { target, attributes });
        }
        None
    }
}

/// Splits at the first separator that is neither quoted nor within a target.
fn split_unquoted(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    let (mut is_quoted, mut is_target) = (false, false);
    let end = bytes.iter().position(|&byte| {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'<' | b'>' if !is_quoted => is_target = byte == b'<',
            _ => {}
        }
        byte == separator && !is_quoted && !is_target
    });
    match end {
        Some(end) => (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default()),
        None => (bytes, &[]),
    }
}
