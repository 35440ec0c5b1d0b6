//! `--join` and `--announced`: holds memberships, so that switches forward the groups.

use std::sync::Arc;

use mcast::{Group, GroupAddr, Membership, Receiver};
use mcast_stream::{DISCOVERY_V4, DISCOVERY_V6};

use super::Arguments;
use crate::arguments::{build_receiver, on_each, unused_port};
use crate::console::Console;

/// Memberships with an unused port, so that no datagrams are delivered to them.
#[derive(Clone, Debug)]
pub(super) struct HeldMemberships {
    receiver: Arc<Receiver>,
}

impl HeldMemberships {
    /// Joins the groups in the arguments; returns `None` if there are none.
    pub(super) fn join(arguments: &Arguments, console: &Console) -> anyhow::Result<Option<Self>> {
        let mut memberships =
            arguments.input.join.memberships(&arguments.memberships, arguments.input.families, console)?;
        if arguments.announced {
            memberships.extend(announcements(arguments));
        }
        if memberships.is_empty() {
            return Ok(None);
        }
        let port = unused_port()?;
        for membership in &mut memberships {
            membership.address.port = port;
        }
        let memberships =
            memberships.into_iter().flat_map(|membership| on_each(membership, &arguments.interfaces));
        let builder = Receiver::builder().join_all(memberships).allow_any_source(true).follow(true);
        let receiver = Arc::new(build_receiver(builder)?);
        receiver.memberships().iter().for_each(|status| console.detail(status));
        Ok(Some(Self { receiver }))
    }

    /// Joins on interfaces that have appeared. A receiver follows its interfaces only while it receives, and this one
    /// gets no datagrams.
    pub(super) fn refresh(&self) -> mcast::Result<()> {
        while self.receiver.try_recv(&mut [0; 1])?.is_some() {}
        Ok(())
    }
}

/// Returns the memberships for announcements.
fn announcements(arguments: &Arguments) -> impl Iterator<Item = Membership> {
    let only = arguments.input.families.only();
    let groups = [DISCOVERY_V4, DISCOVERY_V6]
        .into_iter()
        .filter_map(|place| Group::new(place.ip()).ok().map(|group| GroupAddr::new(group, place.port())));
    groups
        .filter(move |address| only.is_none_or(|family| family == address.group.family()))
        .map(Membership::new)
}
