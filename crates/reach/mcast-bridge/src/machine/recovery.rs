//! What an engine has lost, and when and how often that is appended again.
//!
//! An engine that fails once is healed at once, from memory. One that throws away what it stores, such as a cache, would
//! throw it away again: the bridge pauses before it appends anything again, twice as long each time, and replaces by a
//! gap what the engine has lost too often. So what reaches the engine is a small multiple of what is published.

use std::time::Duration;

use mcast_stream::ClockTime;

use super::{BridgeEvent, BridgeMachine, LossCause};
use crate::limits::EngineRetention;
use crate::record::Position;

/// The pause before the second attempt within [`CALM`], which doubles until the longest. There is none before the first.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// When the engine has lacked nothing for this time, the next loss is the first again.
const CALM: Duration = Duration::from_secs(120);
/// What the engine has lost this often is not appended again, and with each loss in a row once less often: a server that
/// fails may do so some times in a row, but what was evicted twice does not fit.
const MOST_LOSSES: u32 = 8;
const MOST_EVICTIONS: u32 = 2;

/// The losses of an engine.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// A loss of which it is not known whether the engine evicted: its last record before, and now.
    unexplained: Option<(Position, Option<Position>)>,
    /// Whether the engine was asked.
    is_asked: bool,
    /// The losses since the last calm, and when the engine last lacked something, as far as responses show.
    losses: u32,
    latest: ClockTime,
    resume_at: ClockTime,
    /// What the engine removes, as of the connection or of the latest loss.
    retention: EngineRetention,
}

impl Recovery {
    /// Whether the engine must be asked for what it removes.
    pub(super) const fn asks(&self) -> bool {
        self.unexplained.is_some() && !self.is_asked
    }

    /// Whether nothing may be appended until the engine has responded to that.
    pub(super) const fn is_unexplained(&self) -> bool {
        self.unexplained.is_some()
    }

    /// Notes a response, and whether the engine lacked something before it.
    pub(super) fn note_response(&mut self, now: ClockTime, is_healing: bool) {
        if is_healing {
            self.latest = now;
        } else if now.since(self.latest) > CALM {
            self.losses = 0;
        }
    }

    pub(super) const fn asked(&mut self) {
        self.is_asked = true;
    }

    pub(super) const fn disconnected(&mut self) {
        self.is_asked = false;
    }

    /// Returns until when nothing is appended, if that is later than now.
    pub(super) fn paused_until(&self, now: ClockTime) -> Option<ClockTime> {
        (now < self.resume_at).then_some(self.resume_at)
    }
}

impl BridgeEvent {
    /// Returns the event for what an engine removes on its own now, if that is something else than before.
    pub(crate) fn retention(before: &EngineRetention, now: &EngineRetention) -> Option<Self> {
        let is_new = now.rules != before.rules && !now.rules.is_empty();
        is_new.then(|| if now.is_hasty() { Self::HastyRetention } else { Self::Retention }(now.clone()))
    }
}

impl BridgeMachine {
    /// Sets what the engine removes on its own, which was reported before.
    pub fn set_retention(&mut self, retention: EngineRetention) {
        self.recovery.retention = retention;
    }

    /// Notes what the engine removes on its own: when there is a connection, and whenever it has lost something.
    pub fn handle_retention(&mut self, now: ClockTime, retention: EngineRetention) {
        let before = std::mem::replace(&mut self.recovery.retention, retention);
        let retention = &self.recovery.retention;
        self.events.extend(BridgeEvent::retention(&before, retention));
        let Some((lost, left)) = self.recovery.unexplained.take() else { return };
        let cause = match (before.evictions, retention.evictions) {
            (Some(before), Some(evictions)) if evictions > before => LossCause::Evicted { evictions },
            _ => LossCause::Unknown,
        };
        let most = match cause {
            LossCause::Evicted { .. } => MOST_EVICTIONS,
            LossCause::Unknown => MOST_LOSSES,
        };
        let recovery = &mut self.recovery;
        recovery.is_asked = false;
        let given_up = self.backlog.give_up(most.saturating_sub(recovery.losses).max(1));
        let pause = match recovery.losses {
            0 => Duration::ZERO,
            // What follows was never appended.
            _ if !self.backlog.has_lost() => Duration::ZERO,
            losses => FIRST_PAUSE.saturating_mul(1 << (losses - 1).min(6)).min(LONGEST_PAUSE),
        };
        recovery.losses += 1;
        recovery.resume_at = now + pause;
        self.statistics.given_up += given_up;
        self.statistics.evictions += u64::from(cause != LossCause::Unknown);
        self.events.push_back(BridgeEvent::EngineLost {
            before: lost,
            now: left,
            loss: cause,
            pause,
            given_up,
        });
    }

    /// Notes that the engine has lost what was behind its last record now.
    pub(super) fn note_loss(&mut self, before: Position, now: Option<Position>) {
        self.is_healing = true;
        self.statistics.engine_losses += 1;
        let (first, _) = self.recovery.unexplained.unwrap_or((before, now));
        self.recovery.unexplained = Some((first.max(before), now));
    }
}
