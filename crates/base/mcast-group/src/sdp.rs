//! Session descriptions (SDP, RFC 8866): the memberships that a `.sdp` file describes.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use crate::{Group, Membership, ParseError, SourceFilter};

/// The multicast streams of a session description (RFC 8866), each with the membership that receives it.
///
/// The parser reads the connection (`c=`, with its TTL and its number of groups), the media (`m=`), the
/// source filter (RFC 4570), and which streams are duplicates of one another (RFC 7104). Media that are not
/// sent to a group, or not over UDP, are listed in [`skipped_media`](Self::skipped_media).
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
    /// The session's name (`s=`), verbatim.
    pub name: String,
    /// The streams to groups in file order; at least one.
    pub streams: Vec<DescribedStream>,
    /// The `m=` lines of media that cannot be joined, verbatim.
    pub skipped_media: Vec<String>,
}

/// A stream to a group and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedStream {
    /// The membership that receives it: group, port and sources.
    pub membership: Membership,
    /// The hop limit that it is sent with. Only IPv4 connections state one.
    pub hop_limit: Option<u8>,
    /// The media type: `audio`, `video`, `application` and so on.
    pub media: String,
    /// Whether it is RTP.
    pub rtp: bool,
    /// The media identification (`a=mid`, RFC 5888).
    pub id: Option<String>,
    /// The index, from 0, of the set of duplicate streams that it belongs to (`a=group:DUP`, RFC 7104).
    pub duplicates: Option<usize>,
    /// The line number of its `m=` line, from 1.
    pub line: usize,
}

/// Why a session description could not be parsed, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdpError {
    line: usize,
    error: ParseError,
}

impl SessionDescription {
    /// The maximum number of streams in a description. It bounds memory for malformed files.
    pub const MAX_STREAMS: usize = 65_536;

    /// Parses a description from the network, which may have at most this many streams. One line can describe 65,536 streams, so the
    /// memory that a short text needs is bounded by this only.
    ///
    /// # Errors
    /// As for a file, and if it describes more streams.
    pub fn parse_bounded(text: &str, max_streams: usize) -> Result<Self, SdpError> {
        let mut parser = Parser::default();
        let mut number = 0;
        for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
            number += 1;
            parser.parse_line(number, line.trim_end()).map_err(|error| SdpError { line: number, error })?;
        }
        let finished = parser.finish(max_streams.min(Self::MAX_STREAMS));
        finished.map_err(|(line, error)| SdpError { line: line.unwrap_or(number + 1), error })
    }
}

impl SdpError {
    /// Returns the line number, from 1. If something is missing, it is the line after the last.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// Returns what is wrong with the line.
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
        Self::parse_bounded(text, Self::MAX_STREAMS)
    }
}

/// The lines read so far.
#[derive(Default)]
struct Parser<'a> {
    /// Whether the first line, `v=0`, has been read.
    started: bool,
    name: &'a str,
    session: Section<'a>,
    media: Vec<Media<'a>>,
    /// The media identifications in each set of duplicates.
    duplicates: Vec<Vec<&'a str>>,
}

/// The session-level section, or a media-level section (RFC 8866 section 5).
#[derive(Default)]
struct Section<'a> {
    /// `None` for a connection to a unicast address.
    connections: Vec<Option<Connection>>,
    filters: Vec<SourceFilterAttribute>,
    id: Option<&'a str>,
}

/// An `m=` line and its section.
struct Media<'a> {
    line: usize,
    text: &'a str,
    kind: &'a str,
    port: u16,
    ports: u16,
    protocol: &'a str,
    section: Section<'a>,
}

impl<'a> Parser<'a> {
    fn parse_line(&mut self, number: usize, line: &'a str) -> Result<(), ParseError> {
        if !self.started {
            self.started = line == "v=0";
            return if self.started || line.is_empty() {
                Ok(())
            } else {
                Err(ParseError::new(line, "is not the first line of a session description")
                    .with_remedy("v=0"))
            };
        }
        let Some((kind, value)) = line.split_once('=') else { return Ok(()) };
        match kind {
            "s" => self.name = value,
            "m" => self.media.push(Media::parse(number, value)?),
            "c" => self.section().connections.push(Connection::parse(value)?),
            "a" => self.parse_attribute(value)?,
            _ => {}
        }
        Ok(())
    }

