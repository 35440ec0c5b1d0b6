//! AMT messages of any bytes: what parses can be written again, and parses to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_packet::payload::AmtMessage;

fuzz_target!(|bytes: &[u8]| {
    let Some(message) = AmtMessage::parse(bytes) else { return };
    let shown = message.to_string();
    assert!(shown.chars().all(|character| !character.is_control()), "{shown:?}");
    let mut buffer = vec![0; bytes.len()];
    let length = message.emit(&mut buffer).expect("it has just been read");
    assert_eq!(AmtMessage::parse(&buffer[..length]), Some(message));
});
