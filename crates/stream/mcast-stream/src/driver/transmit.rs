//! The groups and hosts that a publisher sends to, and their sockets, on which the datagrams of its state machine are sent;
//! repairs to one target together.

use std::net::SocketAddr;

use mcast::interface::Interface;
use mcast::{Destination, Family, HostAddr, InterfaceSelector, Outgoing};

use super::health::PathHealth;
use super::unicast::UnicastSockets;
use crate::wire::{Flags, Sequence};
use crate::{Control, StreamError, Target};

/// Limit of the hosts that are listed: each has a socket and a thread.
pub(super) const MAX_HOSTS: usize = 64;
/// Limit of the paths: the header has two bits for the path.
const MAX_PATHS: usize = 4;

/// A group or host that the whole stream is sent to.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) interface: Option<InterfaceSelector>,
    /// The path: one for each group, and one for all hosts.
    pub(super) path: u8,
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

    pub(super) fn family(&self) -> Family {
        Family::of(self.address.ip())
    }

    pub(super) fn is_group(&self) -> bool {
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
            Some(selector) => mcast::interface::find(selector).map(Some),
            None if self.is_group() => mcast::interface::default_of(self.family()),
            None => mcast::interface::towards(self.address.ip()),
        }
    }
}

/// The socket of a group or host.
#[derive(Debug)]
pub(super) struct EndpointSocket {
    pub(super) sender: mcast::Sender,
    path: u8,
}

impl EndpointSocket {
    pub(super) const fn new(sender: mcast::Sender, endpoint: &Endpoint) -> Self {
        Self { sender, path: endpoint.path }
    }
}

/// The sockets of a publisher.
#[derive(Debug)]
pub(super) struct PublisherSockets {
    /// One for each group and host, so that each is sent full batches, and an unreachable one does not fill the buffer
    /// of others.
    pub(super) all: Vec<EndpointSocket>,
    /// Whether there are several paths, which the datagrams name.
    marks_paths: bool,
    pub(super) family: Family,
    /// For the announcements of the stream's name, if it has one.
    discovery: Option<mcast::Sender>,
    /// For single subscribers.
    unicast: UnicastSockets,
}

impl PublisherSockets {
    pub(super) fn new(
        all: Vec<EndpointSocket>,
        family: Family,
        discovery: Option<mcast::Sender>,
        unicast: UnicastSockets,
    ) -> Self {
        let marks_paths = all.iter().any(|socket| socket.path > 0);
        Self { all, marks_paths, family, discovery, unicast }
    }

    /// Sends new data. Datagrams that a socket refuses count as lost on the network, and are repaired.
    pub(super) fn send_data(
        &self,
        machine: &mut crate::PublisherMachine,
        first: Sequence,
        count: u64,
        health: &mut PathHealth,
    ) {
        for (endpoint, EndpointSocket { sender, path }) in self.all.iter().enumerate() {
            if !health.may_send_data(endpoint, count) {
                continue;
            }
            if self.marks_paths {
                machine.mark_path(first, count, *path, false);
            }
            let sent = send_datagrams(sender, machine, count, Sequence::each(first..first + count));
            health.note(endpoint, sent, sender);
        }
    }

    /// Sends all waiting repairs.
    pub(super) fn send_repairs(
        &self,
        machine: &mut crate::PublisherMachine,
        repairs: &mut Repairs,
        health: &mut PathHealth,
    ) {
        while let Some((to, batch)) = repairs.take_batch() {
            if let Target::Address(address) = to {
                let all = batch.iter().map(|sequence| machine.datagram(*sequence));
                let not_sent = self.unicast.send_all(address, all);
                machine.on_not_sent(not_sent);
                continue;
            }
            for (endpoint, EndpointSocket { sender, path }) in self.all.iter().enumerate() {
                if !health.may_send_data(endpoint, batch.len() as u64) {
                    continue;
                }
                batch.iter().for_each(|sequence| machine.mark_path(*sequence, 1, path & Flags::PATH.0, true));
                let sent = send_datagrams(sender, machine, batch.len() as u64, batch.iter().copied());
                health.note(endpoint, sent, sender);
            }
        }
    }