    fn parse_attribute(&mut self, text: &'a str) -> Result<(), ParseError> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        match name {
            "source-filter" => {
                let filter = SourceFilterAttribute::parse(value)?;
                self.section().filters.push(filter);
            }
            "mid" => self.section().id = Some(value.trim()),
            "group" => {
                if let Some(names) = value.strip_prefix("DUP ") {
                    self.duplicates.push(names.split_ascii_whitespace().collect());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the section that the current line belongs to.
    fn section(&mut self) -> &mut Section<'a> {
        match self.media.last_mut() {
            Some(media) => &mut media.section,
            None => &mut self.session,
        }
    }

    /// Builds the description. The error holds the line number, or `None` if something is missing at the end.
    fn finish(self, max_streams: usize) -> Result<SessionDescription, (Option<usize>, ParseError)> {
        let mut description =
            SessionDescription { name: self.name.to_owned(), streams: Vec::new(), skipped_media: Vec::new() };
        for media in &self.media {
            let room = max_streams - description.streams.len();
            let streams = self.streams(media, room).map_err(|error| (Some(media.line), error))?;
            if streams.is_empty() {
                description.skipped_media.push(format!("m={}", media.text));
            }
            description.streams.extend(streams);
        }
        if description.streams.is_empty() {
            let error = ParseError::new(self.name, "describes no stream that is sent to a group");
            return Err((None, error.with_remedy("c=IN IP4 GROUP/TTL and m=MEDIA PORT PROTOCOL FORMAT")));
        }
        Ok(description)
    }

    fn streams(&self, media: &Media<'a>, room: usize) -> Result<Vec<DescribedStream>, ParseError> {
        if media.port == 0 || !media.is_udp() {
            return Ok(Vec::new());
        }
        // A connection at media level replaces that of the session.
        let own = &media.section.connections;
        let connections = if own.is_empty() { &self.session.connections } else { own };
        let groups = connections.iter().flatten().flat_map(Connection::groups);
        let groups: Vec<_> = groups.take(room + 1).collect();
        if !groups.is_empty() && groups.len().max(media.ports.into()) > room {
            let error = ParseError::new(media.text, "exceeds the maximum number of streams");
            return Err(error.with_remedy("fewer groups or ports"));
        }
        let pairs = media.pair(groups.len())?;
        let stream = |(group, port): (usize, u16)| {
            let (group, hop_limit) = *groups.get(group)?;
            Some(DescribedStream {
                membership: Membership::new(crate::GroupAddr::new(group, port)).from_sources(filter_for(
                    group,
                    &media.section.filters,
                    &self.session.filters,
                )),
                hop_limit,
                media: media.kind.to_owned(),
                rtp: media.is_rtp(),
                id: media.section.id.map(ToOwned::to_owned),
                duplicates: self.duplicate_set(media),
                line: media.line,
            })
        };
        Ok(pairs.into_iter().filter_map(stream).collect())
    }

    fn duplicate_set(&self, media: &Media<'a>) -> Option<usize> {
        let id = media.section.id?;
        self.duplicates.iter().position(|names| names.contains(&id))
    }
}

impl<'a> Media<'a> {
    /// Parses `video 49170/2 RTP/AVP 31`.
    fn parse(line: usize, text: &'a str) -> Result<Self, ParseError> {
        let error =
            |problem| ParseError::new(text, problem).with_remedy("MEDIA PORT[/NUMBER] PROTOCOL FORMAT");
        let mut words = text.split_ascii_whitespace();
        let (Some(kind), Some(ports), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(error("is not a valid media line"));
        };
        let (port, count) = ports.split_once('/').unwrap_or((ports, "1"));
        let port = port.parse().map_err(|_| error("has no valid port"))?;
        let count: u16 = count.parse().map_err(|_| error("has an invalid number of ports"))?;
        if count == 0 {
            return Err(error("has 0 ports"));
        }
        Ok(Self { line, text, kind, port, ports: count, protocol, section: Section::default() })
    }

    fn is_rtp(&self) -> bool {
        self.protocol.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("RTP/"))
    }

    fn is_udp(&self) -> bool {
        let first = self.protocol.split('/').next().unwrap_or_default();
        self.is_rtp() || first.eq_ignore_ascii_case("udp")
    }

    /// Returns which group is used with which port (RFC 8866 section 5.14): several groups share one port,
    /// several ports share one group, or equal numbers of both are paired one by one. RTP uses every second
    /// port, because RTCP uses the ports between.
    fn pair(&self, groups: usize) -> Result<Vec<(usize, u16)>, ParseError> {
        let step = if self.is_rtp() { 2 } else { 1 };
        let port = |number: usize| {
            let number = u16::try_from(number).ok()?;
            number.checked_mul(step).and_then(|offset| self.port.checked_add(offset))
        };
        let ports = usize::from(self.ports);
        let pairs: Option<Vec<_>> = match (groups, ports) {
            (0, _) => Some(Vec::new()),
            (_, 1) => (0..groups).map(|group| Some((group, self.port))).collect(),
            (1, _) => (0..ports).map(|number| Some((0, port(number)?))).collect(),
            _ if groups == ports => (0..ports).map(|number| Some((number, port(number)?))).collect(),
            _ => {
                let error = ParseError::new(self.text, "has neither one port nor one for each group");
                return Err(error.with_remedy("as many ports as groups"));
            }
        };
        pairs.ok_or_else(|| ParseError::new(self.text, "exceeds the last port").with_remedy("fewer ports"))
    }
}

/// Consecutive groups.
#[derive(Clone, Copy, Debug)]
struct Connection {
    first: Group,
    count: u32,
    hop_limit: Option<u8>,
}

impl Connection {
    /// Parses `IN IP4 239.255.2.3/16/3` or `IN IP6 ff15::1/3`. Returns `None` for a unicast address.
    fn parse(text: &str) -> Result<Option<Self>, ParseError> {
        let error = |problem| ParseError::new(text, problem);
        let mut words = text.split_ascii_whitespace();
        let (Some("IN"), Some(family @ ("IP4" | "IP6")), Some(address)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(error("is not a valid connection").with_remedy("IN IP4 GROUP/TTL or IN IP6 GROUP"));
        };
        let (address, numbers) = address.split_once('/').unwrap_or((address, ""));
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(error("contains a host name, which is not resolved").with_remedy("an address"));
        };
        if address.is_ipv4() != (family == "IP4") {
            return Err(
                error("has an address of the other family").with_remedy("IN IP4 GROUP/TTL or IN IP6 GROUP")
            );
        }
        let Ok(first) = Group::new(address) else { return Ok(None) };
        let numbers = (!numbers.is_empty()).then_some(numbers);
        let (hop_limit, count) = match (family, numbers) {
            // RFC 8866 requires the TTL of an IPv4 group, but many files omit it.
            ("IP4", Some(numbers)) => {
                let (limit, count) = numbers.split_once('/').unwrap_or((numbers, "1"));
                (
                    Some(limit.parse().map_err(|_| error("has no TTL").with_remedy("GROUP/TTL[/NUMBER]"))?),
                    count,
                )
            }
            (_, count) => (None, count.unwrap_or("1")),
        };
        let count: u32 = count
            .parse()
            .map_err(|_| error("has an invalid number of groups").with_remedy("a number of at least 1"))?;
        let connection = Self { first, count, hop_limit };
        if count == 0 || count > 65_536 || connection.group(count - 1).is_none() {
            return Err(error("has too few or too many groups")
                .with_remedy("a number from 1 to 65536 that stays within the multicast addresses"));
        }
        Ok(Some(connection))
    }

