//! An intruder without the key, which replays the subscribers' datagrams, or forges them if the stream is not sealed.
//! It has its own address and never replies.

use mcast_stream_proto::wire::{
    AddressToken, DatagramWriter, Header, Incarnation, Kind, NakWriter, Sequence, Status, SubscriberId,
    WriteError,
};

use super::{Happening, STREAM, World};
use crate::plan::Stranger;

/// The subscriber that the intruder claims to be.
const CLAIMED: u64 = 0x5747_0000;

/// Datagrams and bytes that it has sent, and bytes that the publisher has sent to its address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Intruder {
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
    pub(crate) answered: u64,
}

impl World<'_> {
    pub(super) fn overhear(&mut self, index: usize, bytes: &[u8]) {
        if self.plan.stranger.is_some() && index < self.nodes.len() && self.overheard.len() < 4_000 {
            self.overheard.push(bytes.to_vec());
        }
    }

    /// Sends a replayed or forged datagram to the publisher.
    pub(super) fn intrude(&mut self) {
        let Some(stranger) = self.plan.stranger.filter(|_| !self.closed || self.now < self.plan.good_from)
        else {
            return;
        };
        let count = self.intruder.datagrams + 1;
        let bytes = match stranger {
            Stranger::Replays(_) => {
                let turn = count as usize % self.overheard.len().max(1);
                self.overheard.get(turn).cloned()
            }
            Stranger::ForgesNaks(_) => Some(self.forged_nak(count)),
            Stranger::ForgesStatuses(_) => Some(self.forged_status(count)),
        };
        if let Some(bytes) = bytes {
            self.intruder.datagrams = count;
            for index in 0..self.nodes.len() {
                if self.plan.subscribers[index].repairs.is_some() {
                    self.intruder.bytes += bytes.len() as u64;
                    self.at(self.now, Happening::Aside(self.nodes.len(), index, bytes.clone().into()));
                }
            }
            self.intruder.bytes += bytes.len() as u64;
            self.at(self.now, Happening::ToPublisher(self.nodes.len(), bytes));
        }
        self.at(self.now + stranger.every(), Happening::Stranger);
    }

    fn forged_nak(&self, count: u64) -> Vec<u8> {
        let mut list = NakWriter::new();
        list.add(Sequence(1), self.publisher.statistics().datagrams.clamp(1, 1 << 20) as u32);
        self.claimed(Kind::Nak, CLAIMED, count, |writer| list.write_nak(AddressToken::NONE, writer))
    }

    /// Returns a status, of another subscriber each time.
    fn forged_status(&self, count: u64) -> Vec<u8> {
        let status = Status::default().with(|status| {
            status.next = Sequence(1);
            status.highest = Sequence(1);
        });
        self.claimed(Kind::Status, CLAIMED + count, 1, |writer| status.write(writer))
    }

    fn claimed(
        &self,
        kind: Kind,
        subscriber: u64,
        count: u64,
        write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
    ) -> Vec<u8> {
        let mut bytes = vec![0; 1_500];
        let header = Header::new(kind, STREAM, Incarnation(self.incarnation), count);
        let mut writer = DatagramWriter::new(&mut bytes, &header).unwrap();
        writer.subscriber(SubscriberId(subscriber)).unwrap();
        write(&mut writer).unwrap();
        let length = writer.finish();
        bytes.truncate(length);
        bytes
    }
}
