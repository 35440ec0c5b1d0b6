//! LLDP data units of any bytes: whatever parses can be shown, without control characters.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_packet::Lldp;

fuzz_target!(|bytes: &[u8]| {
    if let Some(unit) = Lldp::parse(bytes) {
        let texts = [unit.system_name, unit.system_description, unit.port_description];
        let texts = texts.into_iter().flatten().map(|text| text.to_string());
        for text in texts.chain([unit.to_string()]) {
            assert!(!text.contains(char::is_control));
        }
    }
});
