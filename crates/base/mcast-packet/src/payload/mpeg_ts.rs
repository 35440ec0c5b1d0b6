//! MPEG transport streams (ISO/IEC 13818-1 section 2.4.3): television, in packets of 188 bytes, which some systems extend to
//! 192 or 204.

use core::fmt;

use crate::EmitError;
use crate::list::{Writer, u8_at, u16_at};

/// The transport stream packets of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpegTs<'a> {
    bytes: &'a [u8],
    framing: Framing,
}

/// How packets follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Framing {
    /// The distance between two packets.
    stride: usize,
    /// The bytes before each packet.
    offset: usize,
}

impl Framing {
    /// Nothing but packets.
    const PLAIN: Self = Self { stride: TsPacket::LENGTH, offset: 0 };
    /// Packets followed by 16 bytes of a Reed-Solomon code, as between modulators (ETSI EN 300 429).
    const WITH_PARITY: Self = Self { stride: 204, offset: 0 };
    /// Packets behind four bytes of arrival time, as on Blu-ray discs (M2TS).
    const WITH_TIME: Self = Self { stride: 192, offset: 4 };

    /// Returns whether the bytes consist of at least `least` packets that each start with the sync byte.
    fn fits(self, bytes: &[u8], least: usize) -> bool {
        bytes.len() >= self.stride * least
            && bytes.len().is_multiple_of(self.stride)
            && bytes.chunks(self.stride).all(|packet| packet.get(self.offset) == Some(&TsPacket::SYNC))
    }
}

impl<'a> MpegTs<'a> {
    /// Parses the payload of a datagram. Returns `None` unless it consists of complete packets that each
    /// start with the sync byte. Packets of 192 and 204 bytes are recognized if there are at least two, because one
    /// sync byte proves little.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if Framing::PLAIN.fits(bytes, 1) {
            return Some(Self { bytes, framing: Framing::PLAIN });
        }
        let mut others = [Framing::WITH_PARITY, Framing::WITH_TIME].into_iter();
        let framing = others.find(|framing| framing.fits(bytes, 2))?;
        Some(Self { bytes, framing })
    }

    /// Returns the number of packets; at least one.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / self.framing.stride
    }

    /// Returns `false`: there is at least one packet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns an iterator over the packets.
    #[must_use]
    pub const fn packets(&self) -> TsPackets<'a> {
        TsPackets { bytes: self.bytes, framing: self.framing }
    }
}

/// An iterator over the packets of a datagram.
#[derive(Clone, Debug)]
pub struct TsPackets<'a> {
    bytes: &'a [u8],
    framing: Framing,
}

impl<'a> Iterator for TsPackets<'a> {
    type Item = TsPacket<'a>;

    fn next(&mut self) -> Option<TsPacket<'a>> {
        let (packet, rest) = self.bytes.split_at_checked(self.framing.stride)?;
        self.bytes = rest;
        TsPacket::parse(packet.get(self.framing.offset..)?.get(..TsPacket::LENGTH)?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = self.bytes.len() / self.framing.stride;
        (length, Some(length))
    }
}

impl ExactSizeIterator for TsPackets<'_> {}

/// A transport stream packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TsPacket<'a> {
    /// The packet identifier (PID), 0 to 8191, which selects an elementary stream or a table.
    pub pid: u16,
    /// The transport error indicator: an upstream receiver could not correct the packet.
    pub transport_error: bool,
    /// The payload unit start indicator: a table or a packet of the elementary stream starts here.
    pub unit_start: bool,
    /// Whether the payload is scrambled.
    pub scrambled: bool,
    /// The continuity counter, 0 to 15. It is incremented by each packet of the PID that has a payload.
    pub continuity: u8,
    /// The discontinuity indicator: the continuity counter may jump here.
    pub discontinuity: bool,
    /// The payload; `None` if the packet has only an adaptation field.
    pub payload: Option<&'a [u8]>,
}

impl<'a> TsPacket<'a> {
    /// The length of a packet in bytes.
    pub const LENGTH: usize = 188;

    /// The PID of null packets, which pad the stream to a constant rate.
    pub const NULL_PID: u16 = 0x1fff;

    const SYNC: u8 = 0x47;
    const HEADER_LENGTH: usize = 4;

    /// Creates a packet with this payload of at most 184 bytes.
    #[must_use]
    pub const fn new(pid: u16, continuity: u8, payload: &'a [u8]) -> Self {
        Self {
            pid,
            transport_error: false,
            unit_start: false,
            scrambled: false,
            continuity,
            discontinuity: false,
            payload: Some(payload),
        }
    }

