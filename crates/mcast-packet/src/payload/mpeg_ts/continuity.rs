//! Which cells of a transport stream are missing, by the counter that each stream inside it has.

use super::{Cell, MpegTs};

/// Follows the continuity counters of a transport stream: one for each PID, for up to `PIDS` of them.
#[derive(Clone, Debug)]
pub struct ContinuityTracker<const PIDS: usize = 64> {
    streams: [Option<Stream>; PIDS],
    counts: ContinuityCounts,
}

/// What a [`ContinuityTracker`] has counted, over all PIDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContinuityCounts {
    /// Cells that came.
    pub cells: u64,
    /// Where the counter was not the one that was due.
    pub errors: u64,
    /// Cells that are missing at those places: at least so many, as the counter starts again after 16.
    pub missing: u64,
    /// Cells that came twice in a row, which the standard allows.
    pub duplicates: u64,
    /// Cells that were damaged on their way to whoever put them into the network.
    pub transport_errors: u64,
    /// Cells whose PID found no room any more; nothing is known of their counters.
    pub untracked: u64,
}

/// What is known of one PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PidCounts {
    /// The PID.
    pub pid: u16,
    /// Cells that came.
    pub cells: u64,
    /// Where the counter was not the one that was due.
    pub errors: u64,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    counts: PidCounts,
    continuity: u8,
    /// Whether the last cell was the same as the one before: a third is one too many.
    doubled: bool,
}

impl<const PIDS: usize> Default for ContinuityTracker<PIDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const PIDS: usize> ContinuityTracker<PIDS> {
    /// A tracker that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            streams: [None; PIDS],
            counts: ContinuityCounts {
                cells: 0,
                errors: 0,
                missing: 0,
                duplicates: 0,
                transport_errors: 0,
                untracked: 0,
            },
        }
    }

    /// What has been counted so far.
    #[must_use]
    pub const fn counts(&self) -> ContinuityCounts {
        self.counts
    }

    /// The PIDs in the order in which they were first seen.
    pub fn pids(&self) -> impl Iterator<Item = PidCounts> + '_ {
        self.streams.iter().flatten().map(|stream| stream.counts)
    }

    /// Takes note of all cells of a datagram.
    pub fn observe(&mut self, stream: &MpegTs<'_>) {
        stream.cells().for_each(|cell| self.observe_cell(&cell));
    }

    /// Takes note of a cell.
    pub fn observe_cell(&mut self, cell: &Cell<'_>) {
        self.counts.cells += 1;
        if cell.transport_error {
            // Its PID may be damaged, too.
            self.counts.transport_errors += 1;
            return;
        }
        // The counter of null cells means nothing.
        if cell.pid == Cell::NULL_PID {
            return;
        }
        let is_same =
            |place: &&mut Option<Stream>| place.as_ref().is_none_or(|stream| stream.counts.pid == cell.pid);
        match self.streams.iter_mut().find(is_same) {
            Some(Some(stream)) => stream.observe(cell, &mut self.counts),
            Some(place) => *place = Some(Stream::new(cell)),
            None => self.counts.untracked += 1,
        }
    }
}

impl Stream {
    const fn new(cell: &Cell<'_>) -> Self {
        Self {
            counts: PidCounts { pid: cell.pid, cells: 1, errors: 0 },
            continuity: cell.continuity,
            doubled: false,
        }
    }

    /// The counter goes up with each cell that has a payload, stays with each that has none, and may
    /// stay once when a cell is sent twice.
    fn observe(&mut self, cell: &Cell<'_>, counts: &mut ContinuityCounts) {
        self.counts.cells += 1;
        let step = cell.continuity.wrapping_sub(self.continuity) & 0x0f;
        self.continuity = cell.continuity;
        let was_doubled = core::mem::replace(&mut self.doubled, false);
        match (step, cell.payload.is_some()) {
            _ if cell.discontinuity => {}
            (1, true) | (0, false) => {}
            (0, true) if !was_doubled => {
                self.doubled = true;
                counts.duplicates += 1;
            }
            (step, has_payload) => {
                let due = if has_payload { 1 } else { 0 };
                self.counts.errors += 1;
                counts.errors += 1;
                counts.missing += u64::from(step.wrapping_sub(due) & 0x0f);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: [u8; 184] = [0; 184];

    fn counts(cells: &[Cell<'_>]) -> ContinuityCounts {
        let mut tracker = ContinuityTracker::<2>::new();
        cells.iter().for_each(|cell| tracker.observe_cell(cell));
        tracker.counts()
    }

    fn cell(pid: u16, continuity: u8) -> Cell<'static> {
        Cell::new(pid, continuity, &PAYLOAD)
    }

    #[test]
    fn each_pid_has_a_counter_that_wraps() {
        let found = counts(&[cell(100, 14), cell(200, 3), cell(100, 15), cell(200, 4), cell(100, 0)]);
        assert_eq!(found, ContinuityCounts { cells: 5, ..ContinuityCounts::default() });
    }

    #[test]
    fn what_is_missing_is_counted_as_far_as_the_counter_tells() {
        let found = counts(&[cell(100, 0), cell(100, 3), cell(100, 2)]);
        assert_eq!((found.errors, found.missing), (2, 2 + 14));
    }

    #[test]
    fn a_cell_may_come_twice_but_not_three_times() {
        let found = counts(&[cell(100, 0), cell(100, 0), cell(100, 1), cell(100, 1), cell(100, 1)]);
        assert_eq!((found.duplicates, found.errors), (2, 1));
    }

    #[test]
    fn a_leap_that_is_announced_is_no_loss_and_no_payload_no_step() {
        let leap = Cell { discontinuity: true, ..cell(100, 9) };
        let empty = Cell { payload: None, ..cell(100, 9) };
        assert_eq!(counts(&[cell(100, 0), leap, empty, cell(100, 10)]).errors, 0);
    }

    #[test]
    fn null_cells_and_damaged_ones_count_for_no_stream_and_room_is_bounded() {
        let damaged = Cell { transport_error: true, ..cell(7, 5) };
        let mut tracker = ContinuityTracker::<2>::new();
        for cell in
            [cell(Cell::NULL_PID, 4), cell(Cell::NULL_PID, 9), damaged, cell(1, 0), cell(2, 0), cell(3, 0)]
        {
            tracker.observe_cell(&cell);
        }
        let found = tracker.counts();
        assert_eq!((found.cells, found.errors, found.transport_errors, found.untracked), (6, 0, 1, 1));
        assert!(tracker.pids().map(|pid| pid.pid).eq([1, 2]));
    }
}
