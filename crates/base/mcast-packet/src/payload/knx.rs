//! KNXnet/IP (EN 13321-2), the search for servers of KNX in particular.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

use super::EscapedText;
use crate::link::MacAddress;
use crate::list::{array_at, u8_at, u16_at};

/// A message of KNXnet/IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knx<'a> {
    /// The type of service.
    pub service: u16,
    body: &'a [u8],
}

/// A device of KNX, as it describes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnxDevice<'a> {
    /// Whether it is in programming mode.
    pub is_programming: bool,
    /// Its individual address: area, line and device.
    pub address: (u8, u8, u8),
    /// Its serial number.
    pub serial: [u8; 6],
    /// The group to which it routes.
    pub group: Ipv4Addr,
    /// Its MAC address.
    pub mac: MacAddress,
    /// Its name, in ISO 8859-1.
    pub name: &'a [u8],
}

impl<'a> Knx<'a> {
    /// The port of KNXnet/IP.
    pub const PORT: u16 = 3671;
    /// Searches for servers.
    pub const SEARCH_REQUEST: u16 = 0x0201;
    /// Responds to a search.
    pub const SEARCH_RESPONSE: u16 = 0x0202;
    /// Responds to a search by features.
    pub const EXTENDED_SEARCH_RESPONSE: u16 = 0x020c;

    /// Parses the payload of a datagram. Returns `None` if its header is not that of version 1.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (is_header, length) = (bytes.starts_with(&[6, 0x10]), usize::from(u16_at(bytes, 4)?));
        let service = u16_at(bytes, 2)?;
        let body = bytes.get(6..length).filter(|_| is_header)?;
        Some(Self { service, body })
    }

    /// Returns whether the message responds to a search.
    #[must_use]
    pub const fn is_search_response(&self) -> bool {
        matches!(self.service, Self::SEARCH_RESPONSE | Self::EXTENDED_SEARCH_RESPONSE)
    }

    /// Returns the address and port of the server that responds to a search. Both are zero if it is behind a translation of
    /// addresses.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddrV4> {
        let is_endpoint = self.is_search_response() && u8_at(self.body, 0) == Some(8);
        let address = Ipv4Addr::from(array_at::<4>(self.body, 2)?);
        is_endpoint.then_some(SocketAddrV4::new(address, u16_at(self.body, 6)?))
    }

    /// Returns the device that responds to a search.
    #[must_use]
    pub fn device(&self) -> Option<KnxDevice<'a>> {
        let bytes = self.blocks().find_map(|(kind, bytes)| (kind == 1).then_some(bytes))?;
        let [high, device] = array_at(bytes, 2)?;
        let name = bytes.get(22..52)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        Some(KnxDevice {
            is_programming: u8_at(bytes, 1)? & 1 != 0,
            address: (high >> 4, high & 0x0f, device),
            serial: array_at(bytes, 6)?,
            group: Ipv4Addr::from(array_at::<4>(bytes, 12)?),
            mac: MacAddress(array_at(bytes, 16)?),
            name: name.get(..end)?.trim_ascii(),
        })
    }

    /// Returns the families of services that the server supports, such as `tunneling`, each with its version.
    pub fn families(&self) -> impl Iterator<Item = (&'static str, u8)> {
        let supported = self.blocks().find_map(|(kind, bytes)| (kind == 2).then_some(bytes));
        let (pairs, _) = supported.unwrap_or_default().as_chunks::<2>();
        pairs.iter().map(|[family, version]| {
            let name = match family {
                2 => "core",
                3 => "device management",
                4 => "tunneling",
                5 => "routing",
                6 => "remote logging",
                7 => "remote configuration",
                8 => "object server",
                9 => "security",
                _ => "other",
            };
            (name, *version)
        })
    }

    /// Returns the blocks that describe a server, each with its type and content.
    fn blocks(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = match self.is_search_response() {
            true => self.body.get(8..).unwrap_or_default(),
            false => &[],
        };
        core::iter::from_fn(move || {
            let (length, kind) = (u8_at(rest, 0)?, u8_at(rest, 1)?);
            let content = rest.get(2..usize::from(length))?;
            rest = rest.get(usize::from(length)..)?;
            Some((kind, content))
        })
    }

    pub(super) fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.service {
            Self::SEARCH_REQUEST | 0x020b => f.write_str(" search request"),
            Self::SEARCH_RESPONSE | Self::EXTENDED_SEARCH_RESPONSE => f.write_str(" search response"),
            0x0203 => f.write_str(" description request"),
            0x0204 => f.write_str(" description response"),
            0x0530 => f.write_str(" routing indication"),
            0x0531 => f.write_str(" routing lost message"),
            0x0532 => f.write_str(" routing busy"),
            other => write!(f, " service {other:#06x}"),
        }?;
        match self.device() {
            Some(device) => write!(f, ", {}", EscapedText { bytes: device.name, max_length: 30 }),
            None => Ok(()),
        }
    }
}
