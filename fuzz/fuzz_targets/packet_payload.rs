//! Payloads of any bytes, on the ports where something is looked for: nothing panics, nothing that is
//! shown commands a terminal.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use mcast_packet::payload::{ContinuityTracker, Payload, recognize};

const PORTS: [u16; 6] = [319, 320, 1234, 1900, 5004, 5353];

fuzz_target!(|bytes: &[u8]| {
    let group = IpAddr::from(Ipv4Addr::new(224, 0, 0, 251));
    for port in PORTS {
        let Some(payload) = recognize(port, group, bytes) else { continue };
        let shown = payload.to_string();
        assert!(shown.chars().all(|character| !character.is_control()), "{shown:?}");
        if let Some(stream) = payload.mpeg_ts() {
            ContinuityTracker::<2>::new().observe(&stream);
        }
        match payload {
            Payload::MoldUdp64(mold) => assert_eq!(mold.messages.count(), mold.messages.len()),
            Payload::Mdns(dns) => {
                let shown = dns.answers().map(|answer| answer.to_string()).collect::<String>();
                assert!(shown.chars().all(|character| !character.is_control()), "{shown:?}");
            }
            Payload::Ssdp(ssdp) => assert!(ssdp.headers().count() <= bytes.len()),
            _ => {}
        }
    }
});
