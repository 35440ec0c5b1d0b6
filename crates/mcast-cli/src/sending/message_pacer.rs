//! Waits until messages are due, while something else happens.

use std::time::{Duration, Instant};

use mcast::Rate;

use crate::interrupt::Interrupt;

/// The maximum interval of messages, so that the time of the next one can be represented.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 86_400);
/// The longest wait before `meanwhile` is called again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Paces messages.
pub(crate) struct MessagePacer {
    each: Option<Duration>,
    next: Instant,
}

impl MessagePacer {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        let each = match rate {
            Some(Rate::Datagrams(rate)) => {
                Some(Duration::try_from_secs_f64(1.0 / rate).unwrap_or(MAX_INTERVAL).min(MAX_INTERVAL))
            }
            _ => None,
        };
        Self { each, next: Instant::now() }
    }

    /// Waits until the next message is due, and calls `meanwhile` repeatedly. Returns `false` after an interrupt.
    pub(crate) fn wait(&mut self, interrupt: &Interrupt, mut meanwhile: impl FnMut()) -> bool {
        let Some(each) = self.each else { return true };
        let now = Instant::now();
        while let Some(left) = self.next.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            meanwhile();
            if interrupt.sleep(left.min(POLL_INTERVAL)) {
                return false;
            }
        }
        // A delay is not made up for by a burst.
        self.next = self.next.max(now.checked_sub(Duration::from_millis(100)).unwrap_or(now)) + each;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_rates_do_not_overflow_the_clock() {
        for rate in [f64::MIN_POSITIVE, 1e-30, 1e-10] {
            let mut due = MessagePacer::new(Some(Rate::Datagrams(rate)));
            let interrupt = Interrupt::catch(|| {}).unwrap();
            assert!(due.wait(&interrupt, || {}));
            assert!(due.next > Instant::now());
        }
    }
}
