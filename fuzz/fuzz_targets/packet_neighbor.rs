//! Announcements of switches, clocks, devices and routers, of any bytes: parsing ends within the bytes, and nothing that is shown
//! commands a terminal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_packet::payload::{HsrpMessage, OspfHello, PtpAnnounce, PtpDataSet, PtpV1Sync, VrrpAdvertisement};
use mcast_packet::{Avtp, Cdp, Lldp};

fuzz_target!(|bytes: &[u8]| {
    if let Some(cdp) = Cdp::parse(bytes) {
        assert!(cdp.addresses().count() <= bytes.len());
        let texts = [Some(cdp.device), cdp.port, cdp.platform, cdp.software];
        for text in texts.into_iter().flatten() {
            assert!(!text.to_string().contains(char::is_control));
        }
    }
    if let Some(unit) = Lldp::parse(bytes) {
        assert!(unit.management_addresses().count() <= bytes.len());
    }
    for from in ["10.0.0.1", "fe80::1"] {
        let from = from.parse().expect("an address");
        assert!(VrrpAdvertisement::addresses(bytes, from).count() <= bytes.len() / 4);
    }
    let _ = (Avtp::parse(bytes), HsrpMessage::parse(bytes), OspfHello::parse(bytes));
    let _ = (PtpAnnounce::parse(bytes), PtpDataSet::parse(bytes), PtpV1Sync::parse(bytes));
});