    /// Sends a control datagram.
    pub(super) fn send_control(
        &self,
        machine: &mut crate::PublisherMachine,
        control: &Control,
        health: &mut PathHealth,
    ) {
        match control.to {
            Target::Group => {
                for (endpoint, EndpointSocket { sender, .. }) in self.all.iter().enumerate() {
                    if health.may_send_control(endpoint) {
                        health.note(endpoint, sender.send(control.bytes()), sender);
                    }
                }
            }
            Target::Address(address) => machine.on_not_sent(self.unicast.send(address, control.bytes())),
            Target::Aside(address) => machine.on_not_sent(self.unicast.send_aside(address, control.bytes())),
            // It leaves on the interface of the first path, where failures are noted.
            Target::Discovery => self.discovery.iter().for_each(|sender| _ = sender.send(control.bytes())),
        }
    }
}

/// The most datagrams in one call. An array of this size must fit the thread's stack.
const MAX_BATCH: usize = 256;
/// Up to this number, an array of this size is enough: to fill the large one takes as long as to send some.
const FEW: u64 = 8;

fn send_datagrams(
    sender: &mcast::Sender,
    machine: &crate::PublisherMachine,
    count: u64,
    sequences: impl Iterator<Item = Sequence>,
) -> mcast::Result<()> {
    match count {
        ..=FEW => send_by::<{ FEW as usize }>(sender, machine, sequences),
        _ => send_by::<MAX_BATCH>(sender, machine, sequences),
    }
}

/// Sends datagrams, `AT_ONCE` in one call.
#[inline(never)]
fn send_by<const AT_ONCE: usize>(
    sender: &mcast::Sender,
    machine: &crate::PublisherMachine,
    mut sequences: impl Iterator<Item = Sequence>,
) -> mcast::Result<()> {
    let mut first_error = Ok(());
    let mut outgoing = [const { Outgoing::new(&[]) }; AT_ONCE];
    loop {
        let mut count = 0;
        for (slot, sequence) in outgoing.iter_mut().zip(&mut sequences) {
            *slot = Outgoing::new(machine.datagram(sequence));
            count += 1;
        }
        if count == 0 {
            return first_error;
        }
        // A batch is sent even if one before it failed.
        let sent = send_batch(sender, &outgoing[..count]);
        first_error = first_error.and(sent);
    }
}

fn send_batch(sender: &mcast::Sender, outgoing: &[Outgoing<'_>]) -> mcast::Result<()> {
    let mut rest = outgoing;
    while !rest.is_empty() {
        match sender.send_batch(rest)? {
            0 => return Ok(()),
            sent => rest = &rest[sent..],
        }
    }
    Ok(())
}

/// When this number of repairs waits, they are sent.
const REPAIR_BATCH: usize = 64;

/// The sequences of waiting repairs, and their targets.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    waiting: Vec<(Sequence, Target)>,
    batch: Vec<Sequence>,
}

impl Repairs {
    /// Adds a repair; returns whether it is time to send them.
    pub(super) fn add(&mut self, sequence: Sequence, to: Target) -> bool {
        self.waiting.push((sequence, to));
        self.waiting.len() >= REPAIR_BATCH
    }

    /// Removes all repairs with the same target as the first one; returns that target and their sequences, in order.
    pub(super) fn take_batch(&mut self) -> Option<(Target, &[Sequence])> {
        let (_, target) = *self.waiting.first()?;
        let Self { waiting, batch } = self;
        batch.clear();
        waiting.retain(|(sequence, to)| {
            let goes = *to == target;
            if goes {
                batch.push(*sequence);
            }
            !goes
        });
        Some((target, batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_to_one_target_are_batched_in_order() {
        let one = |port| Target::Address(std::net::SocketAddr::from(([10, 0, 0, 1], port)));
        let mut repairs = Repairs::default();
        for (sequence, to) in
            [(5, one(1)), (3, Target::Group), (7, one(2)), (6, one(1)), (9, Target::Group), (8, one(1))]
        {
            assert!(!repairs.add(Sequence(sequence), to));
        }
        let mut taken = Vec::new();
        while let Some((to, batch)) = repairs.take_batch() {
            taken.push((to, batch.iter().map(|sequence| sequence.0).collect::<Vec<_>>()));
        }
        assert_eq!(taken, [(one(1), vec![5, 6, 8]), (Target::Group, vec![3, 9]), (one(2), vec![7])]);
    }

    #[test]
    fn a_full_batch_is_due() {
        let mut repairs = Repairs::default();
        let full = (0..64)
            .map(|sequence| repairs.add(Sequence(sequence), Target::Group))
            .position(|is_full| is_full);
        assert_eq!(full, Some(63));
    }
}
