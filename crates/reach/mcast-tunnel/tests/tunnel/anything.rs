//! Anything on the socket: no panic, and no answer to what is not sealed.

use std::time::Duration;

use mcast_pace::ClockTime;
use mcast_tunnel::EndpointRole;
use proptest::prelude::*;

use super::handshake::{HUB, SITE, endpoint, exchange, keys};

proptest! {
    #[test]
    fn what_is_not_sealed_is_dropped_and_not_answered(
        datagrams in prop::collection::vec((any::<bool>(), 0_u8..6, prop::collection::vec(any::<u8>(), 0..200)), 1..20),
    ) {
        let mut site = endpoint(EndpointRole::Dialer("paris".into()), 1, keys(&[1]));
        let mut hub = endpoint(EndpointRole::Listener, 2, keys(&[1]));
        exchange(ClockTime::START, &mut site, SITE.into(), &mut hub);
        while hub.poll_event().is_some() {}
        for (has_head, kind, bytes) in datagrams {
            let head: &[u8] = if has_head { &[b'M', b'T', 0x10, kind] } else { &[] };
            let mut datagram = [head, bytes.as_slice()].concat();
            if kind == 1 {
                datagram.resize(160, 0);
            }
            hub.handle_datagram(ClockTime::START, SITE.into(), &mut datagram);
            site.handle_datagram(ClockTime::START, HUB.into(), &mut datagram);
            prop_assert!(hub.poll_transmit().is_none() && site.poll_transmit().is_none());
        }
    }

    #[test]
    fn a_changed_datagram_changes_nothing(at: prop::sample::Index, bit in 0_u32..8, which in 0_usize..4) {
        let mut site = endpoint(EndpointRole::Dialer("paris".into()), 1, keys(&[1]));
        let mut hub = endpoint(EndpointRole::Listener, 2, keys(&[1]));
        // Hello, hello with a cookie, the first ping, and a later datagram.
        for number in 0..4 {
            site.handle_timeout(ClockTime::START + Duration::from_secs(number as u64));
            let bytes = site.poll_transmit().unwrap().bytes;
            if number == which {
                let mut changed = bytes.clone();
                changed[at.index(bytes.len())] ^= 1 << bit;
                let before = hub.links().next().unwrap().1;
                hub.handle_datagram(ClockTime::START, SITE.into(), &mut changed);
                prop_assert!(hub.poll_transmit().is_none());
                prop_assert_eq!(&hub.links().next().unwrap().1, &before);
            }
            hub.handle_datagram(ClockTime::START, SITE.into(), &mut bytes.clone());
            while let Some(transmit) = hub.poll_transmit() {
                site.handle_datagram(ClockTime::START, HUB.into(), &mut transmit.bytes.clone());
            }
        }
        exchange(ClockTime::START + Duration::from_secs(4), &mut site, SITE.into(), &mut hub);
        prop_assert!(hub.links().next().unwrap().1.peer.is_some());
    }
}
