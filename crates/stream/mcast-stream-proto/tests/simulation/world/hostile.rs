//! Hostile datagrams to all parties.

use mcast_stream_proto::publisher::Fec;
use mcast_stream_proto::wire::{
    DatagramWriter, Header, Heartbeat, Incarnation, Kind, MessageNumber, Sequence,
};

use super::{Happening, STREAM, World};

impl World<'_> {
    /// Sends noise, changed copies and old copies to all parties. Not changed copies of a clear stream, because nothing
    /// can protect it from those.
    pub(super) fn hostile(&mut self) {
        let Some(every) = self.plan.hostile.filter(|_| self.now < self.plan.good_from) else { return };
        let count = self.recorded.len() as u64;
        let old = self.recorded.get(self.dice.below(count) as usize).cloned();
        let bytes = match (self.dice.below(4), old) {
            (0, _) | (_, None) => (0..self.dice.below(100)).map(|_| self.dice.next() as u8).collect(),
            (1, Some(old)) if self.plan.sealed => self.corrupted(&old),
            (1, Some(old)) => self.foreign(old),
            (2, _) if self.plan.sealed => self.forged(),
            (_, Some(old)) => old,
        };
        for index in 0..self.nodes.len() {
            self.at(self.now, Happening::ToSubscriber(index, 0, bytes.clone().into()));
            self.at(self.now, Happening::ToPublisher(index, bytes.clone()));
        }
        self.at(self.now + every, Happening::Hostile);
    }

    /// Returns the datagram with another version or stream.
    fn foreign(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        bytes[self.dice.pick(&[2, 8, 15])] ^= 0x40;
        bytes
    }

    /// Returns an unsealed datagram: of a later incarnation of the publisher, or data of this one.
    fn forged(&mut self) -> Vec<u8> {
        let incarnation = Incarnation(self.incarnation + self.dice.below(2) as u32);
        let mut kind = self.dice.pick(&[Kind::Heartbeat, Kind::Data, Kind::Ncf]);
        if !matches!(self.plan.fec, Fec::Off | Fec::Crowd) && self.dice.chance(0.3) {
            kind = Kind::Parity;
        }
        let header = Header::new(kind, STREAM, incarnation, self.dice.between(1, 100));
        let heartbeat = Heartbeat::default().with(|heartbeat| {
            heartbeat.next = Sequence(90);
            heartbeat.next_message = MessageNumber(200);
            heartbeat.oldest_retained = Sequence(80);
            heartbeat.oldest_message = MessageNumber(100);
        });
        let mut bytes = vec![0; 200];
        let mut writer = DatagramWriter::new(&mut bytes, &header).unwrap();
        if kind == Kind::Parity {
            let noise: Vec<u8> = (0..40).map(|_| self.dice.next() as u8).collect();
            writer.put(&noise).unwrap();
        } else {
            heartbeat.write(&mut writer).unwrap();
        }
        let length = writer.finish();
        bytes.truncate(length);
        bytes
    }
}
