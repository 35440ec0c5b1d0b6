//! URLs in the syntax of media players: `udp://[SOURCES]@GROUP:PORT?ttl=4`.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Expand, ParsedText};
use crate::text::parse_sources;
use crate::{InterfaceSelector, ParseError, SourceFilter};

/// Splits `SCHEME://REST`. A scheme consists of letters and digits only: an interface name may contain `://`
/// too.
pub(super) fn split_scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Parses the part after `scheme://`.
pub(super) fn parse(scheme: &str, rest: &str, expand: &Expand) -> Result<ParsedText, ParseError> {
    let rtp = match scheme.to_ascii_lowercase().as_str() {
        "udp" => false,
        "rtp" => true,
        _ => {
            let error = ParseError::new(scheme, "is not a scheme for multicast");
            return Err(error.with_remedy("udp:// or rtp://"));
        }
    };
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let address = address.strip_suffix('/').unwrap_or(address);
    if address.contains('/') {
        let error = ParseError::new(address, "has a path, which is not supported");
        return Err(error.with_remedy("udp://GROUP:PORT"));
    }
    let (sources, endpoint) = split_authority(address)?;
    let endpoint = unescape_zone(endpoint)?;
    let mut parsed = expand.parse_endpoint(&endpoint, sources)?;
    parsed.hints.rtp = rtp;
    apply_query(&mut parsed, query)?;
    Ok(parsed)
}

/// Splits the sources from the rest. In a URL, an `@` without sources before it has no meaning.
fn split_authority(address: &str) -> Result<(Option<SourceFilter>, &str), ParseError> {
    let before_interface = address.find(['%', '"']).unwrap_or(address.len());
    match address[..before_interface].find('@') {
        None => Ok((None, address)),
        Some(0) => Ok((None, &address[1..])),
        Some(at) => Ok((Some(parse_sources(&address[..at])?), &address[at + 1..])),
    }
}

/// Decodes the percent sign before an interface, which a URL escapes as `%25` (RFC 6874 section 2). An
/// unescaped one is accepted too. `%25` followed by nothing is the interface with index 25.
fn unescape_zone(endpoint: &str) -> Result<Cow<'_, str>, ParseError> {
    let Some((host, zone)) = endpoint.split_once("%25") else { return Ok(Cow::Borrowed(endpoint)) };
    if host.contains('%') || zone.is_empty() || zone.starts_with([':', ']']) {
        return Ok(Cow::Borrowed(endpoint));
    }
    Ok(Cow::Owned(alloc::format!("{host}%{}", unescape(zone)?)))
}

fn apply_query(parsed: &mut ParsedText, query: &str) -> Result<(), ParseError> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = unescape(value)?;
        match key {
            "ttl" => parsed.hints.hop_limit = Some(parse_hop_limit(&value)?),
            "localaddr" => set_interface(parsed, pair, parse_local_address(&value)?)?,
            "iface" | "miface" => set_interface(parsed, pair, value.parse()?)?,
            "sources" => set_sources(parsed, pair, parse_sources(&value)?)?,
            "block" => set_sources(parsed, pair, parse_sources(&alloc::format!("!{value}"))?)?,
            _ => parsed.hints.ignored.push(key.into()),
        }
    }
    Ok(())
}

fn parse_hop_limit(text: &str) -> Result<u8, ParseError> {
    text.parse().map_err(|_| ParseError::new(text, "is not a valid TTL").with_remedy("ttl=0 to ttl=255"))
}

fn parse_local_address(text: &str) -> Result<InterfaceSelector, ParseError> {
    let error = |_| ParseError::new(text, "is not an IP address").with_remedy("localaddr=ADDRESS");
    text.parse().map(InterfaceSelector::Address).map_err(error)
}

fn set_interface(
    parsed: &mut ParsedText,
    pair: &str,
    interface: InterfaceSelector,
) -> Result<(), ParseError> {
    match parsed.interface.replace(interface) {
        None => Ok(()),
        Some(_) => {
            Err(ParseError::new(pair, "specifies a second interface").with_remedy("only one interface"))
        }
    }
}

fn set_sources(parsed: &mut ParsedText, pair: &str, sources: SourceFilter) -> Result<(), ParseError> {
    match parsed.sources.replace(sources) {
        None => Ok(()),
        Some(_) => {
            Err(ParseError::new(pair, "specifies sources a second time")
                .with_remedy("only one list of sources"))
        }
    }
}

/// Decodes escapes such as `%20`.
fn unescape(text: &str) -> Result<String, ParseError> {
    let error = || ParseError::new(text, "has an invalid escape").with_remedy("% and two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return Err(error()) };
        bytes.push(
            hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| high << 4 | low).ok_or_else(error)?,
        );
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| error())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
