//! Datagrams between subscribers: requests to repairers, and their answers.

use std::rc::Rc;

use mcast_stream_proto::wire::{DatagramView, Header, Kind};

use super::{BUFFER, Happening, World};
use crate::plan::{MILLISECOND, Repairing};

/// The limits of a repairer: at once, and as a part of what it has received.
const BURST: u64 = 131_072;
const SHARE: u64 = 4;
const REQUESTER_BURST: u64 = BURST / 4;
const REQUESTER_SHARE: u64 = 2 * SHARE;

/// The bytes between a repairer and a subscriber that asks it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    requests: u64,
    echoes: u64,
    repairs: u64,
    /// How late a repairer that dawdles answers.
    delay: u64,
}

/// Local repair in all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LocalTotals {
    /// NAKs to repairers.
    pub(crate) naks: u64,
    /// Repairs that repairers sent, and those that were used.
    pub(crate) repairs: u64,
    pub(crate) used: u64,
    pub(crate) refused: u64,
    pub(crate) unrequested: u64,
}

impl World<'_> {
    /// Sends a datagram of a subscriber to another one, or to a stranger.
    pub(super) fn send_aside(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let Ok(view) = DatagramView::parse(bytes) else { return };
        let kind = view.header.kind;
        let is_repair = kind.is_in_sequence();
        self.check_answer(from, to, kind, bytes.len() as u64);
        if to >= self.nodes.len() {
            self.intruder.answered += bytes.len() as u64;
            return;
        }
        if is_repair {
            self.data_at = self.now;
        }
        let lie = self.plan.subscribers[from].repairs.filter(|_| is_repair);
        let is_cut = self.is_partitioned(from) || self.is_partitioned(to);
        if is_cut || self.plan.subscribers[from].firewalled || lie == Some(Repairing::Silent) {
            return;
        }
        let delay = if lie == Some(Repairing::Dawdling) { self.dawdle(from, to) } else { 0 };
        for (at, corrupt) in self.nodes[from].aside.send(self.now, bytes.len()) {
            let bytes = match lie {
                // Nothing protects a clear stream from data that is changed and well-formed.
                Some(Repairing::Garbled) if !self.plan.sealed => vec![bytes[0] ^ 0x40; bytes.len()],
                Some(Repairing::Garbled) => self.corrupted(bytes),
                _ if corrupt && self.plan.sealed => self.corrupted(bytes),
                _ => bytes.to_vec(),
            };
            if lie == Some(Repairing::Meddling) {
                self.at(at, Happening::Aside(from, to, data_of_a_later_message(&bytes).into()));
            }
            self.at(at + delay, Happening::Aside(from, to, bytes.into()));
        }
    }

    /// Returns how late this repair is sent: later than the one before, as far as a subscriber measures it.
    fn dawdle(&mut self, from: usize, to: usize) -> u64 {
        let delay = &mut self.exchanges.entry((from, to)).or_default().delay;
        *delay = (*delay * 14 / 10).clamp(MILLISECOND, 1_900 * MILLISECOND);
        *delay
    }

    /// Passes a datagram of another subscriber, or of a stranger, to a subscriber.
    pub(super) fn receive_aside(&mut self, from: usize, to: usize, bytes: Rc<[u8]>) {
        let node = &mut self.nodes[to];
        if node.subscriber.is_none() || node.inbox.len() >= BUFFER {
            return;
        }
        self.exchanges.entry((to, from)).or_default().requests += bytes.len() as u64;
        node.inbox.push_back((0, super::address(from), bytes));
    }

    /// Counts what a subscriber receives of the stream.
    pub(super) fn record_received(&mut self, index: usize, bytes: &[u8]) {
        let is_counted = DatagramView::parse(bytes)
            .is_ok_and(|view| matches!(view.header.kind, Kind::Data | Kind::Manifest | Kind::Parity));
        let length = if is_counted { bytes.len() as u64 } else { 0 };
        self.nodes[index].received += length;
        self.meter.received_bytes += length;
    }

    /// Forgets what a subscriber that starts again had sent and received before.
    pub(super) fn forget_exchanges(&mut self, index: usize) {
        self.exchanges.retain(|(repairer, _), _| *repairer != index);
        self.nodes[index].received = 0;
    }

    /// Checks that a repairer amplifies nothing, and keeps to its limits.
    fn check_answer(&mut self, from: usize, to: usize, kind: Kind, length: u64) {
        let received = self.nodes[from].received;
        let exchange = self.exchanges.entry((from, to)).or_default();
        match kind {
            Kind::Echo => exchange.echoes += length,
            kind if kind.is_in_sequence() => exchange.repairs += length,
            _ => return,
        }
        let exchange = *exchange;
        let of_all: u64 =
            self.exchanges.iter().filter(|((by, _), _)| *by == from).map(|(_, each)| each.repairs).sum();
        let is_stranger = to >= self.nodes.len();
        let wrong = match exchange {
            Exchange { requests, echoes, .. } if echoes > requests => "longer echoes than requests",
            Exchange { repairs, .. } if repairs > 0 && is_stranger => "repairs to an unproven address",
            Exchange { repairs, .. } if repairs > REQUESTER_BURST + received / REQUESTER_SHARE => {
                "more repairs than the credit of a requester"
            }
            _ if of_all > BURST + received / SHARE => "more repairs than its share",
            _ => return,
        };
        self.violations.push(format!("subscriber {from} sent {wrong} at {}: {exchange:?}", self.now));
    }
}

/// Returns this data in the place of a message that follows soon.
fn data_of_a_later_message(datagram: &[u8]) -> Vec<u8> {
    const AHEAD: u32 = 3;
    let Header { message, sequence, .. } = DatagramView::parse(datagram).unwrap().header;
    let (message, sequence) = (message + AHEAD, sequence + u64::from(AHEAD));
    [&datagram[..20], &message.to_be_bytes(), &sequence.to_be_bytes(), &datagram[32..]].concat()
}
