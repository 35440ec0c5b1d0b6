//! Interfaces are not listed here.

use std::io;

use crate::interface::Interface;

pub(crate) fn list() -> io::Result<Vec<Interface>> {
    super::unsupported()
}
