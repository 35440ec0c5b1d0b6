//! `c=`: the groups that a session or a medium is sent to (RFC 8866 section 5.7).

use core::net::IpAddr;

use crate::{Group, ParseError};

/// Consecutive groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    first: Group,
    count: u32,
    hop_limit: Option<u8>,
}

impl Connection {
    /// Parses `IN IP4 239.1.2.3/16/3` or `IN IP6 ff15::1/3`. Returns `None` for a unicast address.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, ParseError> {
        let error = |problem| ParseError::new(text, problem);
        let mut words = text.split_ascii_whitespace();
        let (Some("IN"), Some(family @ ("IP4" | "IP6")), Some(address)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(error("is not a valid connection").with_remedy("IN IP4 GROUP/TTL or IN IP6 GROUP"));
        };
        let (address, numbers) = address.split_once('/').unwrap_or((address, ""));
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(error("contains a host name, which is not resolved").with_remedy("an address"));
        };
        if address.is_ipv4() != (family == "IP4") {
            return Err(
                error("has an address of the other family").with_remedy("IN IP4 GROUP/TTL or IN IP6 GROUP")
            );
        }
        let Ok(first) = Group::new(address) else { return Ok(None) };
        let numbers = (!numbers.is_empty()).then_some(numbers);
        let (hop_limit, count) = match (family, numbers) {
            // RFC 8866 requires the TTL of an IPv4 group, but many files omit it.
            ("IP4", Some(numbers)) => {
                let (limit, count) = numbers.split_once('/').unwrap_or((numbers, "1"));
                (
                    Some(limit.parse().map_err(|_| error("has no TTL").with_remedy("GROUP/TTL[/NUMBER]"))?),
                    count,
                )
            }
            (_, count) => (None, count.unwrap_or("1")),
        };
        let count: u32 = count
            .parse()
            .map_err(|_| error("has an invalid number of groups").with_remedy("a number of at least 1"))?;
        let connection = Self { first, count, hop_limit };
        if count == 0 || count > 65_536 || connection.group(count - 1).is_none() {
            return Err(error("has too few or too many groups")
                .with_remedy("a number from 1 to 65536 that stays within the multicast addresses"));
        }
        Ok(Some(connection))
    }

    /// Returns each group with its hop limit.
    pub(super) fn groups(&self) -> impl Iterator<Item = (Group, Option<u8>)> + '_ {
        (0..self.count).filter_map(|number| Some((self.group(number)?, self.hop_limit)))
    }

    fn group(&self, number: u32) -> Option<Group> {
        let address = match self.first.addr() {
            IpAddr::V4(address) => IpAddr::V4(address.to_bits().checked_add(number)?.into()),
            IpAddr::V6(address) => IpAddr::V6(address.to_bits().checked_add(number.into())?.into()),
        };
        Group::new(address).ok()
    }
}
