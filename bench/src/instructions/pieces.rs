//! The pieces of the hot path. Sender and receiver are on one host, so that one thread does both:
//! what is measured is one side, and the other happens outside.

use std::hint::black_box;

use anyhow::{Result, ensure};
use mcast::{Batch, GroupAddr, InterfaceSelector, Membership, Outgoing, Receiver, Sender};

use crate::network::INTERFACE;

/// A piece, and how many datagrams one exercise of it has.
pub(super) struct Piece {
    pub(super) name: &'static str,
    pub(super) datagrams: u32,
    pub(super) exercise: fn(u32) -> Result<()>,
}

/// Bytes of payload.
const SIZE: usize = 64;
/// Datagrams at once where trains are used: eight trains of 128.
const TRAINS: u32 = 1024;
/// Datagrams at once elsewhere.
const SINGLES: u32 = 64;
/// More groups than get a socket each, so that the receiver looks datagrams up in its table.
const GROUPS: u8 = 200;

pub(super) const PIECES: &[Piece] = &[
    piece("send", 1, |times| send(times, 1, true, to_one)),
    piece("send-trains", TRAINS, |times| send(times, TRAINS, true, to_one)),
    piece("send-singles", SINGLES, |times| send(times, SINGLES, false, to_one)),
    piece("send-mixed", SINGLES, |times| send(times, SINGLES, true, to_many)),
    piece("recv", SINGLES, |times| receive(times, SINGLES, Manner::Single)),
    piece("batch-merged", TRAINS, |times| receive(times, TRAINS, Manner::Batch)),
    piece("reader-merged", TRAINS, |times| receive(times, TRAINS, Manner::Reader)),
    piece("batch-singles", SINGLES, |times| receive(times, SINGLES, Manner::BatchOfSingles)),
    piece("batch-held", SINGLES, |times| receive(times, SINGLES, Manner::Held)),
];

const fn piece(name: &'static str, datagrams: u32, exercise: fn(u32) -> Result<()>) -> Piece {
    Piece { name, datagrams, exercise }
}

/// The function that callgrind counts in, whatever it calls included.
#[inline(never)]
fn measured_piece(work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    work()
}

/// How a receiver is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Single,
    Batch,
    Reader,
    BatchOfSingles,
    Held,
}

fn group(number: u32) -> Result<GroupAddr> {
    Ok(format!("239.77.1.{}:7700", number % u32::from(GROUPS) + 1).parse()?)
}

fn to_one(_: u32) -> Result<GroupAddr> {
    group(0)
}

fn to_many(number: u32) -> Result<GroupAddr> {
    group(number)
}

fn interface() -> InterfaceSelector {
    InterfaceSelector::Name(INTERFACE.to_owned())
}

fn send(times: u32, count: u32, trains: bool, to: fn(u32) -> Result<GroupAddr>) -> Result<()> {
    let sender = Sender::builder().interface(interface()).loopback(false).segmentation(trains).build()?;
    let payloads = vec![0; SIZE * count as usize];
    let outgoing = (0..count).zip(payloads.chunks(SIZE));
    let outgoing: Vec<_> = outgoing
        .map(|(number, payload)| Ok(Outgoing::new(payload).to(to(number)?)))
        .collect::<Result<_>>()?;
    // The first looks up what later ones know.
    sender.send_batch(&outgoing)?;
    for _ in 0..times {
        measured_piece(&mut || {
            match &outgoing[..] {
                [one] => sender.send_one(one)?,
                all => drop(black_box(sender.send_batch(all)?)),
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn receive(times: u32, count: u32, manner: Manner) -> Result<()> {
    let many = manner == Manner::Held;
    let groups = if many { GROUPS } else { 1 };
    let memberships = (0..groups).map(|number| Ok(Membership::new(group(number.into())?).on(interface())));
    let memberships = memberships.collect::<Result<Vec<_>>>()?;
    let trains = matches!(manner, Manner::Batch | Manner::Reader);
    let receiver = Receiver::builder().join_all(memberships).gro(trains).build()?;
    let sender = Sender::builder().interface(interface()).segmentation(trains).build()?;
    let payloads = vec![0; SIZE * count as usize];
    let to = if many { to_many } else { to_one };
    let outgoing = (0..count).zip(payloads.chunks(SIZE));
    let outgoing: Vec<_> = outgoing
        .map(|(number, payload)| Ok(Outgoing::new(payload).to(to(number)?)))
        .collect::<Result<_>>()?;
    let mut receiving = Receiving::new(&receiver, manner, count);
    // The first round makes ready what later ones use.
    for round in 0..=times {
        let sent = sender.send_batch(&outgoing)?;
        ensure!(sent == outgoing.len(), "{sent} of {} were sent", outgoing.len());
        match round {
            0 => receiving.all()?,
            _ => measured_piece(&mut || receiving.all())?,
        }
    }
    Ok(())
}

/// A receiver, and the memory that it is used with.
struct Receiving<'r> {
    receiver: &'r Receiver,
    reader: Option<mcast::Reader<'r>>,
    batch: Batch,
    buffer: Vec<u8>,
    count: u32,
}

impl<'r> Receiving<'r> {
    fn new(receiver: &'r Receiver, manner: Manner, count: u32) -> Self {
        Self {
            receiver,
            reader: (manner == Manner::Reader).then(|| receiver.reader()),
            batch: Batch::new(if manner == Manner::Single { 1 } else { 64 }, 65_536),
            buffer: if manner == Manner::Single { vec![0; 2048] } else { Vec::new() },
            count,
        }
    }

    /// Receives as many as were sent, and looks at each.
    fn all(&mut self) -> Result<()> {
        let mut left = self.count;
        while left > 0 {
            if let Some(reader) = &mut self.reader {
                if let Some(datagram) = reader.next()? {
                    black_box(datagram.payload());
                    left -= 1;
                }
            } else if !self.buffer.is_empty() {
                black_box(self.receiver.recv(&mut self.buffer)?.payload());
                left -= 1;
            } else {
                self.receiver.recv_batch(&mut self.batch)?;
                for datagram in self.batch.iter() {
                    black_box(datagram.payload());
                    left = left.saturating_sub(1);
                }
            }
        }
        Ok(())
    }
}
