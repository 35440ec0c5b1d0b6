//! DMX512 over IP: sACN (ANSI E1.31-2018) and Art-Net 4.

use core::fmt;
use core::net::Ipv4Addr;

use super::EscapedText;
use crate::link::MacAddress;
use crate::list::{array_at, u8_at, u16_at, u32_at};

/// A packet of sACN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sacn<'a> {
    /// The identifier of the source, which stays the same when it restarts.
    pub source: [u8; 16],
    /// The name of the source in UTF-8; empty in packets that synchronize.
    pub name: &'a [u8],
    /// What the packet carries.
    pub content: SacnContent<'a>,
}

/// What a packet of sACN carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SacnContent<'a> {
    /// The levels of a universe.
    Data {
        /// The universe.
        universe: u16,
        /// The priority of the source, from 0 to 200.
        priority: u8,
        /// The sequence number.
        sequence: u8,
        /// The universe of the packets that synchronize this one; 0 for none.
        synchronization: u16,
        /// The number of slots, which is at most 512.
        slots: u16,
        /// Whether the data are for a preview only.
        is_preview: bool,
        /// Whether the source ends this universe.
        is_terminated: bool,
    },
    /// Synchronizes the universes that refer to this one.
    Synchronization(u16),
    /// Lists the universes of the source.
    Discovery {
        /// The number of this page and of the last one, from 0.
        page: (u8, u8),
        /// The universes of this page, in big-endian order.
        universes: &'a [[u8; 2]],
    },
}

impl<'a> Sacn<'a> {
    /// The port of sACN.
    pub const PORT: u16 = 5568;

    /// Parses the payload of a datagram. Returns `None` if it is not a complete packet of a known type.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.get(4..16) != Some(b"ASC-E1.17\0\0\0") {
            return None;
        }
        // The vectors of the root layer and of the framing layer (E1.31 sections 5.5 and 6.2.1).
        let named = |content| Some((padded(bytes, 44, 64)?, content));
        let (name, content) = match (u32_at(bytes, 18)?, u32_at(bytes, 40)?) {
            (4, 2) => {
                let options = u8_at(bytes, 112)?;
                named(SacnContent::Data {
                    universe: u16_at(bytes, 113)?,
                    priority: u8_at(bytes, 108)?,
                    sequence: u8_at(bytes, 111)?,
                    synchronization: u16_at(bytes, 109)?,
                    slots: u16_at(bytes, 123)?.saturating_sub(1),
                    is_preview: options & 0x80 != 0,
                    is_terminated: options & 0x40 != 0,
                })?
            }
            (8, 1) => (&[][..], SacnContent::Synchronization(u16_at(bytes, 45)?)),
            (8, 2) => {
                let (universes, _) = bytes.get(120..)?.as_chunks();
                named(SacnContent::Discovery { page: (u8_at(bytes, 118)?, u8_at(bytes, 119)?), universes })?
            }
            _ => return None,
        };
        Some(Self { source: array_at(bytes, 22)?, name, content })
    }

    pub(super) fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            SacnContent::Data { universe, priority, sequence, slots, .. } => {
                write!(f, " universe {universe}, number {sequence}, priority {priority}, {slots} slots")?;
            }
            SacnContent::Synchronization(universe) => {
                return write!(f, " synchronization, universe {universe}");
            }
            SacnContent::Discovery { page: (page, last), universes } => {
                write!(f, " discovery, page {page} of 0 to {last}, {} universes", universes.len())?;
            }
        }
        write!(f, ", source {}", EscapedText { bytes: self.name, max_length: 64 })
    }
}

/// A packet of Art-Net.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtNet<'a> {
    /// Asks all nodes to describe themselves.
    Poll,
    /// Describes a node.
    PollReply(ArtPollReply<'a>),
    /// The levels of a universe.
    Dmx {
        /// The universe, with its net and sub-net.
        universe: u16,
        /// The sequence number; 0 if the sender does not count.
        sequence: u8,
        /// The number of slots.
        slots: u16,
    },
    /// Another operation.
    Other(u16),
}

