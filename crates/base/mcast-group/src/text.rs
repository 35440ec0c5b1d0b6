//! The syntax that memberships, destinations and interface selectors share, and source filters.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write};
use core::net::IpAddr;
use core::num::NonZeroU32;
use core::str::FromStr;

use crate::{Group, ParseError};

/// Splits the sources from the rest. An `@` after a `%` is part of an interface name.
pub(crate) fn split_sources(text: &str) -> (Option<&str>, &str) {
    let before_interface = text.find(['%', '"']).unwrap_or(text.len());
    match text[..before_interface].split_once('@') {
        Some((sources, _)) => (Some(sources), &text[sources.len() + 1..]),
        None => (None, text),
    }
}

/// Parses `SOURCE[,SOURCE…]`, with a leading `!` to exclude them.
pub(crate) fn parse_sources(list: &str) -> Result<SourceFilter, ParseError> {
    let (exclude, list) = match list.strip_prefix('!') {
        Some(list) => (true, list),
        None => (false, list),
    };
    if list.is_empty() {
        let error = ParseError::new(list, "has no source before the @");
        return Err(error.with_remedy("SOURCE@GROUP:PORT, or GROUP:PORT to admit every source"));
    }
    let sources = list.split(',').map(parse_source).collect::<Result<BTreeSet<IpAddr>, _>>()?;
    Ok(if exclude { SourceFilter::Exclude(sources) } else { SourceFilter::Include(sources) })
}

fn parse_source(text: &str) -> Result<IpAddr, ParseError> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let source: IpAddr = bracketed.unwrap_or(text).parse().map_err(|_| {
        ParseError::new(text, "is not a valid source: it is not an IP address")
            .with_remedy("SOURCE@GROUP:PORT")
    })?;
    if let IpAddr::V6(address) = source
        && let Some(mapped) = address.to_ipv4_mapped()
    {
        let error = ParseError::new(text, "is an IPv4-mapped IPv6 address");
        return Err(error.with_remedy(format!("{mapped}")));
    }
    if source.is_multicast() || source.is_unspecified() {
        return Err(ParseError::new(text, "is not a valid source: it is not a unicast address"));
    }
    Ok(source)
}

/// Returns an error if a source is not of the group's family.
pub(crate) fn check_families(sources: &SourceFilter, group: Group) -> Result<(), ParseError> {
    match sources.sources().find(|source| source.is_ipv4() != group.addr().is_ipv4()) {
        None => Ok(()),
        Some(source) => {
            let error = ParseError::new(&format!("{source}"), "is not of the group's family");
            Err(error.with_remedy("sources and group both as IPv4 or both as IPv6"))
        }
    }
}

/// The part after the sources, split but not yet interpreted.
#[derive(Debug)]
pub(crate) struct Endpoint<'a> {
    /// A group, a range of groups, or a name, without brackets.
    pub(crate) host: &'a str,
    /// The text after the closing bracket of the host, such as `+10`; empty without brackets.
    pub(crate) tail: &'a str,
    pub(crate) bracketed: bool,
    pub(crate) interface: Option<InterfaceSelector>,
    pub(crate) port: Option<&'a str>,
}

impl<'a> Endpoint<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, ParseError> {
        match text.strip_prefix('[') {
            Some(inside) => Self::parse_bracketed(inside),
            None => Self::parse_bare(text),
        }
        .map_err(|error| error.within(text))
    }

    /// Parses `HOST[%INTERFACE][:PORT]`.
    fn parse_bare(text: &'a str) -> Result<Self, ParseError> {
        let percent = text.find('%');
        let (host, port) = split_port(&text[..percent.unwrap_or(text.len())]);
        if host.contains(':') {
            return Err(too_many_colons(text, host));
        }
        let bare = Self { host, tail: "", bracketed: false, interface: None, port };
        match (percent, port) {
            (None, _) => Ok(bare),
            (Some(percent), None) => bare.with_interface(&text[percent + 1..]),
            (Some(_), Some(_)) => {
                let error = ParseError::new(text, "has the interface after the port");
                Err(error.with_remedy("GROUP%INTERFACE:PORT"))
            }
        }
    }

    /// Parses `HOST[%INTERFACE]][TAIL][:PORT]` or `HOST][TAIL][%INTERFACE][:PORT]`.
    fn parse_bracketed(inside: &'a str) -> Result<Self, ParseError> {
        let unclosed =
            || ParseError::new(inside, "has a bracket that is not closed").with_remedy("[GROUP]:PORT");
        let bracket = inside.find(']').ok_or_else(unclosed)?;
        let empty = Self { host: "", tail: "", bracketed: true, interface: None, port: None };
        match inside.find('%').filter(|&percent| percent < bracket) {
            None => {
                let outside = &inside[bracket + 1..];
                let percent = outside.find('%').unwrap_or(outside.len());
                let (tail, port) = split_port(&outside[..percent]);
                let bare = Self { host: &inside[..bracket], tail, port, ..empty };
                match outside.get(percent + 1..) {
                    None => Ok(bare),
                    Some(interface) => bare.with_interface(interface),
                }
            }
            Some(percent) => {
                let (interface, outside) =
                    split_interface_in_brackets(&inside[percent + 1..]).ok_or_else(unclosed)?;
                let (tail, port) = split_port(outside);
                Ok(Self {
                    host: &inside[..percent],
                    tail,
                    interface: Some(interface.parse()?),
                    port,
                    ..empty
                })
            }
        }
    }

    /// Adds `INTERFACE[:PORT]`.
    fn with_interface(self, text: &'a str) -> Result<Self, ParseError> {
        let (interface, port) = match quoted_length(text) {
            Some(length) => match &text[length..] {
                "" => (text, None),
                rest => {
                    (&text[..length], Some(rest.strip_prefix(':').ok_or_else(|| text_after_quote(text))?))
                }
            },
            None => split_port(text),
        };
        Ok(Self { interface: Some(interface.parse()?), port, ..self })
    }
}

