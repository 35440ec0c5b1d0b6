//! The sequence numbers in the payloads of a flow, and the gaps in them.

use std::time::{Duration, SystemTime};

use mcast::Group;
use mcast_packet::payload::Rtp;
use mcast_packet::sequence::SequenceField;
use mcast_watch::live::sequence_info;
use mcast_watch::{Format, SequenceMeter, SequenceStatistics};

use super::FlowKey;

/// The maximum number of gaps remembered.
const MAX_GAPS: usize = 4_096;
/// The length of a slot of [`Numbering::slots`].
pub(super) const SLOT: Duration = Duration::from_millis(100);
/// The maximum number of slots: ten minutes.
const MAX_SLOTS: usize = 6_000;
/// A number missing for less than this may still arrive late.
const SETTLED_AFTER: Duration = Duration::from_millis(250);

/// Tracks the sequence numbers in the payloads of a flow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbering {
    meter: SequenceMeter,
    search: FieldSearch,
    gaps: Vec<Gap>,
    /// The number of datagrams whose numbers were counted.
    counted: u64,
    /// The number of datagrams in each [`SLOT`] since the first.
    slots: Vec<u32>,
    first: Option<SystemTime>,
    previous: Option<SystemTime>,
    /// The first source that payloads of RTP state.
    ssrc: Option<u32>,
}

/// Missing sequence numbers between two datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// When the datagram after the gap arrived.
    pub(crate) time: SystemTime,
    /// The time between the datagrams before and after the gap.
    pub(crate) pause: Duration,
    /// How many numbers are missing.
    pub(crate) missing: u64,
    /// How many datagrams had arrived before the gap.
    pub(crate) position: u64,
}

impl Numbering {
    pub(crate) fn observe(&mut self, key: &FlowKey, payload: &[u8], time: SystemTime) {
        let first = *self.first.get_or_insert(time);
        let slot = (time.duration_since(first).unwrap_or_default().as_millis() / SLOT.as_millis()) as usize;
        if slot < MAX_SLOTS {
            self.slots.resize(self.slots.len().max(slot + 1), 0);
            self.slots[slot] += 1;
        }
        self.count(key, payload, time);
        if self.meter.format().is_none()
            && let Some(samples) = self.search.add(payload, time)
        {
            (self.meter, self.previous) = (SequenceMeter::default(), None);
            self.gaps.clear();
            self.counted = 0;
            for (payload, time) in samples {
                self.count(key, &payload, time);
            }
        }
    }

    fn count(&mut self, key: &FlowKey, payload: &[u8], time: SystemTime) {
        let Ok(group) = Group::new(key.group) else { return };
        let info = sequence_info(payload);
        let update = self.meter.observe(group, key.port, payload, self.search.field(), info.as_ref());
        if self.ssrc.is_none() && self.format() == Some(Format::Rtp) {
            self.ssrc = Rtp::parse(payload).map(|packet| packet.ssrc);
        }
        let pause = self.previous.and_then(|previous| time.duration_since(previous).ok()).unwrap_or_default();
        self.previous = Some(time);
        let position = self.counted;
        self.counted += 1;
        match u64::try_from(update.lost) {
            Ok(0) => {}
            Ok(missing) if self.gaps.len() < MAX_GAPS => {
                self.gaps.push(Gap { time, pause, missing, position });
            }
            Ok(_) => {}
            Err(_) => self.fill(update.lost.unsigned_abs()),
        }
    }

    /// Removes numbers that arrived late, which are most likely those of the latest gaps.
    fn fill(&mut self, mut late: u64) {
        while late > 0
            && let Some(gap) = self.gaps.last_mut()
        {
            let filled = late.min(gap.missing);
            gap.missing -= filled;
            late -= filled;
            if gap.missing == 0 {
                self.gaps.pop();
            }
        }
    }

    /// Returns the format of the payloads, once it is certain.
    pub(crate) fn format(&self) -> Option<Format> {
        self.meter.format()
    }

    /// Returns the source that payloads of RTP state.
    pub(crate) fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// Returns where the number is in payloads of an unknown format.
    pub(crate) fn field(&self) -> Option<SequenceField> {
        self.search.field()
    }

    /// Returns what the numbers show; `None` for payloads without sequence numbers.
    pub(crate) fn statistics(&self) -> Option<SequenceStatistics> {
        self.meter.numbers()
    }

    /// Returns the gaps that will not be filled any more by datagrams that arrive late.
    pub(crate) fn gaps(&self, until: SystemTime) -> impl Iterator<Item = &Gap> {
        let is_settled =
            move |gap: &&Gap| until.duration_since(gap.time).is_ok_and(|age| age >= SETTLED_AFTER);
        self.gaps.iter().filter(is_settled)
    }

