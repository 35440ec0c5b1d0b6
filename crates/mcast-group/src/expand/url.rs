//! URLs as media players take them: `udp://[SOURCES]@GROUP:PORT?ttl=4`.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Expand, Request};
use crate::text::parse_sources;
use crate::{InterfaceSelector, ParseError, SourceFilter};

/// `SCHEME://REST` parted. Only letters and digits make a scheme: an interface name may hold `://` too.
pub(super) fn split_scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// What stands behind `scheme://`.
pub(super) fn read(scheme: &str, rest: &str, expand: &Expand) -> Result<Request, ParseError> {
    let rtp = match scheme.to_ascii_lowercase().as_str() {
        "udp" => false,
        "rtp" => true,
        _ => return Err(ParseError::new(scheme, "is no scheme for multicast").write("udp:// or rtp://")),
    };
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let address = address.strip_suffix('/').unwrap_or(address);
    if address.contains('/') {
        return Err(ParseError::new(address, "has a path, which a group has not").write("udp://GROUP:PORT"));
    }
    let (sources, endpoint) = split_authority(address)?;
    let endpoint = unescape_zone(endpoint)?;
    let mut request = expand.read_endpoint(&endpoint, sources)?;
    request.hints.rtp = rtp;
    apply_query(&mut request, query)?;
    Ok(request)
}

/// A URL may have an `@` without sources before it, which says nothing.
fn split_authority(address: &str) -> Result<(Option<SourceFilter>, &str), ParseError> {
    let before_interface = address.find(['%', '"']).unwrap_or(address.len());
    match address[..before_interface].find('@') {
        None => Ok((None, address)),
        Some(0) => Ok((None, &address[1..])),
        Some(at) => Ok((Some(parse_sources(&address[..at])?), &address[at + 1..])),
    }
}

/// In a URL the percent sign before an interface is itself escaped, as `%25` (RFC 6874 section 2);
/// people also leave it as it is. `%25` with nothing behind it is the interface with index 25.
fn unescape_zone(endpoint: &str) -> Result<Cow<'_, str>, ParseError> {
    let Some((host, zone)) = endpoint.split_once("%25") else { return Ok(Cow::Borrowed(endpoint)) };
    if host.contains('%') || zone.is_empty() || zone.starts_with([':', ']']) {
        return Ok(Cow::Borrowed(endpoint));
    }
    Ok(Cow::Owned(alloc::format!("{host}%{}", unescape(zone)?)))
}

fn apply_query(request: &mut Request, query: &str) -> Result<(), ParseError> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = unescape(value)?;
        match key {
            "ttl" => request.hints.hop_limit = Some(parse_hop_limit(&value)?),
            "localaddr" => set_interface(request, pair, parse_local_address(&value)?)?,
            "iface" | "miface" => set_interface(request, pair, value.parse()?)?,
            "sources" => set_sources(request, pair, parse_sources(&value)?)?,
            "block" => set_sources(request, pair, parse_sources(&alloc::format!("!{value}"))?)?,
            _ => request.hints.ignored.push(key.into()),
        }
    }
    Ok(())
}

fn parse_hop_limit(text: &str) -> Result<u8, ParseError> {
    text.parse().map_err(|_| ParseError::new(text, "is no TTL").write("ttl=0 to ttl=255"))
}

fn parse_local_address(text: &str) -> Result<InterfaceSelector, ParseError> {
    let wrong = |_| ParseError::new(text, "is no address of an interface").write("localaddr=ADDRESS");
    text.parse().map(InterfaceSelector::Address).map_err(wrong)
}

fn set_interface(request: &mut Request, pair: &str, interface: InterfaceSelector) -> Result<(), ParseError> {
    match request.interface.replace(interface) {
        None => Ok(()),
        Some(_) => Err(ParseError::new(pair, "names a second interface").write("one interface")),
    }
}

fn set_sources(request: &mut Request, pair: &str, sources: SourceFilter) -> Result<(), ParseError> {
    match request.sources.replace(sources) {
        None => Ok(()),
        Some(_) => Err(ParseError::new(pair, "names sources a second time").write("one list of sources")),
    }
}

/// Text with escapes such as `%20` resolved.
fn unescape(text: &str) -> Result<String, ParseError> {
    let wrong = || ParseError::new(text, "has a broken escape").write("% and two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return Err(wrong()) };
        bytes.push(
            hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| high << 4 | low).ok_or_else(wrong)?,
        );
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