fn text_after_quote(text: &str) -> ParseError {
    ParseError::new(text, "has text after a quoted interface name").with_remedy("\"NAME\":PORT")
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((before, port)) => (before, Some(port)),
        None => (text, None),
    }
}

/// Splits `INTERFACE]REST` at the last bracket, because an unquoted name may itself contain one.
fn split_interface_in_brackets(text: &str) -> Option<(&str, &str)> {
    match quoted_length(text) {
        Some(length) => Some((&text[..length], text[length..].strip_prefix(']')?)),
        None => text.rsplit_once(']'),
    }
}

/// Returns the length of the quoted name at the start of the text, quotes included; `None` if there is none.
fn quoted_length(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('"')?;
    let mut escaped = false;
    for (position, character) in inside.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(position + 2),
            _ => {}
        }
    }
    None
}

/// Explains a text with several colons and no brackets by what was probably intended.
fn too_many_colons(text: &str, host: &str) -> ParseError {
    let is_octet = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_ipv6_byte = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    if text.split(':').count() == 6 && text.split(':').all(is_octet) {
        let error = ParseError::new(text, "is an Ethernet address, which several groups share");
        return error.with_remedy("a group");
    }
    // A prefix length or a count may follow the address.
    match host.split(['/', '+']).next() {
        Some(address) if address.bytes().all(is_ipv6_byte) => {
            ParseError::new(text, "has an IPv6 group without brackets").with_remedy("[GROUP]:PORT")
        }
        _ => ParseError::new(text, "has too many colons").with_remedy("GROUP:PORT or udp://GROUP:PORT"),
    }
}

/// Parses a port from 1 to 65535.
pub(crate) fn parse_port(text: &str) -> Result<u16, ParseError> {
    // `str::parse` would accept "+80".
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    match number {
        Some(0) => Err(ParseError::new(text, "is port 0, which cannot be joined or sent to")),
        Some(port) => Ok(port),
        None => Err(ParseError::new(text, "is not a valid port").with_remedy("a number from 1 to 65535")),
    }
}

/// Parses `GROUP[%INTERFACE]:PORT`, the part that memberships and destinations share.
pub(crate) fn parse_target(text: &str) -> Result<(Group, Option<InterfaceSelector>, u16), ParseError> {
    let endpoint = Endpoint::parse(text)?;
    if !endpoint.tail.is_empty() {
        return Err(
            ParseError::new(endpoint.tail, "is between the group and the port").with_remedy("[GROUP]:PORT")
        );
    }
    let group: Group = endpoint.host.parse()?;
    let port = endpoint.port.ok_or_else(|| ParseError::new(text, "has no port").with_remedy("GROUP:PORT"))?;
    check_brackets(&endpoint, group)?;
    Ok((group, endpoint.interface, parse_port(port)?))
}

/// Returns an error for an IPv4 group in brackets.
fn check_brackets(endpoint: &Endpoint<'_>, group: Group) -> Result<(), ParseError> {
    if endpoint.bracketed && group.addr().is_ipv4() {
        return Err(ParseError::new(endpoint.host, "is an IPv4 group in brackets").with_remedy("GROUP:PORT"));
    }
    Ok(())
}

pub(crate) fn write_target(
    f: &mut fmt::Formatter<'_>,
    address: IpAddr,
    interface: Option<&InterfaceSelector>,
    port: u16,
) -> fmt::Result {
    let (open, close) = if address.is_ipv6() { ("[", "]") } else { ("", "") };
    match interface {
        None => write!(f, "{open}{address}{close}:{port}"),
        Some(interface) => write!(f, "{open}{address}%{interface}{close}:{port}"),
    }
}

/// The interface index assigned by the operating system. It is never zero, which means "any" to kernels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(NonZeroU32);

