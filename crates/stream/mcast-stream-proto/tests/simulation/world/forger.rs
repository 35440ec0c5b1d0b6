//! A member of the group, with its secret and without the publisher's signing key, that forges the publisher.

use mcast_stream_proto::publisher::Fec;
use mcast_stream_proto::seal::{Keys, Purpose, Sealed};
use mcast_stream_proto::sign::{SIGNATURE_LENGTH, Signer};
use mcast_stream_proto::wire::{
    AddressToken, DatagramView, DatagramWriter, Digest, ExtensionKind, Flags, HEADER_LENGTH, Header,
    Heartbeat, Incarnation, IncarnationSalt, KeyEpoch, Kind, Manifest, MessageNumber, NakWriter, Parity,
    Probe, Reset, ResetReason, Sequence, SubscriberId, WriteError, push_message,
};

use super::{Happening, STREAM, World};
use crate::cipher::Notary;
use crate::signer;

/// What the forger has learned of the publisher.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forger {
    /// The last sequence of data, and the last count of a control datagram.
    sequence: u64,
    count: u64,
    incarnation: u32,
    salt: Option<IncarnationSalt>,
    epoch: KeyEpoch,
    /// A genuine signature.
    signature: Option<[u8; SIGNATURE_LENGTH]>,
    pub(super) datagrams: u64,
}

impl Forger {
    /// Observes a datagram of the publisher.
    pub(super) fn observe(&mut self, bytes: &[u8]) {
        let Ok(view) = DatagramView::parse(bytes) else { return };
        let header = view.header;
        (self.salt, self.epoch) = (Some(view.salt()), header.epoch);
        self.incarnation = header.incarnation.0;
        match header.kind.is_in_sequence() {
            true => self.sequence = header.sequence,
            false => self.count = header.sequence,
        }
        let signature =
            view.extensions.find(ExtensionKind::SIGNATURE).and_then(|found| found.value.try_into().ok());
        self.signature = signature.or(self.signature);
    }
}

/// Returns the symbol of a datagram, which is the parity of a block of nothing else.
pub(crate) fn symbol_of(datagram: &[u8]) -> Vec<u8> {
    let length = (datagram.len() as u16).to_be_bytes();
    let flags = Flags(datagram[5]).without(Flags::MUTABLE).0;
    [&length, &datagram[3..5], &[flags], &datagram[20..24], &datagram[HEADER_LENGTH..]].concat()
}

