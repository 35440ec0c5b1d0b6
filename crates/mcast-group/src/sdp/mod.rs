//! Session descriptions (SDP, RFC 8866): what a `.sdp` file says is to be joined.

mod connection;
mod source_filter;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::{Membership, ParseError};
use connection::Connection;
use source_filter::Rule;

/// What a session description (RFC 8866) says of multicast: its streams, each with the membership that
/// receives it.
///
/// Read are the connection (`c=`, with its TTL and its number of groups), the media (`m=`), the source filter
/// (RFC 4570), and which streams are duplicates of one another (RFC 7104). What goes to no group, or by
/// another protocol than UDP, is [passed over](Self::passed_over).
///
/// ```
/// use mcast_group::SessionDescription;
///
/// let description: SessionDescription = "\
/// v=0
/// o=- 1 1 IN IP4 10.0.0.7
/// s=News
/// t=0 0
/// m=video 5004 RTP/AVP 33
/// c=IN IP4 232.1.2.3/16
/// a=source-filter: incl IN IP4 232.1.2.3 10.0.0.7
/// "
/// .parse()?;
/// assert_eq!(description.streams[0].membership.to_string(), "10.0.0.7@232.1.2.3:5004");
/// assert_eq!(description.streams[0].hop_limit, Some(16));
/// # Ok::<(), mcast_group::SdpError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDescription {
    /// The session's name (`s=`), as it stands there.
    pub name: String,
    /// The streams to groups, at least one, in the order of the file.
    pub streams: Vec<DescribedStream>,
    /// The lines of media that have nothing to join, as they stand there.
    pub passed_over: Vec<String>,
}

/// A stream to a group and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedStream {
    /// What receives it: group, port and sources.
    pub membership: Membership,
    /// The hop limit that it is sent with, if the file says it: IPv4 alone does.
    pub hop_limit: Option<u8>,
    /// What it is: `audio`, `video`, `application` and so on.
    pub media: String,
    /// Whether it is RTP.
    pub rtp: bool,
    /// Its name within the file (`a=mid`, RFC 5888).
    pub id: Option<String>,
    /// The number of the set of streams that are duplicates of one another and to which it belongs
    /// (`a=group:DUP`, RFC 7104), from 0.
    pub duplicates: Option<usize>,
    /// The line of its media in the file, from 1.
    pub line: usize,
}

/// A session description that cannot be understood: in which line, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdpError {
    line: usize,
    error: ParseError,
}

impl SessionDescription {
    /// How many streams a description may have: more is a file gone wrong.
    pub const MOST_STREAMS: usize = 65_536;
}

impl SdpError {
    /// The line, from 1; the one behind the last when something is missing.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// What is wrong with it.
    #[must_use]
    pub const fn error(&self) -> &ParseError {
        &self.error
    }
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.error)
    }
}

impl core::error::Error for SdpError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl FromStr for SessionDescription {
    type Err = SdpError;

    fn from_str(text: &str) -> Result<Self, SdpError> {
        let mut reading = Reading::default();
        let mut number = 0;
        for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
            number += 1;
            reading.take(number, line.trim_end()).map_err(|error| SdpError { line: number, error })?;
        }
        reading.finish().map_err(|(line, error)| SdpError { line: line.unwrap_or(number + 1), error })
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reading<'a> {
    started: bool,
    name: &'a str,
    session: Level<'a>,
    media: Vec<Media<'a>>,
    /// The names in each set of duplicates.
    duplicates: Vec<Vec<&'a str>>,
}

/// What stands before the first media, or belongs to one.
#[derive(Default)]
struct Level<'a> {
    /// `None` for one that is to no group.
    connections: Vec<Option<Connection>>,
    filters: Vec<Rule>,
    id: Option<&'a str>,
}

/// `m=`, and what follows it.
struct Media<'a> {
    line: usize,
    text: &'a str,
    kind: &'a str,
    port: u16,
    ports: u16,
    protocol: &'a str,
    level: Level<'a>,
}

impl<'a> Reading<'a> {
    fn take(&mut self, number: usize, line: &'a str) -> Result<(), ParseError> {
        if !self.started {
            self.started = line == "v=0";
            return if self.started || line.is_empty() {
                Ok(())
            } else {
                Err(ParseError::new(line, "is not how a session description starts").write("v=0"))
            };
        }
        let Some((kind, value)) = line.split_once('=') else { return Ok(()) };
        match kind {
            "s" => self.name = value,
            "m" => self.media.push(Media::parse(number, value)?),
            "c" => self.level().connections.push(Connection::parse(value)?),
            "a" => self.attribute(value)?,
            _ => {}
        }
        Ok(())
    }

