//! What a sender has to say, to the socket.

use std::net::{SocketAddr, UdpSocket};

use mcast::{Family, Outgoing};

use crate::outbox::{Control, Target};
use crate::sender::Transmit;
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
    pub(super) control: UdpSocket,
}

impl Ways {
    /// Sends this. What a socket refuses is as if the network had lost it, and repaired as such; the first refusal
    /// is told.
    pub(super) fn send(&self, core: &mut crate::Sender, transmit: Transmit) -> Option<mcast::Error> {
        let mut refused = Refused(None);
        match transmit {
            Transmit::Data { first, count } => self.send_data(core, first, count, &mut refused),
            Transmit::Repair { sequence, to: Target::Address(address) } => {
                self.send_single(address, core.datagram(sequence));
            }
            Transmit::Repair { sequence, .. } => self.send_repair(core, sequence, &mut refused),
            Transmit::Control(control) => {
                self.send_control(&control, &mut refused);
                core.reuse(control);
            }
        }
        refused.0
    }

    fn send_data(&self, core: &mut crate::Sender, first: u64, count: u64, refused: &mut Refused) {
        let end = first + count;
        for (path, sender) in (0..).zip(&self.paths) {
            if self.paths.len() > 1 {
                core.mark_path(first, count, path, false);
            }
            let mut outgoing = [const { Outgoing::new(&[]) }; MOST];
            let mut at = first;
            while at < end {
                let run = (end - at).min(MOST as u64) as usize;
                for (slot, sequence) in outgoing[..run].iter_mut().zip(at..) {
                    *slot = Outgoing::new(core.datagram(sequence));
                }
                refused.note(send_batch(sender, &outgoing[..run]));
                at += run as u64;
            }
        }
    }

    fn send_repair(&self, core: &mut crate::Sender, sequence: u64, refused: &mut Refused) {
        for (path, sender) in (0..).zip(&self.paths) {
            core.mark_path(sequence, 1, path & Flags::PATH.0, true);
            refused.note(sender.send(core.datagram(sequence)));
        }
    }

    fn send_control(&self, control: &Control, refused: &mut Refused) {
        match control.to {
            Target::Group => self.paths.iter().for_each(|sender| refused.note(sender.send(control.bytes()))),
            Target::Address(address) => self.send_single(address, control.bytes()),
            Target::Discovery => {
                self.discovery.iter().for_each(|sender| refused.note(sender.send(control.bytes())));
            }
        }
    }

    /// To one receiver: what is lost here is asked for again.
    fn send_single(&self, to: SocketAddr, bytes: &[u8]) {
        let _ = self.control.send_to(bytes, to);
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
