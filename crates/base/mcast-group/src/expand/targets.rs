//! Groups and ports as users type them: a single one, a range, a name, or a URL.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::{Expand, ParsedText};
use crate::text::{Endpoint, parse_port, parse_sources};
use crate::{Family, Group, GroupAddr, GroupRange, InterfaceSelector, ParseError, SourceFilter, WellKnown};

/// Every port of every group in two ranges.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AddrRange {
    /// The groups.
    pub groups: GroupRange,
    /// The UDP ports.
    pub ports: RangeInclusive<u16>,
}

impl AddrRange {
    /// Returns whether the address is in the range.
    #[must_use]
    pub fn contains(&self, address: GroupAddr) -> bool {
        self.groups.contains(address.group) && self.ports.contains(&address.port)
    }

    /// Returns the addresses, ordered by group, then by port: possibly very many.
    pub fn addresses(&self) -> impl Iterator<Item = GroupAddr> + use<> {
        let (groups, ports) = (self.groups, self.ports.clone());
        groups.groups().flat_map(move |group| ports.clone().map(move |port| GroupAddr::new(group, port)))
    }

    /// Returns the number of addresses.
    #[must_use]
    pub fn count(&self) -> u128 {
        self.groups.count().saturating_mul(self.ports.len() as u128)
    }
}

/// Returns the groups and ports of an endpoint, and the hop limit that the protocol of its name requires.
pub(super) fn parse(
    endpoint: &Endpoint<'_>,
    family: Option<Family>,
) -> Result<(Vec<AddrRange>, Option<u8>), ParseError> {
    let ports = endpoint.port.map(parse_ports).transpose()?;
    match parse_groups(endpoint)? {
        Some(groups) => {
            let no_port = || ParseError::new(endpoint.host, "has no port").with_remedy("GROUP:PORT");
            Ok((alloc::vec![AddrRange { groups, ports: ports.ok_or_else(no_port)? }], None))
        }
        None => {
            let well_known = find_name(endpoint, family)?;
            Ok((named_targets(well_known, ports)?, well_known.hop_limit))
        }
    }
}

/// Returns an error if the ranges contain more addresses than the limit.
pub(super) fn check_count(ranges: &[AddrRange], limit: usize) -> Result<(), ParseError> {
    let total = ranges.iter().fold(0, |total: u128, range| total.saturating_add(range.count()));
    match ranges.first().filter(|_| total > limit as u128) {
        None => Ok(()),
        Some(range) => {
            let text = format!("{}", range.groups.first);
            let error = ParseError::new(&text, "starts a range that is too long");
            Err(error
                .with_remedy(format!("a range of at most {limit} groups and ports (this one has {total})")))
        }
    }
}

/// Returns the groups, or `None` if the host is not an address and so may be a name.
fn parse_groups(endpoint: &Endpoint<'_>) -> Result<Option<GroupRange>, ParseError> {
    let split = endpoint.host.find(['/', '+']).unwrap_or(endpoint.host.len());
    let (address, extent) = endpoint.host.split_at(split);
    if looks_like_a_name(address) && !endpoint.bracketed {
        return Ok(None);
    }
    let first: Group = address.parse()?;
    if endpoint.bracketed && first.family() == Family::V4 {
        return Err(ParseError::new(address, "is an IPv4 group in brackets").with_remedy("GROUP:PORT"));
    }
    let extent = match (extent, endpoint.tail) {
        ("", tail) => tail,
        (extent, "") => extent,
        (_, tail) => return Err(ParseError::new(tail, "is a second range")),
    };
    let count = match extent.split_at_checked(1) {
        None => 1,
        Some(("/", length)) => prefix_count(first, length)?,
        Some(("+", count)) => number(count).filter(|&count| count > 0).ok_or_else(|| {
            ParseError::new(extent, "is not a valid number of groups")
                .with_remedy("GROUP+COUNT, with COUNT at least 1")
        })?,
        Some(_) => {
            let error = ParseError::new(extent, "is between the group and the port");
            return Err(error.with_remedy("[GROUP]:PORT, GROUP/LENGTH:PORT or GROUP+COUNT:PORT"));
        }
    };
    let Some(last) = first.plus(count - 1) else {
        return Err(ParseError::new(endpoint.host, "extends beyond the last multicast address"));
    };
    Ok(Some(GroupRange { first, last }))
}

