//! The description of a device of UPnP (UPnP Device Architecture 2.0 section 2) or WS-Discovery (Devices Profile for Web Services 1.1
//! section 5): whether it may be fetched, the request, and the answer.
//!
//! Anybody can announce any URL, so a description is fetched on request only, by HTTP without TLS, from the address that announced it,
//! without redirections, and up to a size. `mcast_watch::live::describe` (feature `live`) does that.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use mcast_packet::payload::{XmlScan, XmlToken};

use super::entry::{Discovered, DiscoveredField, DiscoveryProtocol, UntrustedText};
use super::support::{authority, xml_decoded};
use super::wsd;

/// A request for the description of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptionRequest {
    /// Where to connect to.
    pub address: SocketAddr,
    /// What to send: a request of HTTP/1.0, so that the answer ends with the connection.
    pub payload: Vec<u8>,
    /// The identifier of the device. A document may describe several.
    id: UntrustedText,
}

/// Why a description is not fetched, or not read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DescriptionError {
    /// The entry is not a device of UPnP or WS-Discovery with a URL.
    NoDescription,
    /// The URL is not one of HTTP without TLS with an address for a host.
    UnsuitableUrl,
    /// The URL leads to another address than the one that announced it.
    OtherHost {
        /// The address of the URL.
        url: IpAddr,
        /// The address that announced it.
        announced_by: IpAddr,
    },
    /// The answer is not one of HTTP, or has a status other than 200, such as a redirection.
    Refused(Option<u16>),
    /// The answer is longer than [`DescriptionRequest::MAX_LENGTH`].
    TooLong,
    /// The answer describes no device.
    Unreadable,
}

impl DescriptionRequest {
    /// The longest answer that is read, in bytes.
    pub const MAX_LENGTH: usize = 128 << 10;
    /// The longest path of a URL that is requested.
    const MAX_PATH: usize = 512;

    /// Returns whether an entry is a device of UPnP or WS-Discovery with a URL.
    #[must_use]
    pub fn is_offered(entry: &Discovered) -> bool {
        use DiscoveryProtocol::{Ssdp, WsDiscovery};
        matches!(entry.key.protocol, Ssdp | WsDiscovery) && !entry.url.is_empty()
    }

    /// Returns the request for the description of an entry, if it may be fetched.
    ///
    /// # Errors
    /// [`DescriptionError::NoDescription`], [`DescriptionError::UnsuitableUrl`] and [`DescriptionError::OtherHost`].
    pub fn new(entry: &Discovered) -> Result<Self, DescriptionError> {
        if !Self::is_offered(entry) {
            return Err(DescriptionError::NoDescription);
        }
        let text = std::str::from_utf8(entry.url.as_bytes()).map_err(|_| DescriptionError::UnsuitableUrl)?;
        let scheme = text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
        let rest = scheme.and_then(|_| text.get(7..)).ok_or(DescriptionError::UnsuitableUrl)?;
        let (host, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        // A line ending would begin a header, and a URL that was cut leads elsewhere.
        let is_suitable = path.bytes().all(|byte| byte.is_ascii_graphic())
            && path.len() <= Self::MAX_PATH
            && text.len() < UntrustedText::MAX_LENGTH;
        let (address, port) =
            authority(text.as_bytes()).filter(|_| is_suitable).ok_or(DescriptionError::UnsuitableUrl)?;
        let announced_by = entry.source.ip().ok_or(DescriptionError::NoDescription)?;
        if address != announced_by {
            return Err(DescriptionError::OtherHost { url: address, announced_by });
        }
        let address = match address {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                SocketAddrV6::new(v6, port, 0, entry.key.place.interface.number()).into()
            }
            address => SocketAddr::new(address, port),
        };
        // A zone means nothing to the device.
        let host = match host.split_once('%') {
            Some((address, zone)) => {
                format!("{address}]{}", zone.split_once(']').map_or("", |(_, port)| port))
            }
            None => host.to_owned(),
        };
        let (method, rest) = match entry.key.protocol {
            DiscoveryProtocol::WsDiscovery => {
                let body = wsd::metadata_request(entry).ok_or(DescriptionError::UnsuitableUrl)?;
                let length = body.len();
                let headers = format!("Content-Type: application/soap+xml\r\nContent-Length: {length}\r\n");
                ("POST", format!("{headers}\r\n{body}"))
            }
            _ => ("GET", "\r\n".to_owned()),
        };
        let payload = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n{rest}");
        Ok(Self { address, payload: payload.into_bytes(), id: entry.key.id.clone() })
    }

