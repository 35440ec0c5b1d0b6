//! Handshakes: names, keys, addresses that are not proven, and two relays with one tunnel.

use std::net::SocketAddr;
use std::time::Duration;

use mcast_pace::ClockTime;
use mcast_tunnel::{
    DownReason, DropReason, EndpointConfig, EndpointRole, LinkId, RefusedBy, TunnelEndpoint, TunnelEvent,
    TunnelKey, TunnelKeys, TunnelTransmit,
};

pub(crate) const HUB: ([u8; 4], u16) = ([203, 0, 113, 1], 5700);
pub(crate) const SITE: ([u8; 4], u16) = ([198, 51, 100, 7], 40_000);
const OTHER_SITE: ([u8; 4], u16) = ([198, 51, 100, 8], 40_000);
/// The seeds of their keys.
const OF_HUB: u8 = 100;
const OF_SITE: u8 = 1;

pub(crate) fn key(seed: u8) -> TunnelKey {
    TunnelKey::from_seed([seed; 32]).unwrap()
}

/// Returns the keys of an end whose only peer for all tunnels has another key.
pub(crate) fn keys(own: u8, peer: u8) -> TunnelKeys {
    let peer = key(peer).public();
    TunnelKeys::new(key(own)).with_peer("paris", peer).with_peer("rome", peer)
}

pub(crate) fn endpoint(role: EndpointRole, relay: u64, keys: TunnelKeys) -> TunnelEndpoint {
    let mut next = relay << 32;
    let random = Box::new(move || {
        next += 1;
        next
    });
    let mut endpoint = TunnelEndpoint::new(EndpointConfig { keys, relay, random, role });
    endpoint.set_names(ClockTime::START, &["paris".to_owned()].into());
    endpoint.set_address(ClockTime::START, HUB.into());
    endpoint
}

pub(crate) fn site(name: &str, relay: u64) -> TunnelEndpoint {
    endpoint(EndpointRole::Dialer(name.into()), relay, keys(OF_SITE, OF_HUB))
}

pub(crate) fn hub() -> TunnelEndpoint {
    endpoint(EndpointRole::Listener, 2, keys(OF_HUB, OF_SITE))
}

/// Returns the datagrams that an end wants to send, with their destinations.
pub(crate) fn datagrams(now: ClockTime, endpoint: &mut TunnelEndpoint) -> Vec<(SocketAddr, Vec<u8>)> {
    let (mut all, mut buffer) = (Vec::new(), Vec::new());
    while let Some(transmit) = endpoint.poll_transmit(now, &mut buffer) {
        all.extend(buffer.chunks(transmit.segment).map(|bytes| (transmit.to, bytes.to_vec())));
    }
    all
}

/// Lets both ends talk until they have nothing more to say.
pub(crate) fn exchange(
    now: ClockTime,
    site: &mut TunnelEndpoint,
    from: SocketAddr,
    hub: &mut TunnelEndpoint,
) {
    for endpoint in [&mut *site, &mut *hub] {
        if endpoint.poll_timeout().is_some_and(|deadline| deadline <= now) {
            endpoint.handle_timeout(now);
        }
    }
    loop {
        let (of_site, of_hub) = (datagrams(now, site), datagrams(now, hub));
        if of_site.is_empty() && of_hub.is_empty() {
            return;
        }
        of_site.iter().for_each(|(_, bytes)| hub.handle_datagram(now, from, bytes));
        for (_, bytes) in of_hub.iter().filter(|(to, _)| *to == from) {
            site.handle_datagram(now, HUB.into(), bytes);
        }
    }
}

fn events(endpoint: &mut TunnelEndpoint) -> Vec<TunnelEvent> {
    std::iter::from_fn(|| endpoint.poll_event()).collect()
}

fn is_up(endpoint: &TunnelEndpoint) -> bool {
    endpoint.links().next().is_some_and(|(_, status)| status.peer.is_some())
}

/// Runs both ends for this time.
fn run(now: &mut ClockTime, time: Duration, site: &mut TunnelEndpoint, hub: &mut TunnelEndpoint) {
    let end = *now + time;
    while *now < end {
        *now = *now + Duration::from_millis(50);
        exchange(*now, site, SITE.into(), hub);
    }
}

