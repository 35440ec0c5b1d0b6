//! One tunnel: what it carries, what this end wants to receive from it, and its counters.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mcast_pace::ClockTime;
use quinn_proto::{Connection, ConnectionHandle};

use crate::control::Message;
use crate::event::{LinkCounts, LinkId, TunnelEvent};
use crate::frame::{Frame, PIECE_OVERHEAD, Reassembly, RecordPiece, put_piece_head};
use crate::record::{TunnelDatagram, TunnelWant};
use crate::repair::{Arrived, Gaps, RepairBuffer};
use crate::session::Session;

/// The longest bound of repairs.
const MAX_BOUND: Duration = Duration::from_secs(60);
/// What the queue of QUIC needs for a datagram beside its bytes, at most.
const QUEUED: usize = 64;
/// The time between reports of a full queue.
const OVERFLOW_INTERVAL: Duration = Duration::from_secs(10);

/// One tunnel.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) name: String,
    /// Whether a rule names it.
    pub(crate) is_open: bool,
    /// The relay at the other end, also while the tunnel is down.
    pub(crate) peer: Option<u64>,
    /// The connection, while the tunnel is up.
    pub(crate) current: Option<ConnectionHandle>,
    transport: Transport,
    /// Memory for what stands before a payload.
    head: Vec<u8>,
    /// What this end wants; `None` if it has not said so.
    wants: Option<Vec<TunnelWant>>,
    /// Whether it was passed to the control stream.
    is_written: bool,
    overflow: Overflow,
    pub(crate) counts: LinkCounts,
}

/// What starts again when the relay at the other end is another one.
#[derive(Debug, Default)]
struct Transport {
    buffer: RepairBuffer,
    gaps: Gaps,
    reassembly: Reassembly,
    /// Repaired pieces of which parts are missing.
    parts: Reassembly,
    last_record: u32,
}

/// Datagrams for which the queue had no room.
#[derive(Debug, Default)]
struct Overflow {
    unreported: u64,
    next: ClockTime,
}

impl Link {
    pub(crate) fn new(id: LinkId, name: String) -> Self {
        Self {
            id,
            name,
            is_open: true,
            peer: None,
            current: None,
            transport: Transport::default(),
            head: Vec::new(),
            wants: None,
            is_written: false,
            overflow: Overflow::default(),
            counts: LinkCounts::default(),
        }
    }

    /// Returns whether another relay than this one has the tunnel.
    pub(crate) fn is_of_another(&self, relay: u64) -> bool {
        self.peer.is_some_and(|peer| peer != relay)
    }

    /// Continues with another connection. Returns the one before.
    pub(crate) fn adopt(&mut self, handle: ConnectionHandle, relay: u64) -> Option<ConnectionHandle> {
        if self.is_of_another(relay) {
            self.transport = Transport::default();
        }
        (self.peer, self.is_written) = (Some(relay), false);
        self.current.replace(handle)
    }

    /// Replaces what this end wants to receive.
    pub(crate) fn set_wants(&mut self, wants: Vec<TunnelWant>) {
        if self.wants.as_ref() != Some(&wants) {
            (self.wants, self.is_written) = (Some(wants), false);
        }
    }

    /// Sends what this end wants, unless an earlier list is still waiting: then the latest one follows it.
    pub(crate) fn write_wants(&mut self, session: &mut Session) {
        if let Some(wants) = self.wants.as_ref().filter(|_| !self.is_written && session.control.is_idle()) {
            session.control.send(&mut session.connection, &Message::Wants(wants.clone()));
            (self.is_written, session.may_transmit) = (true, true);
        }
    }

    /// Sends datagrams into the tunnel, whose payloads follow each other: each of this length, apart from the last one. With a
    /// bound, missing pieces of them are repaired in that time.
    pub(crate) fn send<P: AsRef<[u8]>>(
        &mut self,
        now: ClockTime,
        connection: &mut Connection,
        datagrams: &TunnelDatagram<P>,
        segment: usize,
        bound: Option<Duration>,
    ) {
        let Self { head, transport, counts, overflow, .. } = self;
        let bound_ms = bound.map(|bound| bound.min(MAX_BOUND).as_millis() as u16);
        let payloads = datagrams.payload.as_ref();
        // An empty datagram is one, too.
        let total = payloads.len().div_ceil(segment.max(1)).max(1);
        let mut queue = connection.datagrams();
        let room = queue.max_size().unwrap_or_default().saturating_sub(PIECE_OVERHEAD);
        datagrams.write_head(0, head);
        let pieces = (head.len() + segment.min(payloads.len())).div_ceil(room.max(1));
        // What follows from one call is sent, and forgotten, at about the same time, so it shares its memory.
        let mut memory =
            BytesMut::with_capacity(payloads.len() + total * (head.len() + pieces * PIECE_OVERHEAD));
        for number in 0..total {
            let payload = part(payloads, number * segment, (number + 1) * segment);
            datagrams.write_head(number as u64, head);
            let length = head.len() + payload.len();
            let count = length.div_ceil(room.max(1));
            // All pieces or none: a part would take the room of others, and be of no use.
            if room == 0 || queue.send_buffer_space() < length + count * (PIECE_OVERHEAD + QUEUED) {
                counts.overflow += 1;
                overflow.unreported += 1;
                continue;
            }
            counts.sent += 1;
            transport.last_record = transport.last_record.wrapping_add(1);
            let record = transport.last_record;
            for index in 0..count {
                let mark = bound_ms.map(|bound_ms| transport.buffer.next_mark(bound_ms));
                let (start, end) = (index * room, ((index + 1) * room).min(length));
                put_piece_head(&mut memory, mark, record, index as u16, count as u16);
                memory.extend_from_slice(part(head, start, end));
                let of_payload = |position: usize| position.saturating_sub(head.len());
                memory.extend_from_slice(part(payload, of_payload(start), of_payload(end)));
                let bytes = memory.split().freeze();
                if let Some(mark) = mark {
                    transport.buffer.keep(now, mark, bytes.clone());
                }
                // There is room, as was checked above.
                let sent = queue.send(bytes, false);
                debug_assert!(sent.is_ok(), "{sent:?}");
            }
        }
    }

