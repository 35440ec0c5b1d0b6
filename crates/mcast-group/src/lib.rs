//! Multicast groups: what an address means, which one to pick, and what it is to be a member.
//!
//! No sockets and no operating system here: addresses, scopes, the IANA registries, and
//! [`Membership`], the one value (with one text form) that says what is joined.
#![no_std]

extern crate alloc;

mod destination;
mod filter;
mod group;
mod interface;
mod membership;

pub use destination::{Destination, GroupAddr};
pub use filter::SourceFilter;
pub use group::{Family, Group, NotMulticast};
pub use interface::{InterfaceIndex, InterfaceSelector};
pub use membership::{Membership, ParseError};