/// A node of Art-Net, as it describes itself. A node with more than four ports sends several descriptions, each with a bind index
/// of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtPollReply<'a> {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port, usually [`ArtNet::PORT`].
    pub port: u16,
    /// The version of its firmware.
    pub firmware: u16,
    /// Its type, as the owner of Art-Net assigned it.
    pub oem: u16,
    /// Its short name.
    pub short_name: &'a [u8],
    /// Its long name.
    pub long_name: &'a [u8],
    /// Its status as text.
    pub report: &'a [u8],
    /// Its MAC address; zero if it is not stated.
    pub mac: MacAddress,
    /// Which of its descriptions this is; 0 or 1 for the first.
    pub bind_index: u8,
    net: u8,
    subnet: u8,
    kinds: [u8; 4],
    inputs: [u8; 4],
    outputs: [u8; 4],
}

impl<'a> ArtNet<'a> {
    /// The port of Art-Net.
    pub const PORT: u16 = 6454;

    /// Parses the payload of a datagram. Returns `None` if it does not begin with the name of the protocol, or ends too early.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if !bytes.starts_with(b"Art-Net\0") {
            return None;
        }
        Some(match u16::from_le_bytes(array_at(bytes, 8)?) {
            0x2000 => Self::Poll,
            0x2100 => Self::PollReply(ArtPollReply::parse(bytes)?),
            0x5000 => Self::Dmx {
                universe: u16::from_le_bytes(array_at(bytes, 14)?),
                sequence: u8_at(bytes, 12)?,
                slots: u16_at(bytes, 16)?,
            },
            other => Self::Other(other),
        })
    }

    pub(super) fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poll => f.write_str(" poll"),
            Self::PollReply(node) => {
                let name = EscapedText { bytes: node.short_name, max_length: 18 };
                write!(f, " poll reply, {}, {name}", node.address)
            }
            Self::Dmx { universe, sequence, slots } => {
                write!(f, " DMX, universe {universe}, number {sequence}, {slots} slots")
            }
            Self::Other(operation) => write!(f, " operation {operation:#06x}"),
        }
    }
}

impl<'a> ArtPollReply<'a> {
    /// Parses a description. Older nodes omit what follows the universes.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            address: Ipv4Addr::from(array_at::<4>(bytes, 10)?),
            port: u16::from_le_bytes(array_at(bytes, 14)?),
            firmware: u16_at(bytes, 16)?,
            net: u8_at(bytes, 18)? & 0x7f,
            subnet: u8_at(bytes, 19)? & 0x0f,
            oem: u16_at(bytes, 20)?,
            short_name: padded(bytes, 26, 18)?,
            long_name: padded(bytes, 44, 64)?,
            report: padded(bytes, 108, 64)?,
            kinds: array_at(bytes, 174)?,
            inputs: array_at(bytes, 186)?,
            outputs: array_at(bytes, 190)?,
            mac: MacAddress(array_at(bytes, 201).unwrap_or_default()),
            bind_index: u8_at(bytes, 211).unwrap_or_default(),
        })
    }

    /// Returns the universes that the node receives from the network and outputs.
    pub fn outputs(&self) -> impl Iterator<Item = u16> {
        self.universes(0x80, self.outputs)
    }

    /// Returns the universes that the node inputs and sends to the network.
    pub fn inputs(&self) -> impl Iterator<Item = u16> {
        self.universes(0x40, self.inputs)
    }

    /// Returns the 15-bit numbers of the ports of this kind. The number of ports that a node states is not relied on: many nodes
    /// state one without counting.
    fn universes(&self, kind: u8, ports: [u8; 4]) -> impl Iterator<Item = u16> {
        let base = u16::from(self.net) << 8 | u16::from(self.subnet) << 4;
        let ports = self.kinds.into_iter().zip(ports);
        ports.filter(move |(kinds, _)| kinds & kind != 0).map(move |(_, port)| base | u16::from(port & 0x0f))
    }
}

/// Returns a text that is padded with zeros.
fn padded(bytes: &[u8], from: usize, length: usize) -> Option<&[u8]> {
    let text = bytes.get(from..from + length)?;
    text.split(|byte| *byte == 0).next().map(<[u8]>::trim_ascii)
}