    /// Handles what has arrived in the connection.
    pub(crate) fn receive(
        &mut self,
        now: ClockTime,
        session: &mut Session,
        events: &mut VecDeque<TunnelEvent>,
    ) {
        while let Some(bytes) = session.next_datagram() {
            match Frame::read(&bytes) {
                Some(Frame::Nak(ranges)) => self.repair(now, &mut session.connection, &ranges),
                Some(Frame::Tail(mark)) => self.transport.gaps.advance(now, mark),
                Some(Frame::Part(part)) => {
                    if let Some(bytes) = self.transport.parts.add(now, Duration::ZERO, part, &bytes) {
                        events.extend(self.receive_pieces(now, &bytes));
                    }
                }
                _ => events.extend(self.receive_pieces(now, &bytes)),
            }
        }
    }

    /// Handles a frame with a piece. Returns the datagram that is whole with it.
    fn receive_pieces(&mut self, now: ClockTime, bytes: &Bytes) -> Option<TunnelEvent> {
        match Frame::read(bytes) {
            Some(Frame::Piece(None, piece)) => self.receive_piece(now, Duration::ZERO, piece, bytes),
            Some(Frame::Piece(Some(mark), piece)) => {
                let arrived = self.transport.gaps.arrive(now, mark);
                self.counts.repaired += u64::from(arrived == Arrived::Repaired);
                let bound = Duration::from_millis(mark.bound_ms.into());
                let is_new = arrived != Arrived::Duplicate;
                is_new.then(|| self.receive_piece(now, bound, piece, bytes)).flatten()
            }
            Some(Frame::Unknown) => None,
            _ => {
                self.counts.malformed += 1;
                None
            }
        }
    }

    fn receive_piece(
        &mut self,
        now: ClockTime,
        bound: Duration,
        piece: RecordPiece<'_>,
        bytes: &Bytes,
    ) -> Option<TunnelEvent> {
        let record = self.transport.reassembly.add(now, bound, piece, bytes)?;
        let datagram = TunnelDatagram::read(&record);
        match datagram {
            Some(_) => self.counts.received += 1,
            None => self.counts.malformed += 1,
        }
        datagram.map(|datagram| TunnelEvent::Datagram { link: self.id, datagram })
    }

    fn repair(&mut self, now: ClockTime, connection: &mut Connection, ranges: &[(u64, u16)]) {
        let (round_trip, Self { transport, counts, .. }) = (connection.rtt(), self);
        let Transport { buffer, last_record, .. } = transport;
        for range in ranges {
            buffer.answer(now, round_trip, *range, |frame| {
                counts.repairs_sent += u64::from(send_repair(connection, last_record, frame));
            });
        }
    }

    /// Does what is due while the tunnel is up.
    pub(crate) fn handle_timeout(
        &mut self,
        now: ClockTime,
        session: &mut Session,
        events: &mut VecDeque<TunnelEvent>,
    ) {
        self.counts.incomplete += self.transport.reassembly.take_incomplete(now);
        // The piece of which these are parts is requested again, and counted there.
        self.transport.parts.take_incomplete(now);
        let ranges = self.transport.gaps.poll(now, session.connection.rtt());
        self.counts.lost += self.transport.gaps.take_lost();
        let nak = (!ranges.is_empty()).then_some(Frame::Nak(ranges));
        let tail = self.transport.buffer.poll_tail(now).map(Frame::Tail);
        for frame in nak.into_iter().chain(tail) {
            // Both are repeated, so it does not matter if the queue is full.
            let _ = session.connection.datagrams().send(frame.emit().into(), false);
            session.may_transmit = true;
        }
        if self.overflow.unreported > 0 && self.overflow.next <= now {
            let count = std::mem::take(&mut self.overflow.unreported);
            self.overflow.next = now + OVERFLOW_INTERVAL;
            events.push_back(TunnelEvent::Overflow { link: self.id, count });
        }
    }

    /// Returns when there is something to do while the tunnel is up.
    pub(crate) fn deadline(&self) -> Option<ClockTime> {
        self.current?;
        let overflow = (self.overflow.unreported > 0).then_some(self.overflow.next);
        let others = [self.transport.gaps.deadline(), self.transport.buffer.deadline(), overflow];
        others.into_iter().flatten().min()
    }
}

/// Sends a piece again: in parts, if the path carries less by now. Returns whether there was room for it; if not, the other
/// end requests it again.
fn send_repair(connection: &mut Connection, last_record: &mut u32, frame: Bytes) -> bool {
    let mut datagrams = connection.datagrams();
    let room = datagrams.max_size().unwrap_or_default();
    if frame.len() <= room {
        return datagrams.send(frame, false).is_ok();
    }
    let Some(room) = room.checked_sub(PIECE_OVERHEAD).filter(|room| *room > 0) else { return false };
    *last_record = last_record.wrapping_add(1);
    let (record, count) = (*last_record, frame.len().div_ceil(room) as u16);
    let mut parts = frame.chunks(room).zip(0..);
    parts.all(|(bytes, index)| {
        let part = Frame::Part(RecordPiece { record, index, count, bytes });
        datagrams.send(part.emit().into(), false).is_ok()
    })
}

/// Returns the part of a slice that a range covers.
fn part(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    bytes.get(start.min(bytes.len())..end.min(bytes.len())).unwrap_or_default()
}
