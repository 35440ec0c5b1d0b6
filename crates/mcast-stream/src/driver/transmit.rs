//! Sends the datagrams of a publisher's state machine on its sockets.

use mcast::{Family, Outgoing};

use super::health::PathHealth;
use super::repairs::Repairs;
use super::unicast::UnicastSocket;
use crate::wire::{Flags, Sequence};
use crate::{Control, Target};

/// The sockets of a publisher.
#[derive(Debug)]
pub(super) struct PublisherSockets {
    /// One for each path, so that each is sent in full batches.
    pub(super) paths: Vec<mcast::Sender>,
    pub(super) family: Family,
    /// For the announcements of the stream's name, if it has one.
    pub(super) discovery: Option<mcast::Sender>,
    /// For single subscribers.
    pub(super) unicast: UnicastSocket,
}

impl PublisherSockets {
    /// Sends new data. Datagrams that a socket refuses count as lost on the network, and are repaired.
    pub(super) fn send_data(
        &self,
        machine: &mut crate::PublisherMachine,
        first: Sequence,
        count: u64,
        health: &mut PathHealth,
    ) {
        for (path, sender) in self.usable(health) {
            if self.paths.len() > 1 {
                machine.mark_path(first, count, path as u8, false);
            }
            health.note(path, send_datagrams(sender, machine, Sequence::each(first..first + count)));
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
                self.unicast.send_all(address, batch.iter().map(|sequence| machine.datagram(*sequence)));
                continue;
            }
            for (path, sender) in self.usable(health) {
                batch
                    .iter()
                    .for_each(|sequence| machine.mark_path(*sequence, 1, path as u8 & Flags::PATH.0, true));
                health.note(path, send_datagrams(sender, machine, batch.iter().copied()));
            }
        }
    }

    /// Sends a control datagram.
    pub(super) fn send_control(&self, control: &Control, health: &mut PathHealth) {
        match control.to {
            Target::Group => {
                for (path, sender) in self.usable(health) {
                    health.note(path, sender.send(control.bytes()));
                }
            }
            Target::Address(address) => self.unicast.send(address, control.bytes()),
            // It leaves on the interface of the first path, where failures are noted.
            Target::Discovery => self.discovery.iter().for_each(|sender| _ = sender.send(control.bytes())),
        }
    }

    /// The paths that may be able to send.
    fn usable(&self, health: &PathHealth) -> Vec<(usize, &mcast::Sender)> {
        self.paths.iter().enumerate().filter(|(path, _)| health.may_send(*path)).collect()
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
