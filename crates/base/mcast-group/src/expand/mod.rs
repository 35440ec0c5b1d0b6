//! Memberships and destinations as users type them: ranges, names and URLs in addition to the plain form.

mod targets;

use alloc::string::String;
use alloc::vec::Vec;

use crate::text::{Endpoint, check_families, parse_sources, split_sources};
pub use targets::AddrRange;

use crate::{Destination, Family, GroupAddr, InterfaceSelector, Membership, ParseError, SourceFilter};

/// Expands what users type into memberships or destinations.
///
/// | text | expands to |
/// |---|---|
/// | `239.255.2.3:5000`, `10.0.0.7@232.1.2.3%eth1:5000` | one [`Membership`] |
/// | `239.255.2.0/28:5000`, `[ff15::/126]:5000` | every group of a range |
/// | `239.255.2.3+10:5000`, `[ff15::1]+10:5000` | ten consecutive groups, starting with this one |
/// | `239.255.2.3:5000-5003` | every port of a range |
/// | `mdns`, `mdns%eth0`, `ptp:320` | a [`WellKnown`](crate::WellKnown) name, with its own ports unless one is given |
/// | `10.0.0.7,232.1.2.3:5000` | a source and a group, in the syntax of mcjoin |
/// | `udp://@239.255.2.3:5000`, `rtp://10.0.0.7@232.1.2.3:5000?ttl=4` | a URL in the syntax of media players |
///
/// The query of a URL may contain `ttl`, `localaddr` (the address of an interface), `iface` or `miface`
/// (an interface), `sources` (to include) and `block` (to exclude). Other keys are reported in
/// [`Hints::ignored`]. In a query, `%` starts an escape, such as `%20` for a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expand {
    /// The family of the group that a name stands for. `None` prefers IPv4.
    pub family: Option<Family>,
    /// The maximum number of memberships or destinations that a text may expand to. Default: 65,536.
    pub limit: usize,
}

impl Default for Expand {
    fn default() -> Self {
        Self { family: None, limit: 65_536 }
    }
}

/// The result of expanding a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion<T> {
    /// The memberships or destinations, ordered by group, then by port; at least one.
    pub items: Vec<T>,
    /// Further information in the text.
    pub hints: Hints,
}

/// Information in a name or a URL besides groups, ports, sources and interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The hop limit given by `ttl=` in a URL, or required by the protocol of a name.
    pub hop_limit: Option<u8>,
    /// Whether the scheme was `rtp://`, so the payload is RTP.
    pub rtp: bool,
    /// The keys of a URL's query that were ignored, such as `pkt_size`.
    pub ignored: Vec<String>,
}

impl Expand {
    /// Returns the memberships that the text expands to.
    ///
    /// ```
    /// use mcast_group::Expand;
    /// let expansion = Expand::default().memberships("239.255.2.0/30:5000-5001")?;
    /// assert_eq!(expansion.items.len(), 8);
    /// assert_eq!(expansion.items[7].to_string(), "239.255.2.3:5001");
    ///
    /// let mdns = Expand::default().memberships("mdns%eth0")?;
    /// assert_eq!(mdns.items[0].to_string(), "224.0.0.251%eth0:5353");
    /// assert_eq!(mdns.hints.hop_limit, Some(255));
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// Returns [`ParseError`] if the text has none of these forms, if a name is unknown or has no port, or if
    /// the text expands to more than [`Expand::limit`] memberships.
    pub fn memberships(&self, text: &str) -> Result<Expansion<Membership>, ParseError> {
        let parsed = self.parse(text).map_err(|error| error.within(text))?;
        let ParsedText { targets, interface, sources, hints } = parsed;
        let sources = sources.unwrap_or(SourceFilter::ANY);
        let membership =
            |address| Membership { address, interface: interface.clone(), sources: sources.clone() };
        Ok(Expansion { items: self.addresses(&targets, text)?.map(membership).collect(), hints })
    }

