//! One tunnel: its session, the address of the other end, and what is sent and received.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use mcast_pace::ClockTime;

use crate::event::{DownReason, LinkCounts, LinkId, TunnelEvent, TunnelTransmit};
use crate::frame::{Frame, Frames, PIECE_OVERHEAD, Reassembly, RecordPiece};
use crate::path_mtu::PathMtu;
use crate::repair::{Arrived, Gaps, RepairBuffer};
use crate::session::{DropReason, Record, Session, TunnelDatagram, TunnelWant, emit_wants};
use crate::wire::{DATA_HEADER, TAG};

/// The time between pings. It keeps the states of NATs, and finds out soon whether the other end is there.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// After this time without a datagram of the other end, the dialer begins a new handshake.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);
/// After this time, the tunnel is down.
const DEAD: Duration = Duration::from_secs(6);
/// The time for which the keys before the present ones still open.
const PREVIOUS_KEYS: Duration = Duration::from_secs(10);
/// The shortest time between path challenges, and the time that an answer may take.
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(250);
/// The bound of repairs of what this end wants.
const WANTS_BOUND: Duration = Duration::from_secs(2);
const FIRST_WANTS_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_WANTS_PAUSE: Duration = Duration::from_secs(8);

/// The longest bound of repairs.
const MAX_BOUND: Duration = Duration::from_secs(60);

/// One tunnel.
#[derive(Debug)]
pub(crate) struct Link {
    id: LinkId,
    pub(crate) name: String,
    /// Whether a rule names it.
    pub(crate) is_open: bool,
    /// The relay at the other end, also while the tunnel is down.
    peer: Option<u64>,
    current: Option<Current>,
    /// The keys before the present ones, and until when they are valid.
    previous: Option<(Session, ClockTime)>,
    candidate: Option<Candidate>,
    round_trip: Option<Duration>,
    transport: Transport,
    /// What this end wants; `None` if it has not said so.
    wants: Option<Wants>,
    /// The frames of the next datagram.
    body: Vec<u8>,
    pub(crate) transmits: VecDeque<TunnelTransmit>,
    pub(crate) events: VecDeque<TunnelEvent>,
    pub(crate) counts: LinkCounts,
}

/// What a tunnel has while it is up.
#[derive(Debug)]
struct Current {
    session: Session,
    since: ClockTime,
    address: SocketAddr,
    /// When the last datagram of the other end arrived.
    heard: ClockTime,
    next_ping: ClockTime,
    mtu: PathMtu,
}

/// An address that the other end may have moved to.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: SocketAddr,
    challenge: u64,
    at: ClockTime,
}

/// What starts again when the relay at the other end is another one.
#[derive(Debug, Default)]
struct Transport {
    buffer: RepairBuffer,
    gaps: Gaps,
    reassembly: Reassembly,
    last_record: u32,
    /// The version of the other end's wants.
    wants: u32,
}

#[derive(Debug)]
struct Wants {
    list: Vec<TunnelWant>,
    version: u32,
    is_received: bool,
    next: ClockTime,
    pause: Duration,
}

impl Link {
    pub(crate) fn new(id: LinkId, name: String) -> Self {
        Self {
            id,
            name,
            is_open: true,
            peer: None,
            current: None,
            previous: None,
            candidate: None,
            round_trip: None,
            transport: Transport::default(),
            wants: None,
            body: Vec::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counts: LinkCounts::default(),
        }
    }

    /// Returns the relay at the other end, its address and the round trip, while the tunnel is up.
    pub(crate) fn status(&self) -> Option<(u64, SocketAddr, Option<Duration>)> {
        let current = self.current.as_ref()?;
        Some((self.peer?, current.address, self.round_trip))
    }

    /// Returns the present session, and since when it is.
    pub(crate) fn session(&self) -> Option<(&Session, ClockTime)> {
        self.current.as_ref().map(|current| (&current.session, current.since))
    }

    /// Returns whether the other end was received less than this time ago.
    pub(crate) fn was_heard_within(&self, now: ClockTime, time: Duration) -> bool {
        self.current.as_ref().is_some_and(|current| now < current.heard + time)
    }

    /// Returns when the other end will have been silent for this time.
    pub(crate) fn silent_at(&self, time: Duration) -> ClockTime {
        self.current.as_ref().map_or(ClockTime::START, |current| current.heard + time)
    }

