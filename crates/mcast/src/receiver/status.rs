//! What became of each membership.

use std::fmt;
use std::sync::Arc;

use mcast_group::{InterfaceIndex, Membership};

use crate::error::Error;

/// A receiver's membership, and what became of it on each interface that it means.
///
/// Its text form is a line a person can read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MembershipStatus {
    /// What was asked for.
    pub membership: Membership,
    /// Each interface that it means now.
    pub interfaces: Vec<InterfaceStatus>,
    /// Why it means no interface now, if so. A receiver that follows its interfaces waits for one.
    pub waiting: Option<Arc<Error>>,
}

/// What became of a membership on one interface.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InterfaceStatus {
    /// The interface.
    pub index: InterfaceIndex,
    /// Its name when it was looked up.
    pub name: String,
    /// Why it is not joined there; `None` when it is.
    pub failure: Option<Arc<Error>>,
}

impl MembershipStatus {
    /// Whether it is joined on at least one interface.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.failure.is_none())
    }
}

impl fmt::Display for MembershipStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.membership)?;
        if let Some(why) = &self.waiting {
            return write!(f, "waiting for an interface ({why})");
        }
        let joined: Vec<&str> =
            self.interfaces.iter().filter(|each| each.failure.is_none()).map(|each| &*each.name).collect();
        if !joined.is_empty() {
            write!(f, "joined on {}", joined.join(", "))?;
        }
        for (position, failed) in self.interfaces.iter().filter_map(|each| each.failure.as_ref()).enumerate()
        {
            let separator = if position == 0 && joined.is_empty() { "" } else { "; " };
            write!(f, "{separator}{failed}")?;
        }
        Ok(())
    }
}