    /// Returns the number of datagrams that arrived in each [`SLOT`].
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, u32)> {
        self.slots.iter().copied().enumerate()
    }

    /// Returns the slot of a time.
    pub(super) fn slot(&self, time: SystemTime) -> usize {
        let since = self.first.and_then(|first| time.duration_since(first).ok()).unwrap_or_default();
        (since.as_millis() / SLOT.as_millis()) as usize
    }
}

/// The search for a counter in payloads of an unknown format.
#[derive(Clone, Debug)]
enum FieldSearch {
    /// The payloads so far, cut off.
    Running(Vec<(Vec<u8>, SystemTime)>),
    Found(SequenceField),
    NotFound,
}

impl Default for FieldSearch {
    fn default() -> Self {
        Self::Running(Vec::new())
    }
}

impl FieldSearch {
    /// The number of different payloads that are compared.
    const SAMPLES: usize = 32;
    /// How often each of them may arrive.
    const COPIES: usize = 4;
    /// A counter is searched for in this many bytes.
    const DEPTH: usize = 32;
    /// Slower streams are not judged, because a time in seconds would look like a counter.
    const SLOWEST: Duration = Duration::from_secs(4);

    fn field(&self) -> Option<SequenceField> {
        match self {
            Self::Found(field) => Some(*field),
            _ => None,
        }
    }

    /// Adds a payload. Returns all payloads so far once a counter has been found in them.
    fn add(&mut self, payload: &[u8], time: SystemTime) -> Option<Vec<(Vec<u8>, SystemTime)>> {
        let Self::Running(samples) = self else { return None };
        let start = payload.get(..Self::DEPTH).unwrap_or(payload);
        samples.push((start.to_vec(), time));
        // A copy of the datagram before does not show how the next one is numbered.
        let different = 1 + samples.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
        if different < Self::SAMPLES && samples.len() < Self::SAMPLES * Self::COPIES {
            return None;
        }
        let samples = std::mem::take(samples);
        let duration = time.duration_since(samples[0].1).unwrap_or_default();
        match counter(&samples).filter(|_| duration <= Self::SLOWEST) {
            Some(field) => {
                *self = Self::Found(field);
                Some(samples)
            }
            None => {
                *self = Self::NotFound;
                None
            }
        }
    }
}

/// Returns the field that counts the datagrams: the widest, big-endian if both byte orders are possible.
fn counter(samples: &[(Vec<u8>, SystemTime)]) -> Option<SequenceField> {
    let fields = || {
        [8, 4, 2].into_iter().flat_map(|size| {
            (0..=FieldSearch::DEPTH - size).filter_map(move |offset| SequenceField::new(offset, size).ok())
        })
    };
    let mut all = fields().chain(fields().map(SequenceField::little_endian));
    all.find(|field| counts(*field, samples))
}

/// Returns whether a field is one larger in each datagram than in the one before, apart from those that were lost,
/// overtaken or repeated. A clock also grows, but sometimes by zero or by the same larger step. The last digit of a
/// number in text does so only until the digit before it changes.
fn counts(field: SequenceField, samples: &[(Vec<u8>, SystemTime)]) -> bool {
    /// More in a row are not lost where at least two thirds arrive.
    const LARGEST_STEP: i64 = 1_000;
    let unused = 64 - field.bits();
    if samples.iter().all(|(payload, _)| field.read(payload).is_some_and(is_decimal)) {
        return false;
    }
    let (mut steps, mut single) = (0, 0);
    for pair in samples.windows(2) {
        let [(before, _), (after, _)] = pair else { return false };
        if before == after {
            continue;
        }
        let (Some(before), Some(after)) = (field.read(before), field.read(after)) else { return false };
        // The shift extends the sign of narrow numbers.
        let step = (after.wrapping_sub(before) << unused).cast_signed() >> unused;
        if step == 0 || step.abs() > LARGEST_STEP {
            return false;
        }
        steps += 1;
        single += u32::from(step == 1);
    }
    steps * 2 >= FieldSearch::SAMPLES as u32 && single * 3 >= steps * 2
}