#[test]
fn a_tunnel_is_up_at_both_ends_without_time_passing() {
    let (mut site, mut hub) = (site("paris", 1), hub());
    exchange(ClockTime::START, &mut site, SITE.into(), &mut hub);
    let up =
        |relay, address: ([u8; 4], u16)| TunnelEvent::Up { link: LinkId(0), relay, address: address.into() };
    assert_eq!((events(&mut site), events(&mut hub)), (vec![up(2, HUB)], vec![up(1, SITE)]));
}

#[test]
fn an_address_that_is_not_proven_gets_less_than_it_has_sent_and_nothing_is_kept_of_it() {
    let (mut site, mut hub) = (site("paris", 1), hub());
    let now = ClockTime::START;
    site.handle_timeout(now);
    let first = datagrams(now, &mut site).remove(0).1;
    for number in 0..=255 {
        hub.handle_datagram(now, ([192, 0, 2, number], 9).into(), &first);
        let answers = datagrams(now, &mut hub);
        assert!(answers.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < first.len() / 4);
        assert_eq!(hub.poll_timeout(), None, "nothing is kept");
    }
    hub.handle_datagram(now, SITE.into(), &first);
    let token = datagrams(now, &mut hub).remove(0).1;
    site.handle_datagram(now, HUB.into(), &token);
    let second = datagrams(now, &mut site).remove(0).1;
    hub.handle_datagram(now, OTHER_SITE.into(), &second);
    let answers = datagrams(now, &mut hub);
    assert!(
        answers.iter().all(|(_, bytes)| bytes.len() < 100),
        "the token of another address proves nothing"
    );
    hub.handle_datagram(now, SITE.into(), &second);
    assert!(datagrams(now, &mut hub).iter().any(|(_, bytes)| bytes.len() >= 1_200));
    assert!(!is_up(&hub), "the dialer has not proven its key");
}

#[test]
fn handshakes_that_are_not_finished_have_bounds_and_do_not_keep_a_peer_out() {
    let (mut hub, now) = (hub(), ClockTime::START);
    let proven = |hub: &mut TunnelEndpoint, relay: u64, from: SocketAddr| {
        let mut stranger = endpoint(EndpointRole::Dialer("paris".into()), relay, keys(OF_SITE, OF_HUB));
        stranger.handle_timeout(now);
        for _ in 0..2 {
            for (_, bytes) in datagrams(now, &mut stranger) {
                hub.handle_datagram(now, from, &bytes);
            }
            for (_, bytes) in datagrams(now, hub) {
                stranger.handle_datagram(now, HUB.into(), &bytes);
            }
        }
    };
    // Each has proven its address, and does not continue.
    for relay in 0..10 {
        proven(&mut hub, 10 + relay, SITE.into());
    }
    assert_eq!(hub.dropped().collect::<Vec<_>>(), [(DropReason::Busy, 6)], "four of one host");
    for host in 0..100_u8 {
        proven(&mut hub, 100 + u64::from(host), ([192, 0, 2, host], 9).into());
    }
    assert_eq!(hub.dropped().collect::<Vec<_>>(), [(DropReason::Busy, 6 + 40)], "64 in all");
    let mut site = site("paris", 1);
    exchange(now, &mut site, SITE.into(), &mut hub);
    assert!(is_up(&site) && is_up(&hub));
}

#[test]
fn only_peers_get_a_tunnel_and_both_ends_report_another_key() {
    let stranger = || endpoint(EndpointRole::Dialer("paris".into()), 1, keys(9, OF_HUB));
    let (mut site, mut hub) = (stranger(), hub());
    exchange(ClockTime::START, &mut site, SITE.into(), &mut hub);
    assert_eq!(events(&mut site), [TunnelEvent::Refused { link: LinkId(0), reason: RefusedBy::UnknownKey }]);
    assert_eq!(events(&mut hub), [TunnelEvent::WrongKey { address: SITE.into() }]);
    assert_eq!(hub.dropped().collect::<Vec<_>>(), [(DropReason::WrongKey, 1)]);

    let mut deceived = endpoint(EndpointRole::Dialer("paris".into()), 1, keys(OF_SITE, 9));
    exchange(ClockTime::START, &mut deceived, SITE.into(), &mut hub);
    assert_eq!(events(&mut deceived), [TunnelEvent::WrongKey { address: HUB.into() }], "that is another hub");
    assert!(!is_up(&hub));
}