    /// Returns each group with its hop limit.
    fn groups(&self) -> impl Iterator<Item = (Group, Option<u8>)> + '_ {
        (0..self.count).filter_map(|number| Some((self.group(number)?, self.hop_limit)))
    }

    fn group(&self, number: u32) -> Option<Group> {
        let address = match self.first.addr() {
            IpAddr::V4(address) => IpAddr::V4(address.to_bits().checked_add(number)?.into()),
            IpAddr::V6(address) => IpAddr::V6(address.to_bits().checked_add(number.into())?.into()),
        };
        Group::new(address).ok()
    }
}

/// One `a=source-filter` attribute, for one destination or for all.
#[derive(Clone, Debug)]
struct SourceFilterAttribute {
    /// `None` stands for every destination of the sources' families.
    destination: Option<IpAddr>,
    exclude: bool,
    sources: BTreeSet<IpAddr>,
}

impl SourceFilterAttribute {
    /// Parses ` incl IN IP4 232.1.2.3 10.0.0.7 10.0.0.8`.
    fn parse(text: &str) -> Result<Self, ParseError> {
        let error = |problem| {
            ParseError::new(text, problem)
                .with_remedy("incl IN IP4 GROUP SOURCE…, or excl to exclude sources")
        };
        let mut words = text.split_ascii_whitespace();
        let exclude = match words.next() {
            Some("incl") => false,
            Some("excl") => true,
            _ => return Err(error("is not a valid source filter")),
        };
        let (Some("IN"), Some("IP4" | "IP6" | "*"), Some(destination)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(error("is not a valid source filter"));
        };
        let host_name = "contains a host name, which is not resolved";
        let destination = match destination {
            "*" => None,
            // Some files append the TTL, as in a connection.
            address => {
                let address = address.split('/').next().unwrap_or(address);
                Some(address.parse().map_err(|_| error(host_name))?)
            }
        };
        let sources: BTreeSet<IpAddr> =
            words.map(|source| source.parse().map_err(|_| error(host_name))).collect::<Result<_, _>>()?;
        if sources.is_empty() {
            return Err(error("names no source"));
        }
        if sources.iter().any(|source| source.is_multicast() || source.is_unspecified()) {
            return Err(error("contains a source that is not a unicast address"));
        }
        Ok(Self { destination, exclude, sources })
    }