    /// Returns whether another relay than this one has the tunnel.
    pub(crate) fn is_of_another(&self, relay: u64) -> bool {
        self.peer.is_some_and(|peer| peer != relay)
    }

    /// Finds out soon whether the other end is still there.
    pub(crate) const fn ping_now(&mut self, now: ClockTime) {
        if let Some(current) = &mut self.current {
            current.next_ping = now;
        }
    }

    /// Continues with the keys of a handshake, at an address that was proven by it.
    pub(crate) fn adopt(&mut self, now: ClockTime, session: Session, relay: u64, address: SocketAddr) {
        if self.is_of_another(relay) {
            self.transport = Transport::default();
        }
        self.flush();
        let before = self.current.take();
        let (was_up, old_address) = (before.is_some(), before.as_ref().map(|before| before.address));
        let mtu = before.map(|before| {
            self.previous = Some((before.session, now + PREVIOUS_KEYS));
            before.mtu
        });
        // The size belongs to the path: it outlives the keys, but not the address.
        let mtu = mtu.filter(|_| old_address == Some(address)).unwrap_or_else(|| PathMtu::new(now));
        self.current = Some(Current { session, since: now, address, heard: now, next_ping: now, mtu });
        let is_same = was_up && self.peer == Some(relay);
        self.peer = Some(relay);
        self.candidate = None;
        if !is_same {
            self.events.push_back(TunnelEvent::Up { link: self.id, relay, address });
        } else if old_address != Some(address) {
            self.events.push_back(TunnelEvent::Moved { link: self.id, address });
        }
        self.repeat_wants(now);
    }

    /// Ends the tunnel until the next handshake.
    pub(crate) fn close(&mut self, reason: DownReason) {
        if self.current.is_some() {
            if reason != DownReason::Goodbye {
                self.put(&Frame::Goodbye);
                self.flush();
            }
            self.events.push_back(TunnelEvent::Down { link: self.id, reason });
        }
        (self.current, self.previous, self.candidate) = (None, None, None);
        self.body.clear();
    }

    /// Replaces what this end wants to receive.
    pub(crate) fn set_wants(&mut self, now: ClockTime, list: Vec<TunnelWant>) {
        let version = match &self.wants {
            Some(wants) if wants.list == list => return,
            Some(wants) => wants.version + 1,
            None => 1,
        };
        let (next, pause) = (now, FIRST_WANTS_PAUSE);
        self.wants = Some(Wants { list, version, is_received: false, next, pause });
    }

    fn repeat_wants(&mut self, now: ClockTime) {
        if let Some(wants) = &mut self.wants {
            (wants.is_received, wants.next, wants.pause) = (false, now, FIRST_WANTS_PAUSE);
        }
    }

    /// Sends a datagram into the tunnel. With a bound, missing pieces of it are repaired in that time.
    pub(crate) fn send(
        &mut self,
        now: ClockTime,
        datagram: &TunnelDatagram,
        bound: Option<Duration>,
    ) -> bool {
        let is_up = self.current.is_some();
        if is_up {
            self.counts.sent += 1;
            self.send_record(now, &datagram.emit(), bound);
        }
        is_up
    }

    fn send_record(&mut self, now: ClockTime, bytes: &[u8], bound: Option<Duration>) {
        let Some(room) = self.room() else { return };
        let bound_ms = bound.map(|bound| bound.min(MAX_BOUND).as_millis() as u16);
        let size = room - PIECE_OVERHEAD;
        let count = bytes.len().div_ceil(size) as u16;
        self.transport.last_record = self.transport.last_record.wrapping_add(1);
        let record = self.transport.last_record;
        for (bytes, index) in bytes.chunks(size).zip(0..) {
            let mark = bound_ms.map(|bound_ms| self.transport.buffer.next_mark(bound_ms));
            let start = self.put(&Frame::Piece(mark, RecordPiece { record, index, count, bytes }));
            if let Some(mark) = mark {
                self.transport.buffer.keep(now, mark, self.body.get(start..).unwrap_or_default());
            }
        }
    }

