//! What people type for memberships and destinations: ranges, names and URLs besides the plain form.

mod targets;
mod url;

use alloc::string::String;
use alloc::vec::Vec;

use crate::text::{Endpoint, check_families, parse_sources, split_sources};
use crate::{Destination, Family, GroupAddr, InterfaceSelector, Membership, ParseError, SourceFilter};

/// How to read what people type. `Expand::default()` reads what the examples show.
///
/// | text | what it stands for |
/// |---|---|
/// | `239.1.2.3:5000`, `10.0.0.7@232.1.2.3%eth1:5000` | one [`Membership`], as its text form |
/// | `239.1.2.0/28:5000`, `[ff15::/126]:5000` | every group of a range |
/// | `239.1.2.3+10:5000`, `[ff15::1]+10:5000` | ten groups, the first one named |
/// | `239.1.2.3:5000-5003` | every port of a range |
/// | `mdns`, `mdns%eth0`, `ptp:320` | a [`WellKnown`](crate::WellKnown) name, with its own ports unless one is given |
/// | `10.0.0.7,232.1.2.3:5000` | source and group as mcjoin writes them |
/// | `udp://@239.1.2.3:5000`, `rtp://10.0.0.7@232.1.2.3:5000?ttl=4` | a URL as players take it |
///
/// The query of a URL may have `ttl`, `localaddr` (the address of an interface), `iface` or `miface`
/// (an interface), `sources` (to admit) and `block` (to exclude); other keys are reported in
/// [`Hints::ignored`]. There `%` begins an escape, as in `%20` for a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expand {
    /// Which family a name means; `None`: IPv4 where the name has an IPv4 group.
    pub family: Option<Family>,
    /// How many memberships or destinations a text may stand for at most. Default: 65,536.
    pub limit: usize,
}

impl Default for Expand {
    fn default() -> Self {
        Self { family: None, limit: 65_536 }
    }
}

/// What a text stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion<T> {
    /// The memberships or destinations, at least one: by group, then by port.
    pub items: Vec<T>,
    /// What else the text said.
    pub hints: Hints,
}

/// What a name or a URL says beyond groups, ports, sources and interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The hop limit that a URL asks for with `ttl=`, or that the protocol of a name asks for.
    pub hop_limit: Option<u8>,
    /// Whether the URL said `rtp://`: the payload is RTP.
    pub rtp: bool,
    /// The keys of a URL's query that mean nothing here, such as `pkt_size`.
    pub ignored: Vec<String>,
}

impl Expand {
    /// The memberships that the text stands for.
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
    /// [`ParseError`] when the text is none of the forms, when a name is unknown or has no port,
    /// and when it stands for more than [`Expand::limit`] memberships.
    pub fn memberships(&self, text: &str) -> Result<Expansion<Membership>, ParseError> {
        let request = self.read(text).map_err(|error| error.within(text))?;
        let Request { targets, interface, sources, hints } = request;
        let sources = sources.unwrap_or(SourceFilter::ANY);
        let membership =
            |address| Membership { address, interface: interface.clone(), sources: sources.clone() };
        Ok(Expansion { items: targets.into_iter().map(membership).collect(), hints })
    }

    /// The destinations that the text stands for: the same forms, without sources.
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
    /// As for [`memberships`](Self::memberships), and when the text names sources.
    pub fn destinations(&self, text: &str) -> Result<Expansion<Destination>, ParseError> {
        let request = self.read(text).map_err(|error| error.within(text))?;
        if request.sources.is_some() {
            let error = ParseError::new(text, "names sources, which only a receiver chooses");
            return Err(error.write("GROUP[%INTERFACE]:PORT"));
        }
        let Request { targets, interface, hints, .. } = request;
        let destination = |address| Destination { address, interface: interface.clone() };
        Ok(Expansion { items: targets.into_iter().map(destination).collect(), hints })
    }

    fn read(&self, text: &str) -> Result<Request, ParseError> {
        let request = match url::split_scheme(text) {
            Some((scheme, rest)) => url::read(scheme, rest, self)?,
            None => self.read_plain(text)?,
        };
        // All targets are of one family.
        if let (Some(sources), Some(target)) = (&request.sources, request.targets.first()) {
            check_families(sources, target.group)?;
        }
        Ok(request)
    }

    fn read_plain(&self, text: &str) -> Result<Request, ParseError> {
        let (sources, rest) = split_sources_or_pair(text)?;
        let sources = sources.map(parse_sources).transpose()?;
        self.read_endpoint(rest, sources)
    }

    fn read_endpoint(&self, text: &str, sources: Option<SourceFilter>) -> Result<Request, ParseError> {
        let endpoint = Endpoint::parse(text)?;
        let family = self.family.or_else(|| sources.as_ref()?.sources().next().map(Family::of));
        let (targets, hop_limit) = targets::read(&endpoint, family, self.limit)?;
        let hints = Hints { hop_limit, ..Hints::default() };
        Ok(Request { targets, interface: endpoint.interface, sources, hints })
    }
}

/// A text, understood.
struct Request {
    targets: Vec<GroupAddr>,
    interface: Option<InterfaceSelector>,
    sources: Option<SourceFilter>,
    hints: Hints,
}

/// `SOURCES@REST`, or `SOURCE,REST` as mcjoin writes it.
fn split_sources_or_pair(text: &str) -> Result<(Option<&str>, &str), ParseError> {
    if let (Some(sources), rest) = split_sources(text) {
        return Ok((Some(sources), rest));
    }
    let before_interface = text.find(['%', '"']).unwrap_or(text.len());
    let Some((sources, _)) = text[..before_interface].rsplit_once(',') else { return Ok((None, text)) };
    let first = sources.split(',').next().unwrap_or(sources);
    if first.trim_start_matches('[').split([':', '/', '+', ']']).next().is_some_and(is_group) {
        let error = ParseError::new(text, "is a list of groups");
        return Err(error.write("each group as an argument of its own"));
    }
    Ok((Some(sources), &text[sources.len() + 1..]))
}

fn is_group(text: &str) -> bool {
    text.parse::<crate::Group>().is_ok()
}

#[cfg(test)]
mod tests;
