//! The way between them.

use mcast_stream::wire::{Kind, Packet};

use super::{Happening, World};
use crate::link::Quality;

impl World<'_> {
    pub(super) fn reach_group(&mut self, path: u8, bytes: &[u8]) {
        if self.recorded.len() < 4_000 && self.plan.hostile.is_some() {
            self.recorded.push(bytes.to_vec());
        }
        self.record(bytes);
        let now = self.now;
        if self.trunks[usize::from(path)].pass(now, bytes.len()).is_empty() {
            self.lost_in_trunk += u64::from(is_data(bytes));
            return;
        }
        for index in 0..self.nodes.len() {
            self.reach_node(index, path, bytes);
        }
    }

    pub(super) fn record(&mut self, bytes: &[u8]) {
        if let Ok(packet) = Packet::parse(bytes) {
            self.traffic.push((self.now, packet.header.kind));
        }
    }

    pub(super) fn reach_node(&mut self, index: usize, path: u8, bytes: &[u8]) {
        let now = self.now;
        let link = &mut self.nodes[index].down[usize::from(path)];
        let copies = link.pass(now, bytes.len());
        self.lost_in_links += u64::from(copies.is_empty() && is_data(bytes));
        for (at, corrupt) in copies {
            let bytes = if corrupt { self.corrupted(bytes) } else { bytes.to_vec() };
            self.at(at, Happening::ToReceiver(index, path, bytes));
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
            for link in node.down.iter_mut().chain([&mut node.up]).chain(&mut self.trunks) {
                let delay = link.quality.delay;
                link.quality = Quality { delay, ..Quality::GOOD };
            }
        }
    }
}

fn is_data(bytes: &[u8]) -> bool {
    Packet::parse(bytes).is_ok_and(|packet| packet.header.kind == Kind::Data)
}
