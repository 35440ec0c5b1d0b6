//! A membership, as the tables of the system have it.

use std::net::IpAddr;

/// A group that is joined on an interface, by whomever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) group: IpAddr,
    pub(crate) interface: u32,
}
