//! What a sender has to say, to the socket.

use mcast::{Family, Outgoing};

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
    /// Sends new data. What a socket refuses is as if the network had lost it, and repaired as such; the first refusal is
    /// told.
    pub(super) fn send_data(&self, core: &mut crate::Sender, first: u64, count: u64) -> Option<mcast::Error> {
        let mut refused = Refused(None);
        for (path, sender) in (0..).zip(&self.paths) {
            if self.paths.len() > 1 {
                core.mark_path(first, count, path, false);
            }
            send_trains(sender, core, first..first + count, &mut refused);
        }
        refused.0
    }

    /// Sends all repairs that wait, in the same way.
    pub(super) fn send_repairs(
        &self,
        core: &mut crate::Sender,
        repairs: &mut Repairs,
    ) -> Option<mcast::Error> {
        let mut refused = Refused(None);
        while let Some((to, train)) = repairs.take_train() {
            if let Target::Address(address) = to {
                self.singles.send_all(address, train.iter().map(|sequence| core.datagram(*sequence)));
                continue;
            }
            for (path, sender) in (0..).zip(&self.paths) {
                let path = path & Flags::PATH.0;
                train.iter().for_each(|sequence| core.mark_path(*sequence, 1, path, true));
                send_trains(sender, core, train.iter().copied(), &mut refused);
            }
        }
        refused.0
    }

    /// Sends something else.
    pub(super) fn send_control(&self, control: &Control) -> Option<mcast::Error> {
        let mut refused = Refused(None);
        match control.to {
            Target::Group => self.paths.iter().for_each(|sender| refused.note(sender.send(control.bytes()))),
            Target::Address(address) => self.singles.send(address, control.bytes()),
            Target::Discovery => {
                self.discovery.iter().for_each(|sender| refused.note(sender.send(control.bytes())));
            }
        }
        refused.0
    }
}

/// The first error of several.
struct Refused(Option<mcast::Error>);

impl Refused {
    fn note(&mut self, result: mcast::Result<()>) {
        if let (Err(error), None) = (result, &self.0) {
            self.0 = Some(error);
        }
    }
}

/// Datagrams that one call may take: what fits the thread's stack well.
const MOST: usize = 256;

fn send_trains(
    sender: &mcast::Sender,
    core: &crate::Sender,
    mut sequences: impl Iterator<Item = u64>,
    refused: &mut Refused,
) {
    let mut outgoing = [const { Outgoing::new(&[]) }; MOST];
    loop {
        let mut count = 0;
        for (slot, sequence) in outgoing.iter_mut().zip(&mut sequences) {
            *slot = Outgoing::new(core.datagram(sequence));
            count += 1;
        }
        if count == 0 {
            return;
        }
        refused.note(send_batch(sender, &outgoing[..count]));
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
