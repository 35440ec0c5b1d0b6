//! Listing interfaces is not supported.

use std::io;

use mcast_group::InterfaceIndex;

use crate::Interface;

pub fn list() -> io::Result<Vec<Interface>> {
    super::unsupported()
}

pub fn index_of(_name: &str) -> io::Result<InterfaceIndex> {
    super::unsupported()
}

pub fn name_of(_interface: InterfaceIndex) -> io::Result<String> {
    super::unsupported()
}
