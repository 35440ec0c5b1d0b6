//! What observers of text protocols share: when to ask, addresses from URLs, and text with escapes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::entry::{
    Discovered, DiscoveredKind, DiscoveryKey, DiscoveryProtocol, DiscoverySource, UntrustedText,
};
use super::registry::Registry;
use super::{DiscoveryDatagram, DiscoveryQuestion};
use crate::clock::Time;

/// When to send the questions of a protocol: at once, again after 1 s and 4 s in case they or the answers were lost, and then every
/// [`Self::INTERVAL`], so that what has gone is noticed.
#[derive(Debug)]
pub(super) struct Asking {
    protocol: DiscoveryProtocol,
    destinations: &'static [SocketAddr],
    /// The number of different questions to each destination.
    variants: usize,
    payload: Payload,
    due: Option<Time>,
    /// The questions sent since the start.
    sent: usize,
}

/// Returns a question, from the time, its destination, its variant, and a number that identifies it.
type Payload = fn(Time, SocketAddr, usize, usize) -> Vec<u8>;

impl Asking {
    const INTERVAL: Duration = Duration::from_secs(60);

    pub(super) const fn new(
        protocol: DiscoveryProtocol,
        destinations: &'static [SocketAddr],
        variants: usize,
        payload: Payload,
    ) -> Self {
        Self { protocol, destinations, variants, payload, due: None, sent: 0 }
    }

    pub(super) fn start(&mut self, now: Time) {
        (self.due, self.sent) = (Some(now), 0);
    }

    pub(super) const fn due(&self) -> Option<Time> {
        self.due
    }

    /// Returns the next question that is due.
    pub(super) fn poll(&mut self, now: Time) -> Option<DiscoveryQuestion> {
        self.due.filter(|due| *due <= now)?;
        let round = self.destinations.len() * self.variants;
        let destination = *self.destinations.get(self.sent % round / self.variants)?;
        let payload = (self.payload)(now, destination, self.sent % self.variants, self.sent);
        self.sent += 1;
        if self.sent.is_multiple_of(round) {
            self.due = Some(now.after(match self.sent / round {
                1 => Duration::from_secs(1),
                2 => Duration::from_secs(3),
                _ => Self::INTERVAL,
            }));
        }
        Some(DiscoveryQuestion { protocol: self.protocol, place: None, destination, payload })
    }
}

/// Returns an announcement by the sender of a datagram of which only the identifier is known.
pub(super) fn announced_by(
    now: Time,
    datagram: &DiscoveryDatagram<'_>,
    protocol: DiscoveryProtocol,
    kind: DiscoveredKind,
    id: impl Into<UntrustedText>,
) -> Discovered {
    let key = DiscoveryKey { protocol, place: datagram.place, id: id.into() };
    let addresses = vec![datagram.source.ip()];
    Discovered { addresses, ..Discovered::new(key, kind, DiscoverySource::Ip(datagram.source), now) }
}

/// Sets the addresses to those of URLs, at which a thing states to be reached: a relay may have sent the announcement. That of the
/// sender stays if none is usable: a device behind a faulty proxy states the loopback address, others one that they have without DHCP.
pub(super) fn locate<'a>(announced: &mut Discovered, urls: impl Iterator<Item = &'a [u8]>) {
    let is_local = |address: &IpAddr| matches!(address, IpAddr::V4(v4) if v4.is_link_local());
    let from = std::mem::take(&mut announced.addresses);
    for (address, _) in urls.filter_map(authority) {
        let is_elsewhere = !address.is_loopback() && !address.is_unspecified();
        if is_elsewhere && !announced.addresses.contains(&address) {
            announced.addresses.push(address);
        }
    }
    if announced.addresses.iter().all(is_local) {
        announced.addresses.splice(..0, from);
    }
    announced.addresses.sort_by_key(is_local);
    announced.addresses.dedup();
}

