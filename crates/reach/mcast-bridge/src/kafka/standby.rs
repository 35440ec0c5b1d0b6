//! When a bridge that stands by takes over.

use std::time::{Duration, Instant};

use mcast_stream::wire::MessageNumber;

use crate::engine::PendingGap;
use crate::record::{Content, Position, StreamRecord};

/// How long the active bridge appends nothing of what a bridge that stands by has, before that takes over.
const PERIOD: Duration = Duration::from_secs(3);
/// After a bridge took over within this time, the next period is twice as long.
const FLAPPING: Duration = Duration::from_secs(60);

/// What a bridge knows of the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ActiveBridge {
    /// No bridge notes that it is active.
    None,
    /// It waits for messages, if it lacks some.
    Present(Option<PendingGap>),
}

/// Decides when to take over.
#[derive(Debug, Default)]
pub(super) struct Standby {
    /// The engine's last record, and since when this bridge has had what follows it.
    stalled: Option<(Option<Position>, Instant)>,
    /// When this bridge took over after a period last, and the length of that period.
    last: Option<(Instant, Duration)>,
}

impl Standby {
    /// Returns whether to take over, in order to append this record behind the engine's last one.
    pub(super) fn is_due(
        &mut self,
        now: Instant,
        tail: Option<Position>,
        next: &StreamRecord,
        active: ActiveBridge,
    ) -> bool {
        let since = match self.stalled {
            Some((known, since)) if known == tail => since,
            _ => now,
        };
        self.stalled = Some((tail, since));
        match active {
            ActiveBridge::None => true,
            // The active bridge waits for what this one has.
            ActiveBridge::Present(Some(hole)) if fills(next, hole) => true,
            ActiveBridge::Present(_) => {
                let period = self.period(now);
                let is_over = now.saturating_duration_since(since) >= period;
                if is_over {
                    self.last = Some((now, period));
                }
                is_over
            }
        }
    }

    fn period(&self, now: Instant) -> Duration {
        match self.last {
            Some((at, period)) if now.saturating_duration_since(at) < FLAPPING => period.saturating_mul(2),
            _ => PERIOD,
        }
    }
}

/// Returns whether a record is what a bridge with this hole waits for.
fn fills(record: &StreamRecord, hole: PendingGap) -> bool {
    let is_gap = matches!(record.content, Content::Gap { .. } | Content::OpenGap { .. });
    !is_gap
        && record.position.incarnation == hole.start.incarnation
        && record.position.number == hole.start.number
        && hole.start.number < MessageNumber::MAX
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mcast_stream::wire::Incarnation;

    use super::*;
    use crate::record::{GapCause, UnixMillis};

    fn at(number: u64) -> Position {
        Position::new(Incarnation(1), MessageNumber(number))
    }

    fn record(number: u64, content: Content) -> StreamRecord {
        StreamRecord { position: at(number), time: UnixMillis(0), content }
    }

    fn message(number: u64) -> StreamRecord {
        record(number, Content::Message { key: None, bytes: Arc::from(&b""[..]) })
    }

    const BUSY: ActiveBridge = ActiveBridge::Present(None);

    #[test]
    fn a_bridge_takes_over_after_the_active_one_appended_nothing_for_3_seconds() {
        let (mut standby, start) = (Standby::default(), Instant::now());
        let second = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert!(!standby.is_due(second(0.0), Some(at(4)), &message(5), BUSY));
        assert!(!standby.is_due(second(2.9), Some(at(4)), &message(5), BUSY));
        // It appended something.
        assert!(!standby.is_due(second(3.1), Some(at(5)), &message(6), BUSY));
        assert!(!standby.is_due(second(6.0), Some(at(5)), &message(6), BUSY));
        assert!(standby.is_due(second(6.2), Some(at(5)), &message(6), BUSY));
    }

    #[test]
    fn the_period_doubles_with_each_take_over_within_a_minute() {
        let (mut standby, mut now) = (Standby::default(), Instant::now());
        let mut tail = 0;
        for expected in [3, 6, 12, 24, 48, 3] {
            tail += 1;
            let since = now;
            while !standby.is_due(now, Some(at(tail)), &message(tail + 1), BUSY) {
                now += Duration::from_millis(100);
            }
            assert_eq!((now - since).as_secs(), expected);
            if expected == 48 {
                now += FLAPPING;
            }
        }
    }

    #[test]
    fn a_bridge_takes_over_at_once_without_an_active_one_or_if_it_has_what_that_lacks() {
        let now = Instant::now();
        let waits = |number, end| {
            ActiveBridge::Present(Some(PendingGap { start: at(number), end: MessageNumber(end) }))
        };
        let is_due = |next: &StreamRecord, active| Standby::default().is_due(now, Some(at(4)), next, active);
        assert!(is_due(&message(5), ActiveBridge::None));
        assert!(is_due(&message(5), waits(5, 9)));
        assert!(is_due(&record(5, Content::End), waits(5, u64::MAX)));
        assert!(!is_due(&message(5), waits(6, 9)));
        let gap = Content::Gap { first: MessageNumber(5), cause: GapCause::JoinedLate };
        assert!(!is_due(&record(5, gap), waits(5, 6)), "it lacks them, too");
        assert!(!is_due(&record(5, Content::OpenGap { cause: GapCause::JoinedLate }), waits(5, 6)));
    }
}
