//! Handshakes: names, cookies, keys, and two relays with one tunnel.

use std::net::SocketAddr;
use std::time::Duration;

use mcast_pace::ClockTime;
use mcast_stream_proto::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream_proto::wire::KeyEpoch;
use mcast_tunnel::{
    DownReason, DropReason, EndpointConfig, EndpointRole, LinkId, RefusedBy, TunnelEndpoint, TunnelEvent,
};

pub(crate) const HUB: ([u8; 4], u16) = ([203, 0, 113, 1], 5700);
pub(crate) const SITE: ([u8; 4], u16) = ([198, 51, 100, 7], 40_000);
const OTHER_SITE: ([u8; 4], u16) = ([198, 51, 100, 8], 40_000);

pub(crate) fn keys(epochs: &[u16]) -> Keys {
    let mut keys = Keys::none();
    for epoch in epochs {
        keys.add(KeyEpoch(*epoch), GroupSecret::new(&[*epoch as u8; 32], Algorithm::default()));
    }
    keys
}

pub(crate) fn endpoint(role: EndpointRole, relay: u64, keys: Keys) -> TunnelEndpoint {
    let mut next = relay << 32;
    let random = Box::new(move || {
        next += 1;
        next
    });
    let mut endpoint = TunnelEndpoint::new(EndpointConfig { keys, relay, random, role });
    endpoint.set_names(&["paris".to_owned()].into());
    endpoint.set_address(ClockTime::START, HUB.into());
    endpoint
}

fn dialer(name: &str, relay: u64, keys: Keys) -> TunnelEndpoint {
    endpoint(EndpointRole::Dialer(name.into()), relay, keys)
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
        let mut is_quiet = true;
        while let Some(transmit) = site.poll_transmit() {
            let mut bytes = transmit.bytes;
            hub.handle_datagram(now, from, &mut bytes);
            is_quiet = false;
        }
        while let Some(transmit) = hub.poll_transmit() {
            let mut bytes = transmit.bytes;
            if transmit.to == from {
                site.handle_datagram(now, HUB.into(), &mut bytes);
            }
            is_quiet = false;
        }
        if is_quiet {
            return;
        }
    }
}

fn events(endpoint: &mut TunnelEndpoint) -> Vec<TunnelEvent> {
    std::iter::from_fn(|| endpoint.poll_event()).collect()
}

fn is_up(endpoint: &TunnelEndpoint) -> bool {
    endpoint.links().next().is_some_and(|(_, status)| status.peer.is_some())
}

#[test]
fn a_tunnel_is_up_after_two_round_trips_at_both_ends() {
    let (mut site, mut hub) =
        (dialer("paris", 1, keys(&[1])), endpoint(EndpointRole::Listener, 2, keys(&[1])));
    exchange(ClockTime::START, &mut site, SITE.into(), &mut hub);
    let up =
        |relay, address: ([u8; 4], u16)| TunnelEvent::Up { link: LinkId(0), relay, address: address.into() };
    assert_eq!((events(&mut site), events(&mut hub)), (vec![up(2, HUB)], vec![up(1, SITE)]));
}

#[test]
fn a_listener_answers_only_members_and_keeps_nothing_before_the_cookie() {
    let (mut site, mut hub) =
        (dialer("paris", 1, keys(&[1])), endpoint(EndpointRole::Listener, 2, keys(&[2])));
    site.handle_timeout(ClockTime::START);
    let hello = site.poll_transmit().unwrap().bytes;
    hub.handle_datagram(ClockTime::START, SITE.into(), &mut hello.clone());
    assert_eq!(hub.poll_transmit(), None, "not sealed with its key");
    assert_eq!(hub.dropped().collect::<Vec<_>>(), [(DropReason::Unsealed, 1)]);

    hub.set_keys(ClockTime::START, keys(&[1]));
    hub.handle_datagram(ClockTime::START, SITE.into(), &mut hello.clone());
    let cookie = hub.poll_transmit().unwrap().bytes;
    assert!(cookie.len() < hello.len());
    site.handle_datagram(ClockTime::START, HUB.into(), &mut cookie.clone());
    let mut second = site.poll_transmit().unwrap().bytes;
    hub.handle_datagram(ClockTime::START, OTHER_SITE.into(), &mut second.clone());
    let answer = hub.poll_transmit().unwrap().bytes;
    assert_eq!(answer.len(), cookie.len(), "the cookie of another address proves nothing");
    let later = ClockTime::START + Duration::from_secs(121);
    hub.handle_datagram(later, SITE.into(), &mut second.clone());
    assert_eq!(hub.poll_transmit().unwrap().bytes.len(), cookie.len(), "an old cookie proves nothing");
    hub.handle_datagram(ClockTime::START, SITE.into(), &mut second);
    assert!(hub.poll_transmit().unwrap().bytes.len() > cookie.len());
    assert!(!is_up(&hub), "the dialer has not confirmed it");
}