/// Reads a datagram that was sent to or from the port of a protocol. One to the port that cannot be read is counted; one from it may be
/// of a program that has the port by chance.
pub(super) fn read<'a, T>(
    datagram: &DiscoveryDatagram<'a>,
    port: u16,
    registry: &mut Registry,
    parse: impl FnOnce(&'a [u8]) -> Option<T>,
) -> Option<T> {
    let is_to_port = datagram.destination.port() == port;
    if !is_to_port && datagram.source.port() != port {
        return None;
    }
    let message = parse(datagram.payload);
    registry.counts.malformed += u64::from(is_to_port && message.is_none());
    message
}

/// Keeps what is known of a thing that is announced by IPv4 and by IPv6: its addresses of the other family, and its URL and port
/// of IPv4, with the sender that stated them, which would otherwise alternate with those of IPv6. An announcement without a URL changes none of these.
pub(super) fn keep_other_family(announced: &mut Discovered, before: &Discovered) {
    let Some(from) = announced.source.ip() else { return };
    let others = before.addresses.iter().filter(|address| address.is_ipv4() != from.is_ipv4());
    for address in others.take(Registry::MAX_ADDRESSES) {
        if !announced.addresses.contains(address) {
            announced.addresses.push(*address);
        }
    }
    if announced.url.is_empty() && !before.url.is_empty() {
        announced.addresses.clone_from(&before.addresses);
    }
    announced.addresses.sort_by_key(IpAddr::is_ipv6);
    let is_of_v4 = before.source.ip().is_some_and(|ip| ip.is_ipv4())
        || authority(before.url.as_bytes()).is_some_and(|(address, _)| address.is_ipv4());
    if !before.url.is_empty() && (announced.url.is_empty() || (from.is_ipv6() && is_of_v4)) {
        announced.url = before.url.clone();
        announced.port = before.port;
        announced.source = before.source;
    }
}

/// Returns the address and port of a URL whose host is an address.
pub(super) fn authority(url: &[u8]) -> Option<(IpAddr, u16)> {
    let text = std::str::from_utf8(url).ok()?;
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        "coap" => 5683,
        _ => return None,
    };
    if let Some(v6) = authority.strip_prefix('[') {
        let (address, port) = v6.split_once(']')?;
        // The zone of a link-local address has a meaning on its own host only (RFC 6874).
        let address = address.split('%').next()?.parse().ok()?;
        let port = if port.is_empty() { default_port } else { port.strip_prefix(':')?.parse().ok()? };
        return Some((IpAddr::V6(address), port));
    }
    let (address, port) = match authority.split_once(':') {
        Some((address, port)) => (address, port.parse().ok()?),
        None => (authority, default_port),
    };
    Some((IpAddr::V4(address.parse().ok()?), port))
}

/// Decodes `%20` and the like. What is not a valid escape stays.
pub(super) fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.first_chunk::<2>().filter(|_| byte == b'%');
        let value = escape.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            u8::from_str_radix(digits, 16).ok()
        });
        decoded.push(value.unwrap_or(byte));
        rest = if value.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    decoded
}

/// Decodes the references that XML defines, such as `&amp;` and `&#228;`. Others stay: they can only be defined by a document type,
/// which is not read.
pub(super) fn xml_decoded(text: &[u8]) -> Vec<u8> {
    /// The longest reference, without `&` and `;`.
    const MAX_REFERENCE: usize = 10;
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let end = after.iter().take(MAX_REFERENCE + 1).position(|byte| *byte == b';');
        let reference = end.filter(|_| byte == b'&').and_then(|end| after.get(..end));
        match reference.and_then(referenced) {
            Some(character) => {
                decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = end.and_then(|end| after.get(end + 1..)).unwrap_or_default();
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

fn referenced(name: &[u8]) -> Option<char> {
    match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        _ => {
            let number = std::str::from_utf8(name.strip_prefix(b"#")?).ok()?;
            let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
            char::from_u32(u32::from_str_radix(digits, radix).ok()?)
        }
    }
}
