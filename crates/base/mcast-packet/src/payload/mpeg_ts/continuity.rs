//! Detection of missing packets in a transport stream by the continuity counter of each PID.

use super::{MpegTs, TsPacket};

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
    /// Packets whose counter was not the expected one.
    pub errors: u64,
    /// Packets missing before those. A lower bound, because the counter wraps around after 16 packets.
    pub missing: u64,
    /// Repetitions of the previous packet, which the standard allows once.
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
    continuity: u8,
    /// Whether the last packet was a duplicate of the one before. A second duplicate is an error.
    is_duplicated: bool,
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
    const fn new(packet: &TsPacket<'_>) -> Self {
        Self {
            counts: PidCounts { pid: packet.pid, packets: 1, errors: 0 },
            continuity: packet.continuity,
            is_duplicated: false,
        }
    }

    /// Checks the counter. It is incremented by each packet with a payload and unchanged by packets without.
    /// A packet may be sent twice with the same counter.
    fn observe(&mut self, packet: &TsPacket<'_>, counts: &mut ContinuityCounts) {
        self.counts.packets += 1;
        let step = packet.continuity.wrapping_sub(self.continuity) & 0x0f;
        self.continuity = packet.continuity;
        let was_duplicated = core::mem::take(&mut self.is_duplicated);
        match (step, packet.payload.is_some()) {
            _ if packet.discontinuity => {}
            (1, true) | (0, false) => {}
            (0, true) if !was_duplicated => {
                self.is_duplicated = true;
                counts.duplicates += 1;
            }
            (step, has_payload) => {
                let expected_step = if has_payload { 1 } else { 0 };
                self.counts.errors += 1;
                counts.errors += 1;
                counts.missing += u64::from(step.wrapping_sub(expected_step) & 0x0f);
            }
        }
    }
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
        assert_eq!((found.duplicates, found.errors), (2, 1));
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
