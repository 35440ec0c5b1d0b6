//! Multicast groups: what an address means, which one to pick, and what it is to be a member.
//!
//! No sockets and no operating system here (`no_std` with `alloc`): addresses, scopes, the IANA
//! registries, and [`Membership`], the one value (with one text form) that says what is joined.
//!
//! | to | take |
//! |---|---|
//! | know that an address is multicast | [`Group`] |
//! | learn how far it reaches, of what sort it is, whose it is | [`Group::scope`], [`Group::kind`], [`Group::assignments`] |
//! | learn its Ethernet address and who shares it | [`Group::ethernet_address`], [`Group::ethernet_aliases`] |
//! | learn whether to use it | [`Group::advice`], and [`Group::explain`] for all of this at once |
//! | get a group of one's own | [`pick`] |
//! | say what to join, and where to send | [`Membership`], [`Destination`] |
//! | understand what a person typed | [`Expand`] |
//! | understand a session description | [`SessionDescription`] |
//!
//! ```
//! use mcast_group::{Group, Membership, Scope};
//!
//! let group: Group = "239.255.255.250".parse()?;
//! assert_eq!(group.scope(), Scope::Local);
//! assert_eq!(group.name(), Some("SSDP"));
//!
//! let membership: Membership = "10.0.0.7@232.1.2.3%eth1:5000".parse()?;
//! assert!(membership.address.group.is_source_specific());
//! assert!(membership.sources.admits("10.0.0.7".parse().unwrap()));
//! assert_eq!(membership.to_string(), "10.0.0.7@232.1.2.3%eth1:5000");
//! # Ok::<(), mcast_group::ParseError>(())
//! ```
#![no_std]

extern crate alloc;

mod advice;
mod destination;
mod ethernet;
mod expand;
mod explain;
mod filter;
mod flags;
mod group;
mod interface;
mod kind;
mod membership;
mod parse_error;
mod pick;
mod reference;
mod registry;
mod scope;
mod sdp;
mod text;

pub use advice::{Advice, Severity, Statement};
pub use destination::{Destination, GroupAddr};
pub use ethernet::EthernetAddress;
pub use expand::{Expand, Expansion, Hints};
pub use explain::Explanation;
pub use filter::SourceFilter;
pub use flags::Flags;
pub use group::{Family, Group, NotMulticast};
pub use interface::{InterfaceIndex, InterfaceSelector};
pub use kind::{AdHocBlock, AdministrativeRange, Kind, Malformation, Prefix, SourceSpecificRange};
pub use membership::Membership;
pub use parse_error::ParseError;
pub use pick::{PickError, PickOptions, pick};
pub use reference::{Cited, Reference};
pub use registry::{
    Assignment, GroupRange, IPV4_REGISTRY_DATE, IPV6_REGISTRY_DATE, Relative, Standing, WellKnown,
};
pub use scope::Scope;
pub use sdp::{DescribedStream, SdpError, SessionDescription};
