//! Payloads of any bytes, on the ports where something is looked for: nothing panics, nothing that is
//! shown commands a terminal.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use mcast_packet::payload::{ContinuityTracker, Dns, DnsWriter, Payload, recognize};

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
                assert_written(&dns);
            }
            Payload::Ssdp(ssdp) => assert!(ssdp.headers().count() <= bytes.len()),
            _ => {}
        }
    }
});

/// Writes the questions and records that can be read, and reads them back.
fn assert_written(dns: &Dns<'_>) {
    let mut buffer = vec![0; 1 << 17];
    let mut writer = DnsWriter::new(&mut buffer, dns.id, 0).unwrap();
    let questions = dns.questions().filter(|question| writer.question(question)).count();
    // NSEC has a name in its data, which may point to elsewhere in the message.
    let records: Vec<_> = dns.records().filter(|(_, record)| record.kind != 47).collect();
    let written = records.iter().filter(|(section, record)| writer.record(*section, record)).count();
    if let Some(again) = Dns::parse(writer.as_bytes()) {
        assert_eq!((again.questions().count(), again.records().count()), (questions, written));
        assert!(again.questions().eq(dns.questions()));
    }
}
