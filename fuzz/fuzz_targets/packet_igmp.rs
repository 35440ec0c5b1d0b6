//! IGMP messages of any bytes: what parses can be written again, and parses to the same.

#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use mcast_packet::gmp::IgmpMessage;

fuzz_target!(|bytes: &[u8]| {
    let any = Ipv4Addr::UNSPECIFIED;
    let _ = IgmpMessage::checksum(bytes, any, any);
    if let Ok(message) = IgmpMessage::parse(bytes) {
        let _ = message.to_string();
        let mut buffer = vec![0; message.length()];
        let length = message.emit(&mut buffer, any, any).expect("it has just been read");
        assert_eq!(length, buffer.len());
        assert_eq!(IgmpMessage::parse(&buffer), Ok(message));
        assert_eq!(IgmpMessage::checksum(&buffer, any, any), mcast_packet::ChecksumStatus::Valid);
    }
});
