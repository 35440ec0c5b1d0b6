//! Listing interfaces is not supported.

use std::io;

use crate::interface::Interface;

pub(crate) fn list() -> io::Result<Vec<Interface>> {
    super::unsupported()
}
