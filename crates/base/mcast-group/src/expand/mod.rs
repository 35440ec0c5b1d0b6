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
/// | `239.1.2.3:5000`, `10.0.0.7@232.1.2.3%eth1:5000` | one [`Membership`] |
/// | `239.1.2.0/28:5000`, `[ff15::/126]:5000` | every group of a range |
/// | `239.1.2.3+10:5000`, `[ff15::1]+10:5000` | ten consecutive groups, starting with this one |
/// | `239.1.2.3:5000-5003` | every port of a range |
/// | `mdns`, `mdns%eth0`, `ptp:320` | a [`WellKnown`](crate::WellKnown) name, with its own ports unless one is given |
/// | `10.0.0.7,232.1.2.3:5000` | a source and a group, in the syntax of mcjoin |
/// | `udp://@239.1.2.3:5000`, `rtp://10.0.0.7@232.1.2.3:5000?ttl=4` | a URL in the syntax of media players |
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
    /// let expansion = Expand::default().memberships("239.1.2.0/30:5000-5001")?;
    /// assert_eq!(expansion.items.len(), 8);
    /// assert_eq!(expansion.items[7].to_string(), "239.1.2.3:5001");
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
    /// let expansion = Expand::default().destinations("udp://239.1.2.3:5000?ttl=4")?;
    /// assert_eq!(expansion.items[0].to_string(), "239.1.2.3:5000");
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
mod tests;
