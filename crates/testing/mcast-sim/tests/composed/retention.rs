//! Retention beside everything else: whatever its limits are, no message is removed from the log before it was sent and, where
//! that blocks, settled.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use mcast_log::{Files, LogReader};
use mcast_sim::Dice;
use mcast_stream_proto::seal::Keys;

use crate::plan::{ComposedPlan, MILLISECOND, SECOND};

impl ComposedPlan {
    /// Draws the limits of the log.
    pub(crate) fn draw_retention(&mut self) {
        let mut dice = Dice::new(self.seed ^ 0x7265_7461);
        if self.feed.unlogged {
            return;
        }
        if dice.chance(0.25) {
            self.feed.retained = Some(dice.pick(&[1, 10_000, 30_000, 100_000]));
        }
        if dice.chance(0.15) {
            self.feed.retained_age = Some(dice.pick(&[MILLISECOND, 200 * MILLISECOND, 5 * SECOND]));
        }
    }
}

/// The messages that were accepted and that no process has sent.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    messages: BTreeSet<u64>,
    /// Those before it were accepted by former processes, until their subscribers have had time to request them.
    recalled: Option<u64>,
}

impl Unsent {
    pub(crate) fn accept(&mut self, number: u64) {
        self.messages.insert(number);
    }

    pub(crate) fn send(&mut self, number: u64) {
        self.messages.remove(&number);
    }

    /// A process begins with this message.
    pub(crate) fn begin(&mut self, next: u64) {
        self.recalled = Some(next);
    }

    /// No process can open these messages any more, because their secret was removed: the publisher reports them.
    pub(crate) fn give_up(&mut self, unopened: Range<u64>) {
        self.messages.retain(|number| !unopened.contains(number));
    }

    /// The subscribers of the former process have had time to request what was recalled.
    pub(crate) fn end_claims(&mut self) {
        if let Some(next) = self.recalled.take() {
            self.messages = self.messages.split_off(&next);
        }
    }

    /// Returns what is wrong with a log that begins after what was not sent, or not settled.
    pub(crate) fn check(&self, files: Arc<dyn Files>, settled: Option<u64>) -> Option<String> {
        let first = [self.messages.first().copied(), settled].into_iter().flatten().min()?;
        let mut reader = LogReader::open_files(files, Keys::none()).ok()?;
        let oldest = reader.starts().ok()?.first()?.number.0;
        (oldest > first).then(|| format!("the log begins with {oldest}, and {first} was not sent or settled"))
    }
}
