//! Messages of SSDP, WS-Discovery, SAP, CoAP, KNXnet/IP, sACN and Art-Net of any bytes: lists end, and whatever is read lies within
//! the message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_packet::payload::{ArtNet, Coap, Knx, Sacn, SacnContent, Sap, Ssdp, WsDiscovery, XmlScan};

fuzz_target!(|bytes: &[u8]| {
    assert!(XmlScan::new(bytes).count() <= 2 * bytes.len());
    if let Some(message) = Ssdp::parse(bytes) {
        assert!(
            message.headers().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= bytes.len()
        );
        let _ = (message.max_age(), message.is_goodbye(), message.target());
    }
    if let Some(message) = WsDiscovery::parse(bytes) {
        let texts = message.endpoints().map(|endpoint| {
            let texts = [endpoint.address, endpoint.types, endpoint.scopes, endpoint.urls];
            texts.iter().map(|text| text.len()).sum::<usize>()
        });
        assert!(texts.sum::<usize>() <= bytes.len());
    }
    if let Some(message) = Sap::parse(bytes) {
        assert!(message.lines("a=").map(<[u8]>::len).sum::<usize>() <= message.payload.len());
    }
    if let Some(message) = Coap::parse(bytes) {
        assert!(message.options().map(|(_, value)| value.len()).sum::<usize>() <= bytes.len());
        let (_, _, payload) = (message.max_age(), message.has_more(), message.payload());
        for link in message.links().into_iter().flatten() {
            let value = link.attribute("rt").unwrap_or_default();
            assert!(link.target.len() + value.len() <= payload.len());
        }
    }
    if let Some(message) = Knx::parse(bytes) {
        assert!(message.families().count() <= bytes.len());
        let _ = message.endpoint();
        if let Some(device) = message.device() {
            assert!(message.is_search_response() && device.name.len() <= 30);
        }
    }
    if let Some(packet) = Sacn::parse(bytes) {
        assert!(packet.name.len() <= 64);
        if let SacnContent::Discovery { universes, .. } = packet.content {
            assert!(universes.len() * 2 <= bytes.len());
        }
    }
    if let Some(ArtNet::PollReply(node)) = ArtNet::parse(bytes) {
        assert!(node.outputs().count() <= 4 && node.inputs().count() <= 4);
        assert!(node.long_name.len() <= 64 && node.short_name.len() <= 18);
    }
});
