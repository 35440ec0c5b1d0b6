//! Puts fragmented datagrams together, with bounds on memory and time.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;
use mcast_packet::{DatagramShape, Ethernet, Fragment, FragmentParts, Ip, Packet, Tunnel};

use crate::Direction;

/// Where and when a packet was captured.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) interface: InterfaceIndex,
    pub(super) interface_name: Option<Arc<str>>,
    pub(super) direction: Direction,
    pub(super) time: SystemTime,
    /// The length of its frame, or of its frames.
    pub(super) length: usize,
    pub(super) tunnel: Option<Tunnel>,
}

/// Puts datagrams together.
#[derive(Debug, Default)]
pub(super) struct Reassembler {
    clock: CaptureClock,
    pending: HashMap<Key, Pending>,
    /// The keys in the order in which their datagrams began, with the number of the datagram.
    order: VecDeque<(Key, u64)>,
    next_number: u64,
    /// The bytes that wait.
    buffered: usize,
    incomplete: VecDeque<Datagram>,
    completed: Completed,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

/// What the fragments of a datagram have in common (RFC 791, RFC 8200 section 4.5), and what separates copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    /// The protocol; 0 for IPv6, where only the first fragment states it.
    protocol: u8,
    hop_limit: u8,
    interface: InterfaceIndex,
    outgoing: bool,
    vlan: Option<u16>,
    tunnel: Option<Tunnel>,
}

/// A datagram of which some fragments have come.
#[derive(Debug)]
struct Pending {
    number: u64,
    /// When it began, by the capture clock.
    began: Duration,
    origin: Origin,
    /// The headers and the data, of which the parts in `filled` are there.
    headers: Vec<u8>,
    data: Vec<u8>,
    /// The parts that arrived, in order; they do not overlap. Adjacent ones are one.
    filled: Vec<(usize, usize)>,
    /// The end of the data, once the last fragment has come.
    end: Option<usize>,
    /// Where the first byte is missing that arrived and was not captured.
    cut_at: Option<usize>,
    shape: DatagramShape,
    has_first: bool,
    fragments: u32,
    ethernet: Option<Ethernet>,
}

/// A datagram from fragments: whole, or as much as came before something was missing.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) origin: Origin,
    /// An IP packet.
    pub(super) bytes: Vec<u8>,
    pub(super) fragments: u32,
    pub(super) ethernet: Option<Ethernet>,
}