    /// Returns the destinations that the text expands to. The forms are the same, but without sources.
    ///
    /// ```
    /// use mcast_group::Expand;
    /// let expansion = Expand::default().destinations("udp://239.255.2.3:5000?ttl=4")?;
    /// assert_eq!(expansion.items[0].to_string(), "239.255.2.3:5000");
    /// assert_eq!(expansion.hints.hop_limit, Some(4));
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`memberships`](Self::memberships), and if the text contains sources.
    pub fn destinations(&self, text: &str) -> Result<Expansion<Destination>, ParseError> {
        let parsed = self.parse(text).map_err(|error| error.within(text))?;
        if parsed.sources.is_some() {
            let error = ParseError::new(text, "contains sources, which apply only to receiving");
            return Err(error.with_remedy("GROUP[%INTERFACE]:PORT"));
        }
        let ParsedText { targets, interface, hints, .. } = parsed;
        let destination = |address| Destination { address, interface: interface.clone() };
        Ok(Expansion { items: self.addresses(&targets, text)?.map(destination).collect(), hints })
    }

    /// Returns the ranges of groups and ports in the text, and the sources to admit. The limit does not apply.
    ///
    /// ```
    /// use mcast_group::Expand;
    /// let expansion = Expand::default().ranges("10.0.0.7@232.0.0.0/8:5000-5003")?;
    /// let (range, sources) = &expansion.items[0];
    /// assert_eq!(range.count(), 4 << 24);
    /// assert!(sources.admits("10.0.0.7".parse().unwrap()));
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`memberships`](Self::memberships), and if the text contains an interface.
    pub fn ranges(&self, text: &str) -> Result<Expansion<(AddrRange, SourceFilter)>, ParseError> {
        let ParsedText { targets, interface, sources, hints } =
            self.parse(text).map_err(|error| error.within(text))?;
        if interface.is_some() {
            let error = ParseError::new(text, "contains an interface, which is not allowed here");
            return Err(error.with_remedy("GROUP:PORT"));
        }
        let sources = sources.unwrap_or(SourceFilter::ANY);
        let items = targets.into_iter().map(|range| (range, sources.clone())).collect();
        Ok(Expansion { items, hints })
    }

    fn addresses<'a>(
        &self,
        ranges: &'a [AddrRange],
        text: &str,
    ) -> Result<impl Iterator<Item = GroupAddr> + use<'a>, ParseError> {
        targets::check_count(ranges, self.limit).map_err(|error| error.within(text))?;
        Ok(ranges.iter().flat_map(AddrRange::addresses))
    }

    fn parse(&self, text: &str) -> Result<ParsedText, ParseError> {
        let parsed = match targets::split_scheme(text) {
            Some((scheme, rest)) => targets::parse_url(scheme, rest, self)?,
            None => self.parse_plain(text)?,
        };
        // Checking the first target suffices: all targets are of one family.
        if let (Some(sources), Some(range)) = (&parsed.sources, parsed.targets.first()) {
            check_families(sources, range.groups.first)?;
        }
        Ok(parsed)
    }

    fn parse_plain(&self, text: &str) -> Result<ParsedText, ParseError> {
        let (sources, rest) = split_sources_or_pair(text)?;
        let sources = sources.map(parse_sources).transpose()?;
        self.parse_endpoint(rest, sources)
    }

    fn parse_endpoint(&self, text: &str, sources: Option<SourceFilter>) -> Result<ParsedText, ParseError> {
        let endpoint = Endpoint::parse(text)?;
        let family = self.family.or_else(|| sources.as_ref()?.sources().next().map(Family::of));
        let (targets, hop_limit) = targets::parse(&endpoint, family)?;
        let hints = Hints { hop_limit, ..Hints::default() };
        Ok(ParsedText { targets, interface: endpoint.interface, sources, hints })
    }
}

/// The parts of a text.
struct ParsedText {
    targets: Vec<AddrRange>,
    interface: Option<InterfaceSelector>,
    sources: Option<SourceFilter>,
    hints: Hints,
}

