//! The distribution of losses over time, which depends on what causes them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::flow::{Gap, Numbering, SLOT};

/// How losses are distributed over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LossPattern {
    /// Too few losses to show a pattern.
    Few,
    /// Single datagrams at irregular intervals.
    Random,
    /// Several datagrams in a row, at irregular intervals. The longest pause is given.
    Bursts(Duration),
    /// Losses that begin at regular intervals.
    Periodic(Duration),
    /// Losses while more datagrams per second than this are sent.
    AboveRate(u64),
}

impl LossPattern {
    /// Returns the pattern of the gaps in a numbering, where each datagram carries `per_datagram` numbers.
    pub(crate) fn of(numbering: &Numbering, gaps: &[Gap], per_datagram: f64) -> Self {
        const ENOUGH: usize = 4;
        let mean = |gap: &Gap| gap.missing as f64 / per_datagram;
        let longest = gaps.iter().map(|gap| gap.pause).max().unwrap_or_default();
        let burst = gaps.iter().map(mean).sum::<f64>() / gaps.len().max(1) as f64;
        let is_outage = burst >= 10.0 && longest >= Duration::from_millis(100);
        let slots = slots(numbering, gaps, per_datagram);
        if let Some(rate) = loss_at_peaks(&slots) {
            Self::AboveRate(rate)
        } else if let Some(interval) = regular_interval(gaps) {
            Self::Periodic(interval)
        } else if let Some(rate) = steady_rest(&slots) {
            Self::AboveRate(rate)
        } else if gaps.len() < ENOUGH && !is_outage {
            Self::Few
        } else if burst >= 3.0 {
            Self::Bursts(longest)
        } else {
            Self::Random
        }
    }
}

/// Returns the interval between losses if it is regular: nearly equal, or varying little over many losses. The
/// intervals of random losses vary by half their mean or more.
fn regular_interval(gaps: &[Gap]) -> Option<Duration> {
    let (few, many) = ((4, 0.1), (12, 0.35));
    let intervals: Vec<f64> = gaps
        .windows(2)
        .filter_map(|pair| Some(pair.get(1)?.time.duration_since(pair.first()?.time).ok()?.as_secs_f64()))
        .collect();
    let (mean, variance) = mean_and_variance(&intervals);
    let variation = variance.sqrt() / mean;
    let is_regular = |(at_least, at_most)| intervals.len() >= at_least && variation <= at_most;
    (mean > 0.0 && (is_regular(few) || is_regular(many))).then(|| Duration::from_secs_f64(mean))
}

/// A [`SLOT`] of a stream.
#[derive(Clone, Copy)]
struct Slot {
    arrived: f64,
    lost: f64,
}

/// Returns the slots of a stream, without the first and the last, which are not full.
fn slots(numbering: &Numbering, gaps: &[Gap], per_datagram: f64) -> Vec<Slot> {
    const MAX_POINTS: u32 = 1_000;
    let mut lost = BTreeMap::<usize, f64>::new();
    for gap in gaps {
        // They were sent at equal intervals in the pause.
        let datagrams = gap.missing as f64 / per_datagram;
        let points = (datagrams.ceil() as u32).clamp(1, MAX_POINTS);
        for point in 1..=points {
            let time = gap.time - gap.pause.mul_f64(f64::from(point) / f64::from(points + 1));
            *lost.entry(numbering.slot(time)).or_default() += datagrams / f64::from(points);
        }
    }
    let last = numbering.slots().count().saturating_sub(1);
    let slots = numbering.slots().filter(|(slot, _)| (1..last).contains(slot));
    let lost = |slot| lost.get(&slot).copied().unwrap_or_default();
    slots.map(|(slot, arrived)| Slot { arrived: f64::from(arrived), lost: lost(slot) }).collect()
}

/// Returns how many datagrams per second arrive while some are lost, if clearly more are sent then than at other
/// times.
fn loss_at_peaks(slots: &[Slot]) -> Option<u64> {
    const ENOUGH: usize = 5;
    let (lossy, clean): (Vec<Slot>, Vec<Slot>) = slots.iter().partition(|slot| slot.lost > 0.0);
    if lossy.len() < ENOUGH || clean.len() < ENOUGH {
        return None;
    }
    let sent_with_loss = lossy.iter().map(|slot| slot.arrived + slot.lost).collect();
    let sent_without = clean.iter().map(|slot| slot.arrived).collect();
    let arrived = lossy.iter().map(|slot| slot.arrived).sum::<f64>() / lossy.len() as f64;
    let is_higher = quantile(sent_with_loss, 0.5) >= quantile(sent_without, 0.9) * 1.2;
    is_higher.then_some((arrived / SLOT.as_secs_f64()) as u64)
}