impl InterfaceIndex {
    /// Creates an index; `None` for zero.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the index as a number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for InterfaceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for InterfaceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Selects an interface by name, index, address or route, or all interfaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InterfaceSelector {
    /// The interface with this name (`eth0`; on Windows the friendly name). Text form: the name, in double
    /// quotes if it could be parsed as something else (`"all"`, `"7"`, `"a:b"`).
    Name(String),
    /// The interface with this index.
    Index(InterfaceIndex),
    /// The interface that has this address.
    Address(IpAddr),
    /// The interface of the route to the group. Text form: `default`.
    Default,
    /// Every interface that is up, can multicast, is not loopback and is not a port of a bridge or bond. Text
    /// form: `all`.
    All,
}

impl FromStr for InterfaceSelector {
    type Err = ParseError;

    /// Parses a name, an index, an address, `default` or `all`. Text in double quotes is always a name, with
    /// `\"` and `\\` for a quote and a backslash.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.starts_with('"') {
            return quoted_name(text);
        }
        if text.is_empty() {
            return Err(ParseError::new(text, "is an empty interface name")
                .with_remedy("a name, an index or an address"));
        }
        if is_number(text) {
            let index = text.parse().ok().and_then(InterfaceIndex::new);
            let error = || {
                ParseError::new(text, "is not a valid interface index")
                    .with_remedy("a number from 1 to 4294967295")
            };
            return index.map(Self::Index).ok_or_else(error);
        }
        match text {
            "default" => Ok(Self::Default),
            "all" => Ok(Self::All),
            _ => Ok(text.parse().map_or_else(|_| Self::Name(text.into()), Self::Address)),
        }
    }
}

fn quoted_name(text: &str) -> Result<InterfaceSelector, ParseError> {
    if quoted_length(text) != Some(text.len()) {
        return Err(ParseError::new(text, "is not a valid quoted interface name").with_remedy("\"NAME\""));
    }
    let mut name = String::new();
    let mut characters = text[1..text.len() - 1].chars();
    while let Some(character) = characters.next() {
        // `quoted_length` has checked that a character follows every backslash.
        name.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    if name.is_empty() {
        return Err(
            ParseError::new(text, "is an empty interface name").with_remedy("a name between the quotes")
        );
    }
    Ok(InterfaceSelector::Name(name))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether the unquoted name could be parsed as something else.
fn needs_quotes(name: &str) -> bool {
    is_number(name)
        || matches!(name, "default" | "all")
        || name.parse::<IpAddr>().is_ok()
        || name.contains(['"', '\\', '[', ']', ':', '%', '@', ',', '?', '/'])
        || name.trim() != name
}

impl fmt::Display for InterfaceSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) if needs_quotes(name) => write_quoted(f, name),
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => index.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Default => f.write_str("default"),
            Self::All => f.write_str("all"),
        }
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in name.chars() {
        if matches!(character, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(character)?;
    }
    f.write_char('"')
}

/// The sources that a membership admits (RFC 3376 section 2).
///
/// An any-source membership is `Exclude` of an empty set; a source-specific one is `Include`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceFilter {
    /// Only these sources. An empty set admits nothing, which is equivalent to no membership.
    Include(BTreeSet<IpAddr>),
    /// Every source except these.
    Exclude(BTreeSet<IpAddr>),
}

impl SourceFilter {
    /// Admits every source: an any-source membership.
    pub const ANY: Self = Self::Exclude(BTreeSet::new());
    /// Admits no source: equivalent to no membership.
    pub const NONE: Self = Self::Include(BTreeSet::new());

    /// Returns whether every source is admitted.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::ANY
    }

    /// Returns whether no source is admitted.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Returns whether this source is admitted.
    #[must_use]
    pub fn admits(&self, source: IpAddr) -> bool {
        match self {
            Self::Include(sources) => sources.contains(&source),
            Self::Exclude(sources) => !sources.contains(&source),
        }
    }

    /// Returns the sources that the filter lists, in ascending order.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = IpAddr> + '_ {
        let (Self::Include(sources) | Self::Exclude(sources)) = self;
        sources.iter().copied()
    }

    /// Returns a filter that admits the sources that both filters admit.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Include(a), Self::Include(b)) => Self::Include(a & b),
            (Self::Exclude(a), Self::Exclude(b)) => Self::Exclude(a | b),
            (Self::Exclude(excluded), Self::Include(included))
            | (Self::Include(included), Self::Exclude(excluded)) => Self::Include(included - excluded),
        }
    }

    /// Returns a filter that admits the sources that either filter admits. Hosts merge the filters of their
    /// sockets by this rule (RFC 3376 section 3.2).
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Include(a), Self::Include(b)) => Self::Include(a | b),
            (Self::Exclude(a), Self::Exclude(b)) => Self::Exclude(a & b),
            (Self::Exclude(excluded), Self::Include(included))
            | (Self::Include(included), Self::Exclude(excluded)) => Self::Exclude(excluded - included),
        }
    }
}