/// Splits `SOURCES@REST`, or `SOURCE,REST` in the syntax of mcjoin.
fn split_sources_or_pair(text: &str) -> Result<(Option<&str>, &str), ParseError> {
    if let (Some(sources), rest) = split_sources(text) {
        return Ok((Some(sources), rest));
    }
    let before_interface = text.find(['%', '"']).unwrap_or(text.len());
    let Some((sources, _)) = text[..before_interface].rsplit_once(',') else { return Ok((None, text)) };
    let first = sources.split(',').next().unwrap_or(sources);
    if first.trim_start_matches('[').split([':', '/', '+', ']']).next().is_some_and(is_group) {
        let error = ParseError::new(text, "is a list of groups");
        return Err(error.with_remedy("each group as a separate argument"));
    }
    Ok((Some(sources), &text[sources.len() + 1..]))
}

fn is_group(text: &str) -> bool {
    text.parse::<crate::Group>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn memberships(text: &str) -> Vec<String> {
        let expansion = Expand::default().memberships(text).unwrap_or_else(|error| panic!("{error}"));
        expansion.items.iter().map(ToString::to_string).collect()
    }

    fn error(text: &str) -> String {
        Expand::default().memberships(text).unwrap_err().to_string()
    }

    #[test]
    fn every_form_expands_to_its_memberships() {
        for (text, expected) in [
            ("239.1.2.3:5000", &["239.1.2.3:5000"][..]),
            ("10.0.0.7@232.1.2.3%eth1:5000", &["10.0.0.7@232.1.2.3%eth1:5000"]),
            ("!10.0.0.9@239.1.2.3:5000", &["!10.0.0.9@239.1.2.3:5000"]),
            ("239.1.2.4/31:5000", &["239.1.2.4:5000", "239.1.2.5:5000"]),
            ("239.1.2.255+2:5000", &["239.1.2.255:5000", "239.1.3.0:5000"]),
            ("239.1.2.3:5000-5001", &["239.1.2.3:5000", "239.1.2.3:5001"]),
            ("239.1.2.3%eth0:5000-5000", &["239.1.2.3%eth0:5000"]),
            ("[ff15::1%eth1]:5000", &["[ff15::1%eth1]:5000"]),
            ("[ff15::1]%eth1:5000", &["[ff15::1%eth1]:5000"]),
            ("[ff15::1]+2:5000", &["[ff15::1]:5000", "[ff15::2]:5000"]),
            ("[ff15::1+2]:5000", &["[ff15::1]:5000", "[ff15::2]:5000"]),
            ("[ff15::/127]:5000", &["[ff15::]:5000", "[ff15::1]:5000"]),
            ("[ff15::1]+2%eth1:5000", &["[ff15::1%eth1]:5000", "[ff15::2%eth1]:5000"]),
            ("[ff15::1%eth1]+2:5000", &["[ff15::1%eth1]:5000", "[ff15::2%eth1]:5000"]),
            ("mdns", &["224.0.0.251:5353"]),
            ("MDNS%eth0", &["224.0.0.251%eth0:5353"]),
            ("ptp", &["224.0.1.129:319", "224.0.1.129:320"]),
            ("ptp:320", &["224.0.1.129:320"]),
            ("ospf:89", &["224.0.0.5:89"]),
            ("ripng", &["[ff02::9]:521"]),
            ("10.0.0.7@mdns", &["10.0.0.7@224.0.0.251:5353"]),
            ("fe80::1@mdns%eth0", &["fe80::1@[ff02::fb%eth0]:5353"]),
            ("10.0.0.7,232.1.2.3:5000", &["10.0.0.7@232.1.2.3:5000"]),
            ("10.0.0.7,10.0.0.8,232.1.2.3+1:5000", &["10.0.0.7,10.0.0.8@232.1.2.3:5000"]),
            ("2001:db8::1,[ff3e::8000:1]:5000", &["2001:db8::1@[ff3e::8000:1]:5000"]),
            ("[2001:db8::1]@[ff3e::8000:1]:5000", &["2001:db8::1@[ff3e::8000:1]:5000"]),
            ("239.1.2.3%veth0@if5:5000", &["239.1.2.3%\"veth0@if5\":5000"]),
            ("239.1.2.3%\"a:b\":5000", &["239.1.2.3%\"a:b\":5000"]),
            ("239.1.2.3%\"a://b\":5000", &["239.1.2.3%\"a://b\":5000"]),
            ("mdns%\"a:b\"", &["224.0.0.251%\"a:b\":5353"]),
            ("[ff15::1%\"a]b\"]:5000", &["[ff15::1%\"a]b\"]:5000"]),
            ("[ff15::1%a]b]:5000", &["[ff15::1%\"a]b\"]:5000"]),
            ("[ff15::1]%\"all\":5000", &["[ff15::1%\"all\"]:5000"]),
            ("239.1.2.3%Local Area Connection* 1:5000", &["239.1.2.3%Local Area Connection* 1:5000"]),
            ("udp://@239.1.2.3:5000", &["239.1.2.3:5000"]),
            ("UDP://239.1.2.3:5000/", &["239.1.2.3:5000"]),
            ("rtp://10.0.0.7@232.1.2.3:5000", &["10.0.0.7@232.1.2.3:5000"]),
            ("udp://@[ff15::1%25eth1]:5000", &["[ff15::1%eth1]:5000"]),
            ("udp://@[ff15::1%eth1]:5000", &["[ff15::1%eth1]:5000"]),
            ("udp://@[ff15::1%25]:5000", &["[ff15::1%25]:5000"]),
            ("udp://239.1.2.3%a%25b:5000", &["239.1.2.3%\"a%25b\":5000"]),
            ("udp://239.1.2.3:5000?localaddr=10.0.0.1", &["239.1.2.3%10.0.0.1:5000"]),
            ("udp://239.1.2.3:5000?iface=Ethernet%202&", &["239.1.2.3%Ethernet 2:5000"]),
            ("udp://232.1.2.3:5000?sources=10.0.0.7,10.0.0.8", &["10.0.0.7,10.0.0.8@232.1.2.3:5000"]),
            ("udp://239.1.2.3:5000?block=10.0.0.7", &["!10.0.0.7@239.1.2.3:5000"]),
        ] {
            assert_eq!(memberships(text), expected, "{text}");
        }
    }

    #[test]
    fn names_and_urls_give_hints() {
        let hints = |text: &str| Expand::default().memberships(text).unwrap().hints;
        assert_eq!(hints("mdns:5354").hop_limit, Some(255));
        assert_eq!(hints("239.1.2.3:5000"), Hints::default());
        let url = hints("rtp://@239.1.2.3:5000?pkt_size=1316&ttl=7&overrun_nonfatal");
        assert_eq!(
            url,
            Hints {
                hop_limit: Some(7),
                rtp: true,
                ignored: ["pkt_size", "overrun_nonfatal"].map(String::from).to_vec(),
            }
        );
    }

    #[test]
    fn name_expands_to_the_requested_family() {
        let v6 = Expand { family: Some(Family::V6), ..Expand::default() };
        assert_eq!(v6.memberships("mdns").unwrap().items[0].to_string(), "[ff02::fb]:5353");
        let error = v6.memberships("knx").unwrap_err().to_string();
        assert_eq!(error, "\"knx\" has no IPv6 group");
    }

    #[test]
    fn errors_state_problem_and_remedy() {
        for (text, expected) in [
            ("239.1.2.3", "\"239.1.2.3\" has no port: write GROUP:PORT"),
            (
                "239.1.2.5/30:5000",
                "does not start at the first address of the prefix (\"239.1.2.5/30\"): write 239.1.2.4/30",
            ),
            ("239.1.2.0/33:5000", "write /4 to /32"),
            ("239.1.2.0/:5000", "write /4 to /32"),
            ("239.1.2.0+0:5000", "is not a valid number of groups"),
            ("239.1.2.0++5:5000", "is not a valid number of groups"),
            ("239.255.255.250+7:5000", "extends beyond the last multicast address"),
            ("224.0.0.0/4:5000", "write a range of at most 65536 groups and ports (this one has 268435456)"),
            ("[ff00::/8]:1-65535", "starts a range that is too long"),
            ("239.1.2.3:5003-5000", "write 5000-5003"),
            ("239.1.2.3:0", "is port 0"),
            ("239.1.2.3:+80", "is not a valid port"),
            ("239.1.2.3:-80", "is not a valid port (\"-80\")"),
            ("239.1.2.3:80-", "is not a valid port (\"80-\")"),
            ("239.1.2.3:65536", "is not a valid port"),
            ("ff15::1", "write [GROUP]:PORT"),
            ("ff15::1%eth0:5000", "write [GROUP]:PORT"),
            ("[ff15::1:5000", "a bracket that is not closed"),
            ("[239.1.2.3]:5000", "is an IPv4 group in brackets"),
            ("[ff15::1]x:5000", "is between the group and the port"),
            ("[ff15::1+2]+2:5000", "is a second range"),
            ("239.1.2.3:5000%eth0", "write GROUP%INTERFACE:PORT"),
            ("239.1.2.3%\"eth0\"x:5000", "text after a quoted interface name"),
            ("239.1.2.3%:5000", "is an empty interface name"),
            ("10.0.0.1:5000", "is not a multicast address"),
            ("mdnss", "write an address, or a name such as mdns"),
            ("zzz", "a name such as mdns, ssdp or ptp"),
            ("mdns/30", "is a name with a range"),
            ("ospf", "is a protocol over IP without UDP, so it has no port"),
            ("all-hosts", "has no default UDP port: write all-hosts:PORT"),
            ("@239.1.2.3:5000", "has no source before the @"),
            ("!@239.1.2.3:5000", "has no source before the @"),
            ("239.1.1.1,239.1.1.2:5000", "write each group as a separate argument"),
            ("239.1.1.1:5000,239.1.1.2:5000", "write each group as a separate argument"),
            ("239.1.1.1@239.1.1.2:5000", "is not a unicast address"),
            ("::1@239.1.1.2:5000", "is not of the group's family"),
            ("::ffff:10.0.0.1@239.1.1.2:5000", "write 10.0.0.1"),
            ("http://239.1.1.2:5000", "write udp:// or rtp://"),
            ("udp://239.1.1.2:5000/stream", "has a path"),
            ("udp://239.1.1.2:5000?ttl=256", "write ttl=0 to ttl=255"),
            ("udp://10.0.0.1@239.1.1.2:5000?sources=10.0.0.2", "specifies sources a second time"),
            ("udp://239.1.1.2%eth0:5000?localaddr=10.0.0.1", "specifies a second interface"),
            ("udp://239.1.1.2:5000?iface=%2", "has an invalid escape"),
            ("udp://239.1.1.2:5000?iface=%ff", "has an invalid escape"),
            ("", "is not an IP address"),
        ] {
            let error = error(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(error.starts_with(&alloc::format!("\"{text}\"")), "{text}: {error}");
        }
    }

    #[test]
    fn destinations_accept_the_same_forms_without_sources() {
        let destinations = |text: &str| {
            let expansion = Expand::default().destinations(text)?;
            Ok::<_, ParseError>(expansion.items.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            destinations("[ff15::1]%eth1:5000-5001").unwrap(),
            ["[ff15::1%eth1]:5000", "[ff15::1%eth1]:5001"]
        );
        assert_eq!(destinations("udp://@239.1.2.3:5000").unwrap(), ["239.1.2.3:5000"]);
        assert_eq!(destinations("ssdp%eth0").unwrap(), ["239.255.255.250%eth0:1900"]);
        for text in
            ["10.0.0.7@232.1.2.3:5000", "10.0.0.7,232.1.2.3:5000", "udp://232.1.2.3:5?sources=10.0.0.7"]
        {
            assert!(
                destinations(text).unwrap_err().to_string().contains("apply only to receiving"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_limit_counts_groups_times_ports() {
        let expand = Expand { limit: 8, ..Expand::default() };
        assert_eq!(expand.memberships("239.1.2.0/30:5000-5001").unwrap().items.len(), 8);
        assert!(expand.memberships("239.1.2.0/30:5000-5002").is_err());
        assert!(expand.memberships("239.1.2.0+9:5000").is_err());
        assert_eq!(Expand::default().memberships("239.1.0.0/16:5000").unwrap().items.len(), 65_536);
    }
}
