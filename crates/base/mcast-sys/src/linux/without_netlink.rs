//! The fallback where netlink is refused. Linux has no other reliable source, so the error is
//! returned.

use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

use crate::Interface;

pub(crate) fn list(refusal: io::Error) -> io::Result<Vec<Interface>> {
    Err(refusal)
}

pub(crate) fn interface_towards(_address: IpAddr, refusal: io::Error) -> io::Result<Option<InterfaceIndex>> {
    Err(refusal)
}