impl Reassembler {
    /// The time after which a datagram is given up, as in Linux.
    const TIMEOUT: Duration = Duration::from_secs(30);
    const MAX_PENDING: usize = 1_024;
    const MAX_BYTES: usize = 16 << 20;
    /// Fewer are made of a datagram by any link; more would only cost time.
    const MAX_PARTS: usize = 256;
    const MAX_SPARE: usize = 16;

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.incomplete.is_empty()
    }

    /// Returns the parts of a fragment that can be put together with others, and may lead to a datagram to a group.
    pub(super) fn parts<'a>(ip: &Ip<'a>) -> Option<(Fragment, FragmentParts<'a>)> {
        let (fragment, parts) = (ip.fragment?, ip.fragment_parts()?);
        let is_of_interest = ip.destination.is_multicast() || parts.shape.may_carry_datagrams();
        let is_valid = fragment.offset + parts.length <= DatagramShape::MAX_DATA
            && parts.length > 0
            && (!fragment.more || parts.length.is_multiple_of(8));
        (is_of_interest && is_valid).then_some((fragment, parts))
    }

    /// Adds a fragment, and returns its datagram if that is complete now.
    pub(super) fn add(
        &mut self,
        packet: &Packet<'_>,
        ip: &Ip<'_>,
        (fragment, parts): (Fragment, FragmentParts<'_>),
        origin: Origin,
    ) -> Option<Datagram> {
        let now = self.clock.advance(origin.time);
        let key = Key {
            source: ip.source,
            destination: ip.destination,
            identification: fragment.identification,
            protocol: if ip.source.is_ipv4() { ip.protocol } else { 0 },
            hop_limit: ip.hop_limit,
            interface: origin.interface,
            outgoing: origin.direction.is_outgoing(),
            vlan: packet.vlans().next().map(|vlan| vlan.id),
            tunnel: origin.tunnel,
        };
        if self.pending.get(&key).is_some_and(|pending| pending.contradicts(fragment, &parts)) {
            // The identification is that of another datagram now.
            self.give_up(&key);
        }
        if !self.pending.contains_key(&key) {
            self.begin(key, packet, &parts, origin.clone(), now);
        }
        let pending = self.pending.get_mut(&key)?;
        self.buffered -= pending.data.len();
        pending.add(fragment, &parts, &origin);
        self.buffered += pending.data.len();
        if !pending.is_complete() {
            self.limit();
            return None;
        }
        let pending = self.remove(&key)?;
        self.completed.add(key, pending.beginning(), now);
        Some(self.datagram(pending))
    }

    /// Gives up what has waited too long at this time.
    pub(super) fn expire(&mut self, time: SystemTime) {
        let now = self.clock.advance(time);
        while let Some((key, number)) = self.order.front().copied() {
            let pending = self.pending.get(&key).filter(|pending| pending.number == number);
            match pending {
                Some(pending) if now.saturating_sub(pending.began) < Self::TIMEOUT => return,
                Some(_) => self.give_up(&key),
                None => {}
            }
            self.order.pop_front();
        }
    }

    /// Gives up everything.
    pub(super) fn finish(&mut self) {
        while let Some((key, number)) = self.order.pop_front() {
            if self.pending.get(&key).is_some_and(|pending| pending.number == number) {
                self.give_up(&key);
            }
        }
    }

    /// Returns a datagram that was given up.
    pub(super) fn next_incomplete(&mut self) -> Option<Datagram> {
        self.incomplete.pop_front()
    }

    /// Takes a buffer back, to use it again.
    pub(super) fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < Self::MAX_SPARE {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    fn begin(
        &mut self,
        key: Key,
        packet: &Packet<'_>,
        parts: &FragmentParts<'_>,
        origin: Origin,
        now: Duration,
    ) {
        let (mut headers, data) =
            (self.spare.pop().unwrap_or_default(), self.spare.pop().unwrap_or_default());
        headers.extend_from_slice(parts.headers);
        let number = self.next_number;
        self.next_number += 1;
        let pending = Pending {
            number,
            began: now,
            origin: Origin { length: 0, ..origin },
            headers,
            data,
            filled: Vec::new(),
            end: None,
            cut_at: None,
            shape: parts.shape,
            has_first: false,
            fragments: 0,
            ethernet: packet.ethernet,
        };
        self.order.push_back((key, number));
        self.pending.insert(key, pending);
    }

    /// Gives up the oldest datagrams until the others are few enough.
    fn limit(&mut self) {
        while self.pending.len() > Self::MAX_PENDING || self.buffered > Self::MAX_BYTES {
            let Some((key, number)) = self.order.pop_front() else { return };
            if self.pending.get(&key).is_some_and(|pending| pending.number == number) {
                self.give_up(&key);
            }
        }
        // Entries of datagrams that are complete stay in the order until they are at its front.
        if self.order.len() > Self::MAX_PENDING * 4 {
            let pending = &self.pending;
            self.order
                .retain(|(key, number)| pending.get(key).is_some_and(|pending| pending.number == *number));
        }
    }

    fn give_up(&mut self, key: &Key) {
        let Some(pending) = self.remove(key) else { return };
        if self.completed.is_copy(key, &pending) {
            self.recycle(pending.headers);
            self.recycle(pending.data);
            return;
        }
        let datagram = self.datagram(pending);
        self.incomplete.push_back(datagram);
    }

    fn remove(&mut self, key: &Key) -> Option<Pending> {
        let pending = self.pending.remove(key)?;
        self.buffered -= pending.data.len();
        Some(pending)
    }

    /// Returns the datagram as an IP packet. What is missing at its end, or behind a gap, is cut off, as from a frame that was
    /// not captured completely.
    fn datagram(&mut self, pending: Pending) -> Datagram {
        let whole = pending.end.or_else(|| pending.filled.last().map(|(_, end)| *end)).unwrap_or_default();
        let present = pending.present();
        let Pending { origin, headers: mut bytes, data, shape, fragments, ethernet, .. } = pending;
        bytes.extend_from_slice(data.get(..present).unwrap_or_default());
        shape.complete(&mut bytes, whole);
        self.recycle(data);
        Datagram { origin, bytes, fragments, ethernet }
    }
}

impl Pending {
    /// Returns whether a fragment belongs to another datagram: it overlaps others with different bytes, or ends elsewhere.
    fn contradicts(&self, fragment: Fragment, parts: &FragmentParts<'_>) -> bool {
        let (start, end) = (fragment.offset, fragment.offset + parts.length);
        let is_behind = self.end.is_some_and(|last| end > last || (!fragment.more && end != last));
        let is_shorter = !fragment.more && self.filled.last().is_some_and(|(_, last)| *last > end);
        if is_behind || is_shorter {
            return true;
        }
        let overlaps = self.filled.iter().any(|(from, until)| *from < end && start < *until);
        overlaps && !self.repeats(start, end, parts)
    }

    /// Returns whether a fragment has arrived before, with the same bytes.
    fn repeats(&self, start: usize, end: usize, parts: &FragmentParts<'_>) -> bool {
        let is_inside = self.filled.iter().any(|(from, until)| *from <= start && end <= *until);
        let captured = parts.data.concat();
        let known = self.data.get(start..self.data.len().min(start + captured.len()));
        is_inside && captured.starts_with(known.unwrap_or_default())
    }

    fn add(&mut self, fragment: Fragment, parts: &FragmentParts<'_>, origin: &Origin) {
        let (start, end) = (fragment.offset, fragment.offset + parts.length);
        self.origin.length += origin.length;
        self.fragments += 1;
        if self.filled.iter().any(|(from, until)| *from <= start && end <= *until) {
            return;
        }
        if self.filled.len() >= Reassembler::MAX_PARTS {
            return;
        }
        if fragment.offset == 0 {
            self.has_first = true;
            self.shape = parts.shape;
            self.headers.clear();
            self.headers.extend_from_slice(parts.headers);
        }
        if !fragment.more {
            self.end = Some(end);
        }
        self.fill(start, end);
        let captured: usize = parts.data.iter().map(|piece| piece.len()).sum::<usize>().min(parts.length);
        if captured < parts.length {
            self.cut_at = Some(self.cut_at.map_or(start + captured, |cut| cut.min(start + captured)));
        }
        if self.data.len() < start + captured {
            self.data.resize(start + captured, 0);
        }
        let mut at = start;
        for piece in parts.data {
            let room = self.data.get_mut(at..).unwrap_or_default();
            let length = piece.len().min(room.len()).min(start + captured - at);
            if let (Some(to), Some(from)) = (room.get_mut(..length), piece.get(..length)) {
                to.copy_from_slice(from);
            }
            at += length;
        }
    }

    /// Adds a part, and joins it with its neighbors.
    fn fill(&mut self, start: usize, end: usize) {
        let at = self.filled.partition_point(|(from, _)| *from < start);
        self.filled.insert(at, (start, end));
        self.filled.dedup_by(|next, before| {
            let touches = next.0 <= before.1;
            if touches {
                before.1 = before.1.max(next.1);
            }
            touches
        });
    }

    fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.filled == [(0, end)])
    }

    /// Returns the length of the data before the first byte that is missing.
    fn present(&self) -> usize {
        let arrived = self.filled.first().filter(|(from, _)| *from == 0).map_or(0, |(_, until)| *until);
        arrived.min(self.cut_at.unwrap_or(arrived)).min(self.data.len())
    }

    /// Returns the first bytes of the data, in UDP its header, if they are there.
    fn beginning(&self) -> Option<[u8; 8]> {
        self.data.first_chunk().copied().filter(|_| self.has_first)
    }
}

