//! Parsing and building packets: Ethernet, VLAN tags, IEEE 802.11, PPP, Linux cooked captures, IPv4, IPv6, UDP, IGMP, MLD, PIM,
//! and common payloads of multicast.
//!
//! This crate uses no sockets, does not allocate, and does not panic on any input. A [`Packet`] is a layered
//! view of the bytes of one frame. [`Packet::malformed`] reports the layer that could not be decoded; the
//! layers before it remain available. IGMP and MLD have the same messages with addresses of different widths,
//! so one [`gmp::GmpMessage`] serves both, for parsing and building. [`pim::PimMessage`] does the same for
//! PIM. [`Lldp`] and [`Cdp`] name the switch port at the other end of a link, [`Avtp`] the streams and devices of
//! Ethernet audio. [`payload`] recognizes RTP, MPEG-TS, MoldUDP64,
//! PTP, mDNS, SSDP and AMT, and [`sequence`] counts losses by sequence number.
//!
//! ```
//! let frame = [
//!     0x01, 0x00, 0x5e, 0x01, 0x01, 0x05, 0x08, 0x00, 0x27, 0xa1, 0x33, 0xb4, 0x08, 0x00, 0x45, 0x00,
//!     0x00, 0x29, 0x0d, 0xc7, 0x40, 0x00, 0x01, 0x11, 0x91, 0xe7, 0xc0, 0xa8, 0x38, 0x67, 0xe0, 0x01,
//!     0x01, 0x05, 0xcd, 0x66, 0xc3, 0x51, 0x00, 0x15, 0x53, 0xc9, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x2c,
//!     0x20, 0x57, 0x6f, 0x72, 0x6c, 0x64, 0x21, 0x00, 0x00, 0x00, 0x00, 0x00,
//! ];
//! assert_eq!(
//!     mcast_packet::summary(&frame).to_string(),
//!     "Ether / IP / UDP 192.168.56.103:52582 > 224.1.1.5:50001 / Raw / Padding",
//! );
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]

#[cfg(test)]
extern crate std;

mod avtp;
mod cdp;
mod checksum;
mod compose;
mod cooked;
mod encapsulation;
mod fragments;
pub mod gmp;
mod ip;
mod link;
mod list;
mod lldp;
mod packet;
pub mod payload;
pub mod pim;
pub mod sequence;
mod summary;
mod udp;

pub use avtp::{Avtp, AvtpDevice, AvtpFormat};
pub use cdp::Cdp;
pub use checksum::{ChecksumStatus, Checksums, InternetChecksum};
pub use compose::{ControlFrame, ControlPacket, PimFrame, Segments, UdpFrame, UdpPacket, fill_udp_checksum};
pub use cooked::{Cooked, CookedKind, Wireless, WirelessKind};
pub use encapsulation::{
    Carried, Encapsulated, EncapsulationId, EncapsulationProtocol, Enclosing, Tunnel, UnexaminedReason,
};
pub use fragments::{DatagramShape, FragmentParts};
pub use ip::{Fragment, Ip, protocol};
pub use link::{Ethernet, LinkType, MacAddress, Vlan, ether_type};
pub use list::EmitError;
pub use lldp::{Lldp, LldpId, LldpText};
pub use packet::{Arp, DecodeError, DecodeErrorKind, Gmp, Layer, Network, Packet, Pim, Transport};
pub use payload::Payload;
pub use summary::{Hexdump, hexdump, summary};
pub use udp::Udp;
