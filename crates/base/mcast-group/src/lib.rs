//! Multicast groups: classify, explain and pick addresses, and describe memberships.
//!
//! This crate uses no sockets and no operating system (`no_std` with `alloc`). It holds addresses, scopes,
//! the IANA registries, and [`Membership`], which describes what is joined and has one text form.
//!
//! | to | use |
//! |---|---|
//! | check that an address is multicast | [`Group`] |
//! | get its scope, its kind and its registered names | [`Group::scope`], [`Group::kind`], [`Group::assignments`] |
//! | get its Ethernet address and the groups that share it | [`Group::ethernet_address`], [`Group::ethernet_aliases`] |
//! | decide whether to use it | [`Group::advice`], or [`Group::explain`] for all of the above |
//! | choose an unused group | [`pick`] |
//! | describe what to join and where to send | [`Membership`], [`Destination`] |
//! | the same on a network without multicast | [`HostAddr`] |
//! | parse what a user typed: ranges, names and URLs | [`Expand`], [`GroupPattern`] for groups without ports |
//! | parse a session description (SDP) | [`SessionDescription`] |
//! | check a list of planned memberships | [`AddressPlan`] |
//! | print text from the network | [`SafeText`] |
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
//!
//! With the feature `serde`, [`Group`], [`GroupAddr`], [`Destination`], [`Membership`], [`HostAddr`] and
//! [`InterfaceSelector`] are serialized as their text forms, and [`InterfaceIndex`] as a number.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]

extern crate alloc;

mod advice;
mod ethernet;
mod expand;
mod explain;
mod group;
mod host;
mod kind;
mod membership;
mod named;
mod pattern;
mod pick;
mod plan;
mod reference;
mod registry;
mod safe_text;
mod scope;
mod sdp;
#[cfg(feature = "serde")]
mod serde;
mod text;

pub use advice::{Advice, AdviceSeverity, Statement};
pub use ethernet::EthernetAddress;
pub use expand::{AddrRange, Expand, Expansion, Hints};
pub use explain::Explanation;
pub use group::{Family, Group, GroupFlags, NotMulticast, ParseError};
pub use host::{HostAddr, IsMulticast};
pub use kind::{AdHocBlock, AdministrativeRange, GroupKind, Malformation, Prefix, SourceSpecificRange};
pub use membership::{Destination, GroupAddr, Membership};
pub use pattern::{GroupPattern, GroupPatternError};
pub use pick::{PickError, PickOptions, pick};
pub use plan::{AddressPlan, PlanCheck, PlanEntry, PlanFinding, PlanLine, PlanSeverity};
pub use reference::{Reference, WithReference};
pub use registry::{
    Assignment, GroupRange, IPV4_REGISTRY_DATE, IPV6_REGISTRY_DATE, RegistryStanding, Relative, SendInterval,
    WellKnown,
};
pub use safe_text::SafeText;
pub use scope::Scope;
pub use sdp::{DescribedStream, SdpError, SessionDescription};
pub use text::{InterfaceIndex, InterfaceSelector, SourceFilter};

/// The example of the product's README, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ProductReadme;
