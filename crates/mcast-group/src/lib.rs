//! Multicast groups: what an address means, which one to pick, and what it is to be a member.
//!
//! No sockets and no operating system here: addresses, scopes, the IANA registries, and
//! [`Membership`], the one value (with one text form) that says what is joined.
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
