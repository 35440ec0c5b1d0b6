//! Golden datagrams: `docs/tunnel.md` shows them, and every later version must read them.

use std::time::Duration;

use mcast_pace::ClockTime;
use mcast_stream_proto::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream_proto::wire::KeyEpoch;
use mcast_tunnel::{EndpointRole, LinkId, RelayPath, TunnelDatagram, TunnelEndpoint, TunnelEvent};

use super::handshake::{HUB, SITE, endpoint};

fn keys() -> Keys {
    let secret = GroupSecret::new(&std::array::from_fn(|at| at as u8), Algorithm::Aes128Gcm);
    Keys::one(KeyEpoch(1), secret)
}

#[track_caller]
fn agree(written: &[&[u8]]) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let page: String = include_str!("../../../../../docs/tunnel.md").split_whitespace().collect();
    let missing: Vec<_> = written.iter().map(|bytes| hex(bytes)).filter(|hex| !page.contains(hex)).collect();
    assert!(missing.is_empty(), "docs/tunnel.md does not show {missing:#?}");
}

fn datagrams(endpoint: &mut TunnelEndpoint) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| endpoint.poll_transmit()).map(|transmit| transmit.bytes).collect()
}

#[test]
fn the_datagrams_of_a_handshake_and_a_copy() {
    let mut site = endpoint(EndpointRole::Dialer("paris".into()), 1, keys());
    let mut hub = endpoint(EndpointRole::Listener, 2, keys());
    let now = ClockTime::START;
    site.handle_timeout(now);
    let hello = datagrams(&mut site).remove(0);
    hub.handle_datagram(now, SITE.into(), &mut hello.clone());
    let cookie = datagrams(&mut hub).remove(0);
    // The cookie is a secret of the listener.
    assert_eq!(cookie[..20], [&[b'M', b'T', 0x10, 2][..], &hello[4..20]].concat());
    site.handle_datagram(now, HUB.into(), &mut cookie.clone());
    hub.handle_datagram(now, SITE.into(), &mut datagrams(&mut site).remove(0));
    let welcome = datagrams(&mut hub).remove(0);
    site.handle_datagram(now, HUB.into(), &mut welcome.clone());
    // A ping, and a probe of the path.
    datagrams(&mut site).iter().for_each(|bytes| hub.handle_datagram(now, SITE.into(), &mut bytes.clone()));
    let datagram = TunnelDatagram {
        trail: RelayPath::new(1, 9, &[1]).unwrap(),
        path: 3,
        to_path: None,
        hop_limit: 4,
        source: "10.0.0.1:40000".parse().unwrap(),
        destination: "239.1.2.3:5000".parse().unwrap(),
        payload: b"hello".to_vec(),
    };
    assert!(site.send(now, LinkId(0), &datagram, Some(Duration::from_millis(200))));
    let copy = datagrams(&mut site).remove(0);
    agree(&[&hello, &welcome, &copy]);
    hub.handle_datagram(now, SITE.into(), &mut copy.clone());
    let received = std::iter::from_fn(|| hub.poll_event()).last();
    assert_eq!(received, Some(TunnelEvent::Datagram { link: LinkId(0), datagram }));
}
