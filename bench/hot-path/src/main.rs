//! The cases of the hot path, whose instructions `cargo bench-peers instructions` counts. Sender and receiver are on one
//! host and in one thread; only one side is measured.
//!
//! `hot-path` lists the cases with their datagrams per run; `hot-path CASE INTERFACE TIMES` runs one. It is a package of
//! its own, so that it is compiled with all optimizations without the peers.

use std::hint::black_box;

use anyhow::{Context, Result, bail, ensure};
use mcast::{Batch, GroupAddr, InterfaceSelector, Membership, Outgoing, Receiver, Sender};

/// A case, with the number of datagrams per run.
struct Case {
    name: &'static str,
    datagrams: u32,
    exercise: fn(&InterfaceSelector, u32) -> Result<()>,
}

/// Bytes of payload.
const SIZE: usize = 64;
/// Datagrams per batch with segmentation offload: eight buffers of 128 segments.
const TRAINS: u32 = 1024;
/// Datagrams per batch otherwise.
const SINGLES: u32 = 64;
/// Too many groups for a socket each, so that the receiver looks up datagrams in its table.
const GROUPS: u8 = 200;

const CASES: &[Case] = &[
    case("send", 1, |on, times| send(on, times, 1, true, to_one)),
    case("send-trains", TRAINS, |on, times| send(on, times, TRAINS, true, to_one)),
    case("send-singles", SINGLES, |on, times| send(on, times, SINGLES, false, to_one)),
    case("send-mixed", SINGLES, |on, times| send(on, times, SINGLES, true, to_many)),
    case("recv", SINGLES, |on, times| receive(on, times, SINGLES, ReceiveMode::Single)),
    case("recv-gro", SINGLES, |on, times| receive(on, times, SINGLES, ReceiveMode::SingleWithGro)),
    case("recv-merged", TRAINS, |on, times| receive(on, times, TRAINS, ReceiveMode::SingleOfMerged)),
    case("batch-merged", TRAINS, |on, times| receive(on, times, TRAINS, ReceiveMode::Batch)),
    case("reader-merged", TRAINS, |on, times| receive(on, times, TRAINS, ReceiveMode::Reader)),
    case("batch-singles", SINGLES, |on, times| receive(on, times, SINGLES, ReceiveMode::BatchOfSingles)),
    case("batch-held", SINGLES, |on, times| receive(on, times, SINGLES, ReceiveMode::ManyGroups)),
];

const fn case(
    name: &'static str,
    datagrams: u32,
    exercise: fn(&InterfaceSelector, u32) -> Result<()>,
) -> Case {
    Case { name, datagrams, exercise }
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => CASES.iter().for_each(|case| println!("{} {}", case.name, case.datagrams)),
        [name, interface, times] => {
            let case = CASES.iter().find(|case| case.name == name);
            let case = case.with_context(|| format!("there is no case {name}"))?;
            let times = times.parse().with_context(|| format!("{times} must be a number"))?;
            (case.exercise)(&InterfaceSelector::Name(interface.clone()), times)?;
        }
        _ => bail!("usage: hot-path [CASE INTERFACE TIMES]"),
    }
    Ok(())
}

/// Callgrind counts instructions in this function and the functions that it calls.
#[inline(never)]
fn measured_case(work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    work()
}

/// How a receiver is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReceiveMode {
    Single,
    /// Datagrams that are not coalesced, with a receiver that could receive coalesced ones.
    SingleWithGro,
    SingleOfMerged,
    Batch,
    Reader,
    BatchOfSingles,
    ManyGroups,
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

fn send(
    interface: &InterfaceSelector,
    times: u32,
    count: u32,
    trains: bool,
    to: fn(u32) -> Result<GroupAddr>,
) -> Result<()> {
    let sender =
        Sender::builder().interface(interface.clone()).loopback(false).segmentation(trains).build()?;
    let payloads = vec![0; SIZE * count as usize];
    let outgoing = (0..count).zip(payloads.chunks(SIZE));
    let outgoing: Vec<_> = outgoing
        .map(|(number, payload)| Ok(Outgoing::new(payload).to(to(number)?)))
        .collect::<Result<_>>()?;
    // The first batch fills caches.
    sender.send_batch(&outgoing)?;
    for _ in 0..times {
        measured_case(&mut || {
            match &outgoing[..] {
                [one] => sender.send_one(one)?,
                all => drop(black_box(sender.send_batch(all)?)),
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn receive(interface: &InterfaceSelector, times: u32, count: u32, mode: ReceiveMode) -> Result<()> {
    let many = mode == ReceiveMode::ManyGroups;
    let groups = if many { GROUPS } else { 1 };
    let memberships =
        (0..groups).map(|number| Ok(Membership::new(group(number.into())?).on(interface.clone())));
    let memberships = memberships.collect::<Result<Vec<_>>>()?;
    let trains = matches!(mode, ReceiveMode::SingleOfMerged | ReceiveMode::Batch | ReceiveMode::Reader);
    let gro = trains || mode == ReceiveMode::SingleWithGro;
    let receiver = Receiver::builder().join_all(memberships).gro(gro).build()?;
    let sender = Sender::builder().interface(interface.clone()).segmentation(trains).build()?;
    let payloads = vec![0; SIZE * count as usize];
    let to = if many { to_many } else { to_one };
    let outgoing = (0..count).zip(payloads.chunks(SIZE));
    let outgoing: Vec<_> = outgoing
        .map(|(number, payload)| Ok(Outgoing::new(payload).to(to(number)?)))
        .collect::<Result<_>>()?;
    let mut receiving = Receiving::new(&receiver, mode, count);
    // The first round fills caches.
    for round in 0..=times {
        let sent = sender.send_batch(&outgoing)?;
        ensure!(sent == outgoing.len(), "{sent} of {} were sent", outgoing.len());
        match round {
            0 => receiving.all()?,
            _ => measured_case(&mut || receiving.all())?,
        }
    }
    Ok(())
}

/// A receiver and its buffers.
struct Receiving<'r> {
    receiver: &'r Receiver,
    reader: Option<mcast::Reader<'r>>,
    batch: Batch,
    buffer: Vec<u8>,
    count: u32,
}

impl<'r> Receiving<'r> {
    fn new(receiver: &'r Receiver, mode: ReceiveMode, count: u32) -> Self {
        use ReceiveMode::{Single, SingleOfMerged, SingleWithGro};
        let single = matches!(mode, Single | SingleWithGro | SingleOfMerged);
        Self {
            receiver,
            reader: (mode == ReceiveMode::Reader).then(|| receiver.reader()),
            batch: Batch::new(if single { 1 } else { 64 }, 65_536),
            buffer: if single { vec![0; 2048] } else { Vec::new() },
            count,
        }
    }

    /// Receives all datagrams that were sent.
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
                self.receiver.recv_batch(&mut self.batch, None)?;
                for datagram in self.batch.iter() {
                    black_box(datagram.payload());
                    left = left.saturating_sub(1);
                }
            }
        }
        Ok(())
    }
}
