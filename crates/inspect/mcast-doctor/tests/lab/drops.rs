//! Faults that the kernel's drop reasons name.

use std::net::UdpSocket;

use mcast::InterfaceIndex;
use mcast_doctor::Report;
use mcast_lab::Host;
use mcast_sys::bpf::{Assembler, Attachment, BpfProgram, BpfRegister, ProgramKind};

use crate::net::{
    Net, Stream, assert_received, examine, examine_port, has_programs, inject, listener, nft, run, socket,
};

crate::table::cases! {
    tc_drops: TcDrops, "a `tc` filter at ingress", tc_ingress;
    tc_drops_of_a_program: TcDrops, "the same, IPv6, program examined", tc_ingress_for_program;
    tc_drops_of_a_sender: TcDrops, "a `tc` filter at egress, sender examined", tc_egress;
    tc_drops_of_reports: TcDrops, "a `tc` filter at egress, MLD dropped", tc_egress_of_reports;
    xdp_drops: XdpDrops, "an XDP program that drops everything", xdp;
    frames_to_another_host: FramesToAnotherHost, "frames to another host's Ethernet address", other_hosts_address;
    frames_to_another_host_of_ipv6: FramesToAnotherHost, "the same, IPv6", other_hosts_address_v6;
    invalid_source_group: InvalidSource, "a group as the source", group_as_source;
    invalid_source_group_of_ipv6: InvalidSource, "a group as the source, IPv6", group_as_source_v6;
    invalid_source_loopback: InvalidSource, "127.0.0.5 as the source", loopback_as_source;
    invalid_source_loopback_of_ipv6: InvalidSource, "::1 as the source", loopback_as_source_v6;
    malformed_packets_by_header_checksum: MalformedPackets, "a wrong checksum of the IP header", header_checksum;
    malformed_packets_by_udp_length: MalformedPackets, "a UDP length beyond the packet", udp_length;
    malformed_packets_of_ipv6: MalformedPackets, "an IPv6 payload length beyond the packet", packet_length_v6;
    malformed_packets_by_header_length: MalformedPackets, "a wrong length of the IP header", header_length;
    malformed_packets_by_version: MalformedPackets, "a wrong version in the IPv6 header", version_v6;
    dropped_when_sending: DroppedWhenSending, "a tunnel whose program does not read, sender examined", full_tunnel;
    bad_checksum_absent: BadChecksum, "IPv6 datagrams with the UDP checksum 0", no_checksum_v6;
    bad_checksum_absent_for_a_program: BadChecksum, "the same, program examined (checksum 0)", no_checksum_v6_for_program;
    lost_in_this_machine: LostInThisMachine, "datagrams with a source route in the IP header", unexplained;
    lost_in_this_machine_for_a_program: LostInThisMachine, "the same, program examined (source route)", unexplained_for_program;
}

/// Attaches an XDP program to `eth0` that drops every frame.
pub(crate) fn drop_all(host: &Host) -> Attachment {
    const XDP_DROP: i32 = 1;
    attach_xdp(host, XDP_DROP)
}

/// Attaches an XDP program to `eth0` with this verdict for every frame.
pub(crate) fn attach_xdp(host: &Host, verdict: i32) -> Attachment {
    attach_xdp_to(host, "eth0", verdict)
}

/// Does the same on another interface.
pub(crate) fn attach_xdp_to(host: &Host, interface: &str, verdict: i32) -> Attachment {
    let mut program = Assembler::new();
    program.set(BpfRegister::R0, verdict);
    program.exit();
    let program = BpfProgram::load(ProgramKind::Xdp, &program.finish()).unwrap();
    let index = InterfaceIndex::new(host.interface_index(interface).unwrap()).unwrap();
    host.run(|| program.attach_to_interface(index).unwrap()).unwrap()
}

/// Adds a traffic control filter that drops every packet, a program of one instruction that returns `TC_ACT_SHOT`.
fn tc_filter(host: &Host, direction: &str) {
    run(
        host,
        &format!(
            "tc qdisc add dev eth0 clsact && tc filter add dev eth0 {direction} pref 7 bpf da bytecode '1,6 0 0 2'"
        ),
    );
}

/// Returns whether this process may trace the kernel; prints a note if not.
pub(crate) fn can_trace() -> bool {
    let mut program = Assembler::new();
    program.set(BpfRegister::R0, 0);
    program.exit();
    let loaded = BpfProgram::load(ProgramKind::RawTracepoint, &program.finish());
    if let Err(error) = &loaded {
        mcast_lab::skip(format_args!("BPF is not available: {error}"));
    }
    loaded.is_ok()
}

