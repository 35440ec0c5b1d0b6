//! The limit of the NAKs that are accepted of one subscriber.

use crate::ClockTime;
use crate::wire::NAK_INTERVAL;

/// NAKs that one subscriber may send at once.
const NAK_BURST: u32 = 64;

/// A burst of NAKs, and then one in `NAK_INTERVAL`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NakLimit {
    left: u32,
    filled: ClockTime,
}

impl NakLimit {
    pub(crate) const fn new(now: ClockTime) -> Self {
        Self { left: NAK_BURST, filled: now }
    }

    /// Takes a NAK from the limit, and returns whether it was within.
    pub(crate) fn admits(&mut self, now: ClockTime) -> bool {
        let gained: u64 = now.since(self.filled) / NAK_INTERVAL;
        let left = self.left.saturating_add(u32::try_from(gained).unwrap_or(NAK_BURST)).min(NAK_BURST);
        *self = Self { left: left.saturating_sub(1), filled: self.filled + gained * NAK_INTERVAL };
        debug_assert!(self.left <= NAK_BURST, "more NAKs than a burst");
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nanos;

    #[test]
    fn a_burst_is_admitted_and_then_one_in_each_interval() {
        let mut limit = NakLimit::new(ClockTime(0));
        let at = |interval: u64| ClockTime(0) + interval * NAK_INTERVAL;
        let admitted =
            |limit: &mut NakLimit, interval| (0..100).filter(|_| limit.admits(at(interval))).count();
        assert_eq!(admitted(&mut limit, 0), NAK_BURST as usize);
        assert_eq!(admitted(&mut limit, 1), 1);
        assert_eq!(admitted(&mut limit, 11), 10);
        assert_eq!(admitted(&mut limit, 1_000_000), NAK_BURST as usize);
        assert!(!limit.admits(at(1_000_000) + (NAK_INTERVAL - Nanos(1))));
    }
}
