//! What a sender has to say, to the socket.

use mcast::{Family, Outgoing};

use super::health::PathHealth;
use super::repairs::Repairs;
use super::singles::Singles;
use crate::outbox::{Control, Target};
use crate::wire::Flags;

/// The sockets of a publisher, and where its stream goes.
#[derive(Debug)]
pub(super) struct Ways {
    /// One for each path, so that each is sent in whole trains.
    pub(super) paths: Vec<mcast::Sender>,
    pub(super) family: Family,
    /// Where the stream tells its name, if it has one.
    pub(super) discovery: Option<mcast::Sender>,
    /// For single receivers.
    pub(super) singles: Singles,
}

impl Ways {
    /// Sends new data. What a socket refuses is as if the network had lost it, and repaired as such.
    pub(super) fn send_data(
        &self,
        core: &mut crate::Sender,
        first: u64,
        count: u64,
        health: &mut PathHealth,
    ) {
        for (path, sender) in self.usable(health) {
            if self.paths.len() > 1 {
                core.mark_path(first, count, path as u8, false);
            }
            health.note(path, send_trains(sender, core, first..first + count));
        }
    }

    /// Sends all repairs that wait, in the same way.
    pub(super) fn send_repairs(
        &self,
        core: &mut crate::Sender,
        repairs: &mut Repairs,
        health: &mut PathHealth,
    ) {
        while let Some((to, train)) = repairs.take_train() {
            if let Target::Address(address) = to {
                self.singles.send_all(address, train.iter().map(|sequence| core.datagram(*sequence)));
                continue;
            }
            for (path, sender) in self.usable(health) {
                train
                    .iter()
                    .for_each(|sequence| core.mark_path(*sequence, 1, path as u8 & Flags::PATH.0, true));
                health.note(path, send_trains(sender, core, train.iter().copied()));
            }
        }
    }

    /// Sends something else.
    pub(super) fn send_control(&self, control: &Control, health: &mut PathHealth) {
        match control.to {
            Target::Group => {
                for (path, sender) in self.usable(health) {
                    health.note(path, sender.send(control.bytes()));
                }
            }
            Target::Address(address) => self.singles.send(address, control.bytes()),
            // It leaves by the interface of the first path, whose failures are noted there.
            Target::Discovery => self.discovery.iter().for_each(|sender| _ = sender.send(control.bytes())),
        }
    }

    /// The paths that may be able to send.
    fn usable(&self, health: &PathHealth) -> Vec<(usize, &mcast::Sender)> {
        self.paths.iter().enumerate().filter(|(path, _)| health.may_send(*path)).collect()
    }
}

/// Datagrams that one call may take: what fits the thread's stack well.
const MOST: usize = 256;

fn send_trains(
    sender: &mcast::Sender,
    core: &crate::Sender,
    mut sequences: impl Iterator<Item = u64>,
) -> mcast::Result<()> {
    let mut first_error = Ok(());
    let mut outgoing = [const { Outgoing::new(&[]) }; MOST];
    loop {
        let mut count = 0;
        for (slot, sequence) in outgoing.iter_mut().zip(&mut sequences) {
            *slot = Outgoing::new(core.datagram(sequence));
            count += 1;
        }
        if count == 0 {
            return first_error;
        }
        // Each batch is sent, whatever became of those before it.
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
