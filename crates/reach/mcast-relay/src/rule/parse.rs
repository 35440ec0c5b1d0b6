//! The parser of rules and of files of rules.

use std::borrow::Cow;
use std::fmt;
use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use mcast_group::{Expand, Family, Group, SourceFilter};

use super::traffic::{ANY_PORT, PLAYLIST};
use super::{
    Leg, LocalDiscovery, Rewrite, RewriteTarget, Route, Rule, RuleError, RuleFileError, RuleTarget,
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
            keep_source: false,
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
        if let Some(protocol) = LocalDiscovery::named(rest) {
            return discovery(protocol, sources);
        }
        if let Some(port) = rest.strip_prefix("broadcast:") {
            let selection = Selection::Broadcast(parse_port(port)?);
            return Ok(Self { selection, sources: parse_sources(sources)?, protocol: None });
        }
        if text == PLAYLIST {
            return Ok(Self { selection: Selection::Playlist, sources: SourceFilter::ANY, protocol: None });
        }
        let all = text.strip_suffix(ANY_PORT).filter(|rest| rest.ends_with(':'));
        let text = all.map_or_else(|| text.into(), |rest| Cow::from(format!("{rest}1-{}", u16::MAX)));
        let expansion = Expand::default().ranges(&text)?;
        let sources = expansion.items.first().map_or(SourceFilter::ANY, |(_, sources)| sources.clone());
        let ranges = expansion.items.into_iter().map(|(range, _)| range).collect();
        Ok(Self { selection: Selection::Groups(ranges), sources, protocol: None })
    }
}

