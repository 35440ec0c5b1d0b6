//! Any numbers, at any width: the counts of a tracker add up.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_packet::sequence::{Observation, SequenceTracker};

fuzz_target!(|input: (u32, Vec<(u64, u8)>)| {
    let (bits, numbers) = input;
    let mut tracker = SequenceTracker::new(bits);
    let (mut received, mut skipped, mut strays) = (0u64, 0u64, 0);
    for (number, length) in numbers {
        received += u64::from(length);
        match tracker.observe_run(number, u64::from(length)) {
            Observation::Gap { missing } => skipped += missing,
            Observation::Stray => strays += 1,
            _ => {}
        }
    }
    let counts = tracker.counts();
    assert_eq!(counts.received, received);
    assert!(counts.missing + counts.reordered <= skipped);
    assert_eq!(counts.strays + counts.restarts, strays);
    assert!(counts.duplicates + counts.reordered <= received);
});
