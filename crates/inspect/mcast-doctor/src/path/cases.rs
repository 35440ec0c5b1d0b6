//! The sizes and hop limits that a test probes.

use std::iter;

use mcast::{Family, Interface};
use mcast_measure::ProbeCase;

/// The smallest probe, with which hop limits are tested.
const SMALLEST: usize = 64;
/// Sizes that every network should carry.
const SMALL: [usize; 2] = [512, 1_200];
/// Sizes of a few fragments, and of many.
const LARGE: [usize; 2] = [4_000, 16_000];
/// Used if the MTU is unknown.
const DEFAULT_MTU: u32 = 1_500;

/// Returns the largest payload that fits in one frame of this interface.
pub(super) fn payload_of_frame(interface: Option<&Interface>, family: Family) -> usize {
    let headers = match family {
        Family::V4 => 20 + 8,
        Family::V6 => 40 + 8,
    };
    let mtu = interface.map_or(DEFAULT_MTU, |interface| interface.mtu);
    usize::try_from(mtu).unwrap_or(usize::MAX).saturating_sub(headers).clamp(SMALLEST, 65_000)
}

/// Returns every size with the highest hop limit, and the smallest size with lower hop limits, each twice the
/// one before.
pub(super) fn cases(frame: usize, highest: u8) -> Vec<ProbeCase> {
    let mut sizes = vec![SMALLEST];
    sizes.extend(SMALL.into_iter().filter(|size| *size < frame));
    sizes.extend([frame, frame + 1]);
    sizes.extend(LARGE.into_iter().filter(|size| *size > frame + 1));
    sizes.dedup();
    let by_size = sizes.into_iter().map(|size| ProbeCase { size, hop_limit: highest });
    let doubling = iter::successors(Some(1_u8), |hops| hops.checked_mul(2));
    let lower = doubling.take_while(|hops| *hops < highest);
    by_size.chain(lower.map(|hop_limit| ProbeCase { size: SMALLEST, hop_limit })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_around_one_frame() {
        let sizes = |frame| cases(frame, 1).iter().map(|case| case.size).collect::<Vec<_>>();
        assert_eq!(sizes(1_472), [64, 512, 1_200, 1_472, 1_473, 4_000, 16_000]);
        assert_eq!(sizes(8_972), [64, 512, 1_200, 8_972, 8_973, 16_000]);
        assert_eq!(sizes(64), [64, 65, 4_000, 16_000]);
    }

    #[test]
    fn hop_limits_double_up_to_the_highest() {
        let lower: Vec<_> =
            cases(1_472, 10).iter().map(|case| case.hop_limit).filter(|hops| *hops < 10).collect();
        assert_eq!(lower, [1, 2, 4, 8]);
        assert!(cases(1_472, 255).iter().any(|case| case.hop_limit == 128));
        assert!(cases(1_472, 1).iter().all(|case| case.hop_limit == 1));
    }

    #[test]
    fn a_frame_has_headers_of_its_family() {
        assert_eq!(payload_of_frame(None, Family::V4), 1_472);
        assert_eq!(payload_of_frame(None, Family::V6), 1_452);
    }
}
