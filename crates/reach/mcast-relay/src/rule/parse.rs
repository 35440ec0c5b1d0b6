//! The parser of rules and of files of rules.

use std::fmt;
use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use mcast_group::{Expand, Family, Group, SourceFilter};

use super::{
    DiscoveryProtocol, Leg, Rewrite, RewriteTarget, Route, Rule, RuleError, RuleFileError, RuleTarget,
    Selection, ServiceFilter, Traffic, check,
};
use crate::amt::AmtRelayName;

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let words = words(text);
        let mut words = words.iter().map(String::as_str).peekable();
        let traffic = words.next().ok_or_else(|| RuleError::Form("it is empty".into()))?.parse()?;
        let route = parse_route(&mut words)?;
        let (traffic, services) = (traffic, ServiceFilter::All);
        let mut rule = Self {
            traffic,
            route,
            rewrite: None,
            hop_limit: None,
            rate: None,
            services,
            repair: None,
            always: false,
            no_replies: false,
        };
        parse_options(&mut rule, words)?;
        check::check(&rule)?;
        Ok(rule)
    }
}

fn parse_route<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>) -> Result<Route, RuleError> {
    let missing = |what: &str| RuleError::Form(format!("{what} is missing"));
    match words.next() {
        Some("from") => {
            let from = words.next().ok_or_else(|| missing("the leg after from"))?.parse()?;
            match words.next() {
                Some("to") => {}
                _ => return Err(missing("to")),
            }
            let to = items(words.next().ok_or_else(|| missing("the target after to"))?);
            Ok(Route::OneWay { from, to: to.into_iter().map(str::parse).collect::<Result<_, _>>()? })
        }
        Some("between") => {
            let first = words.next().ok_or_else(|| missing("the leg after between"))?;
            let mut legs: Vec<Leg> = items(first).into_iter().map(str::parse).collect::<Result<_, _>>()?;
            while words.next_if_eq(&"and").is_some() {
                legs.push(words.next().ok_or_else(|| missing("the leg after and"))?.parse()?);
            }
            if legs.len() < 2 { Err(missing("and")) } else { Ok(Route::Between(legs)) }
        }
        _ => Err(missing("from or between")),
    }
}

impl FromStr for RuleTarget {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if let Some(listener) = text.strip_prefix("http://") {
            return parse_listener(listener).map(Self::Http).ok_or_else(|| RuleError::Http(text.to_owned()));
        }
        if let Some(address) = text.strip_prefix("amt-listen:") {
            return match address.parse() {
                Ok(AmtRelayName::Address(address)) => Ok(Self::AmtGateways(address)),
                _ => Err(RuleError::AmtAddress(text.to_owned())),
            };
        }
        let Some(address) = text.strip_prefix("udp://") else { return Ok(Self::Leg(text.parse()?)) };
        let invalid = || RuleError::Unicast(text.to_owned());
        let address: SocketAddr = address.parse().map_err(|_| invalid())?;
        let is_unicast = match address.ip() {
            IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast() && !ip.is_unspecified(),
            IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified() && ip.to_ipv4_mapped().is_none(),
        };
        if is_unicast && address.port() > 0 { Ok(Self::Unicast(address)) } else { Err(invalid()) }
    }
}

/// Parses an address of this host, to which HTTP clients connect.
fn parse_listener(text: &str) -> Option<SocketAddr> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let address: SocketAddr = match text.strip_prefix("localhost:") {
        Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?)),
        None => text.parse().ok()?,
    };
    (address.port() > 0 && !address.ip().is_multicast()).then_some(address)
}

impl FromStr for Traffic {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (sources, rest) = match text.split_once('@') {
            Some((sources, rest)) => (Some(sources), rest),
            None => (None, text),
        };
        if let Some(protocol) = DiscoveryProtocol::named(rest) {
            return discovery(protocol, sources);
        }
        if let Some(port) = rest.strip_prefix("broadcast:") {
            let selection = Selection::Broadcast(parse_port(port)?);
            return Ok(Self { selection, sources: parse_sources(sources)?, protocol: None });
        }
        let expansion = Expand::default().ranges(text)?;
        let sources = expansion.items.first().map_or(SourceFilter::ANY, |(_, sources)| sources.clone());
        let ranges = expansion.items.into_iter().map(|(range, _)| range).collect();
        Ok(Self { selection: Selection::Groups(ranges), sources, protocol: None })
    }
}