/// A traffic control filter that drops arriving packets.
pub(crate) fn tc_ingress() -> Report {
    let net = Net::new();
    tc_filter(&net.receiver, "ingress");
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

/// The same for outgoing packets, examined on the sender.
pub(crate) fn tc_egress() -> Report {
    let net = Net::new();
    tc_filter(&net.sender, "egress");
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine(&net.sender, "239.1.2.3%eth0:5000")
}

/// A traffic control filter that drops what the receiver sends, in IPv6.
pub(crate) fn tc_egress_of_reports() -> Report {
    let net = Net::new();
    tc_filter(&net.receiver, "egress");
    net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

/// The same with an IPv6 group and another program.
pub(crate) fn tc_ingress_for_program() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "[::]:5000", &[("ff15::1234", "eth0")]);
    tc_filter(&net.receiver, "ingress");
    let _stream = Stream::to(&net.sender, "[ff15::1234]:5000");
    examine_port(&net.receiver, 5000)
}

/// A tunnel whose program does not read, examined on the sender.
pub(crate) fn full_tunnel() -> Report {
    const PROGRAM: &str = "import fcntl, os, signal, struct
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'tun0', 0x1001))
print('open', flush=True)
signal.pause()";
    let net = Net::new();
    let mut python = net.sender.command("python3").unwrap();
    let mut child = python.args(["-c", PROGRAM]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    run(
        &net.sender,
        "ip link set dev tun0 txqueuelen 5 multicast on up && ip address add 10.7.0.1/24 dev tun0",
    );
    let sender = UdpSocket::from(socket(&net.sender, [239, 1, 2, 3].into(), "tun0"));
    let stream = Stream::by(sender, "239.1.2.3:5000".parse().unwrap(), 64);
    let report = examine(&net.sender, "239.1.2.3%tun0:5000");
    drop(stream);
    child.kill().unwrap();
    child.wait().unwrap();
    report
}

/// An XDP program that drops everything.
pub(crate) fn xdp() -> Report {
    let net = Net::new();
    let _filter = drop_all(&net.receiver);
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

/// Frames to the Ethernet address of another host.
pub(crate) fn other_hosts_address() -> Report {
    changed("10.9.0.1", "239.1.2.3:5000", "239.1.2.3%eth0:5000", |frame| {
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 9, 9]);
    })
}

/// The same with an IPv6 group.
pub(crate) fn other_hosts_address_v6() -> Report {
    changed("fd09::1", "[ff15::1234]:5000", "[ff15::1234%eth0]:5000", |frame| {
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 9, 9]);
    })
}

