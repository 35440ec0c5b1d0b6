//! PIM messages of any bytes: what parses can be written again, and parses to the same.

#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use mcast_packet::pim::PimMessage;

fuzz_target!(|bytes: &[u8]| {
    let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let _ = PimMessage::checksum(bytes, any, any);
    if let Ok(message) = PimMessage::parse(bytes) {
        let _ = message.to_string();
        let mut buffer = vec![0; bytes.len()];
        let length = message.emit(&mut buffer, any, any).expect("it has just been read");
        let written = &buffer[..length];
        assert_eq!(PimMessage::parse(written), Ok(message));
        assert_eq!(PimMessage::checksum(written, any, any), mcast_packet::ChecksumStatus::Valid);
    }
});
