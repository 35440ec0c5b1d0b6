//! What receivers say.

use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use super::members::Member;
use super::{Sender, SenderEvent};
use crate::outbox::Target;
use crate::seal::{self, Purpose, Sealed};
use crate::wire::{Flags, Header, KeyEpoch, Kind, Nak, Packet, Probe, ReceiverId, Status};

/// A token proves an address for as long, and once more.
const TOKEN_TIME: u64 = 64_000_000_000;
/// Heartbeats that are asked for come no faster.
const LEAST_HEARTBEAT_INTERVAL: u64 = 1_000_000;

impl Sender {
    /// Takes a datagram that came to the sender's own port.
    ///
    /// What costs nothing to check is checked first, then whether the group sealed it; nothing is
    /// kept of anybody before that.
    pub fn handle(&mut self, now: u64, from: SocketAddr, datagram: &[u8]) {
        let Ok(packet) = Packet::parse(datagram) else {
            self.statistics.foreign += 1;
            return;
        };
        let header = packet.header;
        let is_mine = header.stream == self.config.stream && header.incarnation == self.config.incarnation;
        let Some(id) = packet.receiver().filter(|_| is_mine && header.kind.is_from_receivers()) else {
            self.statistics.foreign += 1;
            return;
        };
        let is_new = self.members.get(id).is_none_or(|member| member.counts.is_new(header.sequence));
        if !is_new || self.seals() && header.epoch == KeyEpoch::CLEAR {
            self.statistics.refused += 1;
            return;
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(datagram);
        match self.open_from(id, &header, &mut scratch) {
            Some(end) => {
                if let Some(body) = scratch.get(packet.head.len()..end) {
                    self.take_from(now, id, from, &header, body);
                }
            }
            None => self.statistics.refused += 1,
        }
        self.scratch = scratch;
    }

    /// Uncovers what a receiver sealed; says where the body ends.
    fn open_from(&mut self, id: ReceiverId, header: &Header, bytes: &mut [u8]) -> Option<usize> {
        if header.epoch == KeyEpoch::CLEAR {
            return Some(bytes.len());
        }
        let purpose = Purpose::of(header, Sealed::Receiver(id));
        let keys = &self.config.keys;
        let Some(member) = self.members.get_mut(id) else {
            return seal::open(self.ciphers.find(keys, purpose)?, header, bytes);
        };
        if member.cipher.as_ref().is_none_or(|(known, _)| *known != purpose) {
            // A forged epoch must not push out the cipher in use.
            let cipher = keys.cipher(&purpose)?;
            let end = seal::open(&*cipher, header, bytes)?;
            member.cipher = Some((purpose, cipher));
            return Some(end);
        }
        seal::open(&*member.cipher.as_ref()?.1, header, bytes)
    }

    fn take_from(&mut self, now: u64, id: ReceiverId, from: SocketAddr, header: &Header, body: &[u8]) {
        if header.kind == Kind::Probe {
            if let Ok(probe) = Probe::read(body) {
                self.echo(now, id, from, probe);
            }
            return;
        }
        if self.members.get(id).is_none() {
            if self.members.len() >= self.config.most_receivers {
                self.statistics.refused += 1;
                self.tell(SenderEvent::ReceiverRefused(id));
                return;
            }
            self.members.insert(id, Member::new(from, now));
        }
        if let Some(member) = self.members.get_mut(id) {
            member.counts.note(header.sequence);
            member.heard = now;
            member.proven &= member.address == from;
            member.address = from;
        }
        match header.kind {
            Kind::Nak => {
                if let Ok(nak) = Nak::read(body) {
                    self.prove(now, id, from, nak.token);
                    self.on_nak(now, id, nak.missing);
                }
            }
            Kind::Status => {
                if let Ok(status) = Status::read(body) {
                    self.prove(now, id, from, status.token);
                    self.on_status(now, id, from, &status);
                }
            }
            _ => {}
        }
    }

    fn on_status(&mut self, now: u64, id: ReceiverId, from: SocketAddr, status: &Status) {
        self.statistics.statuses += 1;
        if status.flags & Status::LEAVING != 0 {
            self.left_complete += usize::from(self.closed && status.next >= self.ring.next);
            self.members.remove(id);
            self.tell(SenderEvent::ReceiverLeft(id));
            return;
        }
        if status.flags & Status::JOINING != 0 {
            self.heartbeat_at =
                self.heartbeat_at.min(now.max(self.heartbeat_last + LEAST_HEARTBEAT_INTERVAL));
            return;
        }
        // Nobody can have what was never sent.
        if status.next > self.ring.sent {
            self.statistics.refused += 1;
            return;
        }
        let caught_up = self.ring.sent - status.next <= self.ring.slots() / 4;
        let Some(member) = self.members.get_mut(id) else { return };
        let gone = (member.next, self.ring.trail.min(status.next));
        let lacks_some = member.evicted && gone.0 < gone.1;
        member.record(status, now, self.round_trip);
        let is_passive = status.flags & Status::PASSIVE != 0;
        let has_joined = !member.waited && !is_passive;
        let has_returned = member.evicted && caught_up;
        (member.waited, member.evicted) = (!is_passive, member.evicted && !caught_up);
        self.members.changed();
        if has_joined {
            self.tell(SenderEvent::ReceiverJoined(id, from));
        }
        if lacks_some {
            self.tell(SenderEvent::Unrecoverable(id, gone.0, gone.1));
        }
        if has_returned {
            self.tell(SenderEvent::ReceiverReturned(id));
        }
    }

    /// Answers whoever asks, with no more bytes than it sent.
    fn echo(&mut self, now: u64, id: ReceiverId, from: SocketAddr, probe: Probe) {
        let echo = Probe { clock: probe.clock, token: self.token(from, now / TOKEN_TIME), receiver: id.0 };
        self.push_control(Target::Address(from), Kind::Echo, Flags(0), |writer| echo.write(writer));
    }

    /// A receiver that knows the token of its address has had an answer there.
    fn prove(&mut self, now: u64, id: ReceiverId, from: SocketAddr, token: u64) {
        if token == 0 {
            return;
        }
        let period = now / TOKEN_TIME;
        let is_proven =
            token == self.token(from, period) || token == self.token(from, period.saturating_sub(1));
        if let Some(member) = self.members.get_mut(id) {
            member.proven |= is_proven;
        }
    }

    /// A keyed hash of the address, so that nothing need be kept of those who ask.
    #[expect(deprecated, reason = "core has no other keyed hash")]
    fn token(&self, address: SocketAddr, period: u64) -> u64 {
        let mut hasher = core::hash::SipHasher::new_with_keys(self.token_key.0, self.token_key.1);
        match address.ip() {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        hasher.write(&address.port().to_be_bytes());
        hasher.write(&period.to_be_bytes());
        hasher.finish().max(1)
    }

    /// Whether everything is sealed.
    pub(super) const fn seals(&self) -> bool {
        !self.config.keys.is_empty()
    }
}
