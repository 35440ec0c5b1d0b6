//! Discovery by the DNS (RFC 8777): the operator of a source names the relays that reach it, by records of the source's
//! reverse name.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use mcast_packet::payload::{AmtMessage, Dns, DnsSection};

/// The type of the records.
const AMTRELAY: u16 = 260;
const INTERNET: u16 = 1;

/// A relay that a record names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriadRelay {
    /// The lowest is the best.
    pub precedence: u8,
    /// Where it is.
    pub target: DriadTarget,
}

/// Where a relay is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriadTarget {
    /// At this address.
    Address(IpAddr),
    /// At the addresses of this name.
    Name(String),
}

/// Returns the query for the relays of a source.
#[must_use]
pub fn driad_query(id: u16, source: IpAddr) -> Vec<u8> {
    const RECURSION_DESIRED: u16 = 0x0100;
    let words = [id, RECURSION_DESIRED, 1, 0, 0, 0];
    let mut query: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
    for label in reverse_name(source).split('.') {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend([AMTRELAY, INTERNET].into_iter().flat_map(u16::to_be_bytes));
    query
}

/// Returns the relays in the response to a query, the best ones first, or `None` if it is not the response. A record
/// that says that there is no relay, or of another form, is left out.
#[must_use]
pub fn parse_driad_response(query: &[u8], response: &[u8]) -> Option<Vec<DriadRelay>> {
    const HEADER: usize = 12;
    let is_response = response.get(..2) == query.get(..2) && response.get(2)? & 0x80 != 0;
    // The question is repeated. Names in it are never compressed.
    if !is_response || response.get(HEADER..query.len()) != query.get(HEADER..) {
        return None;
    }
    let Some(dns) = Dns::parse(response) else { return Some(Vec::new()) };
    // The name may be an alias, so the names of the records are not compared.
    let answers = dns.records().take_while(|(section, _)| *section == DnsSection::Answer);
    let mut relays: Vec<_> = answers
        .filter(|(_, record)| record.kind == AMTRELAY && record.class == INTERNET)
        .filter_map(|(_, record)| parse_record(record.data))
        .collect();
    relays.sort();
    Some(relays)
}

/// Reads precedence, type and relay (RFC 8777 section 4.2). Whether discovery is optional does not matter: it is always
/// done, because it shows that the relay is there.
fn parse_record(data: &[u8]) -> Option<DriadRelay> {
    let (precedence, kind, relay) = match data {
        [precedence, kind, relay @ ..] => (*precedence, kind & 0x7f, relay),
        _ => return None,
    };
    let target = match kind {
        1 => DriadTarget::Address(Ipv4Addr::from(<[u8; 4]>::try_from(relay).ok()?).into()),
        2 => DriadTarget::Address(Ipv6Addr::from(<[u8; 16]>::try_from(relay).ok()?).into()),
        3 => DriadTarget::Name(parse_name(relay)?),
        _ => return None,
    };
    match &target {
        DriadTarget::Address(address) if !super::inner::is_host(*address) => None,
        _ => Some(DriadRelay { precedence, target }),
    }
}

/// Reads a name that is not compressed. Only letters, digits, hyphens and underscores are names of hosts.
fn parse_name(mut bytes: &[u8]) -> Option<String> {
    let mut name = String::new();
    loop {
        let (length, rest) = bytes.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        if label.is_empty() {
            return (!name.is_empty() && rest.is_empty()).then_some(name);
        }
        let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !label.iter().all(is_valid) || name.len() + label.len() > 253 {
            return None;
        }
        name.extend(label.iter().map(|byte| char::from(*byte)));
        name.push('.');
        bytes = rest;
    }
}

fn reverse_name(source: IpAddr) -> String {
    let mut name = String::new();
    match source {
        IpAddr::V4(source) => {
            let [a, b, c, d] = source.octets();
            // Writing to memory does not fail.
            let _ = write!(name, "{d}.{c}.{b}.{a}.in-addr.arpa");
        }
        IpAddr::V6(source) => {
            for octet in source.octets().into_iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 0xf, octet >> 4);
            }
            name.push_str("ip6.arpa");
        }
    }
    name
}

/// Which relay a gateway uses. Text form: `192.0.2.1`, `[2001:db8::1]:2268`, `relay.example.net`, `anycast`, `driad`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AmtRelayName {
    /// The one at this address, or of those that share it the nearest one.
    Address(SocketAddr),
    /// The one with this name in the DNS.
    Host {
        /// The name.
        name: String,
        /// The port.
        port: u16,
    },
    /// The nearest one in the Internet, by the addresses that all relays share (RFC 7450 section 7.1).
    Anycast,
    /// The one that the operator of the source names in the DNS (RFC 8777).
    Driad,
}

/// A text does not name a relay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a relay of AMT: write an address, a name, driad or anycast")]
pub struct InvalidRelayName(String);

impl AmtRelayName {
    /// The addresses that all relays share.
    pub const ANYCAST: [IpAddr; 2] = [
        IpAddr::V4(std::net::Ipv4Addr::new(192, 52, 193, 1)),
        IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 1)),
    ];
}

impl FromStr for AmtRelayName {
    type Err = InvalidRelayName;

