//! Listing interfaces is not supported.

use std::io;

use crate::Interface;

pub fn list() -> io::Result<Vec<Interface>> {
    super::unsupported()
}