/// Returns the traffic of a discovery protocol: its groups of both families, or of that of the sources.
fn discovery(protocol: DiscoveryProtocol, sources: Option<&str>) -> Result<Traffic, RuleError> {
    let filter = parse_sources(sources)?;
    let of_sources = filter.sources().next().map(Family::of);
    let mut ranges = Vec::new();
    for family in [Family::V4, Family::V6] {
        let expand = Expand { family: Some(family), ..Expand::default() };
        // Not every protocol has groups of both families.
        if let Ok(expansion) = expand.ranges(protocol.registry_name())
            && of_sources.is_none_or(|of_sources| of_sources == family)
        {
            ranges.extend(expansion.items.into_iter().map(|(range, _)| range));
        }
    }
    Ok(Traffic { selection: Selection::Groups(ranges), sources: filter, protocol: Some(protocol) })
}

/// Parses sources by means of a group of their family.
fn parse_sources(sources: Option<&str>) -> Result<SourceFilter, RuleError> {
    let Some(sources) = sources else { return Ok(SourceFilter::ANY) };
    let group = if sources.contains(':') { "[ff15::1]:1" } else { "239.0.0.1:1" };
    let expansion = Expand::default().ranges(&format!("{sources}@{group}"))?;
    Ok(expansion.items.first().map_or(SourceFilter::ANY, |(_, sources)| sources.clone()))
}

fn parse_port(text: &str) -> Result<u16, RuleError> {
    // The parser of groups checks the port.
    let expansion = Expand::default().ranges(&format!("239.0.0.1:{text}"))?;
    expansion
        .items
        .first()
        .filter(|(range, _)| range.ports.len() == 1)
        .map(|(range, _)| *range.ports.start())
        .ok_or_else(|| RuleError::Form(format!("\"{text}\" is not one port")))
}

fn parse_options<'a>(rule: &mut Rule, mut words: impl Iterator<Item = &'a str>) -> Result<(), RuleError> {
    while let Some(option) = words.next() {
        let mut value = |name| words.next().ok_or(RuleError::NoValue(name));
        let is_repeated = match option {
            "as" => rule.rewrite.replace(parse_rewrite(value("as")?)?).is_some(),
            "ttl" => {
                let text = value("ttl")?;
                let hop_limit = text.parse().ok().filter(|hop_limit| *hop_limit > 0);
                rule.hop_limit.replace(hop_limit.ok_or_else(|| RuleError::HopLimit(text.into()))?).is_some()
            }
            "rate" => {
                let text = value("rate")?;
                let rate = text.parse().map_err(|error| RuleError::Rate(text.into(), error))?;
                rule.rate.replace(rate).is_some()
            }
            "allow" => replace_services(rule, ServiceFilter::Allow(parse_services(value("allow")?)?)),
            "deny" => replace_services(rule, ServiceFilter::Deny(parse_services(value("deny")?)?)),
            "repair" => rule.repair.replace(parse_bound(value("repair")?)?).is_some(),
            "always" => std::mem::replace(&mut rule.always, true),
            "no-replies" => std::mem::replace(&mut rule.no_replies, true),
            _ => return Err(RuleError::UnknownOption(option.to_owned())),
        };
        if is_repeated {
            return Err(RuleError::RepeatedOption(option.to_owned()));
        }
    }
    Ok(())
}

/// Parses the time in which something is repaired: less than the shortest helps nobody, and more than the longest is not
/// kept.
fn parse_bound(text: &str) -> Result<Duration, RuleError> {
    let (number, milliseconds) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1.0),
        (None, Some(number)) => (number, 1_000.0),
        (None, None) => ("", 1.0),
    };
    let time = number.parse::<f64>().ok().map(|number| number * milliseconds);
    match time.filter(|time| (10.0..=10_000.0).contains(time)) {
        Some(time) => Ok(Duration::from_millis(time as u64)),
        None => Err(RuleError::Bound(text.to_owned())),
    }
}