    /// Reads the whole answer: the name of the device, its manufacturer, model and so on.
    ///
    /// # Errors
    /// [`DescriptionError::Refused`], [`DescriptionError::TooLong`] and [`DescriptionError::Unreadable`].
    pub fn read(&self, answer: &[u8]) -> Result<Vec<DiscoveredField>, DescriptionError> {
        if answer.len() > Self::MAX_LENGTH {
            return Err(DescriptionError::TooLong);
        }
        let status = answer
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| rest.get(1..5))
            .and_then(|status| std::str::from_utf8(status).ok()?.trim_start().parse().ok());
        if status != Some(200) {
            return Err(DescriptionError::Refused(status));
        }
        let end =
            answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or(DescriptionError::Unreadable)?;
        let body = answer.get(end + 4..).unwrap_or_default();
        self.device(body).ok_or(DescriptionError::Unreadable)
    }

    /// Returns the fields of the device with the identifier, or of the first one.
    fn device(&self, document: &[u8]) -> Option<Vec<DiscoveredField>> {
        /// The elements that are read, in the case of UPnP or of web services, and the names of their fields.
        const READ: [(&[u8], &str); 9] = [
            (b"Computer", "computer"),
            (b"friendlyName", "friendly name"),
            (b"manufacturer", "manufacturer"),
            (b"modelName", "model"),
            (b"modelNumber", "model number"),
            (b"modelDescription", "model description"),
            (b"serialNumber", "serial number"),
            (b"presentationURL", "page"),
            (b"UDN", "identifier"),
        ];
        /// Devices in a document, and how deep they are nested.
        const MAX_DEVICES: usize = 32;
        let mut devices: Vec<Vec<DiscoveredField>> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut element: &[u8] = b"";
        for token in XmlScan::new(document) {
            match token {
                XmlToken::Start(b"device" | b"Metadata") if devices.len() < MAX_DEVICES => {
                    open.push(devices.len());
                    devices.push(Vec::new());
                }
                XmlToken::Start(name) => element = name,
                XmlToken::End(b"device") => drop(open.pop()),
                XmlToken::End(_) => element = b"",
                XmlToken::Text(text) => {
                    let device = open.last().and_then(|at| devices.get_mut(*at));
                    let read = READ.iter().find(|(read, _)| read.eq_ignore_ascii_case(element));
                    let name = read.map(|(_, name)| *name);
                    // `NAME/Workgroup:GROUP`
                    let end = text.iter().position(|byte| *byte == b'/' && name == Some("computer"));
                    let text = text.get(..end.unwrap_or(UntrustedText::MAX_LENGTH)).unwrap_or(text);
                    if let (Some(device), Some(name)) = (device, name)
                        && !device.iter().any(|field| field.name.as_bytes() == name.as_bytes())
                    {
                        let value = UntrustedText::new(xml_decoded(text));
                        device.push(DiscoveredField { name: name.into(), value });
                    }
                }
            }
        }
        let is_own = |fields: &Vec<DiscoveredField>| {
            let id = fields.iter().find(|field| field.name.as_bytes() == b"identifier");
            id.is_some_and(|id| {
                let id = id.value.as_bytes();
                let id = id.get(5..).filter(|_| id.to_ascii_lowercase().starts_with(b"uuid:")).unwrap_or(id);
                id.eq_ignore_ascii_case(self.id.as_bytes())
            })
        };
        let at = devices.iter().position(is_own).unwrap_or_default();
        devices.into_iter().nth(at).filter(|fields| !fields.is_empty())
    }
}

impl std::fmt::Display for DescriptionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoDescription => f.write_str("it is not a device of UPnP or WS-Discovery with a URL"),
            Self::UnsuitableUrl => f.write_str("its URL is not one of HTTP with an address for a host"),
            Self::OtherHost { url, announced_by } => {
                write!(f, "its URL leads to {url}, but it was announced by {announced_by}")
            }
            Self::Refused(Some(status)) => write!(f, "the device answered with status {status}"),
            Self::Refused(None) => f.write_str("the device did not answer by HTTP"),
            Self::TooLong => {
                write!(f, "the description is longer than {} bytes", DescriptionRequest::MAX_LENGTH)
            }
            Self::Unreadable => f.write_str("the answer describes no device"),
        }
    }
}

impl std::error::Error for DescriptionError {}
