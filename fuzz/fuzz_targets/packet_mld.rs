//! MLD messages of any bytes: what parses can be written again, and parses to the same.

#![no_main]

use std::net::Ipv6Addr;

use libfuzzer_sys::fuzz_target;
use mcast_packet::gmp::MldMessage;

fuzz_target!(|bytes: &[u8]| {
    let any = Ipv6Addr::UNSPECIFIED;
    let _ = MldMessage::checksum(bytes, any, any);
    if let Ok(message) = MldMessage::parse(bytes) {
        let _ = message.to_string();
        let mut buffer = vec![0; message.length()];
        let length = message.emit(&mut buffer, any, any).expect("it has just been read");
        assert_eq!(length, buffer.len());
        assert_eq!(MldMessage::parse(&buffer), Ok(message));
        assert_eq!(MldMessage::checksum(&buffer, any, any), mcast_packet::ChecksumStatus::Valid);
    }
});
