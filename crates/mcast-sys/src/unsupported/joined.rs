//! Listing memberships is not supported.

use std::io;

pub use crate::pause::Notices;
use crate::{Holding, Visibility};

pub fn survey() -> io::Result<(Vec<Holding>, Visibility)> {
    super::unsupported()
}
