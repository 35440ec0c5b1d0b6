//! Automatic Multicast Tunneling (RFC 7450): multicast in UDP, between a relay in a network with multicast and
//! gateways in networks without.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::EmitError;
use crate::list::{Writer, array_at, u8_at, u16_at, u32_at};
use crate::packet::Packet;
use crate::udp::AMT_PORT;

/// A message of AMT (RFC 7450 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmtMessage<'a> {
    /// A gateway looks for a relay.
    RelayDiscovery {
        /// The number that the advertisement repeats.
        nonce: u32,
    },
    /// A relay announces its unicast address.
    RelayAdvertisement {
        /// The number of the discovery.
        nonce: u32,
        /// The address of the relay.
        relay: IpAddr,
    },
    /// A gateway requests a query.
    Request {
        /// The number that the query repeats.
        nonce: u32,
        /// Whether the query must be one of MLDv2; otherwise of IGMPv3.
        wants_mld: bool,
    },
    /// A relay queries the memberships of a gateway.
    MembershipQuery {
        /// Whether the relay accepts no further gateways.
        is_full: bool,
        /// What an update has to contain.
        mac: AmtMac,
        /// The number of the request.
        nonce: u32,
        /// The IP packet with the general query.
        packet: &'a [u8],
        /// The address from which the relay has received the request.
        gateway: Option<SocketAddr>,
    },
    /// A gateway reports its memberships.
    MembershipUpdate {
        /// That of the query.
        mac: AmtMac,
        /// The number of the query.
        nonce: u32,
        /// The IP packet with the report.
        packet: &'a [u8],
    },
    /// A relay sends a datagram of a group.
    MulticastData {
        /// The IP packet.
        packet: &'a [u8],
    },
    /// A gateway ends a tunnel, for example because its address has changed.
    Teardown {
        /// That of the query.
        mac: AmtMac,
        /// The number of the query.
        nonce: u32,
        /// The address of the gateway in the query.
        gateway: SocketAddr,
    },
}

/// A message authentication code of a relay: only who receives at an address learns the code of that address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AmtMac(pub [u8; 6]);

/// The lengths of port and address of a gateway.
const GATEWAY_LENGTH: usize = 18;
/// The length of everything before the packet of a query or update.
const CONTROL_LENGTH: usize = 12;
const LIMIT: u8 = 0b10;
const HAS_GATEWAY: u8 = 0b01;

impl<'a> AmtMessage<'a> {
    /// The port of relays.
    pub const PORT: u16 = AMT_PORT;

    /// The length of a multicast data message before the IP packet.
    pub const DATA_HEADER_LENGTH: usize = 2;

    /// Parses the payload of a datagram. Returns `None` if the version is not 0, the type is undefined or the length is
    /// not valid for the type. Reserved bits are ignored. The packets inside are not checked.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let kind = u8_at(bytes, 0)?;
        let is_long = |length| bytes.len() == length;
        Some(match kind {
            1 if is_long(8) => Self::RelayDiscovery { nonce: u32_at(bytes, 4)? },
            2 if is_long(12) || is_long(24) => {
                let relay = match array_at::<16>(bytes, 8) {
                    Some(octets) => Ipv6Addr::from(octets).into(),
                    None => Ipv4Addr::from(array_at::<4>(bytes, 8)?).into(),
                };
                Self::RelayAdvertisement { nonce: u32_at(bytes, 4)?, relay }
            }
            3 if is_long(8) => {
                Self::Request { nonce: u32_at(bytes, 4)?, wants_mld: u8_at(bytes, 1)? & 1 != 0 }
            }
            4 => Self::parse_query(bytes)?,
            5 => {
                let (mac, nonce) = mac_and_nonce(bytes)?;
                Self::MembershipUpdate { mac, nonce, packet: bytes.get(CONTROL_LENGTH..)? }
            }
            6 => Self::MulticastData { packet: bytes.get(Self::DATA_HEADER_LENGTH..)? },
            7 if is_long(CONTROL_LENGTH + GATEWAY_LENGTH) => {
                let (mac, nonce) = mac_and_nonce(bytes)?;
                Self::Teardown { mac, nonce, gateway: gateway_at(bytes, CONTROL_LENGTH)? }
            }
            _ => return None,
        })
    }

    fn parse_query(bytes: &'a [u8]) -> Option<Self> {
        let (mac, nonce) = mac_and_nonce(bytes)?;
        let flags = u8_at(bytes, 1)?;
        let (end, gateway) = match flags & HAS_GATEWAY {
            0 => (bytes.len(), None),
            _ => {
                let end = bytes.len().checked_sub(GATEWAY_LENGTH)?;
                (end, Some(gateway_at(bytes, end)?))
            }
        };
        let packet = bytes.get(CONTROL_LENGTH..end)?;
        Some(Self::MembershipQuery { is_full: flags & LIMIT != 0, mac, nonce, packet, gateway })
    }

    /// Writes the message to the start of the buffer and returns its length.
    ///
    /// # Errors
    /// Returns [`EmitError::BufferTooShort`] if it does not fit.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let mut writer = Writer::new(buffer);
        match *self {
            Self::RelayDiscovery { nonce } => {
                writer.put(&[1, 0, 0, 0])?;
                writer.put_u32(nonce)?;
            }
            Self::RelayAdvertisement { nonce, relay } => {
                writer.put(&[2, 0, 0, 0])?;
                writer.put_u32(nonce)?;
                match relay {
                    IpAddr::V4(relay) => writer.put(&relay.octets())?,
                    IpAddr::V6(relay) => writer.put(&relay.octets())?,
                }
            }
            Self::Request { nonce, wants_mld } => {
                writer.put(&[3, u8::from(wants_mld), 0, 0])?;
                writer.put_u32(nonce)?;
            }
            Self::MembershipQuery { is_full, mac, nonce, packet, gateway } => {
                let limit = if is_full { LIMIT } else { 0 };
                let has_gateway = if gateway.is_some() { HAS_GATEWAY } else { 0 };
                put_control(&mut writer, [4, limit | has_gateway], mac, nonce)?;
                writer.put(packet)?;
                gateway.map_or(Ok(()), |gateway| put_gateway(&mut writer, gateway))?;
            }
            Self::MembershipUpdate { mac, nonce, packet } => {
                put_control(&mut writer, [5, 0], mac, nonce)?;
                writer.put(packet)?;
            }
            Self::MulticastData { packet } => {
                writer.put(&[6, 0])?;
                writer.put(packet)?;
            }
            Self::Teardown { mac, nonce, gateway } => {
                put_control(&mut writer, [7, 0], mac, nonce)?;
                put_gateway(&mut writer, gateway)?;
            }
        }
        Ok(writer.position())
    }

    /// Returns the IP packet inside.
    #[must_use]
    pub const fn packet(&self) -> Option<&'a [u8]> {
        match self {
            Self::MembershipQuery { packet, .. }
            | Self::MembershipUpdate { packet, .. }
            | Self::MulticastData { packet } => Some(packet),
            _ => None,
        }
    }
}