#[test]
fn a_name_that_no_rule_has_or_that_the_key_is_not_for_is_refused_at_both_ends() {
    let hub_of = |names: &[&str], peer: &str| {
        let keys = TunnelKeys::new(key(OF_HUB)).with_peer(peer, key(OF_SITE).public());
        let mut hub = endpoint(EndpointRole::Listener, 2, keys);
        hub.set_names(ClockTime::START, &names.iter().map(ToString::to_string).collect());
        hub
    };
    for mut hub in [hub_of(&["paris"], "rome"), hub_of(&["paris", "rome"], "paris")] {
        let mut site = site("rome", 1);
        exchange(ClockTime::START, &mut site, SITE.into(), &mut hub);
        let refused = TunnelEvent::Refused { link: LinkId(0), reason: RefusedBy::UnknownName };
        assert_eq!(events(&mut site), [refused]);
        let unknown = TunnelEvent::UnknownName { name: "rome".into(), address: SITE.into() };
        assert_eq!(events(&mut hub), [unknown]);
    }
}

#[test]
fn a_second_relay_gets_a_tunnel_only_when_the_first_is_gone() {
    let (mut one, mut hub, mut other) = (site("paris", 1), hub(), site("paris", 3));
    exchange(ClockTime::START, &mut one, SITE.into(), &mut hub);
    let mut now = ClockTime::START;
    let step = |now: &mut ClockTime,
                seconds: u64,
                one: Option<&mut TunnelEndpoint>,
                other: &mut TunnelEndpoint,
                hub: &mut TunnelEndpoint| {
        let (end, mut one) = (*now + Duration::from_secs(seconds), one);
        while *now < end {
            *now = *now + Duration::from_millis(50);
            if let Some(one) = one.as_deref_mut() {
                exchange(*now, one, SITE.into(), hub);
            }
            exchange(*now, other, OTHER_SITE.into(), hub);
        }
    };
    step(&mut now, 20, Some(&mut one), &mut other, &mut hub);
    assert!(is_up(&one) && !is_up(&other));
    assert_eq!(events(&mut other), [TunnelEvent::Refused { link: LinkId(0), reason: RefusedBy::InUse }]);
    step(&mut now, 6, None, &mut other, &mut hub);
    assert!(is_up(&other), "the first one is gone");
    assert_eq!(hub.links().next().unwrap().1.peer, Some((3, OTHER_SITE.into())));
}

#[test]
fn a_removed_key_ends_the_tunnel_and_an_added_one_changes_nothing() {
    let (mut site, mut hub) = (site("paris", 1), hub());
    exchange(ClockTime::START, &mut site, SITE.into(), &mut hub);
    events(&mut site);
    events(&mut hub);
    let now = ClockTime::START + Duration::from_secs(1);
    hub.set_keys(now, keys(OF_HUB, OF_SITE).with_peer("paris", key(9).public()));
    exchange(now, &mut site, SITE.into(), &mut hub);
    assert!(is_up(&site) && is_up(&hub) && events(&mut hub).is_empty(), "without interruption");
    hub.set_keys(now, keys(OF_HUB, 9));
    exchange(now, &mut site, SITE.into(), &mut hub);
    let down = |reason| TunnelEvent::Down { link: LinkId(0), reason };
    assert_eq!(events(&mut hub), [down(DownReason::KeyRemoved)]);
    assert_eq!(events(&mut site), [down(DownReason::Goodbye)]);
    let mut later = now;
    run(&mut later, Duration::from_secs(3), &mut site, &mut hub);
    assert_eq!(events(&mut site), [TunnelEvent::Refused { link: LinkId(0), reason: RefusedBy::UnknownKey }]);
    hub.set_keys(later, keys(OF_HUB, OF_SITE));
    run(&mut later, Duration::from_secs(4), &mut site, &mut hub);
    assert!(is_up(&site) && is_up(&hub));
}

