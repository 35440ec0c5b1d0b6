//! Unicast targets: a target that cannot be reached is left alone for a while, so that it delays no other.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether a unicast target can be reached.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reachability {
    pause: Option<(Duration, Duration)>,
}

impl Reachability {
    /// Returns whether to send to the target now.
    pub(crate) fn is_open(&self, now: Duration) -> bool {
        self.pause.is_none_or(|(until, _)| now >= until)
    }

    /// Records an error, such as that of an ICMP message. Several during a pause count once.
    pub(crate) fn fail(&mut self, now: Duration) {
        let length = match self.pause {
            Some((until, _)) if now < until => return,
            // It worked for as long as the longest pause, so start again.
            Some((until, _)) if now >= until + LONGEST_PAUSE => FIRST_PAUSE,
            Some((_, length)) => (length * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        self.pause = Some((now + length, length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_start_again_after_a_minute_without_errors() {
        let (mut target, mut now) = (Reachability::default(), Duration::ZERO);
        let mut lengths = Vec::new();
        for _ in 0..8 {
            assert!(target.is_open(now));
            target.fail(now);
            target.fail(now);
            let start = now;
            while !target.is_open(now) {
                now += Duration::from_millis(500);
            }
            lengths.push((now - start).as_secs());
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60]);
        now += LONGEST_PAUSE;
        target.fail(now);
        assert!(target.is_open(now + FIRST_PAUSE));
    }
}