    /// Parses the 188 bytes of a packet. The payload is empty if the adaptation field extends beyond the
    /// packet.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        const DISCONTINUITY: u8 = 0x80;
        let (flags, control) = (u16_at(bytes, 1)?, u8_at(bytes, 3)?);
        let (has_adaptation, has_payload) = (control & 0x20 != 0, control & 0x10 != 0);
        let adaptation_length = if has_adaptation { usize::from(u8_at(bytes, 4)?) } else { 0 };
        let payload_offset = Self::HEADER_LENGTH + if has_adaptation { 1 + adaptation_length } else { 0 };
        Some(Self {
            pid: flags & 0x1fff,
            transport_error: flags & 0x8000 != 0,
            unit_start: flags & 0x4000 != 0,
            scrambled: control & 0xc0 != 0,
            continuity: control & 0x0f,
            discontinuity: adaptation_length > 0 && u8_at(bytes, 5)? & DISCONTINUITY != 0,
            payload: has_payload.then(|| bytes.get(payload_offset..).unwrap_or_default()),
        })
    }

    /// Writes the 188 bytes of the packet to the start of the buffer and returns their number. Unused space
    /// is stuffed with an adaptation field, as the standard requires.
    ///
    /// # Errors
    /// Returns [`EmitError::BufferTooShort`] if the packet does not fit in the buffer, and
    /// [`EmitError::TooMany`] if the payload does not fit in the packet.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let room = Self::LENGTH - Self::HEADER_LENGTH;
        let payload = self.payload.unwrap_or_default();
        let free = room.checked_sub(payload.len()).ok_or(EmitError::TooMany)?;
        let adaptation = if free > 0 { 0x20 } else { 0 };
        if self.discontinuity && free < 2 {
            return Err(EmitError::TooMany);
        }
        let flag = |set, bit| if set { bit } else { 0 };
        let flags = flag(self.transport_error, 0x8000) | flag(self.unit_start, 0x4000) | (self.pid & 0x1fff);
        let scrambled = if self.scrambled { 0x80 } else { 0 };
        let control = adaptation | if self.payload.is_some() { 0x10 } else { 0 };
        let mut writer = Writer::new(buffer);
        writer.put_u8(Self::SYNC)?;
        writer.put_u16(flags)?;
        writer.put_u8(scrambled | control | self.continuity & 0x0f)?;
        for position in 0..free {
            writer.put_u8(match position {
                0 => (free - 1) as u8,
                1 if self.discontinuity => 0x80,
                1 => 0,
                _ => 0xff,
            })?;
        }
        writer.put(payload)?;
        Ok(writer.position())
    }
}

impl fmt::Display for MpegTs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_PIDS: usize = 4;
        let packets = self.len();
        write!(f, "MPEG-TS, {packets} {}", if packets == 1 { "packet" } else { "packets" })?;
        if self.framing != Framing::PLAIN {
            write!(f, " of {} bytes", self.framing.stride)?;
        }
        f.write_str(", PID")?;
        let mut shown = [None; MAX_PIDS];
        let mut count = 0;
        for pid in self.packets().map(|packet| packet.pid) {
            if shown.contains(&Some(pid)) {
                continue;
            }
            let Some(slot) = shown.get_mut(count) else {
                return f.write_str(" ...");
            };
            *slot = Some(pid);
            count += 1;
            write!(f, " {pid}")?;
        }
        Ok(())
    }
}

/// Tracks the continuity counters of a transport stream for up to `PIDS` PIDs.
#[derive(Clone, Debug)]
pub struct ContinuityTracker<const PIDS: usize = 64> {
    pids: [Option<PidState>; PIDS],
    counts: ContinuityCounts,
}

/// The counts of a [`ContinuityTracker`] over all PIDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContinuityCounts {
    /// Packets received.
    pub packets: u64,
    /// Places where a counter is not the expected one: packets are missing, a packet is repeated more than once, or the
    /// counter of a packet without payload has moved.
    pub errors: u64,
    /// Packets missing at those places. A lower bound, because the counter wraps around after 16 packets.
    pub missing: u64,
    /// Repetitions of the previous packet. The standard allows one.
    pub duplicates: u64,
    /// Packets that were damaged before they were sent to the network (transport error indicator).
    pub transport_errors: u64,
    /// Packets of further PIDs, whose counters are not tracked.
    pub untracked: u64,
}

/// The counts of one PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PidCounts {
    /// The PID.
    pub pid: u16,
    /// Packets received.
    pub packets: u64,
    /// Packets whose counter was not the expected one.
    pub errors: u64,
}

