//! Groups and ports: one, a range, or what a name stands for.

use alloc::format;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::text::{Endpoint, parse_port};
use crate::{Family, Group, GroupAddr, ParseError, WellKnown};

/// The groups and ports of an endpoint, and the hop limit that its name asks for.
pub(super) fn read(
    endpoint: &Endpoint<'_>,
    family: Option<Family>,
    limit: usize,
) -> Result<(Vec<GroupAddr>, Option<u8>), ParseError> {
    let ports = endpoint.port.map(parse_ports).transpose()?;
    match Span::parse(endpoint)? {
        Some(span) => {
            let no_port = || ParseError::new(endpoint.host, "has no port").write("GROUP:PORT");
            Ok((span.with_ports(ports.ok_or_else(no_port)?, limit)?, None))
        }
        None => {
            let known = find(endpoint, family)?;
            Ok((named_targets(known, ports, limit)?, known.hop_limit))
        }
    }
}

/// Groups that follow one another.
struct Span {
    first: Group,
    count: u128,
}

impl Span {
    /// `None` when the host is no address and so may be a name.
    fn parse(endpoint: &Endpoint<'_>) -> Result<Option<Self>, ParseError> {
        let split = endpoint.host.find(['/', '+']).unwrap_or(endpoint.host.len());
        let (address, extent) = endpoint.host.split_at(split);
        if looks_like_a_name(address) && !endpoint.bracketed {
            return Ok(None);
        }
        let first: Group = address.parse()?;
        if endpoint.bracketed && first.family() == Family::V4 {
            return Err(ParseError::new(address, "is an IPv4 group in brackets").write("GROUP:PORT"));
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
                ParseError::new(extent, "is no number of groups").write("GROUP+COUNT, with at least 1")
            })?,
            Some(_) => {
                let error = ParseError::new(extent, "stands between the group and the port");
                return Err(error.write("GROUP/LENGTH:PORT or GROUP+COUNT:PORT"));
            }
        };
        if first.plus(count - 1).is_none() {
            return Err(ParseError::new(endpoint.host, "reaches beyond the last multicast address"));
        }
        Ok(Some(Self { first, count }))
    }

    fn with_ports(&self, ports: RangeInclusive<u16>, limit: usize) -> Result<Vec<GroupAddr>, ParseError> {
        let total = self.count.saturating_mul(ports.len() as u128);
        if total > limit as u128 {
            let text = format!("{}", self.first);
            let error = ParseError::new(&text, "begins a range that is too long");
            return Err(
                error.write(format!("one of at most {limit} groups and ports (this one has {total})"))
            );
        }
        let groups = (0..self.count).filter_map(|offset| self.first.plus(offset));
        Ok(groups.flat_map(|group| ports.clone().map(move |port| GroupAddr::new(group, port))).collect())
    }
}

fn looks_like_a_name(host: &str) -> bool {
    host.starts_with(|first: char| first.is_ascii_alphabetic()) && !host.contains(':')
}

/// How many groups a prefix holds; its first address must be the one given.
fn prefix_count(first: Group, length: &str) -> Result<u128, ParseError> {
    let (width, shortest) = match first.family() {
        Family::V4 => (32, 4),
        Family::V6 => (128, 8),
    };
    let length = number(length).and_then(|length| u32::try_from(length).ok());
    let length = length.filter(|length| (shortest..=width).contains(length)).ok_or_else(|| {
        ParseError::new(&format!("{first}"), "has a prefix length that no range of groups has")
            .write(format!("/{shortest} to /{width}"))
    })?;
    let count = 1u128 << (width - length);
    let beyond = first.bits() & (count - 1);
    if beyond != 0 {
        let start = first.bits() - beyond;
        let error = ParseError::new(&format!("{first}/{length}"), "does not begin at the first address");
        return Err(match Group::from_bits(first.family(), start) {
            Some(start) => error.write(format!("{start}/{length}")),
            None => error,
        });
    }
    Ok(count)
}

/// Digits only: Rust's own parser would let "+5" pass.
fn number(text: &str) -> Option<u128> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `5000` or `5000-5003`.
fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, ParseError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_port(first)?, parse_port(last)?);
    if first > last {
        let error = ParseError::new(text, "is a range of ports that ends before it begins");
        return Err(error.write(format!("{last}-{first}")));
    }
    Ok(first..=last)
}

fn find(endpoint: &Endpoint<'_>, family: Option<Family>) -> Result<&'static WellKnown, ParseError> {
    let name = endpoint.host;
    if !endpoint.tail.is_empty() || name.contains(['/', '+']) {
        return Err(ParseError::new(name, "is a name with a range").write("the address in place of the name"));
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

/// Says which names begin alike, if any do.
fn unknown_name(name: &str) -> ParseError {
    let error = ParseError::new(name, "is neither an address nor the name of a group");
    let start: alloc::string::String = name.chars().take(2).flat_map(char::to_lowercase).collect();
    let mut alike: Vec<&str> = WellKnown::all().iter().map(|known| known.name).collect();
    alike.retain(|known| known.starts_with(&start));
    alike.dedup();
    match alike.as_slice() {
        [] => error.write("an address, or a name such as mdns, ssdp or ptp"),
        alike => error.write(format!("an address, or a name such as {}", alike.join(", "))),
    }
}

fn named_targets(
    known: &WellKnown,
    ports: Option<RangeInclusive<u16>>,
    limit: usize,
) -> Result<Vec<GroupAddr>, ParseError> {
    if let Some(ports) = ports {
        return Span { first: known.group, count: 1 }.with_ports(ports, limit);
    }
    if known.ports.is_empty() {
        let error = ParseError::new(known.name, "has no UDP port of its own");
        return Err(error.write(format!("{}:PORT", known.name)));
    }
    Ok(known.ports.iter().map(|&port| GroupAddr::new(known.group, port)).collect())
}
