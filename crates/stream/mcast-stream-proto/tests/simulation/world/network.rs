//! The network between the publisher and the subscribers.

use std::rc::Rc;

use mcast_stream_proto::wire::{DatagramView, Flags, Kind};

use super::{Happening, World};
use crate::link::Quality;

impl World<'_> {
    pub(super) fn reach_group(&mut self, path: u8, bytes: &[u8]) {
        self.forger.observe(bytes);
        if self.recorded.len() < 4_000 && (self.plan.hostile.is_some() || self.plan.forger.is_some()) {
            self.recorded.push(bytes.to_vec());
        }
        self.record(bytes);
        let now = self.now;
        if self.trunks[usize::from(path)].send(now, bytes.len()).is_empty() {
            self.lost_in_trunk += u64::from(is_data(bytes));
            return;
        }
        let Some(at) = self.through_bottleneck(bytes) else { return };
        let shared = Rc::from(bytes);
        for index in 0..self.nodes.len() {
            self.reach_node(index, path, at, &shared);
        }
    }

    /// Returns when a datagram leaves the bottleneck; `None` if it is dropped.
    pub(super) fn through_bottleneck(&mut self, bytes: &[u8]) -> Option<u64> {
        let (now, Some(link)) = (self.now, &mut self.bottleneck) else { return Some(self.now) };
        let out = link.send(now, bytes.len()).first().map(|(at, _)| *at);
        let is_new =
            |view: DatagramView<'_>| view.header.kind == Kind::Data && !view.header.flags.has(Flags::REPAIR);
        if out.is_none() && DatagramView::parse(bytes).is_ok_and(is_new) {
            self.dropped += bytes.len() as u64;
        }
        out
    }

    pub(super) fn is_partitioned(&self, index: usize) -> bool {
        self.plan.subscribers[index].partition.is_some_and(|(from, to)| (from..to).contains(&self.now))
    }

    pub(super) fn record(&mut self, bytes: &[u8]) {
        if let Ok(view) = DatagramView::parse(bytes) {
            self.traffic.push((self.now, view.header.kind));
            // What is repaired may be a manifest, and repairs may be parity.
            if matches!(view.header.kind, Kind::Data | Kind::Parity | Kind::Manifest) {
                self.data_at = self.now;
            }
            if view.header.kind == Kind::Data && !view.header.flags.has(Flags::REPAIR) {
                self.new_data_at = self.now;
            }
        }
    }

    pub(super) fn reach_node(&mut self, index: usize, path: u8, now: u64, bytes: &Rc<[u8]>) {
        if self.is_partitioned(index) {
            return;
        }
        let link = &mut self.nodes[index].down[usize::from(path)];
        let copies = link.send(now, bytes.len());
        self.lost_in_links += u64::from(copies.is_empty() && is_data(bytes));
        for (at, corrupt) in copies {
            let bytes = if corrupt { self.corrupted(bytes).into() } else { Rc::clone(bytes) };
            self.at(at, Happening::ToSubscriber(index, path, bytes));
        }
    }

    pub(super) fn corrupted(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..self.dice.between(1, 4) {
            let at = self.dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= self.dice.between(1, 255) as u8;
        }
        bytes
    }

    pub(super) fn make_quiet(&mut self) {
        for node in &mut self.nodes {
            for link in node.down.iter_mut().chain([&mut node.up, &mut node.aside]).chain(&mut self.trunks) {
                let delay = link.quality.delay;
                link.quality = Quality { delay, ..Quality::GOOD };
            }
        }
    }
}

fn is_data(bytes: &[u8]) -> bool {
    DatagramView::parse(bytes).is_ok_and(|view| view.header.kind == Kind::Data)
}