#[test]
fn a_listener_that_starts_again_is_dialed_as_soon_as_it_answers() {
    let (mut site, mut before) = (site("paris", 1), hub());
    exchange(ClockTime::START, &mut site, SITE.into(), &mut before);
    events(&mut site);
    let mut again = hub();
    let mut now = ClockTime::START;
    run(&mut now, Duration::from_millis(1_300), &mut site, &mut again);
    let down = TunnelEvent::Down { link: LinkId(0), reason: DownReason::Restarted };
    assert_eq!(events(&mut site)[0], down, "by a reset that only the private key could have made");
    assert!(is_up(&site) && is_up(&again));
}

#[test]
fn a_recorded_handshake_does_not_take_a_tunnel() {
    let (mut site, mut hub) = (site("paris", 1), hub());
    let (mut recorded, now) = (Vec::new(), ClockTime::START);
    site.handle_timeout(now);
    for _ in 0..6 {
        for (_, bytes) in datagrams(now, &mut site) {
            hub.handle_datagram(now, SITE.into(), &bytes);
            recorded.push(bytes);
        }
        for (_, bytes) in datagrams(now, &mut hub) {
            site.handle_datagram(now, HUB.into(), &bytes);
        }
    }
    assert!(is_up(&site) && is_up(&hub));
    events(&mut hub);
    for bytes in &recorded {
        for from in [SITE, OTHER_SITE] {
            hub.handle_datagram(now + Duration::from_secs(1), from.into(), bytes);
        }
    }
    assert_eq!(events(&mut hub), []);
    assert_eq!(hub.links().next().unwrap().1.peer, Some((1, SITE.into())));
    let mut later = now + Duration::from_secs(1);
    run(&mut later, Duration::from_secs(2), &mut site, &mut hub);
    assert!(is_up(&site) && is_up(&hub) && events(&mut hub).is_empty());
}

#[test]
fn keys_are_forgotten_so_that_a_private_key_opens_no_recording() {
    // With the same keys, relays and random numbers, two connections have nothing in common but their shape.
    let record = || {
        let (mut site, mut hub) = (site("paris", 1), hub());
        let (mut recorded, now) = (Vec::new(), ClockTime::START);
        site.handle_timeout(now);
        for _ in 0..6 {
            for (_, bytes) in datagrams(now, &mut site) {
                hub.handle_datagram(now, SITE.into(), &bytes);
                recorded.push(bytes);
            }
            for (_, bytes) in datagrams(now, &mut hub) {
                site.handle_datagram(now, HUB.into(), &bytes);
            }
        }
        assert!(is_up(&hub));
        recorded
    };
    let (one, other) = (record(), record());
    assert!(
        one.iter().all(|bytes| !other.contains(bytes)),
        "each has keys of its own, which are not those of the file"
    );
}

#[test]
fn what_the_queue_has_no_room_for_is_counted_and_reported() {
    let (mut site, mut hub) = (site("paris", 1), hub());
    let now = ClockTime::START;
    exchange(now, &mut site, SITE.into(), &mut hub);
    events(&mut site);
    events(&mut hub);
    let datagram = crate::datagram(1_000);
    let sent = 10_000_u64;
    for _ in 0..sent {
        assert!(site.send(now, LinkId(0), &datagram, None));
    }
    let counts = site.links().next().unwrap().1.counts;
    assert!(counts.overflow > 1_000 && counts.sent + counts.overflow == sent, "{counts:?}");
    site.handle_timeout(now);
    assert_eq!(events(&mut site), [TunnelEvent::Overflow { link: LinkId(0), count: counts.overflow }]);
    let mut later = now;
    run(&mut later, Duration::from_secs(2), &mut site, &mut hub);
    let received =
        events(&mut hub).iter().filter(|event| matches!(event, TunnelEvent::Datagram { .. })).count();
    assert_eq!(received as u64, counts.sent, "all others arrive");
}