fn mac_and_nonce(bytes: &[u8]) -> Option<(AmtMac, u32)> {
    Some((AmtMac(array_at(bytes, 2)?), u32_at(bytes, 8)?))
}

/// Reads port and address. An IPv4 address has 96 bits of zero before it (RFC 7450 section 5.1.4.9.2).
fn gateway_at(bytes: &[u8], offset: usize) -> Option<SocketAddr> {
    let address = Ipv6Addr::from(array_at::<16>(bytes, offset + 2)?);
    let address = match address.to_bits() {
        // Of the first 2^32 addresses, those that a host can have are all of IPv4, except for the loopback address.
        0 | 1 => address.into(),
        bits => match u32::try_from(bits) {
            Ok(bits) => Ipv4Addr::from_bits(bits).into(),
            Err(_) => address.into(),
        },
    };
    Some(SocketAddr::new(address, u16_at(bytes, offset)?))
}

fn put_control(writer: &mut Writer<'_>, head: [u8; 2], mac: AmtMac, nonce: u32) -> Result<(), EmitError> {
    writer.put(&head)?;
    writer.put(&mac.0)?;
    writer.put_u32(nonce)
}

fn put_gateway(writer: &mut Writer<'_>, gateway: SocketAddr) -> Result<(), EmitError> {
    let address = match gateway.ip() {
        IpAddr::V4(address) => Ipv6Addr::from_bits(address.to_bits().into()),
        IpAddr::V6(address) => address,
    };
    writer.put_u16(gateway.port())?;
    writer.put(&address.octets())
}

impl fmt::Display for AmtMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RelayDiscovery { nonce } => write!(f, "AMT relay discovery, nonce {nonce:08x}"),
            Self::RelayAdvertisement { nonce, relay } => {
                write!(f, "AMT relay advertisement: {relay}, nonce {nonce:08x}")
            }
            Self::Request { nonce, wants_mld } => {
                let protocol = if *wants_mld { "MLD" } else { "IGMP" };
                write!(f, "AMT request for {protocol}, nonce {nonce:08x}")
            }
            Self::MembershipQuery { is_full, nonce, gateway, packet, .. } => {
                write!(f, "AMT membership query, nonce {nonce:08x}")?;
                if *is_full {
                    f.write_str(", relay full")?;
                }
                if let Some(gateway) = gateway {
                    write!(f, ", gateway {gateway}")?;
                }
                write_inner(f, packet)
            }
            Self::MembershipUpdate { nonce, packet, .. } => {
                write!(f, "AMT membership update, nonce {nonce:08x}")?;
                write_inner(f, packet)
            }
            Self::MulticastData { packet } => {
                f.write_str("AMT multicast data")?;
                write_inner(f, packet)
            }
            Self::Teardown { nonce, gateway, .. } => {
                write!(f, "AMT teardown, nonce {nonce:08x}, gateway {gateway}")
            }
        }
    }
}

/// Writes the packet inside. Its payload is not recognized: it could be AMT again, to any depth.
fn write_inner(f: &mut fmt::Formatter<'_>, packet: &[u8]) -> fmt::Result {
    write!(f, " / {}", Packet::ip(packet).summary_with(&"Raw"))
}
