//! WS-Discovery (OASIS, Web Services Dynamic Discovery 1.1, and the draft of April 2005 that most devices implement).

use core::fmt;

use super::EscapedText;
use super::xml::{XmlScan, XmlToken, find};

/// A message of WS-Discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WsDiscovery<'a> {
    /// The type of the message.
    pub kind: WsDiscoveryKind,
    /// What follows the start of its element.
    content: XmlScan<'a>,
}

mcast_group::named! {
    /// The type of a WS-Discovery message.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum WsDiscoveryKind {
        /// Announces a service.
        Hello = "Hello",
        /// Withdraws a service.
        Bye = "Bye",
        /// Searches for services.
        Probe = "Probe",
        /// Responds to a search.
        ProbeMatches = "ProbeMatches",
        /// Asks for the addresses of a service.
        Resolve = "Resolve",
        /// Responds with the addresses of a service.
        ResolveMatches = "ResolveMatches",
    }
    /// Returns the name of its element.
    fn name;
}

/// A service of which a WS-Discovery message informs. What is not stated is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WsEndpoint<'a> {
    /// Its identifier, usually `urn:uuid:…`.
    pub address: &'a [u8],
    /// Its types, separated by white space, each with a prefix.
    pub types: &'a [u8],
    /// Its scopes, which are URIs separated by white space.
    pub scopes: &'a [u8],
    /// Its URLs, separated by white space.
    pub urls: &'a [u8],
    /// The version of its metadata, which increases when they change.
    pub metadata_version: &'a [u8],
}

impl<'a> WsDiscovery<'a> {
    /// The port of WS-Discovery.
    pub const PORT: u16 = 3702;

    /// Parses the payload of a datagram. Returns `None` if the body of the envelope does not begin with a message of WS-Discovery.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        find(bytes, b"ws/2005/04/discovery").or_else(|| find(bytes, b"ws-dd/ns/discovery"))?;
        let mut content = XmlScan::new(bytes);
        content.find(|token| *token == XmlToken::Start(b"Body"))?;
        let Some(XmlToken::Start(name)) = content.next() else { return None };
        let kind = WsDiscoveryKind::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)?;
        Some(Self { kind, content })
    }

    /// Returns the services that the message announces, withdraws, or searches for.
    #[must_use]
    pub const fn endpoints(&self) -> WsEndpoints<'a> {
        WsEndpoints { rest: self.content }
    }

    pub(super) fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {}", self.kind.name())?;
        match self.endpoints().next() {
            Some(first) if !first.types.is_empty() => {
                write!(f, ", types {}", EscapedText { bytes: first.types, max_length: 64 })
            }
            _ => Ok(()),
        }
    }
}

/// An iterator over the services of a message.
#[derive(Clone, Debug)]
pub struct WsEndpoints<'a> {
    rest: XmlScan<'a>,
}

impl<'a> Iterator for WsEndpoints<'a> {
    type Item = WsEndpoint<'a>;

    fn next(&mut self) -> Option<WsEndpoint<'a>> {
        let mut endpoint = WsEndpoint::default();
        let mut element: &[u8] = b"";
        while let Some(token) = self.rest.next() {
            match token {
                XmlToken::Start(name) => element = name,
                XmlToken::Text(text) => {
                    let field = match element {
                        b"Address" => &mut endpoint.address,
                        b"Types" => &mut endpoint.types,
                        b"Scopes" => &mut endpoint.scopes,
                        b"XAddrs" => &mut endpoint.urls,
                        b"MetadataVersion" => &mut endpoint.metadata_version,
                        _ => continue,
                    };
                    // Parameters of the reference may have an element of the same name.
                    if field.is_empty() {
                        *field = text;
                    }
                }
                XmlToken::End(
                    b"ProbeMatch" | b"ResolveMatch" | b"Hello" | b"Bye" | b"Probe" | b"Resolve",
                ) => {
                    return Some(endpoint);
                }
                // Nothing after the body belongs to a service.
                XmlToken::End(b"Body") => self.rest = XmlScan::new(b""),
                XmlToken::End(_) => element = b"",
            }
        }
        // A truncated message.
        (endpoint != WsEndpoint::default()).then_some(endpoint)
    }
}