#[test]
fn a_name_that_no_rule_has_is_refused_at_both_ends() {
    let (mut site, mut hub) =
        (dialer("rome", 1, keys(&[1])), endpoint(EndpointRole::Listener, 2, keys(&[1])));
    exchange(ClockTime::START, &mut site, SITE.into(), &mut hub);
    let refused = TunnelEvent::Refused { link: LinkId(0), reason: RefusedBy::UnknownName };
    assert_eq!(events(&mut site), [refused]);
    let unknown = TunnelEvent::UnknownName { name: "rome".into(), address: SITE.into() };
    assert_eq!(events(&mut hub), [unknown]);
}

#[test]
fn a_second_relay_gets_a_tunnel_only_when_the_first_is_gone() {
    let (mut one, mut hub) =
        (dialer("paris", 1, keys(&[1])), endpoint(EndpointRole::Listener, 2, keys(&[1])));
    let mut other = dialer("paris", 3, keys(&[1]));
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
fn a_removed_secret_ends_the_tunnel_and_a_new_one_replaces_the_keys() {
    let (mut site, mut hub) =
        (dialer("paris", 1, keys(&[1])), endpoint(EndpointRole::Listener, 2, keys(&[1])));
    exchange(ClockTime::START, &mut site, SITE.into(), &mut hub);
    events(&mut site);
    let now = ClockTime::START + Duration::from_secs(1);
    hub.set_keys(now, keys(&[1, 2]));
    site.set_keys(now, keys(&[1, 2]));
    exchange(now, &mut site, SITE.into(), &mut hub);
    hub.set_keys(now, keys(&[2]));
    site.set_keys(now, keys(&[2]));
    assert!(is_up(&site) && is_up(&hub), "both use the new secret already");
    assert!(events(&mut site).is_empty(), "without interruption");
    hub.set_keys(now, keys(&[3]));
    let down = TunnelEvent::Down { link: LinkId(0), reason: DownReason::KeyRemoved };
    assert_eq!(events(&mut hub).last(), Some(&down));
}

#[test]
fn a_recorded_handshake_does_not_take_a_tunnel() {
    let (mut site, mut hub) =
        (dialer("paris", 1, keys(&[1])), endpoint(EndpointRole::Listener, 2, keys(&[1])));
    let mut recorded = Vec::new();
    for _ in 0..3 {
        site.handle_timeout(ClockTime::START);
        while let Some(transmit) = site.poll_transmit() {
            recorded.push(transmit.bytes.clone());
            hub.handle_datagram(ClockTime::START, SITE.into(), &mut transmit.bytes.clone());
        }
        while let Some(transmit) = hub.poll_transmit() {
            site.handle_datagram(ClockTime::START, HUB.into(), &mut transmit.bytes.clone());
        }
    }
    exchange(ClockTime::START, &mut site, SITE.into(), &mut hub);
    events(&mut hub);
    for datagram in &recorded {
        for from in [SITE, OTHER_SITE] {
            hub.handle_datagram(
                ClockTime::START + Duration::from_secs(1),
                from.into(),
                &mut datagram.clone(),
            );
        }
    }
    assert_eq!(events(&mut hub), []);
    assert_eq!(hub.links().next().unwrap().1.peer, Some((1, SITE.into())));
    let now = ClockTime::START + Duration::from_secs(2);
    exchange(now, &mut site, SITE.into(), &mut hub);
    assert!(site.links().next().unwrap().1.counts.received_bytes > 0 && is_up(&hub));
}
