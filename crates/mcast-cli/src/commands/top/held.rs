//! `--join` and `--announced`: memberships that are held while one watches, so that switches let them through.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::Context;
use mcast::{Group, GroupAddr, InterfaceSelector, Membership, Receiver};
use mcast_stream::{DISCOVERY_V4, DISCOVERY_V6};

use super::Arguments;
use crate::console::Console;

/// Memberships at a port that nobody uses: no datagram comes by them, and that they are held is all that they are for.
#[derive(Clone, Debug)]
pub(super) struct Held {
    receiver: Arc<Receiver>,
}

impl Held {
    /// Joins what is asked for; `None` if nothing is.
    pub(super) fn join(arguments: &Arguments, console: &Console) -> anyhow::Result<Option<Self>> {
        let mut memberships = arguments.join.memberships(&arguments.wanted, arguments.families, console)?;
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
        let receiver = Arc::new(crate::arguments::build_receiver(builder)?);
        receiver.memberships().iter().for_each(|status| console.detail(status));
        Ok(Some(Self { receiver }))
    }

    /// Joins where interfaces have come. A receiver follows its interfaces when it is asked for datagrams, of which
    /// this one has none.
    pub(super) fn look_again(&self) -> mcast::Result<()> {
        while self.receiver.try_recv(&mut [0; 1])?.is_some() {}
        Ok(())
    }
}

/// A port that nobody uses now.
fn unused_port() -> anyhow::Result<u16> {
    let any = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))];
    let socket = UdpSocket::bind(&any[..]).context("cannot find an unused port")?;
    Ok(socket.local_addr()?.port())
}

/// Where streams are announced.
fn announcements(arguments: &Arguments) -> impl Iterator<Item = Membership> {
    let only = arguments.families.only();
    let groups = [DISCOVERY_V4, DISCOVERY_V6]
        .into_iter()
        .filter_map(|place| Group::new(place.ip()).ok().map(|group| GroupAddr::new(group, place.port())));
    groups
        .filter(move |address| only.is_none_or(|family| family == address.group.family()))
        .map(Membership::new)
}

/// One membership an interface, where it names none itself.
fn on_each(membership: Membership, interfaces: &[InterfaceSelector]) -> Vec<Membership> {
    if membership.interface.is_some() || interfaces.is_empty() {
        return vec![membership];
    }
    interfaces.iter().map(|interface| membership.clone().on(interface.clone())).collect()
}
