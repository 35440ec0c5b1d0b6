//! `a=source-filter`: the sources to include or exclude (RFC 4570).

use alloc::collections::BTreeSet;
use core::net::IpAddr;

use crate::{Group, ParseError, SourceFilter};

/// One `a=source-filter` attribute, for one destination or for all.
#[derive(Clone, Debug)]
pub(super) struct SourceFilterAttribute {
    /// `None` stands for every destination of the sources' families.
    destination: Option<IpAddr>,
    exclude: bool,
    sources: BTreeSet<IpAddr>,
}

impl SourceFilterAttribute {
    /// Parses ` incl IN IP4 232.1.2.3 10.0.0.7 10.0.0.8`.
    pub(super) fn parse(text: &str) -> Result<Self, ParseError> {
        let error = |problem| {
            ParseError::new(text, problem)
                .with_remedy("incl IN IP4 GROUP SOURCE…, or excl to exclude sources")
        };
        let mut words = text.split_ascii_whitespace();
        let exclude = match words.next() {
            Some("incl") => false,
            Some("excl") => true,
            _ => return Err(error("is not a valid source filter")),
        };
        let (Some("IN"), Some("IP4" | "IP6" | "*"), Some(destination)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(error("is not a valid source filter"));
        };
        let host_name = "contains a host name, which is not resolved";
        let destination = match destination {
            "*" => None,
            // Some files append the TTL, as in a connection.
            address => {
                let address = address.split('/').next().unwrap_or(address);
                Some(address.parse().map_err(|_| error(host_name))?)
            }
        };
        let sources: BTreeSet<IpAddr> =
            words.map(|source| source.parse().map_err(|_| error(host_name))).collect::<Result<_, _>>()?;
        if sources.is_empty() {
            return Err(error("names no source"));
        }
        if sources.iter().any(|source| source.is_multicast() || source.is_unspecified()) {
            return Err(error("contains a source that is not a unicast address"));
        }
        Ok(Self { destination, exclude, sources })
    }

    fn applies_to(&self, group: Group) -> bool {
        self.destination.is_none_or(|destination| destination == group.addr())
            && self.sources.iter().any(|source| source.is_ipv4() == group.addr().is_ipv4())
    }
}

/// Returns the filter for a group. Attributes of the medium override those of the session, and included
/// sources take precedence over excluded ones.
pub(super) fn filter_for(
    group: Group,
    medium: &[SourceFilterAttribute],
    session: &[SourceFilterAttribute],
) -> SourceFilter {
    let applies =
        |attributes: &[SourceFilterAttribute]| attributes.iter().any(|attribute| attribute.applies_to(group));
    let attributes = if applies(medium) { medium } else { session };
    let listed = |exclude: bool| -> BTreeSet<IpAddr> {
        let attributes =
            attributes.iter().filter(|attribute| attribute.exclude == exclude && attribute.applies_to(group));
        let sources = attributes.flat_map(|attribute| attribute.sources.iter().copied());
        sources.filter(|source| source.is_ipv4() == group.addr().is_ipv4()).collect()
    };
    let (included, excluded) = (listed(false), listed(true));
    match included.is_empty() {
        true => SourceFilter::Exclude(excluded),
        false => SourceFilter::Include(&included - &excluded),
    }
}
