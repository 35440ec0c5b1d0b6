//! What the relays that exist do against loops, and what that is worth. Two or more relays forward between the segments A
//! and B in both directions and replace the source by their own; each takes 0.02 to 3 ms for a datagram, and remembers
//! for 250 ms.

use mcast_sim::{Dice, EventQueue};

/// What a relay does against loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It ignores what it has sent itself.
    OwnSource,
    /// It drops one arrival on a segment for each copy that it has sent there.
    Credits,
    /// It drops what it has seen.
    SeenSet,
    /// It knows the addresses of the others.
    KnowsOthers,
    /// It forwards from A to B only.
    OneWay,
    /// It drops datagrams of a source that does not belong to the segment.
    OnLink,
}

/// A relay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Existing {
    pub(crate) policy: Policy,
    pub(crate) keeps_source: bool,
}

impl Policy {
    pub(crate) const fn rewriting(self) -> Existing {
        Existing { policy: self, keeps_source: false }
    }

    pub(crate) const fn keeping_source(self) -> Existing {
        Existing { policy: self, keeps_source: true }
    }
}

/// Datagrams on each segment, with the originals, and whether they were a storm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Result {
    pub(crate) datagrams: [u64; 2],
    pub(crate) storm: bool,
}

const MEMORY: u64 = 250_000;
/// A thousand copies of a few datagrams are a storm.
const STORM: u64 = 1_000;

#[derive(Clone, Default)]
struct Memory {
    credits: [Vec<u64>; 2],
    seen: Vec<u64>,
}

/// An arrival at a relay: relay, segment, sender, the segment of its source. `None`: an original.
type Arrival = Option<(usize, usize, Option<usize>, usize)>;

/// Sends `count` identical datagrams on A, 100 ms apart.
pub(crate) fn simulate(relays: &[Existing], count: u64, seed: u64) -> Result {
    let mut dice = Dice::new(seed);
    let mut arrivals: EventQueue<u64, Arrival> = EventQueue::new();
    for number in 0..count {
        arrivals.push(number * 100_000, None);
    }
    let mut memory = vec![Memory::default(); relays.len()];
    let (mut datagrams, mut copies) = ([0; 2], 0);
    while let Some((now, arrival)) = arrivals.pop().filter(|_| copies < STORM) {
        let (segment, by, home) = match arrival {
            None => (0, None, 0),
            Some((relay, segment, by, home)) => {
                let Existing { policy, keeps_source } = relays[relay];
                if !forwards(policy, &mut memory[relay], now, segment, by, home) {
                    continue;
                }
                copies += 1;
                (1 - segment, Some(relay), if keeps_source { home } else { 1 - segment })
            }
        };
        datagrams[segment] += 1;
        for relay in (0..relays.len()).filter(|relay| Some(*relay) != by) {
            arrivals.push(now + dice.between(20, 3_000), Some((relay, segment, by, home)));
        }
    }
    Result { datagrams, storm: copies >= STORM }
}

fn forwards(
    policy: Policy,
    memory: &mut Memory,
    now: u64,
    segment: usize,
    by: Option<usize>,
    home: usize,
) -> bool {
    let is_recent = |time: &u64| now - time < MEMORY;
    match policy {
        Policy::OwnSource => true,
        Policy::OneWay => segment == 0,
        Policy::OnLink => home == segment,
        Policy::KnowsOthers => by.is_none(),
        Policy::Credits => {
            let credits = &mut memory.credits[segment];
            credits.retain(is_recent);
            if !credits.is_empty() {
                credits.remove(0);
                return false;
            }
            memory.credits[1 - segment].push(now);
            true
        }
        Policy::SeenSet => {
            memory.seen.retain(is_recent);
            let is_new = memory.seen.is_empty();
            memory.seen.extend(is_new.then_some(now));
            is_new
        }
    }
}
