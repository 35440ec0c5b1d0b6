//! A relay with anything on its legs: it never panics, sends only what its rules name, and keeps its bounds.

#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcast_pace::ClockTime;
use mcast_packet::gmp::IgmpMessage;
use mcast_relay::{LegArrival, LegId, PathId, Relay, RelayConfig, RelayOutput, RelayPath};

const RULES: &str = "mdns between s0 and s1 deny ipp\nssdp between s0 and s1\n\
    239.1.2.0/24:5000 from s0 to s1,udp://10.9.0.5:5000\n239.7.0.1:5000 from s1 to s2 as [ff15::1]:5001 always\n";
const DESTINATIONS: [(IpAddr, u16); 4] = [
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), 5353),
    (IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)), 1900),
    (IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3)), 5000),
    (IpAddr::V4(Ipv4Addr::new(239, 7, 0, 1)), 5000),
];
const MAX_PATHS: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let rules = mcast_relay::parse_rules(RULES).unwrap_or_default();
    let config = RelayConfig { max_paths: MAX_PATHS, ..RelayConfig::new(rules, 1) };
    let Ok(mut relay) = Relay::new(config) else { return };
    let (mut now, mut paths, mut rest) = (ClockTime::START, BTreeSet::new(), bytes);
    for leg in 0..3 {
        relay.handle_leg_up(now, LegId(leg), &[IpAddr::from([10, 0, leg, 200])]);
    }
    relay.handle_timeout(ClockTime::START + Duration::from_secs(2));
    // Per step: what happens, the leg, the time in units of 10 ms, the source, the hop limit or choice, a length.
    while let Some(([step, leg, time, source, choice, length], after)) = rest.split_first_chunk::<6>() {
        let (payload, after) = after.split_at(usize::from(*length).min(after.len()));
        now = now + Duration::from_millis(u64::from(*time) * 10);
        let leg_id = LegId(leg % 4);
        let from = SocketAddr::from(([10, 0, leg % 3, *source], if choice % 2 == 0 { 5353 } else { 61_450 }));
        match step % 7 {
            0..=2 => {
                let destination = SocketAddr::from(DESTINATIONS[usize::from(choice / 2 % 4)]);
                let (hop_limit, mac) = (choice % 9, None);
                let arrival = LegArrival {
                    leg: leg_id,
                    source: from,
                    destination,
                    hop_limit,
                    mac,
                    trail: RelayPath::default(),
                    payload,
                };
                // Most are datagrams, others coalesced buffers.
                match NonZeroUsize::new(usize::from(step / 7 % 8)) {
                    None => relay.handle_datagram(now, &arrival),
                    Some(segment) => {
                        let count = relay.handle_coalesced(now, &arrival, segment);
                        assert!(count <= payload.len().div_ceil(segment.get()));
                        take(&mut relay, &mut paths);
                        let rest = &payload[payload.len().min(count * segment.get())..];
                        for payload in rest.chunks(segment.get()) {
                            relay.handle_datagram(now, &LegArrival { payload, ..arrival });
                            take(&mut relay, &mut paths);
                        }
                    }
                }
            }
            3 => relay.handle_reply(now, PathId(u32::from(*choice)), from),
            4 => {
                let _ = relay.handle_announcement(now, leg_id, payload);
            }
            5 => {
                if let Ok(message) = IgmpMessage::parse(payload) {
                    relay.handle_membership(now, leg_id, from.ip(), &message);
                }
            }
            _ if choice % 2 == 0 => relay.handle_leg_down(now, leg_id),
            _ => relay.handle_leg_up(now, leg_id, &[IpAddr::from([10, 0, leg % 3, *source])]),
        }
        take(&mut relay, &mut paths);
        if relay.poll_timeout().is_some_and(|deadline| deadline <= now) {
            relay.handle_timeout(now);
            take(&mut relay, &mut paths);
            assert!(relay.poll_timeout().is_none_or(|deadline| deadline > now), "what is due has been done");
        }
        rest = after;
    }
});

fn take(relay: &mut Relay, paths: &mut BTreeSet<PathId>) {
    while let Some(output) = relay.poll_output() {
        match output {
            RelayOutput::OpenPath { path, .. } => assert!(paths.insert(path) && paths.len() <= MAX_PATHS),
            RelayOutput::ClosePath(path) => assert!(paths.remove(&path)),
            RelayOutput::Send { path, .. } => assert!(paths.contains(&path)),
            _ => {}
        }
    }
}