#[derive(Clone, Copy, Debug)]
struct PidState {
    counts: PidCounts,
    /// The counter of the latest packet with a payload, or of the first packet.
    continuity: u8,
    /// The first and the last bytes of that payload, by which a repetition is distinguished from 16 packets later.
    payload: [u8; Self::COMPARED],
    /// How often that packet has been repeated.
    repeats: u8,
    /// The counter of a later packet without payload, if it differs.
    moved_to: Option<u8>,
}

impl<const PIDS: usize> Default for ContinuityTracker<PIDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const PIDS: usize> ContinuityTracker<PIDS> {
    /// Creates an empty tracker.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pids: [None; PIDS],
            counts: ContinuityCounts {
                packets: 0,
                errors: 0,
                missing: 0,
                duplicates: 0,
                transport_errors: 0,
                untracked: 0,
            },
        }
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn counts(&self) -> ContinuityCounts {
        self.counts
    }

    /// Returns the counts of each PID, in the order of their first packets.
    pub fn pids(&self) -> impl Iterator<Item = PidCounts> + '_ {
        self.pids.iter().flatten().map(|state| state.counts)
    }

    /// Records all packets of a datagram.
    pub fn observe(&mut self, stream: &MpegTs<'_>) {
        stream.packets().for_each(|packet| self.observe_packet(&packet));
    }

    /// Records a packet.
    pub fn observe_packet(&mut self, packet: &TsPacket<'_>) {
        self.counts.packets += 1;
        if packet.transport_error {
            // The PID may be damaged too.
            self.counts.transport_errors += 1;
            return;
        }
        // The counter of null packets is undefined.
        if packet.pid == TsPacket::NULL_PID {
            return;
        }
        let is_same_or_free =
            |slot: &&mut Option<PidState>| slot.as_ref().is_none_or(|state| state.counts.pid == packet.pid);
        match self.pids.iter_mut().find(is_same_or_free) {
            Some(Some(state)) => state.observe(packet, &mut self.counts),
            Some(slot) => *slot = Some(PidState::new(packet)),
            None => self.counts.untracked += 1,
        }
    }
}

impl PidState {
    /// The bytes of a payload that are compared.
    const COMPARED: usize = 16;

    fn new(packet: &TsPacket<'_>) -> Self {
        Self {
            counts: PidCounts { pid: packet.pid, packets: 1, errors: 0 },
            continuity: packet.continuity,
            payload: ends(packet.payload),
            repeats: 0,
            moved_to: None,
        }
    }

    /// Checks the counter. It is incremented by each packet with a payload and unchanged by packets without.
    /// A packet may be sent twice with the same counter.
    fn observe(&mut self, packet: &TsPacket<'_>, counts: &mut ContinuityCounts) {
        self.counts.packets += 1;
        if packet.discontinuity {
            return self.continue_at(packet);
        }
        let step = packet.continuity.wrapping_sub(self.continuity) & 0x0f;
        match packet.payload {
            None if step == 0 => {}
            // Either its counter is wrong or packets are missing, as the next packet with a payload will show.
            None => {
                if self.moved_to.replace(packet.continuity) != Some(packet.continuity) {
                    self.fail(0, counts);
                }
            }
            Some(_) if step == 1 => self.continue_at(packet),
            Some(_) if step == 0 && ends(packet.payload) == self.payload => self.repeat(counts),
            Some(_) => {
                let expected = self.moved_to.map(|moved| moved.wrapping_add(1) & 0x0f);
                let missing = u64::from(step.wrapping_sub(1) & 0x0f);
                // A packet without payload has shown the same gap before.
                if expected == Some(packet.continuity) {
                    counts.missing += missing;
                } else {
                    self.fail(missing, counts);
                }
                self.continue_at(packet);
            }
        }
    }

    fn continue_at(&mut self, packet: &TsPacket<'_>) {
        (self.continuity, self.payload) = (packet.continuity, ends(packet.payload));
        (self.repeats, self.moved_to) = (0, None);
    }

    fn repeat(&mut self, counts: &mut ContinuityCounts) {
        counts.duplicates += 1;
        self.repeats = self.repeats.saturating_add(1);
        if self.repeats > 1 {
            self.fail(0, counts);
        }
    }

    const fn fail(&mut self, missing: u64, counts: &mut ContinuityCounts) {
        self.counts.errors += 1;
        counts.errors += 1;
        counts.missing += missing;
    }
}

