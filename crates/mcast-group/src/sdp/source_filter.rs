//! `a=source-filter`: whose packets are wanted (RFC 4570).

use alloc::collections::BTreeSet;
use core::net::IpAddr;

use crate::{Group, ParseError, SourceFilter};

/// One source filter, for one destination or for all.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// `None`: every destination of the sources' families.
    destination: Option<IpAddr>,
    exclude: bool,
    sources: BTreeSet<IpAddr>,
}

impl Rule {
    /// ` incl IN IP4 232.1.2.3 10.0.0.7 10.0.0.8`.
    pub(super) fn parse(text: &str) -> Result<Self, ParseError> {
        let wrong = |problem| {
            ParseError::new(text, problem).write("incl IN IP4 GROUP SOURCE…, or excl to leave sources out")
        };
        let mut words = text.split_ascii_whitespace();
        let exclude = match words.next() {
            Some("incl") => false,
            Some("excl") => true,
            _ => return Err(wrong("is no source filter")),
        };
        let (Some("IN"), Some("IP4" | "IP6" | "*"), Some(destination)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(wrong("is no source filter"));
        };
        let host = "names a host, which is not looked up";
        let destination = match destination {
            "*" => None,
            // Some write the TTL behind it, as in a connection.
            address => {
                let address = address.split('/').next().unwrap_or(address);
                Some(address.parse().map_err(|_| wrong(host))?)
            }
        };
        let sources: BTreeSet<IpAddr> =
            words.map(|source| source.parse().map_err(|_| wrong(host))).collect::<Result<_, _>>()?;
        if sources.is_empty() {
            return Err(wrong("names no source"));
        }
        if sources.iter().any(|source| source.is_multicast() || source.is_unspecified()) {
            return Err(wrong("names a source that is no host's address"));
        }
        Ok(Self { destination, exclude, sources })
    }

    fn is_for(&self, group: Group) -> bool {
        self.destination.is_none_or(|destination| destination == group.addr())
            && self.sources.iter().any(|source| source.is_ipv4() == group.addr().is_ipv4())
    }
}

/// The filter for a group: what its medium says goes before what the session says. Sources that are named
/// to be admitted go before such that are named to be left out.
pub(super) fn filter_of(group: Group, medium: &[Rule], session: &[Rule]) -> SourceFilter {
    let meant = |rules: &[Rule]| rules.iter().any(|rule| rule.is_for(group));
    let rules = if meant(medium) { medium } else { session };
    let named = |exclude: bool| -> BTreeSet<IpAddr> {
        let rules = rules.iter().filter(|rule| rule.exclude == exclude && rule.is_for(group));
        let sources = rules.flat_map(|rule| rule.sources.iter().copied());
        sources.filter(|source| source.is_ipv4() == group.addr().is_ipv4()).collect()
    };
    let (admitted, left_out) = (named(false), named(true));
    match admitted.is_empty() {
        true => SourceFilter::Exclude(left_out),
        false => SourceFilter::Include(&admitted - &left_out),
    }
}