fn looks_like_a_name(host: &str) -> bool {
    host.starts_with(|first: char| first.is_ascii_alphabetic()) && !host.contains(':')
}

/// Returns the number of groups in a prefix, which must start at the given group.
fn prefix_count(first: Group, length: &str) -> Result<u128, ParseError> {
    let (width, shortest) = match first.family() {
        Family::V4 => (32, 4),
        Family::V6 => (128, 8),
    };
    let length = number(length).and_then(|length| u32::try_from(length).ok());
    let length = length.filter(|length| (shortest..=width).contains(length)).ok_or_else(|| {
        ParseError::new(&format!("{first}"), "has a prefix length that is not valid for groups")
            .with_remedy(format!("/{shortest} to /{width}"))
    })?;
    let count = 1u128 << (width - length);
    let host_bits = first.bits() & (count - 1);
    if host_bits != 0 {
        let start = first.bits() - host_bits;
        let error = ParseError::new(
            &format!("{first}/{length}"),
            "does not start at the first address of the prefix",
        );
        return Err(match Group::from_bits(first.family(), start) {
            Some(start) => error.with_remedy(format!("{start}/{length}")),
            None => error,
        });
    }
    Ok(count)
}

/// Parses digits only: `str::parse` would accept "+5".
fn number(text: &str) -> Option<u128> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Parses `5000` or `5000-5003`.
fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, ParseError> {
    let range = text.split_once('-').filter(|(first, last)| !first.is_empty() && !last.is_empty());
    let (first, last) = range.unwrap_or((text, text));
    let (first, last) = (parse_port(first)?, parse_port(last)?);
    if first > last {
        let error = ParseError::new(text, "is a range of ports whose end is before its start");
        return Err(error.with_remedy(format!("{last}-{first}")));
    }
    Ok(first..=last)
}

fn find_name(endpoint: &Endpoint<'_>, family: Option<Family>) -> Result<&'static WellKnown, ParseError> {
    let name = endpoint.host;
    if !endpoint.tail.is_empty() || name.contains(['/', '+']) {
        return Err(
            ParseError::new(name, "is a name with a range").with_remedy("the address instead of the name")
        );
    }
    if WellKnown::named(name).is_empty() {
        return Err(unknown_name(name));
    }
    WellKnown::find(name, family).ok_or_else(|| {
        ParseError::new(
            name,
            match family {
                Some(Family::V4) => "has no IPv4 group",
                _ => "has no IPv6 group",
            },
        )
    })
}

/// Suggests the names that start with the same two letters, if there are any.
fn unknown_name(name: &str) -> ParseError {
    let error = ParseError::new(name, "is neither an address nor the name of a group");
    let prefix: alloc::string::String = name.chars().take(2).flat_map(char::to_lowercase).collect();
    let mut similar: Vec<&str> = WellKnown::all().iter().map(|well_known| well_known.name).collect();
    similar.retain(|name| name.starts_with(&prefix));
    similar.dedup();
    match similar.as_slice() {
        [] => error.with_remedy("an address, or a name such as mdns, ssdp or ptp"),
        similar => error.with_remedy(format!("an address, or a name such as {}", similar.join(", "))),
    }
}

fn named_targets(
    well_known: &WellKnown,
    ports: Option<RangeInclusive<u16>>,
) -> Result<Vec<AddrRange>, ParseError> {
    let range = |ports| AddrRange { groups: well_known.group.into(), ports };
    match ports {
        Some(ports) => Ok(alloc::vec![range(ports)]),
        None if well_known.protocol.is_some() => {
            Err(ParseError::new(well_known.name, "is a protocol over IP without UDP, so it has no port"))
        }
        None if well_known.ports.is_empty() => {
            let error = ParseError::new(well_known.name, "has no default UDP port");
            Err(error.with_remedy(format!("{}:PORT", well_known.name)))
        }
        None => Ok(well_known.ports.iter().map(|&port| range(port..=port)).collect()),
    }
}

/// Splits `SCHEME://REST`. A scheme consists of letters and digits only: an interface name may contain `://`
/// too.
pub(super) fn split_scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Parses the part after `scheme://`.
pub(super) fn parse_url(scheme: &str, rest: &str, expand: &Expand) -> Result<ParsedText, ParseError> {
    let rtp = match scheme.to_ascii_lowercase().as_str() {
        "udp" => false,
        "rtp" => true,
        _ => {
            let error = ParseError::new(scheme, "is not a scheme for multicast");
            return Err(error.with_remedy("udp:// or rtp://"));
        }
    };
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let address = address.strip_suffix('/').unwrap_or(address);
    if address.contains('/') {
        let error = ParseError::new(address, "has a path, which is not supported");
        return Err(error.with_remedy("udp://GROUP:PORT"));
    }
    let (sources, endpoint) = split_authority(address)?;
    let endpoint = unescape_zone(endpoint)?;
    let mut parsed = expand.parse_endpoint(&endpoint, sources)?;
    parsed.hints.rtp = rtp;
    apply_query(&mut parsed, query)?;
    Ok(parsed)
}

/// Splits the sources from the rest. In a URL, an `@` without sources before it has no meaning.
fn split_authority(address: &str) -> Result<(Option<SourceFilter>, &str), ParseError> {
    let before_interface = address.find(['%', '"']).unwrap_or(address.len());
    match address[..before_interface].find('@') {
        None => Ok((None, address)),
        Some(0) => Ok((None, &address[1..])),
        Some(at) => Ok((Some(parse_sources(&address[..at])?), &address[at + 1..])),
    }
}

/// Decodes the percent sign before an interface, which a URL escapes as `%25` (RFC 6874 section 2). An
/// unescaped one is accepted too. `%25` followed by nothing is the interface with index 25.
fn unescape_zone(endpoint: &str) -> Result<Cow<'_, str>, ParseError> {
    let Some((host, zone)) = endpoint.split_once("%25") else { return Ok(Cow::Borrowed(endpoint)) };
    if host.contains('%') || zone.is_empty() || zone.starts_with([':', ']']) {
        return Ok(Cow::Borrowed(endpoint));
    }
    Ok(Cow::Owned(alloc::format!("{host}%{}", unescape(zone)?)))
}

