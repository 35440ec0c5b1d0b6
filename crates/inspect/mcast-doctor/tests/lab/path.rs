//! Faults in the network and in the datagrams.

use std::time::Duration;

use mcast_doctor::{Id, Options, Report, Severity};
use mcast_lab::Impairment;

use crate::net::{
    Net, Stream, assert_only, examine, examine_for, examine_port, has_programs, inject, listener, nft,
};

crate::table::cases! {
    duplicate_path: DuplicatePath, "a link that delivers everything twice", duplicating_link;
    duplicate_path_by_a_relay: DuplicatePath, "a relay that forwards everything again", relayed_twice;
    fragments_lost_before_the_ip_layer: FragmentsLost, "`nft` ingress rule for fragments", fragments_filtered;
    fragments_not_admitted: FragmentsLost, "`nft` input rules that admit a port alone, IPv6, beside a stream that arrives, program examined", fragments_not_admitted;
    fragments_lost_on_the_way: FragmentsLost, "the switch drops fragments", fragments_lost_on_the_way;
    mtu_too_small: MtuTooSmall, "receiver's MTU 1000, 1400 bytes sent", small_mtu;
    bad_checksum: BadChecksum, "one wrong bit in the checksum", bad_checksum;
    source_zero: SourceZero, "source 0.0.0.0", source_zero;
    source_is_local: SourceIsLocal, "the receiver's own address as the source", source_is_local;
    vlan_tagged: VlanTagged, "frames with VLAN tag 42", vlan_tagged;
    vlan_tagged_in_part: VlanTagged, "every second frame with VLAN tag 42", vlan_tagged_in_part;
    vlan_tagged_in_part_v6: VlanTagged, "some frames with VLAN tag 42, equal payloads, IPv6", vlan_tagged_in_part_v6;
    first_fragments_lost: FragmentsLost, "the switch drops first fragments, and the receiver waits 1 s for them", first_fragments_lost_on_the_way;
}

