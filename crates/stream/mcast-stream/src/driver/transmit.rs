//! Sends the datagrams of a publisher's state machine on its sockets.

use mcast::{Family, Outgoing};

use super::health::PathHealth;
use super::publisher::Endpoint;
use super::repairs::Repairs;
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