/// Returns how many datagrams per second arrive, if that number varies much less than it would by random losses.
fn steady_rest(slots: &[Slot]) -> Option<u64> {
    /// With fewer groups of slots, or less expected variance, chance may have this effect.
    const ENOUGH: usize = 10;
    const MIN_VARIANCE: f64 = 1.5;
    let (arrived, lost) =
        slots.iter().fold((0.0, 0.0), |(arrived, lost), slot| (arrived + slot.arrived, lost + slot.lost));
    let (sent, count) = (arrived + lost, slots.len() as f64);
    let expected = |size: usize| size as f64 * sent / count * (lost / sent) * (arrived / sent);
    let size = [1, 2, 5, 10].into_iter().find(|size| expected(*size) >= MIN_VARIANCE)?;
    let groups: Vec<f64> =
        slots.chunks_exact(size).map(|group| group.iter().map(|slot| slot.arrived).sum()).collect();
    let (_, variance) = mean_and_variance(&groups);
    (groups.len() >= ENOUGH && variance <= 0.3 * expected(size))
        .then_some((arrived / count / SLOT.as_secs_f64()) as u64)
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count)
}

/// Returns the value below which this share of the values is.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let position = (values.len() as f64 * share) as usize;
    values.get(position.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

impl fmt::Display for LossPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Few => f.write_str("too few to show a pattern"),
            Self::Random => f.write_str("single ones at random"),
            Self::Bursts(longest) => write!(f, "in bursts, the longest {:.2} s", longest.as_secs_f64()),
            Self::Periodic(interval) => write!(f, "at regular intervals of {:.3} s", interval.as_secs_f64()),
            Self::AboveRate(rate) => write!(f, "only above about {rate} datagrams per second"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, begin, flow, rtp};

    /// Returns the pattern of an RTP stream, given when each number was sent, and whether it arrived.
    fn pattern(datagrams: impl Iterator<Item = (Duration, bool)>) -> LossPattern {
        let key = flow(ETH0, "10.9.0.1:6000", "239.1.2.3:5000").key;
        let mut numbering = Numbering::default();
        for (number, (time, arrives)) in (0_u16..).zip(datagrams) {
            if arrives {
                numbering.observe(&key, &rtp(number, 7), begin() + time);
            }
        }
        let gaps: Vec<_> = numbering.gaps(begin() + Duration::from_secs(1000)).copied().collect();
        LossPattern::of(&numbering, &gaps, 1.0)
    }

    /// Returns numbers sent every 10 ms.
    fn steady(count: u32) -> impl Iterator<Item = (Duration, u32)> {
        (0..count).map(|number| (Duration::from_millis(10) * number, number))
    }

    /// Returns pseudo-random numbers below 65,536.
    fn dice(number: u32) -> u64 {
        u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40 & 0xffff
    }

    #[test]
    fn patterns_of_typical_causes_are_distinguished() {
        let random = steady(3000).map(|(time, number)| (time, dice(number * number) > 50_000 / 16));
        assert_eq!(pattern(random), LossPattern::Random);
        let single = steady(500).map(|(time, number)| (time, number != 100));
        assert_eq!(pattern(single), LossPattern::Few);
        let policed = steady(500).map(|(time, number)| (time, number % 3 != 2));
        assert!(matches!(pattern(policed), LossPattern::Periodic(_)));
        let storm_control = steady(600).map(|(time, number)| (time, number % 100 < 60));
        let LossPattern::Periodic(interval) = pattern(storm_control) else { panic!("not periodic") };
        assert_eq!(interval, Duration::from_secs(1));
        let outage = steady(600).map(|(time, number)| (time, !(200..300).contains(&number)));
        assert!(
            matches!(pattern(outage), LossPattern::Bursts(longest) if longest > Duration::from_millis(990))
        );
        let bursts = [40..46, 100..109, 330..335, 350..357, 500..509];
        let bursts =
            steady(600).map(|(time, number)| (time, !bursts.iter().any(|burst| burst.contains(&number))));
        assert!(matches!(pattern(bursts), LossPattern::Bursts(_)));
    }

    #[test]
    fn losses_at_peaks_only_show_the_limit() {
        // Peaks of 200 datagrams per second for 200 ms, of which every third is dropped, and 50 per second between.
        let mut time = Duration::ZERO;
        let sent = (0..600_u32).map(|number| {
            let is_peak = time.as_millis() % 1300 < 200;
            time += Duration::from_millis(if is_peak { 5 } else { 20 });
            (time, !(is_peak && number % 3 == 0))
        });
        let LossPattern::AboveRate(rate) = pattern(sent) else { panic!("no limit") };
        assert!((60..150).contains(&rate), "{rate}");
    }
}