/// Examines a stream of frames modified by a function.
fn injected(source: &str, change: impl Fn(&mut Vec<u8>)) -> Report {
    let net = Net::new();
    let frames: Vec<_> = (0..20)
        .map(|number| {
            let mut frame = net.frame(source, "239.1.2.3:5000", number);
            change(&mut frame);
            frame
        })
        .collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// A checksum with one wrong bit.
pub(crate) fn bad_checksum() -> Report {
    injected("10.9.0.1", |frame| frame[14 + 20 + 7] ^= 1)
}

/// No source address.
pub(crate) fn source_zero() -> Report {
    injected("0.0.0.0", |_| {})
}

/// The receiver's own address as the source.
pub(crate) fn source_is_local() -> Report {
    injected("10.9.0.2", |_| {})
}

/// A VLAN tag.
pub(crate) fn vlan_tagged() -> Report {
    injected("10.9.0.1", |frame| {
        frame.splice(12..12, [0x81, 0, 0, 42]);
    })
}

#[test]
fn tag_and_another_port_are_two_faults() {
    if !crate::net::has_programs() {
        return;
    }
    let net = Net::new();
    let frame = |number| {
        let mut frame = net.frame("10.9.0.1", "239.1.2.3:5001", number);
        frame.splice(12..12, [0x81, 0, 0, 42]);
        frame
    };
    let _injection = inject(&net.sender, "eth0", &(0..20).map(frame).collect::<Vec<_>>());
    let report = examine(&net.receiver, "239.1.2.3%eth0:5000");
    let faults = report.findings.iter().filter(|finding| finding.severity == Severity::Fault);
    assert_eq!(faults.map(|finding| finding.id).collect::<Vec<_>>(), [Id::VlanTagged, Id::WrongPort]);
}

/// A VLAN tag on every second datagram.
pub(crate) fn vlan_tagged_in_part() -> Report {
    tagged_in_part("10.9.0.1", "239.1.2.3:5000", "239.1.2.3%eth0:5000", |number| number % 2 == 0)
}

/// The same in IPv6, at irregular intervals and with equal payloads.
pub(crate) fn vlan_tagged_in_part_v6() -> Report {
    tagged_in_part("fd09::1", "[ff15::1234]:5000", "[ff15::1234%eth0]:5000", |number| number % 7 < 3)
}

fn tagged_in_part(source: &str, to: &str, membership: &str, is_tagged: fn(u32) -> bool) -> Report {
    let net = Net::new();
    let frame = |number| {
        let mut frame = net.frame(source, to, if source.contains(':') { 0 } else { number });
        if is_tagged(number) {
            frame.splice(12..12, [0x81, 0, 0, 42]);
        }
        frame
    };
    let frames: Vec<_> = (0..21).map(frame).collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    examine(&net.receiver, membership)
}

/// A filter on the receiver drops all fragments except the first.
pub(crate) fn fragments_filtered() -> Report {
    let net = Net::new();
    nft(&net.receiver, "netdev", "hook ingress device eth0", "'ip frag-off & 0x1fff != 0 drop'");
    let _stream = Stream::sized(&net.sender, "239.1.2.3:5000", 4000, |_| {});
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// A firewall that admits only the port, which the first fragment alone carries, beside another stream that arrives.
pub(crate) fn fragments_not_admitted() -> Report {
    let net = Net::new();
    for rule in ["meta l4proto icmpv6 accept", "udp dport 5000-5001 accept", "counter drop"] {
        nft(&net.receiver, "inet", "hook input", rule);
    }
    let _program = listener(&net.receiver, "[::]:5000", &[("ff15::1234", "eth0")]);
    let _other = listener(&net.receiver, "[::]:5001", &[("ff15::4321", "eth0")]);
    let _stream = Stream::sized(&net.sender, "[ff15::1234]:5000", 4000, |_| {});
    let _others = Stream::to(&net.sender, "[ff15::4321]:5001");
    examine_port(&net.receiver, 5000)
}

/// The network drops all fragments except the first.
pub(crate) fn fragments_lost_on_the_way() -> Report {
    let net = Net::new();
    nft(&net.lan.inside(), "bridge", "hook forward", "'ether type ip @nh,48,16 & 0x1fff != 0 drop'");
    let _stream = Stream::sized(&net.sender, "239.1.2.3:5000", 4000, |_| {});
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// The network drops the first fragments, and the machine gives up the others while the doctor listens.
pub(crate) fn first_fragments_lost_on_the_way() -> Report {
    let net = Net::new();
    net.receiver.sysctl("net/ipv4/ipfrag_time", "1").unwrap();
    nft(&net.lan.inside(), "bridge", "hook forward", "'ether type ip @nh,48,16 & 0x3fff == 0x2000 drop'");
    let _stream = Stream::sized(&net.sender, "239.1.2.3:5000", 1600, |_| {});
    let options = Options::default().listening(Duration::from_secs(3));
    examine_for(&net.receiver, "239.1.2.3%eth0:5000", &options)
}

/// The MTU of the receiver's interface is too small.
pub(crate) fn small_mtu() -> Report {
    let net = Net::new();
    net.receiver.set_mtu("eth0", 1000).unwrap();
    let _stream = Stream::sized(&net.sender, "239.1.2.3:5000", 1400, |_| {});
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// A link that delivers everything twice.
pub(crate) fn duplicating_link() -> Report {
    let lab = mcast_lab::Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
    sender.connect("eth0", &lan, &["10.9.0.1/24"]).unwrap();
    let twice = Impairment { duplicate: 1.0, ..Impairment::default() };
    lab.connect_badly(&receiver, "eth0", &lan, &["10.9.0.2/24"], twice).unwrap();
    let _stream = Stream::to(&sender, "239.1.2.3:5000");
    examine(&receiver, "239.1.2.3%eth0:5000")
}

/// A relay forwards everything again with a smaller hop limit.
pub(crate) fn relayed_twice() -> Report {
    let net = Net::new();
    let frames: Vec<_> = (0..20)
        .flat_map(|number| {
            let frame = net.frame("10.9.0.1", "239.1.2.3:5000", number);
            let mut relayed = frame.clone();
            relayed[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
            // Decrement the hop limit and adjust the header checksum.
            relayed[14 + 8] -= 1;
            let sum = u16::from_be_bytes([relayed[14 + 10], relayed[14 + 11]]);
            let (sum, carry) = sum.overflowing_add(0x0100);
            relayed[14 + 10..14 + 12].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
            [frame, relayed]
        })
        .collect();
    let _injection = inject(&net.sender, "eth0", &frames);
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// Frames that no protocol of the receiver takes count as dropped while nobody captures.
#[test]
fn frames_of_other_protocols_do_not_suggest_that_the_mtu_is_too_small() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let mut profinet = vec![0xff; 6];
    profinet.extend([2, 0, 0, 0, 0, 9, 0x88, 0x92]);
    profinet.resize(60, 0);
    let _injection = inject(&net.sender, "eth0", &[profinet]);
    assert_only(&examine(&net.receiver, "239.1.2.3%eth0:5000"), Id::NothingArrives);
}