    fn applies_to(&self, group: Group) -> bool {
        self.destination.is_none_or(|destination| destination == group.addr())
            && self.sources.iter().any(|source| source.is_ipv4() == group.addr().is_ipv4())
    }
}

/// Returns the filter for a group. Attributes of the medium override those of the session, and included
/// sources take precedence over excluded ones.
fn filter_for(
    group: Group,
    medium: &[SourceFilterAttribute],
    session: &[SourceFilterAttribute],
) -> SourceFilter {
    let applies =
        |attributes: &[SourceFilterAttribute]| attributes.iter().any(|attribute| attribute.applies_to(group));
    let attributes = if applies(medium) { medium } else { session };
    let listed = |exclude: bool| -> BTreeSet<IpAddr> {
        let attributes =
            attributes.iter().filter(|attribute| attribute.exclude == exclude && attribute.applies_to(group));
        let sources = attributes.flat_map(|attribute| attribute.sources.iter().copied());
        sources.filter(|source| source.is_ipv4() == group.addr().is_ipv4()).collect()
    };
    let (included, excluded) = (listed(false), listed(true));
    match included.is_empty() {
        true => SourceFilter::Exclude(excluded),
        false => SourceFilter::Include(&included - &excluded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=News\r\nt=0 0\r\n";

    fn memberships(body: &str) -> Vec<String> {
        let description: SessionDescription = (HEAD.to_owned() + body).parse().unwrap();
        description.streams.iter().map(|stream| stream.membership.to_string()).collect()
    }

    fn error(body: &str) -> String {
        (HEAD.to_owned() + body).parse::<SessionDescription>().unwrap_err().to_string()
    }

    #[test]
    fn a_description_from_the_network_has_at_most_as_many_streams_as_its_reader_admits() {
        let parse = |body: &str| SessionDescription::parse_bounded(&(HEAD.to_owned() + body), 4);
        let media = "m=audio 5000 udp 0\n";
        let streams = |body: String| parse(&body).map(|description| description.streams.len());
        assert_eq!(streams(format!("c=IN IP4 239.1.2.1/9/4\n{media}")), Ok(4));
        for body in [
            format!("c=IN IP4 239.1.2.1/9/5\n{media}"),
            format!("c=IN IP4 239.1.2.1/9/3\n{media}{media}"),
            "c=IN IP4 239.1.2.1/9\nm=audio 5000/5 udp 0\n".to_owned(),
            "c=IN IP4 239.0.0.0/9/65536\nm=audio 1/65535 udp 0\n".to_owned(),
        ] {
            assert!(parse(&body).unwrap_err().to_string().contains("maximum number of streams"), "{body}");
        }
    }

    #[test]
    fn media_without_a_connection_use_that_of_the_session() {
        let body = "c=IN IP4 239.1.2.3/32\r\nm=audio 5004 RTP/AVP 96\r\nm=video 5006 RTP/AVP 33\r\n\
                c=IN IP6 ff15::1\r\n";
        assert_eq!(memberships(body), ["239.1.2.3:5004", "[ff15::1]:5006"]);
        let description: SessionDescription = (HEAD.to_owned() + body).parse().unwrap();
        assert_eq!(description.name, "News");
        let [audio, video] = &description.streams[..] else { panic!("{description:?}") };
        assert_eq!(
            (audio.hop_limit, audio.media.as_str(), audio.rtp, audio.line),
            (Some(32), "audio", true, 6)
        );
        assert_eq!((video.hop_limit, video.line), (None, 7));
    }

    #[test]
    fn each_group_and_port_is_a_membership() {
        assert_eq!(
            memberships("c=IN IP4 239.1.2.254/127/3\nm=video 5000 udp 33\n"),
            ["239.1.2.254:5000", "239.1.2.255:5000", "239.1.3.0:5000"]
        );
        assert_eq!(
            memberships("c=IN IP6 ff15::a/2\nm=video 5000 UDP 33\n"),
            ["[ff15::a]:5000", "[ff15::b]:5000"]
        );
        // RTP uses every second port.
        assert_eq!(
            memberships("c=IN IP4 239.1.2.3/1\nm=video 49170/2 RTP/AVP 31\n"),
            ["239.1.2.3:49170", "239.1.2.3:49172"]
        );
        assert_eq!(
            memberships("c=IN IP4 239.1.2.3/1/2\nm=video 49170/2 RTP/AVP 31\n"),
            ["239.1.2.3:49170", "239.1.2.4:49172"]
        );
        assert!(error("c=IN IP4 239.1.2.3/1/3\nm=video 49170/2 RTP/AVP 31\n").starts_with("line 6: "));
    }

    #[test]
    fn source_filter_applies_to_its_destination_and_media_level_overrides_session_level() {
        let body = "a=source-filter: incl IN IP4 * 10.0.0.7 10.0.0.8\n\
                m=video 5000 RTP/AVP 33\nc=IN IP4 232.1.2.3/5\n\
                m=video 5000 RTP/AVP 33\nc=IN IP4 232.1.2.4/5\na=source-filter:incl IN IP4 232.1.2.4 10.0.0.9\n\
                m=video 5000 RTP/AVP 33\nc=IN IP4 239.1.2.5/5\na=source-filter:excl IN IP4 239.1.2.5/5 10.0.0.9\n\
                m=video 5000 RTP/AVP 33\nc=IN IP6 ff15::1\n";
        assert_eq!(
            memberships(body),
            [
                "10.0.0.7,10.0.0.8@232.1.2.3:5000",
                "10.0.0.9@232.1.2.4:5000",
                "!10.0.0.9@239.1.2.5:5000",
                "[ff15::1]:5000"
            ]
        );
        // Sources of the other family and filters for another group are ignored.
        let both = "m=video 5000 RTP/AVP 33\nc=IN IP6 ff3e::1\na=source-filter:incl IN * * 10.0.0.7 fd00::7\n\
                a=source-filter:incl IN IP6 ff3e::2 fd00::8\n";
        assert_eq!(memberships(both), ["fd00::7@[ff3e::1]:5000"]);
    }

    #[test]
    fn duplicate_streams_share_a_set() {
        let body = "a=group:LS a1 v\na=group:DUP a1 a2\na=group:DUP b1 b2\n\
                m=audio 5000 RTP/AVP 96\nc=IN IP4 239.1.1.1/5\na=mid:a1\n\
                m=audio 5000 RTP/AVP 96\nc=IN IP4 239.2.1.1/5\na=mid:a2\n\
                m=audio 5000 RTP/AVP 96\nc=IN IP4 239.1.1.2/5\na=mid:b1\n\
                m=audio 5000 RTP/AVP 96\nc=IN IP4 239.9.1.2/5\n";
        let description: SessionDescription = (HEAD.to_owned() + body).parse().unwrap();
        let sets: Vec<_> = description.streams.iter().map(|stream| stream.duplicates).collect();
        assert_eq!(sets, [Some(0), Some(0), Some(1), None]);
        assert_eq!(description.streams[1].id.as_deref(), Some("a2"));
    }

    #[test]
    fn media_not_sent_to_a_group_are_skipped_and_listed() {
        let body = "c=IN IP4 239.1.1.1/5\nm=audio 5000 RTP/AVP 0\nm=video 0 RTP/AVP 33\nm=text 99 TCP/X x\n\
                m=video 7000 RTP/AVP 33\nc=IN IP4 10.0.0.1\n";
        let description: SessionDescription = (HEAD.to_owned() + body).parse().unwrap();
        assert_eq!(description.streams.len(), 1);
        assert_eq!(
            description.skipped_media,
            vec!["m=video 0 RTP/AVP 33", "m=text 99 TCP/X x", "m=video 7000 RTP/AVP 33"]
        );
        assert_eq!(
            error("m=video 7000 RTP/AVP 33\nc=IN IP4 10.0.0.1\n"),
            "line 7: \"News\" describes no stream that is sent to a group: write c=IN IP4 GROUP/TTL and m=MEDIA PORT PROTOCOL FORMAT"
        );
    }

    #[test]
    fn errors_name_the_line() {
        for (body, expected) in [
            ("c=IN IP4 239.1.2.3/x\n", "line 5: \"IN IP4 239.1.2.3/x\" has no TTL"),
            ("c=IN IP4 239.1.2.3/300\n", "line 5: \"IN IP4 239.1.2.3/300\" has no TTL"),
            ("c=IN IP4 news.example/1\n", "contains a host name, which is not resolved"),
            ("c=IN IP4 ff15::1\n", "has an address of the other family"),
            ("c=IN IP4 239.255.255.255/1/2\n", "has too few or too many groups"),
            ("c=IN IP6 ff15::1/0\n", "has too few or too many groups"),
            ("c=ATM NSAP 1\n", "is not a valid connection"),
            ("m=video\n", "is not a valid media line"),
            ("m=video 70000 RTP/AVP 33\n", "has no valid port"),
            ("m=video 5000/0 RTP/AVP 33\n", "has 0 ports"),
            ("a=source-filter: only IN IP4 * 10.0.0.1\n", "is not a valid source filter"),
            ("a=source-filter: incl IN IP4 *\n", "names no source"),
            ("a=source-filter: incl IN IP4 * 239.1.1.1\n", "is not a unicast address"),
            (
                "c=IN IP4 239.1.1.1/1\nm=video 65000/900 RTP/AVP 33\n",
                "line 6: \"video 65000/900 RTP/AVP 33\" exceeds the last port",
            ),
        ] {
            assert!(error(body).contains(expected), "{body}: {}", error(body));
        }
        let other = "[Unit]\nDescription=x\n".parse::<SessionDescription>().unwrap_err();
        assert_eq!((other.line(), other.error().remedy()), (1, Some("write v=0")));
        assert!("".parse::<SessionDescription>().is_err());
    }
}