impl World<'_> {
    /// Sends a forged datagram to all subscribers, from the publisher's address.
    pub(super) fn forge(&mut self) {
        let Some(every) = self.plan.forger.filter(|_| self.now < self.plan.good_from) else { return };
        self.forger.datagrams += 1;
        for index in 0..self.nodes.len() {
            let id = self.nodes[index].id.unwrap_or(SubscriberId(0));
            if let Some(bytes) = self.forgery(id) {
                self.at(self.now, Happening::ToSubscriber(index, 0, bytes.into()));
            }
        }
        self.at(self.now + every, Happening::Forger);
    }

    fn forgery(&mut self, id: SubscriberId) -> Option<Vec<u8>> {
        let Forger { sequence, count, incarnation, .. } = self.forger;
        let ahead = Sequence(sequence + self.dice.pick(&[1, 1, 2, 5, 70, 500]));
        let incarnation = match self.dice.below(8) {
            0 => incarnation + 1,
            1 => incarnation.saturating_sub(1),
            _ => incarnation,
        };
        let kinds =
            [Kind::Data, Kind::Data, Kind::Manifest, Kind::Heartbeat, Kind::Ncf, Kind::Reset, Kind::Echo];
        let kind = self.dice.pick(&kinds);
        let message = MessageNumber(self.published + self.dice.below(50));
        let count = count + self.dice.pick(&[1, 2, 60, 1 << 40]);
        let is_end = self.dice.chance(0.5);
        let is_parity = !matches!(self.plan.fec, Fec::Off | Fec::Crowd) && self.dice.chance(0.3);
        let reason = self.dice.pick(&[ResetReason::Evicted, ResetReason::EndConfirmed, ResetReason::Full]);
        let digests = vec![Digest([7; 16]); self.dice.between(1, 7) as usize];
        let heartbeat = Heartbeat::default().with(|heartbeat| {
            heartbeat.next = ahead;
            heartbeat.next_message = message;
            heartbeat.oldest_retained = if self.dice.chance(0.5) { ahead } else { Sequence(1) };
            heartbeat.clock = u64::MAX / 2;
            heartbeat.datagram = self.plan.datagram as u16;
        });
        if self.dice.chance(0.1) && !self.recorded.is_empty() {
            let which = self.dice.below(self.recorded.len() as u64) as usize;
            return self.recorded.get(which).cloned();
        }
        let flags = match kind {
            Kind::Data => Flags::BATCH,
            Kind::Heartbeat if is_end => Flags::END_OF_STREAM,
            _ => Flags(0),
        };
        // Parity may recover what was sent already.
        let behind = if is_parity { self.dice.below(100) } else { 0 };
        let number = if kind.is_in_sequence() { ahead.0.saturating_sub(behind).max(1) } else { count };
        let header = Header::new(kind, STREAM, Incarnation(incarnation), number)
            .with(|header| (header.flags, header.message) = (flags, message.low()));
        let forgery = self.seal_forgery(header, |writer| match kind {
            Kind::Data => {
                let mut body = [0; 8];
                push_message(&mut body, 0, b"forged").unwrap();
                writer.put(&body)
            }
            Kind::Manifest => Manifest::write(&digests, writer),
            Kind::Heartbeat => heartbeat.write(writer),
            Kind::Ncf => NakWriter::new().write_ncf(ahead, message, writer),
            Kind::Reset => Reset::new(id, reason).write(writer),
            _ => Probe::new(0, AddressToken(99), id).write(writer),
        })?;
        if is_parity && kind.is_in_sequence() { self.parity_of(&forgery, count) } else { Some(forgery) }
    }

    /// Returns parity from which a subscriber that lacks this datagram recovers it.
    fn parity_of(&mut self, forgery: &[u8], count: u64) -> Option<Vec<u8>> {
        let Header { incarnation, epoch, sequence, .. } = DatagramView::parse(forgery).ok()?.header;
        let symbol = &symbol_of(forgery);
        let parity = Parity::new(Sequence(sequence), 1, 0, epoch, symbol);
        let header = Header::new(Kind::Parity, STREAM, incarnation, count);
        self.seal_forgery(header, |writer| parity.write(writer))
    }

    /// Writes a datagram, with a signature that does not fit, and seals it if the stream is sealed.
    fn seal_forgery(
        &mut self,
        header: Header,
        write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
    ) -> Option<Vec<u8>> {
        let Forger { salt, epoch, signature, .. } = self.forger;
        let (salt, header) = (salt?, header.with(|header| header.epoch = epoch));
        let signature = signature.filter(|_| self.dice.chance(0.5)).unwrap_or([9; SIGNATURE_LENGTH]);
        let signer = signer::key(self.plan.seed, false);
        let mut bytes = vec![0; 1_500];
        let mut writer = DatagramWriter::new(&mut bytes, &header).unwrap();
        writer.salt(salt).unwrap();
        if header.kind != Kind::Data && self.dice.chance(0.8) {
            writer.extension(ExtensionKind::SIGNATURE, Signer::id(&*signer).0, &signature).unwrap();
        }
        write(&mut writer).unwrap();
        let length = writer.finish();
        bytes.truncate(length);
        if epoch != KeyEpoch::CLEAR {
            let secret = Notary::default().secret(self.plan.seed ^ u64::from(epoch.0 - 1));
            let sealed =
                if header.kind.is_in_sequence() { Sealed::Data(salt) } else { Sealed::Control(salt) };
            let cipher = Keys::one(epoch, secret).cipher(&Purpose::of(&header, sealed))?;
            let end = usize::from(bytes[4]) * 4;
            let (head, text) = bytes.split_at_mut(end);
            let tag = cipher.seal(header.sequence, head, text)?;
            bytes.extend_from_slice(&tag);
        }
        Some(bytes)
    }
}