    /// Handles a datagram for this tunnel. Returns an error if it is dropped.
    pub(crate) fn receive(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        (session, counter): (u64, u64),
        bytes: &mut [u8],
        challenge: impl FnOnce() -> u64,
    ) -> Result<(), DropReason> {
        let length = bytes.len() as u64;
        let (id, previous) = (self.session().map(|(current, _)| current.id()), self.previous.as_mut());
        let (frames, is_newest) = match (self.current.as_mut(), previous) {
            (Some(current), _) if id == Some(session) => current.session.open(counter, bytes)?,
            (_, Some((known, until))) if known.id() == session && now < *until => {
                (known.open(counter, bytes)?.0, false)
            }
            _ => return Err(DropReason::UnknownSession),
        };
        self.counts.received_bytes += length;
        let has_moved = self.current.as_mut().is_some_and(|current| {
            current.heard = now;
            // A datagram that is late, or that somebody has recorded, must not move the tunnel.
            is_newest && from != current.address
        });
        if has_moved {
            self.challenge(now, from, challenge);
        }
        for frame in Frames::new(frames) {
            self.handle(now, from, frame);
        }
        Ok(())
    }

    fn handle(&mut self, now: ClockTime, from: SocketAddr, frame: Frame<'_>) {
        match frame {
            Frame::Ping(clock) => _ = self.put(&Frame::Pong(clock)),
            Frame::Pong(clock) => self.measure(now, clock),
            Frame::Challenge(number) => _ = self.put(&Frame::Response(number)),
            Frame::Response(number) => self.prove(now, from, number),
            Frame::Piece(None, piece) => self.receive_piece(now, Duration::ZERO, piece),
            Frame::Piece(Some(mark), piece) => {
                let arrived = self.transport.gaps.arrive(now, mark);
                self.counts.repaired += u64::from(arrived == Arrived::Repaired);
                if arrived != Arrived::Duplicate {
                    self.receive_piece(now, Duration::from_millis(mark.bound_ms.into()), piece);
                }
            }
            Frame::Nak(ranges) => self.repair(now, &ranges),
            Frame::Tail(mark) => self.transport.gaps.advance(now, mark),
            Frame::Probe(size) => _ = self.put(&Frame::Probed(size)),
            Frame::Probed(size) => {
                if let Some(current) = &mut self.current {
                    current.mtu.confirm(now, size);
                }
            }
            Frame::WantsReceived(version) => {
                if let Some(wants) = self.wants.as_mut().filter(|wants| wants.version == version) {
                    wants.is_received = true;
                }
            }
            Frame::Goodbye => self.close(DownReason::Goodbye),
            Frame::Unknown => {}
        }
    }

    fn receive_piece(&mut self, now: ClockTime, bound: Duration, piece: RecordPiece<'_>) {
        let Some(bytes) = self.transport.reassembly.add(now, bound, piece) else { return };
        match Record::read(&bytes) {
            Some(Record::Datagram(datagram)) => {
                self.counts.received += 1;
                self.events.push_back(TunnelEvent::Datagram { link: self.id, datagram });
            }
            Some(Record::Wants { version, wants }) => {
                self.put(&Frame::WantsReceived(version));
                if version > self.transport.wants {
                    self.transport.wants = version;
                    self.events.push_back(TunnelEvent::Wants { link: self.id, wants });
                }
            }
            None => self.counts.malformed += 1,
        }
    }

    fn repair(&mut self, now: ClockTime, ranges: &[(u64, u16)]) {
        let mut frames: Vec<Box<[u8]>> = Vec::new();
        for range in ranges {
            self.transport.buffer.answer(now, self.round_trip, *range, |frame| frames.push(frame.into()));
        }
        self.counts.repairs_sent += frames.len() as u64;
        frames.iter().for_each(|frame| self.put_bytes(frame));
    }

    fn measure(&mut self, now: ClockTime, clock: u64) {
        // The other end returns the clock, so its value may be anything.
        let sample = now.0.checked_sub(clock).map(Duration::from_nanos);
        let Some(sample) = sample.filter(|sample| *sample < DEAD) else { return };
        self.round_trip = Some(self.round_trip.map_or(sample, |known| (known * 7 + sample) / 8));
    }

    /// Asks the other end to prove that it receives at an address. The question is not longer than what has come from
    /// there.
    fn challenge(&mut self, now: ClockTime, address: SocketAddr, number: impl FnOnce() -> u64) {
        let is_recent = |candidate: &Candidate| now < candidate.at + CHALLENGE_INTERVAL;
        if self.candidate.as_ref().is_some_and(is_recent) {
            return;
        }
        let candidate = Candidate { address, challenge: number(), at: now };
        self.candidate = Some(candidate);
        let mut frames = Vec::new();
        Frame::Challenge(candidate.challenge).put(&mut frames);
        self.transmit(&frames, Some(address));
    }