/// Returns whether the last digit of a number may be decimal or a hexadecimal digit of text, as those of a counter are
/// not for long. In ASCII, the lower half of `0` to `9` and of `a` to `f` is at most 9, as is that of a packed decimal.
const fn is_decimal(number: u64) -> bool {
    number & 0xf <= 9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{self, ETH0, begin, flow};

    fn key() -> FlowKey {
        flow(ETH0, "10.9.0.1:6000", "239.1.2.3:5000").key
    }

    /// Returns the numbering of payloads that arrive every 10 ms.
    fn numbering(payloads: impl IntoIterator<Item = Vec<u8>>) -> Numbering {
        let (key, mut numbering) = (key(), Numbering::default());
        for (number, payload) in (0..).zip(payloads) {
            numbering.observe(&key, &payload, begin() + Duration::from_millis(10) * number);
        }
        numbering
    }

    fn rtp(number: u16) -> Vec<u8> {
        fixtures::rtp(number, 7)
    }

    fn missing(numbering: &Numbering) -> Vec<u64> {
        let until = begin() + Duration::from_secs(100);
        numbering.gaps(until).map(|gap| gap.missing).collect()
    }

    #[test]
    fn gaps_of_rtp_are_counted_across_the_wrap() {
        let numbers = (65_500..65_536_u32).chain(0..100).map(|number| number as u16);
        let whole = numbering(numbers.clone().map(rtp));
        assert_eq!((whole.format(), missing(&whole)), (Some(Format::Rtp), Vec::new()));
        let lossy = numbering(numbers.filter(|number| !matches!(number, 65_510 | 10..13)).map(rtp));
        assert_eq!(missing(&lossy), [1, 3]);
    }

    #[test]
    fn late_numbers_are_not_missing() {
        let swapped = (0..100_u16).map(|number| {
            if number % 10 == 0 {
                number + 1
            } else if number % 10 == 1 {
                number - 1
            } else {
                number
            }
        });
        assert_eq!(missing(&numbering(swapped.map(rtp))), Vec::<u64>::new());
    }

    #[test]
    fn last_numbers_of_a_session_may_arrive_in_the_next_one() {
        let sessions = |mixed: &[(u16, u32)]| {
            let (before, after) = ((0..50).map(|number| (number, 7)), (9..50).map(|number| (number, 8)));
            let packets = before.chain(mixed.iter().copied()).chain(after);
            missing(&numbering(packets.map(|(number, session)| fixtures::rtp(number, session))))
        };
        let reordered = [(50, 7), (53, 7), (5, 8), (51, 7), (7, 8), (54, 7), (52, 7), (6, 8), (8, 8)];
        assert_eq!(sessions(&reordered), Vec::<u64>::new());
        let lossy = sessions(&[(50, 7), (53, 7), (5, 8), (7, 8), (52, 7), (8, 8)]);
        assert_eq!(lossy.iter().sum::<u64>(), 2, "51 and 6");
    }

    #[test]
    fn number_that_is_missing_at_the_end_may_still_arrive() {
        let numbers = (0..50_u16).filter(|number| *number != 45).map(rtp);
        let numbering = numbering(numbers);
        let until = begin() + Duration::from_millis(490);
        assert_eq!((numbering.gaps(until).count(), missing(&numbering)), (0, vec![1]));
    }

    #[test]
    fn counter_of_an_unknown_format_is_found() {
        let big = |number: u32| [vec![9; 3], number.to_be_bytes().to_vec(), vec![7; 9]].concat();
        let little = |number: u64| [vec![number as u8 / 3], number.to_le_bytes().to_vec()].concat();
        let lossy = numbering((0..200).filter(|number| number % 50 != 33).map(big));
        assert_eq!(lossy.field().map(|field| field.to_string()).as_deref(), Some("3:4"));
        assert_eq!(missing(&lossy), [1; 4]);
        let lossy = numbering((250..450).filter(|number| number % 50 != 33).map(little));
        assert_eq!(missing(&lossy), [1; 4]);
    }

    #[test]
    fn text_times_and_constants_are_no_counters() {
        let found = |payload: fn(u64) -> Vec<u8>| numbering((0..200).map(payload)).field();
        assert_eq!(found(|_| b"hello".to_vec()), None);
        for start in [0, 8, 60, 95, 140, 990] {
            let texts = |format: fn(u64) -> String| {
                numbering((start..start + 200).map(|number| format(number).into_bytes())).field()
            };
            assert_eq!(texts(|number| format!("{number} volts")), None, "{start}");
            assert_eq!(texts(|number| format!("{{\"seq\": {number}}}")), None, "{start}");
            assert_eq!(texts(|number| format!("{number:08x}")), None, "{start}");
            assert_eq!(texts(|number| format!("{number:04}")), None, "{start}");
        }
        assert_eq!(found(|number| format!("temperature {}", number * 7919 % 30).into_bytes()), None);
        assert_eq!(found(|number| (number * 10 + number % 3).to_be_bytes().to_vec()), None);
        assert_eq!(found(|number| (1_700_000_000 + number / 100).to_be_bytes().to_vec()), None);
        assert_eq!(found(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec()), None);
    }

    #[test]
    fn seconds_of_a_slow_stream_are_no_counter() {
        let mut slow = Numbering::default();
        for second in 0..100_u64 {
            slow.observe(&key(), &second.to_be_bytes(), begin() + Duration::from_secs(second));
        }
        assert_eq!(slow.statistics(), None);
    }
}
