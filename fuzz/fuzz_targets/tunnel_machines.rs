//! Both ends of a tunnel with anything that a member may send: the seal of this target opens everything. They never panic,
//! keep their bounds, and do what is due.

#![no_main]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcast_pace::ClockTime;
use mcast_stream_proto::seal::{Cipher, Keys, Purpose, Secret};
use mcast_stream_proto::wire::KeyEpoch;
use mcast_tunnel::{EndpointConfig, EndpointRole, LinkId, RelayPath, TunnelDatagram, TunnelEndpoint};

struct Open;

impl Cipher for Open {
    fn seal(&self, _: u64, _: &[u8], _: &mut [u8]) -> Option<[u8; 16]> {
        Some([0; 16])
    }

    fn open(&self, _: u64, _: &[u8], _: &mut [u8]) -> bool {
        true
    }
}

impl Secret for Open {
    fn cipher(&self, _: &Purpose) -> Box<dyn Cipher> {
        Box::new(Self)
    }
}

fn endpoint(role: EndpointRole, relay: u64) -> TunnelEndpoint {
    let mut next = relay << 32;
    let random = Box::new(move || {
        next += 1;
        next
    });
    let keys = Keys::one(KeyEpoch(1), Arc::new(Open));
    let mut endpoint = TunnelEndpoint::new(EndpointConfig { keys, relay, random, role });
    endpoint.set_names(&["paris".to_owned()].into());
    endpoint
}

fuzz_target!(|bytes: &[u8]| {
    let (from, to) = (SocketAddr::from(([198, 51, 100, 7], 7)), SocketAddr::from(([203, 0, 113, 1], 7)));
    let mut site = endpoint(EndpointRole::Dialer("paris".into()), 1);
    let mut hub = endpoint(EndpointRole::Listener, 2);
    let mut now = ClockTime::START;
    site.set_address(now, to);
    site.handle_timeout(now);
    exchange(now, &mut site, from, &mut hub, to);
    let (mut counter, mut rest) = (1_000, bytes);
    // Per step: what happens, the time in units of 10 ms, the address, a length.
    while let Some(([step, time, address, length], after)) = rest.split_first_chunk::<4>() {
        let (content, after) = after.split_at(usize::from(*length).min(after.len()));
        now = now + Duration::from_millis(u64::from(*time) * 10);
        let elsewhere = SocketAddr::from(([192, 0, 2, *address], 9));
        let source = if address % 4 == 0 { elsewhere } else { from };
        match step % 4 {
            0 => hub.handle_datagram(now, source, &mut content.to_vec()),
            1 => {
                // A datagram of data in the session, whose nonce the hub has drawn.
                counter += 1;
                let mut datagram = b"MT\x10\x04".to_vec();
                datagram.extend(((2_u64 << 32) + 1).to_be_bytes());
                datagram.extend(u64::to_be_bytes(counter));
                datagram.extend(content);
                datagram.resize((datagram.len() + 16).max(48), 0);
                hub.handle_datagram(now, source, &mut datagram);
            }
            2 => {
                let datagram = TunnelDatagram {
                    trail: RelayPath::new(1, counter, &[1]).unwrap_or_default(),
                    path: 0,
                    to_path: None,
                    hop_limit: 1,
                    source: from,
                    destination: to,
                    payload: vec![0; usize::from(*length) * 20],
                };
                hub.send(now, LinkId(0), &datagram, (address % 2 == 0).then_some(Duration::from_millis(200)));
            }
            _ => exchange(now, &mut site, from, &mut hub, to),
        }
        for endpoint in [&mut site, &mut hub] {
            endpoint.handle_timeout(now);
            assert!(
                endpoint.poll_timeout().is_none_or(|deadline| deadline > now),
                "what is due has been done"
            );
        }
        while hub.poll_event().is_some() {}
        rest = after;
    }
});

/// Lets both ends talk, for a bounded number of rounds.
fn exchange(
    now: ClockTime,
    site: &mut TunnelEndpoint,
    from: SocketAddr,
    hub: &mut TunnelEndpoint,
    to: SocketAddr,
) {
    for _ in 0..4 {
        while let Some(transmit) = site.poll_transmit() {
            hub.handle_datagram(now, from, &mut transmit.bytes.clone());
        }
        while let Some(transmit) = hub.poll_transmit() {
            site.handle_datagram(now, to, &mut transmit.bytes.clone());
        }
    }
}
