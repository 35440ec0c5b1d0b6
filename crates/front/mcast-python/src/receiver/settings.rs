//! The settings of a receiver.

use mcast::{HostAddr, InterfaceSelector, ReceiverBuilder};

use super::open::Open;
use crate::membership::Membership;

/// The settings of a receiver, kept so that it can be reopened.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) memberships: Vec<mcast::Membership>,
    pub(super) listen: Vec<HostAddr>,
    pub(super) listen_broadcast: Option<u16>,
    /// The interfaces on which to join memberships that name none.
    pub(super) interfaces: Vec<InterfaceSelector>,
    pub(super) receive_buffer: Option<usize>,
    pub(super) loopback: Option<bool>,
    pub(super) follow: bool,
    pub(super) allow_any_source: bool,
    pub(super) merging: bool,
    pub(super) details: bool,
}

impl Settings {
    pub(super) fn open(&self) -> mcast::Result<Open> {
        let mut builder = mcast::Receiver::builder()
            .join_all(self.memberships.iter().cloned())
            .follow(self.follow)
            .allow_any_source(self.allow_any_source)
            .gro(self.merging)
            .details(self.details);
        builder = self.listen.iter().cloned().fold(builder, ReceiverBuilder::listen);
        builder =
            listen_broadcasts(self.listen_broadcast, &self.interfaces).fold(builder, ReceiverBuilder::listen);
        if let Some(bytes) = self.receive_buffer {
            builder = builder.receive_buffer(bytes);
        }
        if let Some(on) = self.loopback {
            builder = builder.loopback(on);
        }
        builder.build().map(Open::new)
    }
}

/// Returns where broadcasts are received.
pub(crate) fn listen_broadcasts(
    port: Option<u16>,
    interfaces: &[InterfaceSelector],
) -> impl Iterator<Item = HostAddr> {
    let everywhere = port.map(HostAddr::broadcast);
    let hosts = match interfaces {
        [] => vec![everywhere],
        several => several.iter().map(|on| Some(everywhere.clone()?.on(on.clone()))).collect(),
    };
    hosts.into_iter().flatten()
}

/// Expands memberships that name no interface to one for each of `interfaces`.
pub(crate) fn expand(
    memberships: Vec<Membership>,
    interfaces: &[InterfaceSelector],
) -> Vec<mcast::Membership> {
    let expand = |Membership(membership)| match membership.interface {
        None if !interfaces.is_empty() => {
            interfaces.iter().map(|each| membership.clone().on(each.clone())).collect()
        }
        _ => vec![membership],
    };
    memberships.into_iter().flat_map(expand).collect()
}