/// Returns the traffic of a discovery protocol: its groups of both families, or of that of the sources.
fn discovery(protocol: LocalDiscovery, sources: Option<&str>) -> Result<Traffic, RuleError> {
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
            "keep-source" => std::mem::replace(&mut rule.keep_source, true),
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
mod tests {
    use proptest::prelude::*;

    use crate::{Leg, Namespace, Rule, RuleTarget, ServiceFilter, parse_rules};

    fn rule(text: &str) -> Rule {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn error(text: &str) -> String {
        text.parse::<Rule>().expect_err(text).to_string()
    }

    #[test]
    fn rules_of_the_documentation_are_parsed_and_written() {
        for text in [
            "mdns from eth0 to eth1",
            "239.1.2.0/24:5000 from vlan10 to vlan20,vlan30",
            "10.0.0.7@232.1.2.3:5000 from eth0 to udp://10.9.0.5:5000",
            "ssdp between eth0 and netns:web/eth0",
            "[ff15::/126]:5000-5003 from eth0 to docker:web/eth0,netns:4711/eth1,udp://[2001:db8::1]:5000 always",
            "broadcast:6000 from eth0 to eth1 as 239.1.2.3:6001 ttl 4 rate 100pps",
            "239.1.2.3+3:5000 from eth0 to eth1 as [ff15::1]+3:5001",
            "239.1.2.3:5000 from eth0 to eth1 as :5001",
            "239.1.2.3:5000 from eth0 to eth1 as broadcast",
            "!10.0.0.9@mdns between eth0 and eth1 and 10.0.0.1 deny airplay,raop",
            "10.0.0.7@232.0.0.0/8:5000 from eth0 to eth1",
            "239.1.2.3:5000 between eth0 and tunnel:paris and tunnel:oslo-2 repair 200ms",
        ] {
            assert_eq!(rule(text).to_string(), text);
        }
    }

    #[test]
    fn lists_may_have_spaces_after_their_commas() {
        assert_eq!(
            rule("mdns  from eth0 to eth1, eth2 ,eth3 allow _ipp._tcp, http"),
            rule("mdns from eth0 to eth1,eth2,eth3 allow ipp,http")
        );
    }

    #[test]
    fn a_rule_of_both_directions_has_a_pair_for_each() {
        let pairs = rule("ssdp between a and b and c").pairs();
        let written: Vec<_> = pairs.iter().map(|(from, to)| format!("{from}>{to}")).collect();
        assert_eq!(written, ["a>b", "a>c", "b>a", "b>c", "c>a", "c>b"]);
        let leg = |text: &str| text.parse::<Leg>().unwrap();
        assert_eq!(leg("docker:web"), leg("docker:web/eth0"));
        assert_eq!(leg("netns:12/eth0").namespace, Namespace::Process(12));
    }

    #[test]
    fn discovery_protocols_have_groups_of_both_families() {
        let traffic = rule("wsd between a and b").traffic;
        let includes = |text: &str| traffic.includes("10.0.0.1".parse().unwrap(), text.parse().unwrap());
        assert!(includes("239.255.255.250:3702") && includes("[ff02::c]:3702"));
        assert!(!includes("239.255.255.250:1900"));
        assert_eq!(rule("knx between a and b").traffic.ranges().len(), 1);
        assert_eq!(rule("fe80::1@mdns between a and b").traffic.ranges().len(), 1);
    }

    #[test]
    fn groups_and_ports_that_must_stay_on_their_link_are_refused() {
        for text in
            ["224.0.0.5:5000", "224.0.0.0/4:5000", "[ff02::1]:5000", "[ff01::1]:5000", "[ff11::1]:5000"]
        {
            assert!(error(&format!("{text} from a to b")).contains("control the link"), "{text}");
        }
        for text in ["239.1.2.3:319", "239.1.2.3:60-70", "broadcast:67", "ptp"] {
            assert!(error(&format!("{text} from a to b")).contains("never forwarded"), "{text}");
        }
        // Groups of the application's own, on one link.
        rule("[ff12::1234]:5000 from a to b");
        assert!(error("239.1.2.3:5000 from a to b as 224.0.0.9").contains("control the link"));
        for text in [
            "224.0.0.1:8001",
            "224.0.0.251:5353",
            "224.0.0.0/24:8001",
            "[ff02::fb]:5353",
            "[ff02::/16]:1",
            "[ff02::1:2]:1",
        ] {
            assert!(error(&format!("{text} from a to b")).contains("control the link"), "{text}");
        }
        for (text, protocol) in
            [("224.0.0.7:520", "RIP"), ("224.0.0.50:640-650", "LDP"), ("[ff02::77]:6696", "Babel")]
        {
            assert!(error(&format!("{text} from a to b")).contains(protocol), "{text}");
        }
        assert!(error("239.1.2.3:1985 from a to b as 224.0.0.50").contains("HSRP"));
        assert!(error("239.1.2.3:5 from a to b as 224.0.0.50:1985").contains("HSRP"));
        // Televisions, gateways for homes, speakers.
        for text in [
            "224.0.0.7:8001",
            "224.0.0.50:9898",
            "224.0.0.48/30:4321",
            "[ff02::a1]:1234",
            "[ff12::5]:5",
            "239.1.2.3:520",
        ] {
            rule(&format!("{text} from a to b"));
        }
    }

    #[test]
    fn rules_that_cannot_work_are_refused_with_the_reason() {
        for (text, reason) in [
            ("", "it is empty"),
            ("mdns", "from or between is missing"),
            ("mdns from eth0", "to is missing"),
            ("mdns from eth0 to", "the target after to is missing"),
            ("mdns between eth0", "and is missing"),
            ("mdns from eth0 to eth0", "occurs twice"),
            ("mdns from eth0 to eth1,eth1", "occurs twice"),
            ("mdns from all to eth1", "does not name one interface"),
            ("mdns from eth0 to netns:web", "has no interface"),
            ("playlist from eth0 to eth1", "only HTTP clients"),
            ("playlist from eth0 to eth1,http://10.0.0.1:4022", "only HTTP clients"),
            ("10.0.0.7@playlist from eth0 to http://10.0.0.1:4022", "playlist"),
            ("239.1.2.0/24:* from eth0 to eth1", "it names 65535 ports"),
            ("239.1.2.3:319-320 from eth0 to http://10.0.0.1:4022", "PTP"),
            ("mdns from eth0 to udp://239.1.2.3:5000", "is not a unicast target"),
            ("mdns from eth0 to udp://10.0.0.1:0", "is not a unicast target"),
            ("mdns from eth0 to eth1 quickly", "\"quickly\" is not an option"),
            ("mdns from eth0 to eth1 ttl", "the option ttl has no value"),
            ("mdns from eth0 to eth1 ttl 0", "not a valid TTL"),
            ("mdns from eth0 to tunnel:", "is not the name of a tunnel"),
            ("mdns from eth0 to tunnel:a/b", "is not the name of a tunnel"),
            ("mdns from eth0 to tunnel:a repair 200", "not a valid time for repairs"),
            ("mdns from eth0 to tunnel:a repair 9ms", "not a valid time for repairs"),
            ("mdns from eth0 to tunnel:a repair 11s", "not a valid time for repairs"),
            ("mdns from tunnel:a to eth0 repair 200ms", "repair needs a tunnel"),
            ("mdns from eth0 to eth1 rate 10", "has no unit"),
            ("mdns from eth0 to eth1 allow a deny b", "given twice"),
            ("mdns from eth0 to eth1 allow a.b", "is not a type of service"),
            ("239.1.2.3:5 from a to b keep-source keep-source", "given twice"),
            ("mdns from a to b keep-source", "hosts ignore"),
            ("239.1.2.3:5 from tunnel:a to b keep-source", "the other site"),
            ("239.1.2.3:5 from a to udp://10.0.0.1:5 keep-source", "to groups"),
            ("239.1.2.3:5 from a to b,http://localhost:80 keep-source", "to groups"),
            ("239.1.2.3:5 from amt:10.0.0.1 to b keep-source", "the other site"),
            ("239.1.2.3:5 from a to b as [ff15::1]:5 keep-source", "of one family"),
            ("239.1.2.3:5 from a to b no-replies keep-source", "without the relay"),
            ("ssdp from eth0 to eth1 allow ipp", "need mdns"),
            ("mdns from eth0 to eth1 as 239.1.2.3", "fixed groups"),
            ("239.1.2.3:5000 between a and b as :5001", "a rule for each direction"),
            ("239.1.2.0/24:5000 from a to b as 239.9.2.0/25:5000", "differ in length"),
            ("239.1.2.3:5000 from a to udp://10.0.0.1:5000 as :5001", "an address and a port of its own"),
            ("232.1.2.3:5000 from a to b", "does not name a source"),
            ("239.0.0.0/8:5000 from a to b always", "always joins 16777216 groups"),
            ("239.1.2.3%eth0:5000 from a to b", "contains an interface"),
            ("239.1.2.3 from a to b", "has no port"),
            ("239.1.2.3:5000-6000 from a to b", "it names 1001 ports"),
            ("10.0.0.1:5000 from a to b", "is not a multicast address"),
        ] {
            assert!(error(text).contains(reason), "{text}: {}", error(text));
        }
    }

    #[test]
    fn http_clients_are_served_from_any_port_and_from_a_playlist() {
        for text in [
            "239.0.0.0/8:* from eth0 to http://127.0.0.1:4022",
            "224.0.0.0/4:* from eth0 to http://127.0.0.1:4022",
            "239.0.0.0/8:5000-10000 from eth0 to http://127.0.0.1:4022,http://10.0.0.1:4022",
            "fd00::7@[ff3e::/32]:* from eth0 to http://127.0.0.1:4022",
            "playlist from eth0 to http://127.0.0.1:4022",
            "playlist from amt:192.0.2.1 to http://127.0.0.1:4022",
        ] {
            assert_eq!(rule(text).to_string(), text);
        }
        let all = rule("239.0.0.0/8:1-65535 from eth0 to http://127.0.0.1:4022");
        assert_eq!(all.to_string(), "239.0.0.0/8:* from eth0 to http://127.0.0.1:4022");
    }

    #[test]
    fn a_file_has_a_rule_per_line_and_comments() {
        let rules = parse_rules("# all\n\nmdns between a and b # both\nssdp from a to b\n").unwrap();
        assert_eq!(rules.len(), 2);
        let error = parse_rules("mdns between a and b\nssdp\n").unwrap_err();
        assert_eq!(error.line, 2);
    }

    #[test]
    fn a_filter_admits_services_by_their_type() {
        let ServiceFilter::Allow(_) = rule("mdns from a to b allow ipp").services else {
            panic!("not allow")
        };
        assert!(rule("mdns from a to b allow _IPP._tcp").services.admits(b"ipp"));
        assert!(!rule("mdns from a to b allow ipp").services.admits(b"ipps"));
        assert!(!rule("mdns from a to b deny ipp").services.admits(b"IPP"));
    }

    #[test]
    fn a_digest_does_not_depend_on_the_names_of_legs() {
        let digest = |text: &str| {
            let rule = rule(text);
            rule.digest(&rule.pairs()[0].1)
        };
        assert_eq!(digest("239.1.2.3:5000 from a to b"), digest("239.1.2.3:5000 from c to d always"));
        assert_ne!(digest("239.1.2.3:5000 from a to b"), digest("239.1.2.3:5001 from a to b"));
        assert_ne!(digest("239.1.2.3:5000 from a to b"), digest("239.1.2.3:5000 from a to b as :5001"));
        assert_ne!(
            digest("239.1.2.3:5000 from a to udp://10.0.0.1:5000"),
            digest("239.1.2.3:5000 from a to udp://10.0.0.2:5000")
        );
        // Other machines compute it too, perhaps with another version.
        assert_eq!(digest("239.1.2.3:5000 from a to b"), 15_018_259_252_565_168_118);
    }

    fn words() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("mdns".to_owned()),
            Just("ssdp".into()),
            Just("from".into()),
            Just("to".into()),
            Just("between".into()),
            Just("and".into()),
            Just("eth0".into()),
            Just("eth1".into()),
            Just("netns:web/eth0".into()),
            Just("tunnel:a".into()),
            Just("repair".into()),
            Just("1.5s".into()),
            Just("docker:a".into()),
            Just("udp://10.0.0.1:5".into()),
            Just("239.1.2.0/24:5000".into()),
            Just("[ff15::1]+3:5-9".into()),
            Just("broadcast:9".into()),
            Just("as".into()),
            Just("ttl".into()),
            Just("4".into()),
            Just("rate".into()),
            Just("5Mbit".into()),
            Just("allow".into()),
            Just("deny".into()),
            Just("ipp,http".into()),
            Just("always".into()),
            Just(",".into()),
            "[!-~]{0,6}",
            ".{0,4}",
        ];
        prop::collection::vec(word, 0..9).prop_map(|words| words.join(" "))
    }

    proptest! {
        #[test]
        fn parsing_does_not_panic_and_round_trips(text in words()) {
            if let Ok(rule) = text.parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule), "{}", text);
            }
        }

        #[test]
        fn rules_round_trip(
            from in "[a-z0-9.\\-]{1,8}", to in "[a-z]{1,6}", group in 0_u32..1 << 24, count in 1_u32..300,
            port in 1_u16.., both: bool, always: bool, ttl in prop::option::of(1_u8..),
        ) {
            let group = std::net::Ipv4Addr::from_bits(0xef00_0000 + group.min((1 << 24) - count));
            let route = if both { format!("between {from} and {to}") } else { format!("from {from} to {to}") };
            let ttl = ttl.map(|ttl| format!(" ttl {ttl}")).unwrap_or_default();
            let always = if always { " always" } else { "" };
            let text = format!("{group}+{count}:{port} {route}{ttl}{always}");
            if let Ok(rule) = text.parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule.clone()));
                for (pair_from, pair_to) in rule.pairs() {
                    prop_assert!(RuleTarget::Leg(pair_from) != pair_to);
                }
            }
        }

        #[test]
        fn a_rewritten_address_is_at_the_same_offset(first in 0_u32..1 << 16, offset in 0_u32..256, port in 1_u16..) {
            let first = first & !0xff;
            let group = |number: u32| std::net::Ipv4Addr::from_bits(0xef00_0000 + number);
            let text = format!("{}/24:{port} from a to b as [ff15::{first:x}:0]+256:7", group(first));
            prop_assume!(!(319..=320).contains(&port) && !(67..=68).contains(&port) && !(546..=547).contains(&port));
            let rule = rule(&text);
            let sent = rule.rewrite.as_ref().unwrap()
                .apply(rule.traffic.ranges().first(), (group(first + offset), port).into());
            let start = (0xff15 << 112) + (u128::from(first) << 16);
            prop_assert_eq!(sent, (std::net::Ipv6Addr::from_bits(start + u128::from(offset)), 7).into());
        }
    }
}
