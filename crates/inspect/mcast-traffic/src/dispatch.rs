//! Where each datagram goes, and passing it to the system, which accepts or refuses it.

use crate::TrafficError;
use mcast::{
    Destination, Error, ErrorKind, Family, HostAddr, Interface, InterfaceIndex, InterfaceSelector, Outgoing,
    Sender,
};
use std::collections::HashSet;
use std::net::SocketAddr;

/// Counts of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DispatchCounts {
    /// Datagrams that the system accepted.
    pub sent: u64,
    /// The bytes of their payload.
    pub bytes: u64,
    /// Datagrams that the system refused.
    pub refused: u64,
}

/// Sends datagrams, and continues after errors of single ones.
#[derive(Debug)]
pub struct Dispatch<'a> {
    sender: &'a Sender,
    counts: DispatchCounts,
    /// The kinds of errors reported so far.
    reported: Vec<ErrorKind>,
}

impl<'a> Dispatch<'a> {
    /// Creates a dispatch with this sender.
    #[must_use]
    pub fn new(sender: &'a Sender) -> Self {
        Self { sender, counts: DispatchCounts::default(), reported: Vec::new() }
    }

    /// Sends all of these datagrams. A refused one is counted, and passed to `on_refusal` if it is the first with an
    /// error of this kind: interfaces may come back, and queues become free.
    ///
    /// # Errors
    /// If the system refuses the first datagram of all, unless its queue is full.
    pub fn send(
        &mut self,
        outgoing: &[Outgoing<'_>],
        mut on_refusal: impl FnMut(&Error),
    ) -> mcast::Result<()> {
        let mut rest = outgoing;
        while !rest.is_empty() {
            match self.sender.send_batch(rest) {
                Ok(count) => {
                    let (sent, left) = rest.split_at(count);
                    self.counts.sent += sent.len() as u64;
                    self.counts.bytes += sent.iter().map(|each| each.payload().len() as u64).sum::<u64>();
                    rest = left;
                }
                Err(error) if self.counts.sent == 0 && error.kind() != ErrorKind::QueueFull => {
                    return Err(error);
                }
                Err(error) => {
                    self.counts.refused += 1;
                    if !self.reported.contains(&error.kind()) {
                        self.reported.push(error.kind());
                        on_refusal(&error);
                    }
                    rest = &rest[1..];
                }
            }
        }
        Ok(())
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn counts(&self) -> DispatchCounts {
        self.counts
    }
}

/// A group or host, and the interface to send on.
#[derive(Clone, Debug)]
pub struct SendTarget {
    address: SocketAddr,
    by: Option<(InterfaceIndex, String)>,
}

impl SendTarget {
    /// Returns the group or host, and the port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.address.ip())
    }

    /// Returns the interface to send on; `None` means that the route decides.
    #[must_use]
    pub fn interface(&self) -> Option<InterfaceIndex> {
        self.by.as_ref().map(|(index, _)| *index)
    }

    /// Returns the name of the interface to send on; `None` means that the route decides.
    #[must_use]
    pub fn interface_name(&self) -> Option<&str> {
        self.by.as_ref().map(|(_, name)| name.as_str())
    }

    /// Returns a datagram to this target without payload.
    #[must_use]
    pub fn template(&self) -> Outgoing<'static> {
        self.outgoing(&[])
    }

    /// Returns a datagram to this target.
    #[must_use]
    pub fn outgoing<'a>(&self, payload: &'a [u8]) -> Outgoing<'a> {
        let outgoing = Outgoing::new(payload).to_address(self.address);
        match self.by {
            Some((index, _)) => outgoing.by(index),
            None => outgoing,
        }
    }
}

/// Returns the name of the interface that has vanished according to an error of sending to one of these targets: the
/// error itself has only the interface's index. `None` for other errors.
#[must_use]
pub fn vanished_interface<'a>(
    error: &Error,
    mut targets: impl Iterator<Item = &'a SendTarget>,
) -> Option<&'a str> {
    let number = error.interface().filter(|_| error.kind() == ErrorKind::NoSuchInterface)?;
    let gone = targets.find(|target| target.interface().is_some_and(|index| index.to_string() == number));
    gone?.interface_name()
}

/// Returns a target for each destination and each of its interfaces, without duplicates. A destination without an
/// interface of its own is sent on `interfaces`; without those, the route decides.
///
/// # Errors
/// [`TrafficError::Target`] if there is no such interface, [`TrafficError::NoInterface`] if `all` are selected and none
/// can send.
pub fn resolve_targets(
    destinations: &[Destination],
    interfaces: &[InterfaceSelector],
) -> Result<Vec<SendTarget>, TrafficError> {
    resolve_targets_with_hosts(destinations, &[], interfaces)
}

/// As [`resolve_targets`], for groups and hosts.
///
/// # Errors
/// As for [`resolve_targets`], and [`TrafficError::NoHost`] for an unspecified address.
pub fn resolve_targets_with_hosts(
    groups: &[Destination],
    hosts: &[HostAddr],
    interfaces: &[InterfaceSelector],
) -> Result<Vec<SendTarget>, TrafficError> {
    let groups = groups.iter().map(|group| (SocketAddr::from(group.address), &group.interface));
    let hosts = hosts.iter().map(|host| (SocketAddr::from(host), &host.interface));
    let mut targets = Vec::new();
    for (address, interface) in groups.chain(hosts) {
        if address.ip().is_unspecified() {
            return Err(TrafficError::NoHost(address));
        }
        let own = interface.as_slice();
        let chosen = if own.is_empty() { interfaces } else { own };
        if chosen.is_empty() {
            targets.push(SendTarget { address, by: None });
        }
        for selector in chosen {
            targets.extend(targets_by(address, selector)?);
        }
    }
    let mut known = HashSet::new();
    targets.retain(|target| known.insert((target.address, target.interface())));
    Ok(targets)
}

fn targets_by(address: SocketAddr, selector: &InterfaceSelector) -> Result<Vec<SendTarget>, TrafficError> {
    let family = Family::of(address.ip());
    let by = |interface: &Interface| SendTarget {
        address,
        by: Some((interface.index_for(family), interface.name.clone())),
    };
    Ok(match selector {
        InterfaceSelector::Default => vec![SendTarget { address, by: None }],
        InterfaceSelector::All => all_for(family)?.iter().map(by).collect(),
        named => {
            let found = mcast::find(named);
            vec![by(&found.map_err(|source| TrafficError::Target { to: address, source })?)]
        }
    })
}

/// Returns all interfaces on which datagrams of this family can be sent.
fn all_for(family: Family) -> Result<Vec<Interface>, TrafficError> {
    let mut interfaces = mcast::interfaces()?;
    interfaces.retain(|each| each.is_joined_by_default() && each.addresses_of(family).next().is_some());
    if interfaces.is_empty() { Err(TrafficError::NoInterface(family)) } else { Ok(interfaces) }
}
