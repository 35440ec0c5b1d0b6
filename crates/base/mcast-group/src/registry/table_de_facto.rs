// Made by `cargo xtask registry`; do not edit.

//! Names in use without registration.

use super::{DeFactoRow, v4, v6};
use crate::{Group, Reference};

#[rustfmt::skip]
pub(super) const FIXED: &[DeFactoRow<Group>] = &[
    DeFactoRow { first: v4(0xe0000032), last: v4(0xe0000032), name: "Xiaomi gateway", ports: &[9898, 4321], reference: &[Reference::Document("Xiaomi gateway LAN protocol")] },
    DeFactoRow { first: v4(0xe00000e0), last: v4(0xe00000e0), name: "Zenoh scouting", ports: &[7446], reference: &[Reference::Document("Zenoh documentation")] },
    DeFactoRow { first: v4(0xe00000e6), last: v4(0xe00000e9), name: "Dante control and monitoring", ports: &[], reference: &[Reference::Document("Audinate network documentation")] },
    DeFactoRow { first: v4(0xe000023c), last: v4(0xe000023c), name: "Minecraft LAN worlds", ports: &[4445], reference: &[Reference::Document("Minecraft protocol notes")] },
    DeFactoRow { first: v4(0xe0020203), last: v4(0xe0020203), name: "Hazelcast discovery", ports: &[54327], reference: &[Reference::Document("Hazelcast documentation")] },
    DeFactoRow { first: v4(0xe0020204), last: v4(0xe0020204), name: "Elasticsearch multicast discovery", ports: &[54328], reference: &[Reference::Document("Elasticsearch 1.x documentation")] },
    DeFactoRow { first: v4(0xe1000032), last: v4(0xe1000032), name: "conntrackd", ports: &[3780], reference: &[Reference::Document("conntrack-tools manual")] },
    DeFactoRow { first: v4(0xe1010203), last: v4(0xe1010203), name: "mcjoin", ports: &[1234], reference: &[Reference::Document("mcjoin manual")] },
    DeFactoRow { first: v4(0xe25e0101), last: v4(0xe25e0101), name: "Corosync", ports: &[5405], reference: &[Reference::Document("corosync.conf manual")] },
    DeFactoRow { first: v4(0xe4000004), last: v4(0xe4000004), name: "Apache Tomcat cluster", ports: &[45564], reference: &[Reference::Document("Tomcat clustering documentation")] },
    DeFactoRow { first: v4(0xe4010204), last: v4(0xe4010204), name: "Apache Ignite discovery", ports: &[47400], reference: &[Reference::Document("Ignite documentation")] },
    DeFactoRow { first: v4(0xe4080808), last: v4(0xe4080808), name: "JGroups", ports: &[45588], reference: &[Reference::Document("JGroups manual")] },
    DeFactoRow { first: v4(0xe6000001), last: v4(0xe6000001), name: "Ehcache discovery", ports: &[4446], reference: &[Reference::Document("Ehcache documentation")] },
    DeFactoRow { first: v4(0xe6000004), last: v4(0xe6000004), name: "JBoss and WildFly (JGroups)", ports: &[45688], reference: &[Reference::Document("WildFly documentation")] },
    DeFactoRow { first: v4(0xe82bd3ea), last: v4(0xe82bd3ea), name: "ssmping", ports: &[4321], reference: &[Reference::Document("draft-ietf-mboned-ssmping-08")] },
    DeFactoRow { first: v4(0xef020b47), last: v4(0xef020b47), name: "Ganglia", ports: &[8649], reference: &[Reference::Document("gmond.conf manual")] },
    DeFactoRow { first: v4(0xef450000), last: v4(0xef45ffff), name: "Dante in AES67 mode", ports: &[5004], reference: &[Reference::Document("Audinate network documentation")] },
    DeFactoRow { first: v4(0xefc00001), last: v4(0xefc00010), name: "Maritime navigation (NMEA sentences)", ports: &[60001], reference: &[Reference::Document("IEC 61162-450")] },
    DeFactoRow { first: v4(0xefc0988f), last: v4(0xefc0988f), name: "BitTorrent local service discovery", ports: &[6771], reference: &[Reference::Document("BEP 14")] },
    DeFactoRow { first: v4(0xefff0001), last: v4(0xefff0001), name: "DDS discovery (RTPS)", ports: &[7400], reference: &[Reference::Document("OMG DDSI-RTPS 2.5")] },
    DeFactoRow { first: v4(0xefff0001), last: v4(0xefff0100), name: "Streaming ACN (universes 1 to 256)", ports: &[5568], reference: &[Reference::Document("ANSI E1.31")] },
    DeFactoRow { first: v4(0xefff0101), last: v4(0xeffff9ff), name: "Streaming ACN (universe in the last two octets)", ports: &[5568], reference: &[Reference::Document("ANSI E1.31")] },
    DeFactoRow { first: v4(0xeffffad6), last: v4(0xeffffad6), name: "Streaming ACN universe discovery (universe 64214)", ports: &[5568], reference: &[Reference::Document("ANSI E1.31-2018 section 8")] },
    DeFactoRow { first: v4(0xefff0203), last: v4(0xefff0203), name: "Apache ActiveMQ discovery", ports: &[6155], reference: &[Reference::Document("ActiveMQ documentation")] },
    DeFactoRow { first: v4(0xefff4c43), last: v4(0xefff4c43), name: "LCM", ports: &[7667], reference: &[Reference::Document("LCM documentation")] },
    DeFactoRow { first: v4(0xefff4d4d), last: v4(0xefff4d4d), name: "Scream audio", ports: &[4010], reference: &[Reference::Document("Scream documentation")] },
    DeFactoRow { first: v4(0xefff5a5a), last: v4(0xefff5a5a), name: "Roon discovery", ports: &[9003], reference: &[Reference::Document("Roon SOOD protocol notes")] },
    DeFactoRow { first: v4(0xefff9132), last: v4(0xefff9132), name: "MAVLink", ports: &[14550], reference: &[Reference::Document("MAVLink router documentation")] },
    DeFactoRow { first: v4(0xeffffb43), last: v4(0xeffffb43), name: "mcast stream announcements", ports: &[7767], reference: &[Reference::Document("mcast stream protocol")] },
    DeFactoRow { first: v4(0xeffffffa), last: v4(0xeffffffa), name: "WS-Discovery", ports: &[3702], reference: &[Reference::Document("OASIS WS-Discovery 1.1")] },
    DeFactoRow { first: v6(0xff02000000000000000000000000000c), last: v6(0xff02000000000000000000000000000c), name: "WS-Discovery", ports: &[3702], reference: &[Reference::Document("OASIS WS-Discovery 1.1")] },
    DeFactoRow { first: v6(0xff020000000000000000000000000114), last: v6(0xff020000000000000000000000000114), name: "Yggdrasil discovery", ports: &[9001], reference: &[Reference::Document("Yggdrasil documentation")] },
    DeFactoRow { first: v6(0xff120000000000000000000000008384), last: v6(0xff120000000000000000000000008384), name: "Syncthing local discovery", ports: &[21027], reference: &[Reference::Document("Syncthing local discovery protocol v4")] },
    DeFactoRow { first: v6(0xff1500000000000000000000efc0988f), last: v6(0xff1500000000000000000000efc0988f), name: "BitTorrent local service discovery", ports: &[6771], reference: &[Reference::Document("BEP 14")] },
    DeFactoRow { first: v6(0xff150000000000000000000080004d43), last: v6(0xff150000000000000000000080004d43), name: "mcast stream announcements", ports: &[7767], reference: &[Reference::Document("mcast stream protocol")] },
    DeFactoRow { first: v6(0xff180000000000000000000083000001), last: v6(0xff18000000000000000000008300f9ff), name: "Streaming ACN (universe in the last two octets)", ports: &[5568], reference: &[Reference::Document("ANSI E1.31")] },
    DeFactoRow { first: v6(0xff18000000000000000000008300fad6), last: v6(0xff18000000000000000000008300fad6), name: "Streaming ACN universe discovery (universe 64214)", ports: &[5568], reference: &[Reference::Document("ANSI E1.31-2018 section 8")] },
];

/// In use in every scope, with zero where the scope stands.
#[rustfmt::skip]
pub(super) const ANY_SCOPE: &[DeFactoRow<u128>] = &[
    DeFactoRow { first: 0xff300000000000000000000043211234, last: 0xff300000000000000000000043211234, name: "ssmping", ports: &[4321], reference: &[Reference::Document("draft-ietf-mboned-ssmping-08")] },
];