fn apply_query(parsed: &mut ParsedText, query: &str) -> Result<(), ParseError> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = unescape(value)?;
        match key {
            "ttl" => parsed.hints.hop_limit = Some(parse_hop_limit(&value)?),
            "localaddr" => set_interface(parsed, pair, parse_local_address(&value)?)?,
            "iface" | "miface" => set_interface(parsed, pair, value.parse()?)?,
            "sources" => set_sources(parsed, pair, parse_sources(&value)?)?,
            "block" => set_sources(parsed, pair, parse_sources(&alloc::format!("!{value}"))?)?,
            _ => parsed.hints.ignored.push(key.into()),
        }
    }
    Ok(())
}

fn parse_hop_limit(text: &str) -> Result<u8, ParseError> {
    text.parse().map_err(|_| ParseError::new(text, "is not a valid TTL").with_remedy("ttl=0 to ttl=255"))
}

fn parse_local_address(text: &str) -> Result<InterfaceSelector, ParseError> {
    let error = |_| ParseError::new(text, "is not an IP address").with_remedy("localaddr=ADDRESS");
    text.parse().map(InterfaceSelector::Address).map_err(error)
}

fn set_interface(
    parsed: &mut ParsedText,
    pair: &str,
    interface: InterfaceSelector,
) -> Result<(), ParseError> {
    match parsed.interface.replace(interface) {
        None => Ok(()),
        Some(_) => {
            Err(ParseError::new(pair, "specifies a second interface").with_remedy("only one interface"))
        }
    }
}

fn set_sources(parsed: &mut ParsedText, pair: &str, sources: SourceFilter) -> Result<(), ParseError> {
    match parsed.sources.replace(sources) {
        None => Ok(()),
        Some(_) => {
            Err(ParseError::new(pair, "specifies sources a second time")
                .with_remedy("only one list of sources"))
        }
    }
}

/// Decodes escapes such as `%20`.
fn unescape(text: &str) -> Result<String, ParseError> {
    let error = || ParseError::new(text, "has an invalid escape").with_remedy("% and two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return Err(error()) };
        bytes.push(
            hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| high << 4 | low).ok_or_else(error)?,
        );
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| error())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
