//! Anything on the socket: no panic, and no answer that is longer than the question.

use std::time::Duration;

use mcast_pace::ClockTime;
use proptest::prelude::*;

use super::handshake::{HUB, SITE, datagrams, exchange, hub, site};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_a_stranger_sends_is_dropped_and_disturbs_nothing(
        strange in prop::collection::vec((any::<u8>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..1_400)), 1..20),
    ) {
        let (mut site, mut hub) = (site("paris", 1), hub());
        let now = ClockTime::START;
        exchange(now, &mut site, SITE.into(), &mut hub);
        while hub.poll_event().is_some() {}
        for (first, is_version_1, bytes) in strange {
            let version: &[u8] = if is_version_1 { &[0, 0, 0, 1] } else { &[] };
            let datagram = [&[first][..], version, &bytes].concat();
            for from in [SITE, ([192, 0, 2, 1], 9)] {
                hub.handle_datagram(now, from.into(), &datagram);
                let answer: usize = datagrams(now, &mut hub).iter().map(|(_, bytes)| bytes.len()).sum();
                prop_assert!(answer < datagram.len(), "{answer} for {}", datagram.len());
            }
            site.handle_datagram(now, HUB.into(), &datagram);
        }
        prop_assert_eq!(hub.poll_event(), None);
        exchange(now + Duration::from_secs(1), &mut site, SITE.into(), &mut hub);
        prop_assert!(hub.links().next().unwrap().1.peer.is_some());
    }

    #[test]
    fn a_changed_datagram_changes_nothing(at: prop::sample::Index, bit in 0_u32..8, which in 0_usize..12) {
        let (mut site, mut hub) = (site("paris", 1), hub());
        let (mut number, mut now) = (0, ClockTime::START);
        for _ in 0..40 {
            now = now + Duration::from_millis(500);
            if site.poll_timeout().is_some_and(|at| at <= now) {
                site.handle_timeout(now);
            }
            if hub.poll_timeout().is_some_and(|at| at <= now) {
                hub.handle_timeout(now);
            }
            for (_, bytes) in datagrams(now, &mut site) {
                let mut bytes = bytes;
                if number == which {
                    let at = at.index(bytes.len());
                    bytes[at] ^= 1 << bit;
                }
                number += 1;
                hub.handle_datagram(now, SITE.into(), &bytes);
            }
            for (_, bytes) in datagrams(now, &mut hub) {
                site.handle_datagram(now, HUB.into(), &bytes);
            }
        }
        prop_assert!(number > which);
        prop_assert_eq!(hub.links().next().unwrap().1.peer, Some((1, SITE.into())));
        prop_assert!(site.links().next().unwrap().1.peer.is_some());
    }
}
