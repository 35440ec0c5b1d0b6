//! SSDP, the discovery protocol of UPnP (UPnP Device Architecture 2.0 section 1): HTTP headers in a datagram.

use core::fmt;
use core::time::Duration;

use super::EscapedText;

/// An SSDP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssdp<'a> {
    /// The type of the message.
    pub kind: SsdpKind,
    /// The bytes after the first line.
    headers: &'a [u8],
}

/// The type of an SSDP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SsdpKind {
    /// Announces or withdraws a device or service.
    Notify,
    /// Searches for devices or services.
    Search,
    /// Responds to a search.
    Response,
}

impl<'a> Ssdp<'a> {
    /// The port of SSDP.
    pub const PORT: u16 = 1900;

    /// Parses the payload of a datagram. Returns `None` if the first line is not that of an SSDP message.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (first, headers) = split_line(bytes);
        // Devices vary the case, the version of HTTP and the white space at the end.
        let starts = |start: &[u8]| first.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start));
        let kind = if starts(b"NOTIFY * HTTP/1.") {
            SsdpKind::Notify
        } else if starts(b"M-SEARCH * HTTP/1.") {
            SsdpKind::Search
        } else if starts(b"HTTP/1.1 200") || starts(b"HTTP/1.0 200") {
            SsdpKind::Response
        } else {
            return None;
        };
        Some(Self { kind, headers })
    }

    /// Returns the names and values of the headers.
    #[must_use]
    pub const fn headers(&self) -> SsdpHeaders<'a> {
        SsdpHeaders { rest: self.headers }
    }

    /// Returns the value of a header. The case of the name is ignored.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let mut headers = self.headers();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Returns the search target (`ST`) or the notification type (`NT`).
    #[must_use]
    pub fn target(&self) -> Option<&'a [u8]> {
        self.header("ST").or_else(|| self.header("NT"))
    }

    /// Returns the unique service name (`USN`).
    #[must_use]
    pub fn unique_name(&self) -> Option<&'a [u8]> {
        self.header("USN")
    }

    /// Returns how long the announcement holds (`CACHE-CONTROL: max-age=`); `None` if that is not stated. White space around the equals
    /// sign, which UPnP itself prints in its examples, and other directives are allowed.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        let directives = self.header("CACHE-CONTROL")?.split(|byte| matches!(byte, b',' | b';'));
        let mut seconds = directives.filter_map(|directive| {
            let (name, value) = core::str::from_utf8(directive).ok()?.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("max-age")
                .then(|| value.trim().trim_matches('"').parse::<u32>().ok())?
        });
        seconds.next().map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Returns whether the message withdraws a device or service (`ssdp:byebye`).
    #[must_use]
    pub fn is_goodbye(&self) -> bool {
        self.header("NTS").is_some_and(|value| value.eq_ignore_ascii_case(b"ssdp:byebye"))
    }
}

/// An iterator over the headers of a message.
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
                // An empty line ends the headers.
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

/// Splits the first line, without its line ending, from the rest.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default()),
        None => (bytes, &[][..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

impl fmt::Display for Ssdp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_LENGTH: usize = 120;
        let text = |bytes| EscapedText { bytes, max_length: MAX_LENGTH };
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
