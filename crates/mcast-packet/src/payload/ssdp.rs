//! SSDP, the discovery of UPnP (UPnP Device Architecture 2.0 section 1): HTTP's headers in a datagram.

use core::fmt;

use super::text::Text;

/// An SSDP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssdp<'a> {
    /// What it is.
    pub kind: SsdpKind,
    /// All that follows the first line.
    headers: &'a [u8],
}

/// What an SSDP message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SsdpKind {
    /// Something is there, or is gone.
    Notify,
    /// Somebody looks for something.
    Search,
    /// The answer to a search.
    Response,
}

impl<'a> Ssdp<'a> {
    /// The port of SSDP.
    pub const PORT: u16 = 1900;

    /// The message in the payload of a datagram. `None` when its first line is none of SSDP's.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (first, headers) = split_line(bytes);
        let kind = match first {
            b"NOTIFY * HTTP/1.1" => SsdpKind::Notify,
            b"M-SEARCH * HTTP/1.1" => SsdpKind::Search,
            _ if first.starts_with(b"HTTP/1.1 200") => SsdpKind::Response,
            _ => return None,
        };
        Some(Self { kind, headers })
    }

    /// The headers: their names and values.
    #[must_use]
    pub const fn headers(&self) -> SsdpHeaders<'a> {
        SsdpHeaders { rest: self.headers }
    }

    /// The value of a header; upper and lower case are the same in names.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let mut headers = self.headers();
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// What is looked for (`ST`), or what is there (`NT`).
    #[must_use]
    pub fn target(&self) -> Option<&'a [u8]> {
        self.header("ST").or_else(|| self.header("NT"))
    }

    /// What exactly is there (`USN`).
    #[must_use]
    pub fn unique_name(&self) -> Option<&'a [u8]> {
        self.header("USN")
    }

    /// Whether the message says that something is gone.
    #[must_use]
    pub fn is_goodbye(&self) -> bool {
        self.header("NTS").is_some_and(|value| value.eq_ignore_ascii_case(b"ssdp:byebye"))
    }
}

/// Goes through the headers of a message.
#[derive(Clone, Debug)]
pub struct SsdpHeaders<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for SsdpHeaders<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        loop {
            let (line, rest) = split_line(self.rest);
            self.rest = rest;
            if line.is_empty() {
                // The empty line is the end of the headers.
                self.rest = &[];
                return None;
            }
            if let Some(colon) = line.iter().position(|byte| *byte == b':') {
                let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
                return Some((name.trim_ascii(), value.trim_ascii()));
            }
        }
    }
}

/// The first line without its end, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default()),
        None => (bytes, &[][..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

impl fmt::Display for Ssdp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 120;
        let text = |bytes| Text { bytes, longest: LONGEST };
        f.write_str(match self.kind {
            SsdpKind::Notify if self.is_goodbye() => "SSDP goodbye",
            SsdpKind::Notify => "SSDP notify",
            SsdpKind::Search => "SSDP search",
            SsdpKind::Response => "SSDP response",
        })?;
        if let Some(target) = self.target() {
            write!(f, ": {}", text(target))?;
        }
        match self.unique_name() {
            Some(name) => write!(f, " ({})", text(name)),
            None => Ok(()),
        }
    }
}
