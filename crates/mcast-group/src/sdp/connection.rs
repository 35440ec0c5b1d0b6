//! `c=`: where a session or a medium goes (RFC 8866 section 5.7).

use core::net::IpAddr;

use crate::{Group, ParseError};

/// Groups one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    first: Group,
    count: u32,
    hop_limit: Option<u8>,
}

impl Connection {
    /// `IN IP4 239.1.2.3/16/3`, `IN IP6 ff15::1/3`; `None` for what is no group.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, ParseError> {
        let wrong = |problem| ParseError::new(text, problem);
        let mut words = text.split_ascii_whitespace();
        let (Some("IN"), Some(family @ ("IP4" | "IP6")), Some(address)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(wrong("is no connection").write("IN IP4 GROUP/TTL or IN IP6 GROUP"));
        };
        let (address, numbers) = address.split_once('/').unwrap_or((address, ""));
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(wrong("names a host, which is not looked up").write("an address"));
        };
        if address.is_ipv4() != (family == "IP4") {
            return Err(wrong("has an address of the other family").write("IN IP4 GROUP/TTL or IN IP6 GROUP"));
        }
        let Ok(first) = Group::new(address) else { return Ok(None) };
        let numbers = (!numbers.is_empty()).then_some(numbers);
        let (hop_limit, count) = match (family, numbers) {
            // RFC 8866 demands the TTL of an IPv4 group; many files leave it away.
            ("IP4", Some(numbers)) => {
                let (limit, count) = numbers.split_once('/').unwrap_or((numbers, "1"));
                (Some(limit.parse().map_err(|_| wrong("has no TTL").write("GROUP/TTL[/NUMBER]"))?), count)
            }
            (_, count) => (None, count.unwrap_or("1")),
        };
        let count: u32 = count.parse().map_err(|_| wrong("has no number of groups").write("1 or more"))?;
        let connection = Self { first, count, hop_limit };
        if count == 0 || count > 65_536 || connection.group(count - 1).is_none() {
            return Err(wrong("has too few or too many groups").write("a number that ends within the groups"));
        }
        Ok(Some(connection))
    }

    /// Each group with the hop limit that it is sent with.
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
