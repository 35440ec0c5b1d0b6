//! Both ends of a tunnel with anything that the network may do to their datagrams, and anything that strangers send. They
//! never panic, keep their bounds, and do what is due.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcast_pace::ClockTime;
use mcast_tunnel::{
    EndpointConfig, EndpointRole, LinkId, RelayPath, TunnelDatagram, TunnelEndpoint, TunnelKey, TunnelKeys,
};

fn endpoint(role: EndpointRole, relay: u64) -> Option<TunnelEndpoint> {
    let mut next = relay << 32;
    let random = Box::new(move || {
        next += 1;
        next
    });
    let [own, peer] = [relay, 3 - relay].map(|seed| TunnelKey::from_seed([seed as u8; 32]));
    let keys = TunnelKeys::new(own.ok()?).with_peer("paris", peer.ok()?.public());
    let mut endpoint = TunnelEndpoint::new(EndpointConfig { keys, relay, random, role });
    endpoint.set_names(ClockTime::START, &["paris".to_owned()].into());
    Some(endpoint)
}

/// Returns the datagrams that an end wants to send.
fn datagrams(now: ClockTime, endpoint: &mut TunnelEndpoint) -> Vec<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), Vec::new());
    while let Some(transmit) = endpoint.poll_transmit(now, &mut buffer) {
        all.extend(buffer.chunks(transmit.segment).map(<[u8]>::to_vec));
    }
    all
}

fuzz_target!(|bytes: &[u8]| {
    let (from, to) = (SocketAddr::from(([198, 51, 100, 7], 7)), SocketAddr::from(([203, 0, 113, 1], 7)));
    let site = endpoint(EndpointRole::Dialer("paris".into()), 1);
    let (Some(mut site), Some(mut hub)) = (site, endpoint(EndpointRole::Listener, 2)) else { return };
    let mut now = ClockTime::START;
    site.set_address(now, to);
    site.handle_timeout(now);
    let mut recorded: Vec<Vec<u8>> = Vec::new();
    let mut rest = bytes;
    // Per step: what happens, the time in units of 10 ms, the address, a length.
    while let Some(([step, time, address, length], after)) = rest.split_first_chunk::<4>() {
        let (content, after) = after.split_at(usize::from(*length).min(after.len()));
        now = now + Duration::from_millis(u64::from(*time) * 10);
        let elsewhere = SocketAddr::from(([192, 0, 2, *address], 9));
        let source = if address % 4 == 0 { elsewhere } else { from };
        match step % 5 {
            0 => hub.handle_coalesced(now, source, content, usize::from(*address) + 1),
            1 => {
                // A recorded datagram, with changes.
                if let Some(datagram) = recorded.get(usize::from(*length)) {
                    let mut datagram = datagram.clone();
                    for (byte, change) in datagram.iter_mut().zip(content) {
                        *byte ^= change;
                    }
                    hub.handle_datagram(now, source, &datagram);
                }
            }
            2 => {
                let datagram = TunnelDatagram {
                    trail: RelayPath::new(1, u64::from(*time), &[1]).unwrap_or_default(),
                    path: 0,
                    to_path: None,
                    hop_limit: 1,
                    source: from,
                    destination: to,
                    payload: vec![0; usize::from(*length) * 20],
                };
                hub.send(now, LinkId(0), &datagram, (address % 2 == 0).then_some(Duration::from_millis(200)));
            }
            _ => {
                for _ in 0..4 {
                    for datagram in datagrams(now, &mut site) {
                        hub.handle_datagram(now, from, &datagram);
                        if recorded.len() < 256 {
                            recorded.push(datagram);
                        }
                    }
                    for datagram in datagrams(now, &mut hub) {
                        site.handle_datagram(now, to, &datagram);
                    }
                }
            }
        }
        for endpoint in [&mut site, &mut hub] {
            endpoint.handle_timeout(now);
            datagrams(now, endpoint);
            assert!(
                endpoint.poll_timeout().is_none_or(|deadline| deadline > now),
                "what is due has been done"
            );
        }
        while hub.poll_event().is_some() {}
        rest = after;
    }
});
