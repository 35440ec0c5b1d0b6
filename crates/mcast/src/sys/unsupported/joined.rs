//! Listing memberships is not supported.

use std::io;

use crate::joined::{Holding, Visibility};
pub(crate) use crate::sys::pause::Notices;

pub(crate) fn survey() -> io::Result<(Vec<Holding>, Visibility)> {
    super::unsupported()
}