    fn from_str(text: &str) -> Result<Self, InvalidRelayName> {
        let invalid = || InvalidRelayName(text.to_owned());
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return address_of(SocketAddr::new(address, AmtMessage::PORT)).ok_or_else(invalid);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return address_of(address).ok_or_else(invalid);
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().ok().filter(|port| *port > 0).ok_or_else(invalid)?),
            None => (text, AmtMessage::PORT),
        };
        let is_label = |label: &str| {
            let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            !label.is_empty() && label.len() < 64 && !label.starts_with('-') && label.bytes().all(is_valid)
        };
        let labels = name.strip_suffix('.').unwrap_or(name);
        match text {
            "anycast" => Ok(Self::Anycast),
            "driad" => Ok(Self::Driad),
            _ if labels.len() < 254 && labels.split('.').all(is_label) => {
                Ok(Self::Host { name: name.to_owned(), port })
            }
            _ => Err(invalid()),
        }
    }
}

fn address_of(address: SocketAddr) -> Option<AmtRelayName> {
    (super::inner::is_host(address.ip()) && address.port() > 0).then_some(AmtRelayName::Address(address))
}

impl fmt::Display for AmtRelayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) if address.port() == AmtMessage::PORT => address.ip().fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Host { name, port: AmtMessage::PORT } => f.write_str(name),
            Self::Host { name, port } => write!(f, "{name}:{port}"),
            Self::Anycast => f.write_str("anycast"),
            Self::Driad => f.write_str("driad"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

    /// A response with these records, whose names point to the question.
    fn response(query: &[u8], records: &[&[u8]]) -> Vec<u8> {
        let mut response = query.to_vec();
        response[2] |= 0x80;
        response[7] = records.len() as u8;
        for data in records {
            response.extend([0xc0, 12, 1, 4, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
            response.extend_from_slice(data);
        }
        response
    }

    #[test]
    fn a_query_names_the_source_in_reverse() {
        let query = driad_query(0x0102, SOURCE);
        assert_eq!(query[..12], [1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(query[12..], *b"\x017\x03100\x0251\x03198\x07in-addr\x04arpa\0\x01\x04\0\x01");
        let v6 = reverse_name("2001:db8::7".parse().unwrap());
        assert_eq!(v6, "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    }

    #[test]
    fn relays_are_ordered_by_precedence() {
        let query = driad_query(7, SOURCE);
        let records: [&[u8]; 4] = [
            b"\x80\x03\x05relay\x07example\0",
            &[10, 0x80 | 1, 192, 0, 2, 1],
            &[20, 2, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0],
        ];
        let relays = parse_driad_response(&query, &response(&query, &records)).unwrap();
        let targets: Vec<_> = relays.into_iter().map(|relay| (relay.precedence, relay.target)).collect();
        assert_eq!(
            targets,
            [
                (10, DriadTarget::Address("192.0.2.1".parse().unwrap())),
                (20, DriadTarget::Address("2001:db8::1".parse().unwrap())),
                (128, DriadTarget::Name("relay.example.".into())),
            ]
        );
    }

    #[test]
    fn what_is_not_the_response_is_ignored() {
        let query = driad_query(7, SOURCE);
        let good = response(&query, &[&[10, 1, 192, 0, 2, 1]]);
        assert!(parse_driad_response(&driad_query(8, SOURCE), &good).is_none());
        assert!(parse_driad_response(&driad_query(7, [198, 51, 100, 8].into()), &good).is_none());
        assert!(parse_driad_response(&query, &query).is_none());
        for length in 0..good.len() {
            // Nothing panics, and no relay is made up.
            assert!(parse_driad_response(&query, &good[..length]).is_none_or(|relays| relays.is_empty()));
        }
    }

    #[test]
    fn records_of_another_form_are_left_out() {
        let query = driad_query(7, SOURCE);
        let records: [&[u8]; 8] = [
            &[],
            &[1],
            &[1, 1, 192, 0, 2],
            &[1, 1, 192, 0, 2, 1, 1],
            &[1, 1, 239, 1, 2, 3],
            &[1, 9, 0],
            b"\x01\x03\x03a b\0",
            b"\x01\x03\x09short\0",
        ];
        assert_eq!(parse_driad_response(&query, &response(&query, &records)), Some(Vec::new()));
    }

    #[test]
    fn names_round_trip() {
        let names = [
            "192.0.2.1",
            "192.0.2.1:7000",
            "2001:db8::1",
            "[2001:db8::1]:7000",
            "a-b.example.net",
            "relay:7",
        ];
        for text in names.into_iter().chain(["anycast", "driad"]) {
            assert_eq!(text.parse::<AmtRelayName>().unwrap().to_string(), text);
        }
        let long = ["[2001:db8::1]", "192.0.2.1:2268", "relay:2268"];
        let short = long.map(|text| text.parse::<AmtRelayName>().unwrap().to_string());
        assert_eq!(short, ["2001:db8::1", "192.0.2.1", "relay"]);
    }

    #[test]
    fn what_cannot_be_a_relay_is_refused() {
        for text in
            ["", "239.1.2.3", "0.0.0.0", "255.255.255.255", "ff02::1", "a b", "a..b", "x:0", "x:y", "-a"]
        {
            assert!(text.parse::<AmtRelayName>().is_err(), "{text}");
        }
    }
}