fn replace_services(rule: &mut Rule, services: ServiceFilter) -> bool {
    std::mem::replace(&mut rule.services, services) != ServiceFilter::All
}

fn parse_services(list: &str) -> Result<Vec<String>, RuleError> {
    let service = |text: &str| {
        let bare = text.strip_suffix("._tcp").or_else(|| text.strip_suffix("._udp")).unwrap_or(text);
        let bare = bare.strip_prefix('_').unwrap_or(bare);
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        match !bare.is_empty() && bare.bytes().all(is_valid) {
            true => Ok(bare.to_ascii_lowercase()),
            false => Err(RuleError::Service(text.to_owned())),
        }
    };
    items(list).into_iter().map(service).collect()
}

fn parse_rewrite(text: &str) -> Result<Rewrite, RuleError> {
    if let Some(port) = text.strip_prefix(':') {
        return Ok(Rewrite { target: RewriteTarget::Unchanged, port: Some(parse_port(port)?) });
    }
    if text == "broadcast" {
        return Ok(Rewrite { target: RewriteTarget::Broadcast, port: None });
    }
    if let Some(port) = text.strip_prefix("broadcast:") {
        return Ok(Rewrite { target: RewriteTarget::Broadcast, port: Some(parse_port(port)?) });
    }
    if let Ok(group) = text.parse::<Group>() {
        return Ok(Rewrite { target: RewriteTarget::Groups(group.into()), port: None });
    }
    let expansion = Expand::default().ranges(text)?;
    match expansion.items.as_slice() {
        [(range, sources)] if range.ports.len() == 1 && sources.is_any() => {
            Ok(Rewrite { target: RewriteTarget::Groups(range.groups), port: Some(*range.ports.start()) })
        }
        _ => Err(RuleError::Rewrite(text.to_owned(), "it needs one range of groups and one port")),
    }
}

/// Parses a file of rules: one per line; empty lines and what follows a `#` are ignored.
///
/// ```
/// let rules = mcast_relay::parse_rules("# Printers\nmdns between eth0 and eth1 allow ipp\n")?;
/// assert_eq!(rules.len(), 1);
/// # Ok::<(), mcast_relay::RuleFileError>(())
/// ```
///
/// # Errors
/// Returns the first line that is not a valid rule.
pub fn parse_rules(text: &str) -> Result<Vec<Rule>, RuleFileError> {
    let lines = text.lines().map(without_comment).map(str::trim).zip(1..);
    lines
        .filter(|(rule, _)| !rule.is_empty())
        .map(|(rule, line)| rule.parse().map_err(|error| RuleFileError { line, error }))
        .collect()
}

/// Splits a text at spaces. A comma at the end of a word continues the list with the next word.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in split(text, char::is_whitespace).into_iter().filter(|word| !word.is_empty()) {
        match words.last_mut().filter(|last| last.ends_with(',') || word.starts_with(',')) {
            Some(last) => last.push_str(word),
            None => words.push(word.to_owned()),
        }
    }
    words
}

/// Splits a list at commas.
pub(super) fn items(list: &str) -> Vec<&str> {
    split(list, |character| character == ',')
}

/// Returns the text before a `#` outside quotation marks.
pub(super) fn without_comment(line: &str) -> &str {
    split(line, |character| character == '#').first().copied().unwrap_or_default()
}

fn split(text: &str, is_separator: impl Fn(char) -> bool) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (position, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && is_separator(character) => {
                parts.push(&text[start..position]);
                start = position + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Items with a separator between them.
pub(super) struct Separated<'a, T>(pub(super) &'static str, pub(super) &'a [T]);

impl<T: fmt::Display> fmt::Display for Separated<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.1.iter().enumerate() {
            if position > 0 {
                f.write_str(self.0)?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
