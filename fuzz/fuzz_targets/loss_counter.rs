//! Any numbers, at any width: the counts of a loss counter add up.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_measure::{LossCounter, SequenceOrder};

fuzz_target!(|input: (Option<u32>, Vec<(u64, u8)>)| {
    let (bits, numbers) = input;
    let mut counter = bits.map_or(LossCounter::of_session(), LossCounter::new);
    let (mut recorded, mut skipped) = (0u64, 0u64);
    // Each call may also move the start of the stream back, even one that only announces the next number.
    let moved = 16_384 * numbers.len() as u64;
    for (number, length) in numbers {
        recorded += u64::from(length);
        if let SequenceOrder::Gap { missing } = counter.record_range(number, u64::from(length)) {
            skipped += missing;
        }
    }
    let counts = counter.counts();
    assert_eq!(counts.received + counts.duplicates + counts.strays, recorded);
    assert!(counts.missing <= skipped + moved);
    assert!(counts.reordered <= counts.received);
});