/// Returns the first and the last bytes of a payload.
fn ends(payload: Option<&[u8]>) -> [u8; PidState::COMPARED] {
    const HALF: usize = PidState::COMPARED / 2;
    let mut ends = [0; PidState::COMPARED];
    let payload = payload.unwrap_or_default();
    if let (Some(first), Some(last)) = (payload.first_chunk::<HALF>(), payload.last_chunk::<HALF>()) {
        let (begin, end) = ends.split_at_mut(HALF);
        begin.copy_from_slice(first);
        end.copy_from_slice(last);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: [u8; 184] = [0; 184];

    fn counts(packets: &[TsPacket<'_>]) -> ContinuityCounts {
        let mut tracker = ContinuityTracker::<2>::new();
        packets.iter().for_each(|packet| tracker.observe_packet(packet));
        tracker.counts()
    }

    fn packet(pid: u16, continuity: u8) -> TsPacket<'static> {
        TsPacket::new(pid, continuity, &PAYLOAD)
    }

    #[test]
    fn counter_of_each_pid_wraps_around() {
        let found =
            counts(&[packet(100, 14), packet(200, 3), packet(100, 15), packet(200, 4), packet(100, 0)]);
        assert_eq!(found, ContinuityCounts { packets: 5, ..ContinuityCounts::default() });
    }

    #[test]
    fn missing_packets_are_counted_modulo_16() {
        let found = counts(&[packet(100, 0), packet(100, 3), packet(100, 2)]);
        assert_eq!((found.errors, found.missing), (2, 2 + 14));
    }

    #[test]
    fn packet_may_be_sent_twice_but_not_three_times() {
        let found = counts(&[packet(100, 0), packet(100, 0), packet(100, 1), packet(100, 1), packet(100, 1)]);
        assert_eq!((found.duplicates, found.errors, found.missing), (3, 1, 0));
    }

    #[test]
    fn the_same_counter_with_another_payload_is_16_packets_later() {
        let another = TsPacket { payload: Some(&[7; 184]), ..packet(100, 3) };
        let found = counts(&[packet(100, 3), another, packet(100, 4)]);
        assert_eq!((found.duplicates, found.errors, found.missing), (0, 1, 15));
    }

    #[test]
    fn a_packet_without_payload_that_moves_the_counter_is_an_error_and_no_loss() {
        let empty = |continuity| TsPacket { payload: None, ..packet(100, continuity) };
        let found = counts(&[packet(100, 3), empty(4), empty(4), packet(100, 4), packet(100, 5)]);
        assert_eq!((found.errors, found.missing), (1, 0));
        let found = counts(&[packet(100, 3), empty(5), packet(100, 6)]);
        assert_eq!(
            (found.errors, found.missing),
            (1, 2),
            "4 and 5 are missing, which the empty packet shows"
        );
    }

    #[test]
    fn packets_with_arrival_times_or_parity_are_recognized() {
        let mut plain = [0; 188];
        packet(100, 3).emit(&mut plain).unwrap();
        for (length, before) in [(192, 4), (204, 0)] {
            let mut bytes = [0; 204 * 2];
            for packet in bytes[..length * 2].chunks_mut(length) {
                packet[before..before + 188].copy_from_slice(&plain);
            }
            let stream = MpegTs::parse(&bytes[..length * 2]).unwrap();
            assert_eq!(stream.len(), 2);
            assert!(stream.packets().map(|packet| (packet.pid, packet.continuity)).eq([(100, 3); 2]));
            assert_eq!(MpegTs::parse(&bytes[..length]), None, "one sync byte proves little");
            assert_eq!(MpegTs::parse(&bytes[..length * 2 - 1]), None);
        }
    }

    #[test]
    fn discontinuity_indicator_and_packets_without_payload_are_not_losses() {
        let jump = TsPacket { discontinuity: true, ..packet(100, 9) };
        let empty = TsPacket { payload: None, ..packet(100, 9) };
        assert_eq!(counts(&[packet(100, 0), jump, empty, packet(100, 10)]).errors, 0);
    }

    #[test]
    fn null_and_damaged_packets_are_not_tracked_and_memory_is_bounded() {
        let damaged = TsPacket { transport_error: true, ..packet(7, 5) };
        let mut tracker = ContinuityTracker::<2>::new();
        for packet in [
            packet(TsPacket::NULL_PID, 4),
            packet(TsPacket::NULL_PID, 9),
            damaged,
            packet(1, 0),
            packet(2, 0),
            packet(3, 0),
        ] {
            tracker.observe_packet(&packet);
        }
        let found = tracker.counts();
        assert_eq!((found.packets, found.errors, found.transport_errors, found.untracked), (6, 0, 1, 1));
        assert!(tracker.pids().map(|pid| pid.pid).eq([1, 2]));
    }
}