    fn attribute(&mut self, text: &'a str) -> Result<(), ParseError> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        match name {
            "source-filter" => {
                let rule = Rule::parse(value)?;
                self.level().filters.push(rule);
            }
            "mid" => self.level().id = Some(value.trim()),
            "group" => {
                if let Some(names) = value.strip_prefix("DUP ") {
                    self.duplicates.push(names.split_ascii_whitespace().collect());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn level(&mut self) -> &mut Level<'a> {
        match self.media.last_mut() {
            Some(media) => &mut media.level,
            None => &mut self.session,
        }
    }

    /// The line that is at fault, if it is one that was read, and why.
    fn finish(self) -> Result<SessionDescription, (Option<usize>, ParseError)> {
        let mut description =
            SessionDescription { name: self.name.to_owned(), streams: Vec::new(), passed_over: Vec::new() };
        for media in &self.media {
            let streams = self.streams(media).map_err(|error| (Some(media.line), error))?;
            if streams.is_empty() {
                description.passed_over.push(format!("m={}", media.text));
            }
            description.streams.extend(streams);
            if description.streams.len() > SessionDescription::MOST_STREAMS {
                let error = ParseError::new(media.text, "makes too many streams of the description");
                return Err((Some(media.line), error.write("fewer groups or ports")));
            }
        }
        if description.streams.is_empty() {
            let error = ParseError::new(self.name, "describes nothing that is sent to a group");
            return Err((None, error.write("c=IN IP4 GROUP/TTL and m=MEDIA PORT PROTOCOL FORMAT")));
        }
        Ok(description)
    }

    fn streams(&self, media: &Media<'a>) -> Result<Vec<DescribedStream>, ParseError> {
        if media.port == 0 || !media.is_udp() {
            return Ok(Vec::new());
        }
        let own = &media.level.connections;
        let connections = if own.is_empty() { &self.session.connections } else { own };
        let groups = connections.iter().flatten().flat_map(Connection::groups);
        let groups: Vec<_> = groups.take(SessionDescription::MOST_STREAMS + 1).collect();
        let pairs = media.pair(groups.len())?;
        let stream = |(group, port): (usize, u16)| {
            let (group, hop_limit) = *groups.get(group)?;
            Some(DescribedStream {
                membership: Membership::new(crate::GroupAddr::new(group, port)).from_sources(
                    source_filter::filter_of(group, &media.level.filters, &self.session.filters),
                ),
                hop_limit,
                media: media.kind.to_owned(),
                rtp: media.is_rtp(),
                id: media.level.id.map(ToOwned::to_owned),
                duplicates: self.set_of(media),
                line: media.line,
            })
        };
        Ok(pairs.into_iter().filter_map(stream).collect())
    }

    fn set_of(&self, media: &Media<'a>) -> Option<usize> {
        let id = media.level.id?;
        self.duplicates.iter().position(|names| names.contains(&id))
    }
}

impl<'a> Media<'a> {
    /// `video 49170/2 RTP/AVP 31`.
    fn parse(line: usize, text: &'a str) -> Result<Self, ParseError> {
        let wrong = |problem| ParseError::new(text, problem).write("MEDIA PORT[/NUMBER] PROTOCOL FORMAT");
        let mut words = text.split_ascii_whitespace();
        let (Some(kind), Some(ports), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(wrong("is no media"));
        };
        let (port, count) = ports.split_once('/').unwrap_or((ports, "1"));
        let port = port.parse().map_err(|_| wrong("has no port"))?;
        let count: u16 = count.parse().map_err(|_| wrong("has no number of ports"))?;
        if count == 0 {
            return Err(wrong("has no port"));
        }
        Ok(Self { line, text, kind, port, ports: count, protocol, level: Level::default() })
    }

    fn is_rtp(&self) -> bool {
        self.protocol.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("RTP/"))
    }

    fn is_udp(&self) -> bool {
        let first = self.protocol.split('/').next().unwrap_or_default();
        self.is_rtp() || first.eq_ignore_ascii_case("udp")
    }

    /// Which group goes with which port (RFC 8866 section 5.14): several of one with the only one of the
    /// other, or as many of both, one by one. RTP takes every second port; its control takes those between.
    fn pair(&self, groups: usize) -> Result<Vec<(usize, u16)>, ParseError> {
        let step = if self.is_rtp() { 2 } else { 1 };
        let port = |number: usize| {
            let number = u16::try_from(number).ok()?;
            number.checked_mul(step).and_then(|ahead| self.port.checked_add(ahead))
        };
        let ports = usize::from(self.ports);
        let pairs: Option<Vec<_>> = match (groups, ports) {
            (0, _) => Some(Vec::new()),
            (_, 1) => (0..groups).map(|group| Some((group, self.port))).collect(),
            (1, _) => (0..ports).map(|number| Some((0, port(number)?))).collect(),
            _ if groups == ports => (0..ports).map(|number| Some((number, port(number)?))).collect(),
            _ => {
                let error = ParseError::new(self.text, "has neither one port nor one for each group");
                return Err(error.write("as many ports as groups"));
            }
        };
        pairs.ok_or_else(|| ParseError::new(self.text, "goes beyond the last port").write("fewer ports"))
    }
}

#[cfg(test)]
mod tests;