/// Adds an option for a route chosen by the source to a frame, which has used it up.
pub(crate) fn add_source_route(frame: &mut Vec<u8>) {
    const OPTION: [u8; 8] = [131, 7, 8, 10, 9, 0, 1, 0];
    frame.splice(34..34, OPTION);
    let header = &mut frame[14..42];
    header[0] = 0x47;
    header[3] += OPTION.len() as u8;
    header[10..12].fill(0);
    let words = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Frames with a route chosen by the source, which the kernel accepts only for unicast.
fn source_routed() -> (Net, crate::net::Injection) {
    let net = Net::new();
    let frames = (0..20).map(|number| {
        let mut frame = net.frame("10.9.0.1", "239.1.2.3:5000", number);
        add_source_route(&mut frame);
        frame
    });
    let injection = inject(&net.sender, "eth0", &frames.collect::<Vec<_>>());
    (net, injection)
}

/// A loss that no cause explains.
pub(crate) fn unexplained() -> Report {
    let (net, _injection) = source_routed();
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// The same with another program.
pub(crate) fn unexplained_for_program() -> Report {
    let (net, _injection) = source_routed();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    examine_port(&net.receiver, 5000)
}

pub(crate) fn group_as_source() -> Report {
    changed("239.9.9.9", "239.1.2.3:5000", "239.1.2.3%eth0:5000", |_| {})
}

/// The same in IPv6.
pub(crate) fn group_as_source_v6() -> Report {
    changed("ff15::9", "[ff15::1234]:5000", "[ff15::1234%eth0]:5000", |_| {})
}

/// A loopback address as the source that is not one of the receiver.
pub(crate) fn loopback_as_source() -> Report {
    changed("127.0.0.5", "239.1.2.3:5000", "239.1.2.3%eth0:5000", |_| {})
}

/// The loopback address as the source, in IPv6.
pub(crate) fn loopback_as_source_v6() -> Report {
    changed("::1", "[ff15::1234]:5000", "[ff15::1234%eth0]:5000", |_| {})
}

/// A wrong checksum of the IP header.
pub(crate) fn header_checksum() -> Report {
    changed("10.9.0.1", "239.1.2.3:5000", "239.1.2.3%eth0:5000", |frame| frame[24] ^= 0x41)
}

/// A length in the UDP header that exceeds the packet.
pub(crate) fn udp_length() -> Report {
    changed("10.9.0.1", "239.1.2.3:5000", "239.1.2.3%eth0:5000", |frame| frame[39] += 0x40)
}

/// A length in the IPv6 header that exceeds the packet.
pub(crate) fn packet_length_v6() -> Report {
    changed("fd09::1", "[ff15::1234]:5000", "[ff15::1234%eth0]:5000", |frame| frame[19] += 0x40)
}

/// A header length in the IP header that is too small.
pub(crate) fn header_length() -> Report {
    changed("10.9.0.1", "239.1.2.3:5000", "239.1.2.3%eth0:5000", |frame| frame[14] = 0x44)
}

/// A wrong version in the IPv6 header.
pub(crate) fn version_v6() -> Report {
    changed("fd09::1", "[ff15::1234]:5000", "[ff15::1234%eth0]:5000", |frame| frame[14] = 0x50)
}

/// IPv6 datagrams without a UDP checksum.
pub(crate) fn no_checksum_v6() -> Report {
    changed("fd09::1", "[ff15::1234]:5000", "[ff15::1234%eth0]:5000", |frame| frame[60..62].fill(0))
}

/// The same, examining another program.
pub(crate) fn no_checksum_v6_for_program() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "[::]:5000", &[("ff15::1234", "eth0")]);
    let mut frames: Vec<_> =
        (0..20).map(|number| net.frame("fd09::1", "[ff15::1234]:5000", number)).collect();
    frames.iter_mut().for_each(|frame| frame[60..62].fill(0));
    let _injection = inject(&net.sender, "eth0", &frames);
    examine_port(&net.receiver, 5000)
}

/// Examines a membership while the sender sends frames changed by `change`.
fn changed(source: &str, to: &str, membership: &str, change: impl Fn(&mut [u8])) -> Report {
    let net = Net::new();
    // Otherwise the firewall hooks of the switch drop damaged packets.
    for family in ["iptables", "ip6tables"] {
        run(
            &net.lan.inside(),
            &format!("f=/proc/sys/net/bridge/bridge-nf-call-{family}; [ ! -e $f ] || echo 0 > $f"),
        );
    }
    let mut frames: Vec<_> = (0..20).map(|number| net.frame(source, to, number)).collect();
    frames.iter_mut().for_each(|frame| change(frame));
    let _injection = inject(&net.sender, "eth0", &frames);
    examine(&net.receiver, membership)
}

/// Returns what the kernel reports about its drops.
fn kernel_lines(report: &Report) -> Vec<&str> {
    let kernel = report.observations.iter().filter(|observation| observation.layer == "kernel");
    kernel.map(|observation| observation.message.as_str()).collect()
}

#[test]
fn kernel_names_the_reason_of_each_drop_with_its_flow() {
    if !has_programs() || !can_trace() {
        return;
    }
    for (to, membership, family) in [
        ("239.1.2.3:5000", "239.1.2.3%eth0:5000", "ip"),
        ("[ff15::1234]:5000", "[ff15::1234%eth0]:5000", "ip6"),
    ] {
        let net = Net::new();
        nft(&net.receiver, family, "hook prerouting", "udp dport 5000 drop");
        let report = net.examine(to, membership);
        let [line] = kernel_lines(&report)[..] else { panic!("{report:#?}") };
        assert!(line.contains(to) && line.contains("arrived on eth0: NETFILTER_DROP"), "{line}");
    }
}

#[test]
fn program_that_drops_without_a_reason_is_named_by_its_function() {
    if !can_trace() {
        return;
    }
    let net = Net::new();
    let _filter = drop_all(&net.receiver);
    let report = net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000");
    let lines = kernel_lines(&report);
    assert!(
        lines.len() == 1 && lines[0].contains("arrived on eth0: NOT_SPECIFIED in veth_xdp"),
        "{report:#?}"
    );
}

#[test]
fn datagrams_arrive_once_the_filter_is_deleted() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    tc_filter(&net.receiver, "ingress");
    run(&net.receiver, "tc filter del dev eth0 ingress pref 7");
    assert_received(&net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000"));
}
