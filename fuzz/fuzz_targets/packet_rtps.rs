//! Messages of RTPS of any bytes: lists end, and whatever is read lies within the message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_packet::payload::{Rtps, RtpsParameter};

fuzz_target!(|bytes: &[u8]| {
    let Some(message) = Rtps::parse(bytes) else { return };
    assert!(message.submessages().count() <= bytes.len() / 4);
    let data = message.data().flat_map(|data| data.inline_qos.chain(data.parameters));
    for parameter in data {
        if let RtpsParameter::Partitions(texts) | RtpsParameter::Properties(texts) = parameter {
            assert!(texts.map(<[u8]>::len).sum::<usize>() <= bytes.len());
        }
    }
});