/// Loses the answer by which the tunnel is up for the site, and everything that the site sends, while the hub sends
/// datagrams of this length. Returns those that the site has once the answer was repeated.
fn overtaking(length: usize, count: usize) -> usize {
    let (mut site, mut hub, mut now) = (site("paris", 1), hub(), ClockTime::START);
    site.handle_timeout(now);
    while !is_up(&hub) {
        for (_, bytes) in datagrams(now, &mut site) {
            hub.handle_datagram(now, SITE.into(), &bytes);
        }
        if !is_up(&hub) {
            for (_, bytes) in datagrams(now, &mut hub) {
                site.handle_datagram(now, HUB.into(), &bytes);
            }
        }
    }
    assert!(!datagrams(now, &mut hub).is_empty(), "the answer, which is lost");
    for _ in 0..count {
        assert!(hub.send(now, LinkId(0), &crate::datagram(length), None));
    }
    for (_, bytes) in datagrams(now, &mut hub) {
        site.handle_datagram(now, HUB.into(), &bytes);
    }
    assert!(!is_up(&site));
    run(&mut now, Duration::from_secs(2), &mut site, &mut hub);
    assert!(is_up(&site));
    events(&mut site).iter().filter(|event| matches!(event, TunnelEvent::Datagram { .. })).count()
}

#[test]
fn datagrams_that_overtake_the_answer_are_delivered_and_have_a_bound() {
    assert_eq!(overtaking(200, 9), 9);
    let kept = overtaking(1, 8_000);
    assert!((1_000..3_000).contains(&kept), "{kept} of one byte");
}

#[test]
fn of_datagrams_that_arrive_together_only_a_changed_one_is_dropped() {
    let (mut site, mut hub) = (site("paris", 1), hub());
    let now = ClockTime::START;
    exchange(now, &mut site, SITE.into(), &mut hub);
    events(&mut hub);
    for _ in 0..100 {
        assert!(site.send(now, LinkId(0), &crate::datagram(1_000), None));
    }
    let (mut buffer, mut is_changed) = (Vec::new(), false);
    while let Some(TunnelTransmit { segment, .. }) = site.poll_transmit(now, &mut buffer) {
        if !is_changed && buffer.len() > 10 * segment {
            buffer[3 * segment + 500] ^= 1;
            is_changed = true;
        }
        hub.handle_coalesced(now, SITE.into(), &buffer, segment);
    }
    assert!(is_changed, "several are sent at once");
    let is_datagram = |event: &TunnelEvent| matches!(event, TunnelEvent::Datagram { .. });
    assert_eq!(events(&mut hub).iter().filter(|event| is_datagram(event)).count(), 99);
    assert_eq!(hub.dropped().collect::<Vec<_>>(), [(DropReason::Unsealed, 1)]);
}

/// The library that implements QUIC takes a changed Retry for an authenticated one, and what follows from it does not lead
/// anywhere.
#[test]
fn a_changed_retry_delays_a_tunnel_by_one_handshake_only() {
    let (mut site, mut hub) = (site("paris", 1), hub());
    let (mut now, mut answers, mut unanswered) = (ClockTime::START, 0, 0);
    while hub.links().next().unwrap().1.peer.is_none() {
        assert!(now < ClockTime::START + Duration::from_millis(6_500), "{answers} answers");
        for end in [&mut site, &mut hub] {
            if end.poll_timeout().is_some_and(|at| at <= now) {
                end.handle_timeout(now);
            }
        }
        for (_, bytes) in datagrams(now, &mut site) {
            hub.handle_datagram(now, SITE.into(), &bytes);
        }
        for (_, mut bytes) in datagrams(now, &mut hub) {
            if answers == 0 {
                *bytes.last_mut().unwrap() ^= 1;
            }
            answers += 1;
            site.handle_datagram(now, HUB.into(), &bytes);
        }
        while let Some(event) = site.poll_event() {
            unanswered += usize::from(matches!(event, TunnelEvent::Unanswered { .. }));
        }
        now = now + Duration::from_millis(50);
    }
    assert_eq!(unanswered, 1);
}