    /// Follows the other end to an address that it has proven.
    fn prove(&mut self, now: ClockTime, from: SocketAddr, number: u64) {
        let is_proof = |candidate: &mut Candidate| candidate.challenge == number && candidate.address == from;
        if self.candidate.take_if(is_proof).is_none() {
            return;
        }
        if let Some(current) = self.current.as_mut().filter(|current| current.address != from) {
            (current.address, current.mtu) = (from, PathMtu::new(now));
            self.events.push_back(TunnelEvent::Moved { link: self.id, address: from });
        }
    }

    /// Handles that the system has refused a datagram because of its length.
    pub(crate) fn shrink(&mut self, now: ClockTime) {
        if let Some(current) = &mut self.current {
            current.mtu.shrink(now);
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: ClockTime) {
        self.previous.take_if(|(_, until)| *until <= now);
        self.counts.incomplete += self.transport.reassembly.take_incomplete(now);
        if self.current.is_some() && !self.was_heard_within(now, DEAD) {
            self.close(DownReason::Silence);
        }
        let ranges = self.transport.gaps.poll(now, self.round_trip);
        self.counts.lost += self.transport.gaps.take_lost();
        if !ranges.is_empty() {
            self.put(&Frame::Nak(ranges));
        }
        if let Some(mark) = self.transport.buffer.poll_tail(now) {
            self.put(&Frame::Tail(mark));
        }
        let Some(current) = &mut self.current else { return };
        let ping = now >= current.next_ping;
        if ping {
            current.next_ping = now + PING_INTERVAL;
        }
        let probe = current.mtu.poll(now);
        if ping {
            self.put(&Frame::Ping(now.0));
        }
        if let Some(size) = probe {
            self.probe(size);
        }
        self.send_wants(now);
    }

    fn send_wants(&mut self, now: ClockTime) {
        let Some(wants) = self.wants.as_mut().filter(|wants| !wants.is_received && wants.next <= now) else {
            return;
        };
        (wants.next, wants.pause) = (now + wants.pause, (wants.pause * 2).min(LONGEST_WANTS_PAUSE));
        let bytes = emit_wants(wants.version, &wants.list);
        self.send_record(now, &bytes, Some(WANTS_BOUND));
    }

    fn probe(&mut self, size: u16) {
        self.flush();
        let mut frames = Vec::new();
        Frame::Probe(size).put(&mut frames);
        frames.resize(usize::from(size).saturating_sub(DATA_HEADER + TAG), 0);
        self.transmit(&frames, None);
    }

    pub(crate) fn deadline(&self) -> Option<ClockTime> {
        let current = self.current.as_ref()?;
        let wants = self.wants.as_ref().filter(|wants| !wants.is_received).map(|wants| wants.next);
        let earliest = current.next_ping.min(current.mtu.deadline()).min(current.heard + DEAD);
        let others = [self.transport.gaps.deadline(), self.transport.buffer.deadline(), wants];
        Some(others.into_iter().flatten().fold(earliest, ClockTime::min))
    }

    /// Returns the length of the frames that a datagram can contain.
    fn room(&self) -> Option<usize> {
        self.current.as_ref().map(|current| current.mtu.size() - DATA_HEADER - TAG)
    }

    /// Appends a frame to the next datagram. Returns where in its body the frame begins.
    fn put(&mut self, frame: &Frame<'_>) -> usize {
        let start = self.body.len();
        frame.put(&mut self.body);
        if start == 0 || self.room().is_none_or(|room| self.body.len() <= room) {
            return start;
        }
        let last = self.body.split_off(start);
        self.flush();
        self.body = last;
        0
    }

    fn put_bytes(&mut self, frame: &[u8]) {
        if self.room().is_some_and(|room| self.body.len() + frame.len() > room) {
            self.flush();
        }
        self.body.extend_from_slice(frame);
    }

    /// Seals the frames that are waiting.
    pub(crate) fn flush(&mut self) {
        let frames = std::mem::take(&mut self.body);
        if !frames.is_empty() {
            self.transmit(&frames, None);
        }
        self.body = frames;
        self.body.clear();
    }

    fn transmit(&mut self, frames: &[u8], to: Option<SocketAddr>) {
        let Some(current) = &mut self.current else { return };
        if let Some(bytes) = current.session.seal(frames) {
            self.counts.sent_bytes += bytes.len() as u64;
            self.transmits.push_back(TunnelTransmit { to: to.unwrap_or(current.address), bytes });
        }
    }
}
