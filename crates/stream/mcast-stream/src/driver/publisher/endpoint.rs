//! The groups and hosts that a publisher sends to.

use std::net::SocketAddr;

use mcast::{Destination, Family, HostAddr, Interface, InterfaceSelector};

use crate::StreamError;

/// Limit of the hosts that are listed: each has a socket and a thread.
pub(super) const MAX_HOSTS: usize = 64;
/// Limit of the paths: the header has two bits for the path.
const MAX_PATHS: usize = 4;

/// A group or host that the whole stream is sent to.
#[derive(Clone, Debug)]
pub(in crate::driver) struct Endpoint {
    pub(in crate::driver) address: SocketAddr,
    pub(in crate::driver) interface: Option<InterfaceSelector>,
    /// The path: one for each group, and one for all hosts.
    pub(in crate::driver) path: u8,
}

impl Endpoint {
    /// Returns those of a publisher, the groups first.
    pub(super) fn all(groups: &[Destination], hosts: &[HostAddr]) -> Result<Vec<Self>, StreamError> {
        let paths = groups.len() + usize::from(!hosts.is_empty());
        if paths > MAX_PATHS {
            return Err(StreamError::TooManyPaths(paths));
        }
        if hosts.len() > MAX_HOSTS {
            return Err(StreamError::TooManyHosts(hosts.len()));
        }
        let of_group = |(path, group): (u8, &Destination)| Self {
            address: group.address.into(),
            interface: group.interface.clone(),
            path,
        };
        let of_host = |host: &HostAddr| Self {
            address: host.into(),
            interface: host.interface.clone(),
            path: groups.len() as u8,
        };
        let all: Vec<Self> = (0..).zip(groups).map(of_group).chain(hosts.iter().map(of_host)).collect();
        let family = all.first().ok_or(StreamError::NoDestination)?.family();
        match all.iter().all(|other| other.family() == family) {
            true => Ok(all),
            false => Err(StreamError::MixedFamilies),
        }
    }

    pub(in crate::driver) fn family(&self) -> Family {
        Family::of(self.address.ip())
    }

    pub(in crate::driver) fn is_group(&self) -> bool {
        self.address.ip().is_multicast()
    }

    /// Adds it to the destinations of a sender.
    pub(super) fn add_to(&self, builder: mcast::SenderBuilder) -> mcast::SenderBuilder {
        let interface = self.interface.clone();
        match (self.address.try_into(), HostAddr::new(self.address.ip(), self.address.port())) {
            (Ok(address), _) => builder.to(Destination { address, interface }),
            (_, Ok(host)) => builder.to_host(interface.into_iter().fold(host, HostAddr::on)),
            // An address is one or the other.
            (Err(_), Err(_)) => builder,
        }
    }

    /// Returns the interface on which it is reached.
    pub(super) fn interface(&self) -> mcast::Result<Option<Interface>> {
        match &self.interface {
            Some(selector) => mcast::find(selector).map(Some),
            None if self.is_group() => mcast::default_interface_of(self.family()),
            None => mcast::interface_towards(self.address.ip()),
        }
    }
}
