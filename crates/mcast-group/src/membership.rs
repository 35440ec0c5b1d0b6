//! A membership: what one joins, as one value with one text form.

use alloc::collections::BTreeSet;
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use crate::{Destination, Group, GroupAddr, InterfaceSelector, SourceFilter};

/// What one joins: a group and port, the interfaces to join on, and the sources to admit.
///
/// Text form: `[SOURCE[,SOURCE…]@]GROUP[%INTERFACE]:PORT`, with a leading `!` to exclude the
/// sources instead: `239.1.2.3:5000`, `[ff15::1%eth1]:5000`, `10.0.0.7@232.1.2.3%eth1:5000`,
/// `!10.0.0.9@239.1.2.3:5000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Membership {
    /// The group and port.
    pub address: GroupAddr,
    /// Where to join; `None` leaves it to the receiver's own default.
    pub interface: Option<InterfaceSelector>,
    /// The sources to admit.
    pub sources: SourceFilter,
}

impl Membership {
    /// An any-source membership on the receiver's default interfaces.
    #[must_use]
    pub const fn new(address: GroupAddr) -> Self {
        Self { address, interface: None, sources: SourceFilter::ANY }
    }

    /// The same on this interface.
    #[must_use]
    pub fn on(self, interface: InterfaceSelector) -> Self {
        Self { interface: Some(interface), ..self }
    }

    /// The same for these sources.
    #[must_use]
    pub fn from_sources(self, sources: SourceFilter) -> Self {
        Self { sources, ..self }
    }
}

impl From<GroupAddr> for Membership {
    fn from(address: GroupAddr) -> Self {
        Self::new(address)
    }
}

impl From<Destination> for Membership {
    fn from(destination: Destination) -> Self {
        Self { interface: destination.interface, ..Self::new(destination.address) }
    }
}

impl FromStr for Membership {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (sources, rest) = match text.split_once('@') {
            None => (SourceFilter::ANY, text),
            Some((list, rest)) => (parse_sources(list, text)?, rest),
        };
        let (group, interface, port) = parse_parts(rest, text)?;
        if let Some(source) = sources.sources().find(|source| source.is_ipv4() != group.addr().is_ipv4()) {
            return Err(ParseError::new(text, "mixes IPv4 and IPv6: source and group must be of one family")
                .at(&alloc::format!("{source}")));
        }
        Ok(Self { address: GroupAddr::new(group, port), interface, sources })
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.sources.is_any() {
            if matches!(self.sources, SourceFilter::Exclude(_)) {
                f.write_str("!")?;
            }
            for (position, source) in self.sources.sources().enumerate() {
                if position > 0 {
                    f.write_str(",")?;
                }
                write!(f, "{source}")?;
            }
            f.write_str("@")?;
        }
        write_parts(f, self.address.group, self.interface.as_ref(), self.address.port)
    }
}

fn parse_sources(list: &str, text: &str) -> Result<SourceFilter, ParseError> {
    let (exclude, list) = match list.strip_prefix('!') {
        Some(list) => (true, list),
        None => (false, list),
    };
    let mut sources = BTreeSet::new();
    for part in list.split(',') {
        let source: IpAddr = part
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|_| ParseError::new(text, "has a source that is not an IP address").at(part))?;
        if source.is_multicast() || source.is_unspecified() {
            return Err(ParseError::new(text, "has a source that is no unicast address").at(part));
        }
        sources.insert(source);
    }
    Ok(if exclude { SourceFilter::Exclude(sources) } else { SourceFilter::Include(sources) })
}

/// `GROUP[%INTERFACE]:PORT`, the part that memberships and destinations share.
pub(crate) fn parse_parts(
    part: &str,
    text: &str,
) -> Result<(Group, Option<InterfaceSelector>, u16), ParseError> {
    let (host, port) =
        part.rsplit_once(':').ok_or_else(|| ParseError::new(text, "has no port: write GROUP:PORT"))?;
    let port: u16 = port
        .parse()
        .map_err(|_| ParseError::new(text, "has a port that is no number from 1 to 65535").at(port))?;
    if port == 0 {
        return Err(ParseError::new(text, "has port 0, which cannot be joined or sent to"));
    }
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let (address, interface) = match bracketed.unwrap_or(host).split_once('%') {
        None => (bracketed.unwrap_or(host), None),
        Some((address, interface)) => (address, Some(interface.parse()?)),
    };
    let group: Group = address.parse()?;
    if group.addr().is_ipv6() && bracketed.is_none() {
        return Err(ParseError::new(text, "has an IPv6 group without brackets: write [GROUP]:PORT"));
    }
    Ok((group, interface, port))
}

pub(crate) fn write_parts(
    f: &mut fmt::Formatter<'_>,
    group: Group,
    interface: Option<&InterfaceSelector>,
    port: u16,
) -> fmt::Result {
    let (open, close) = if group.addr().is_ipv6() { ("[", "]") } else { ("", "") };
    match interface {
        None => write!(f, "{open}{group}{close}:{port}"),
        Some(interface) => write!(f, "{open}{group}%{interface}{close}:{port}"),
    }
}

/// Text that is not what it should be: what it was, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    text: String,
    part: Option<String>,
    problem: &'static str,
}

impl ParseError {
    pub(crate) fn new(text: &str, problem: &'static str) -> Self {
        Self { text: text.into(), part: None, problem }
    }

    pub(crate) fn at(self, part: &str) -> Self {
        Self { part: Some(part.into()), ..self }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.text, self.problem)?;
        match &self.part {
            Some(part) => write!(f, " (\"{part}\")"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for ParseError {}
