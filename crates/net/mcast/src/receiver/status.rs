//! The state of each membership.

use std::fmt;

use mcast_group::{InterfaceIndex, Membership};

use crate::error::{Error, ErrorKind, Operation};
use mcast_sys::socket::Socket;

/// A receiver's membership and its state on each of its interfaces.
///
/// The `Display` form is one line for people to read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MembershipStatus {
    /// The membership as requested.
    pub membership: Membership,
    /// The interfaces that it currently resolves to.
    pub interfaces: Vec<InterfaceStatus>,
    /// Why it currently resolves to no interface, if so. A receiver that follows interfaces waits
    /// for one.
    pub waiting: Option<Error>,
}

/// The state of a membership on one interface.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InterfaceStatus {
    /// The interface.
    pub index: InterfaceIndex,
    /// Its name at the time of the lookup.
    pub name: String,
    /// Why it is not joined there; `None` if it is.
    pub failure: Option<Error>,
}

impl MembershipStatus {
    /// Returns whether it is joined on at least one interface.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.failure.is_none())
    }

    /// Reports interfaces that no longer exist as failed. If the lookup fails, the state stays as
    /// it was.
    pub(crate) fn report_deleted(&mut self, socket: &Socket) {
        let joined = self.interfaces.iter_mut().filter(|interface| interface.failure.is_none());
        for interface in joined {
            if socket.has_interface(interface.index).is_ok_and(|exists| !exists) {
                let deleted = Error::new(Operation::Join, ErrorKind::NoSuchInterface)
                    .on_address(self.membership.address)
                    .on_interface(&interface.name)
                    .detail("the interface was deleted");
                interface.failure = Some(deleted);
            }
        }
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
