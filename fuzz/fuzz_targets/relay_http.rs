//! An HTTP server with any requests, frames and datagrams: it never panics, keeps its bounds, and ends all connections.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcast_http::HttpService;
use mcast_pace::ClockTime;
use mcast_relay::http::{HttpConfig, HttpDatagram, HttpRule, HttpServer};
use mcast_relay::{LegId, Rule};

const RULE: &str = "239.1.2.0/24:5000 from s0 to http://127.0.0.1:4022";
const REQUESTS: [&str; 7] = ["/udp/", "/rtp/", "/sse/", "/ws/", "/status", "/playlist.m3u?", "/"];
const MAX_CLIENTS: usize = 4;

fuzz_target!(|bytes: &[u8]| {
    let Ok(rule) = RULE.parse::<Rule>() else { return };
    let (listener, client) =
        (SocketAddr::from(([127, 0, 0, 1], 4022)), SocketAddr::from(([127, 0, 0, 1], 9)));
    let (traffic, leg) = (rule.traffic, LegId(0));
    let rule = HttpRule { listener, rule: 0, traffic, leg, leg_name: "s0".into(), is_up: true };
    let mut server = HttpServer::new(HttpConfig { max_clients: MAX_CLIENTS, ..HttpConfig::new(1) });
    server.set_rules(ClockTime::START, vec![rule]);
    let (mut now, mut clients, mut rest) = (ClockTime::START, Vec::new(), bytes);
    // Per step: what happens, the client, the time in units of 20 ms, a choice, a length.
    while let Some(([step, number, time, choice, length], after)) = rest.split_first_chunk::<5>() {
        let (payload, after) = after.split_at(usize::from(*length).min(after.len()));
        now = now + Duration::from_millis(u64::from(*time) * 20);
        server.handle_timeout(now);
        let id = clients.get(usize::from(*number) % clients.len().max(1)).copied();
        match (step % 6, id) {
            (0, _) => clients.extend(server.handle_connect(now, listener, client)),
            (1, Some(id)) => server.handle_bytes(now, id, payload),
            (2, Some(id)) => {
                let path = REQUESTS[usize::from(*choice) % REQUESTS.len()];
                let key = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
                let head =
                    format!("GET {path}239.1.2.3:5000 HTTP/1.1\r\nHost: [::1]\r\n{key}\r\nLast-Event-ID: ");
                server.handle_bytes(now, id, &[head.as_bytes(), payload, b"\r\n\r\n"].concat());
            }
            (3, Some(id)) => {
                let length: usize = server.poll_transmit(now, id).iter().map(|slice| slice.len()).sum();
                server.handle_written(now, id, length.min(usize::from(*choice) * 16));
            }
            (4, Some(id)) => {
                server.handle_disconnected(now, id);
                clients.retain(|known| *known != id);
            }
            _ => {
                let (source, address) =
                    (SocketAddr::from(([10, 0, 0, *choice], 1)), "239.1.2.3:5000".parse());
                let Ok(address) = address else { return };
                let (time, lost, payload) = (None, u64::from(*choice % 3), payload.into());
                server.handle_datagram(now, &HttpDatagram { leg, address, source, time, lost, payload });
            }
        }
        let counts = server.counts();
        assert!(counts.clients <= MAX_CLIENTS && counts.groups <= MAX_CLIENTS + 1);
        rest = after;
    }
    server.set_rules(now, Vec::new());
    for _ in 0..100 {
        now = now + Duration::from_millis(100);
        server.handle_timeout(now);
    }
    assert!(clients.iter().all(|id| server.is_gone(*id)));
    assert_eq!(server.counts().groups, 0);
});
