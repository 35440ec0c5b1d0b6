//! Sends the datagrams of a publisher's state machine on its sockets; repairs to one target together.

use mcast::{Family, Outgoing};

use super::health::PathHealth;
use super::publisher::Endpoint;
use super::unicast::UnicastSockets;
use crate::wire::{Flags, Sequence};
use crate::{Control, Target};

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
            let sent = send_datagrams(sender, machine, Sequence::each(first..first + count));
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
                health.note(endpoint, send_datagrams(sender, machine, batch.iter().copied()), sender);
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

fn send_datagrams(
    sender: &mcast::Sender,
    machine: &crate::PublisherMachine,
    mut sequences: impl Iterator<Item = Sequence>,
) -> mcast::Result<()> {
    let mut first_error = Ok(());
    let mut outgoing = [const { Outgoing::new(&[]) }; MAX_BATCH];
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