/// The datagrams that were completed in the last second: further fragments of them are copies, as on a port that mirrors
/// both directions.
#[derive(Debug, Default)]
struct Completed {
    latest: HashMap<Key, (Option<[u8; 8]>, Duration)>,
    order: VecDeque<(Key, Duration)>,
}

impl Completed {
    const FOR: Duration = Duration::from_secs(1);
    /// The same for a copy without its first fragment, which nothing but its identification connects with the datagram.
    const WITHOUT_FIRST_FOR: Duration = Duration::from_millis(100);
    const MAX: usize = 1_024;

    fn add(&mut self, key: Key, beginning: Option<[u8; 8]>, now: Duration) {
        self.latest.insert(key, (beginning, now));
        self.order.push_back((key, now));
        while let Some((key, at)) = self.order.front().copied()
            && (self.order.len() > Self::MAX || now.saturating_sub(at) > Self::FOR)
        {
            self.order.pop_front();
            if self.latest.get(&key).is_some_and(|(_, latest)| *latest == at) {
                self.latest.remove(&key);
            }
        }
    }

    fn is_copy(&self, key: &Key, pending: &Pending) -> bool {
        let Some((beginning, at)) = self.latest.get(key) else { return false };
        let age = pending.began.saturating_sub(*at);
        match pending.beginning() {
            Some(first) => age <= Self::FOR && Some(first) == *beginning,
            None => age <= Self::WITHOUT_FIRST_FOR,
        }
    }
}

/// The time of a capture, which continues if the recording clock is set back.
#[derive(Clone, Copy, Debug, Default)]
struct CaptureClock {
    latest: Duration,
    /// Added to the times of frames.
    offset: Duration,
}

impl CaptureClock {
    /// Frames of several interfaces are out of order by at most this.
    const DISORDER: Duration = Duration::from_secs(5);

    fn advance(&mut self, time: SystemTime) -> Duration {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut adjusted = since.saturating_add(self.offset);
        if adjusted.saturating_add(Self::DISORDER) < self.latest {
            self.offset = self.offset.saturating_add(self.latest.saturating_sub(adjusted));
            adjusted = self.latest;
        }
        self.latest = self.latest.max(adjusted);
        adjusted
    }
}
