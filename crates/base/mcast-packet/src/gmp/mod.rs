//! IGMP and MLD, by which hosts report group memberships to routers and switches.
//!
//! Both protocols have the same messages. MLD has wider addresses and states times in milliseconds. Therefore
//! [`GmpMessage`] is generic over the address: with [`Ipv4Addr`] it is IGMP (RFC 1112, RFC 2236, RFC 3376 and
//! its successor RFC 9776), with [`Ipv6Addr`] it is MLD (RFC 2710, RFC 3810 and its successor RFC 9777).
//! Multicast router discovery (RFC 4286) uses message types of both protocols and is part of this module.
//!
//! A message borrows its lists, either from received bytes or from slices:
//!
//! ```
//! use mcast_packet::gmp::{IgmpMessage, Record, RecordKind};
//!
//! let (host, group) = ("10.0.0.5".parse()?, "232.1.2.3".parse()?);
//! let sources = ["10.0.0.7".parse()?];
//! let records = [Record { kind: RecordKind::AllowNewSources, group, sources: (&sources).into() }];
//! let report = IgmpMessage::V3Report((&records).into());
//!
//! let mut buffer = [0; 64];
//! let length = report.emit(&mut buffer, host, report.destination())?;
//! assert_eq!(IgmpMessage::parse(&buffer[..length])?, report);
//! assert_eq!(report.to_string(), "IGMPv3 report: allow 10.0.0.7 to 232.1.2.3");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod message;
mod parse;
pub mod querier;

use core::net::{Ipv4Addr, Ipv6Addr};

pub use address::Address;
pub use message::{
    GmpError, GmpMessage, Query, Record, RecordKind, Records, RouterDiscovery, SourceQuery, Sources,
};

pub use crate::list::{List, ListIter};

/// An IGMP message.
pub type IgmpMessage<'a> = GmpMessage<'a, Ipv4Addr>;
/// An MLD message.
pub type MldMessage<'a> = GmpMessage<'a, Ipv6Addr>;
