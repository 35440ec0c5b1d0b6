//! Captures in labs: traffic appears as it is on the wire, and nothing else does.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use mcast_capture::{Capture, CaptureOptions, Direction, ErrorKind, Filter, Frame, TransmitTimes};
use mcast_group::InterfaceIndex;
use mcast_lab::{Host, HostInterface, Lab, Offload};
use mcast_packet::gmp::{MldMessage, RouterDiscovery};
use mcast_packet::pim::{HelloOption, PimMessage};
use mcast_packet::{ChecksumStatus, ControlFrame, MacAddress, PimFrame, UdpFrame};

const TIMEOUT: Duration = Duration::from_secs(30);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x123);

/// The properties of a frame that the tests check.
#[derive(Debug)]
struct FrameSummary {
    text: String,
    payload: Vec<u8>,
    checksum: Option<ChecksumStatus>,
    direction: Direction,
    resegmented: bool,
    length: usize,
    original_length: usize,
    time: SystemTime,
}

impl FrameSummary {
    fn of(frame: &Frame<'_>) -> Self {
        let packet = frame.packet();
        Self {
            text: packet.to_string(),
            payload: packet.udp().map(|udp| udp.payload.to_vec()).unwrap_or_default(),
            checksum: packet.udp().map(|udp| udp.checksum),
            direction: frame.direction,
            resegmented: frame.resegmented,
            length: frame.bytes.len(),
            original_length: frame.original_length,
            time: frame.time,
        }
    }
}

/// Two hosts connected by a cable.
struct Cable {
    /// Keeps the hosts alive.
    lab: Lab,
    a: Host,
    b: Host,
    a0: HostInterface,
    b0: HostInterface,
}

impl Cable {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        let ends = (["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]);
        let (a0, b0) = lab.link(&a, "eth0", &ends.0, &b, "eth0", &ends.1).unwrap();
        Self { lab, a, b, a0, b0 }
    }

    /// Returns a socket of host a, which sends through its only cable.
    fn sender(&self) -> UdpSocket {
        self.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap()
    }
}

fn open(host: &Host, port: &HostInterface, filter: Filter) -> Capture {
    open_with(host, options(port).filter(filter))
}

fn open_with(host: &Host, options: CaptureOptions) -> Capture {
    let capture = host.run(move || Capture::open(options).unwrap()).unwrap();
    assert!(capture.block_error().is_none(), "{:?}", capture.block_error());
    assert_eq!(capture.is_in_blocks(), in_blocks());
    capture
}

fn options(port: &HostInterface) -> CaptureOptions {
    CaptureOptions::on(InterfaceIndex::new(port.index).unwrap()).in_blocks(in_blocks())
}

/// Whether this is the test program `capture_in_blocks`, which runs all tests a second time.
fn in_blocks() -> bool {
    env!("CARGO_CRATE_NAME") == "capture_in_blocks"
}

/// Returns the time until the kernel's frames can be read.
fn until_readable() -> Duration {
    if in_blocks() { CaptureOptions::MAX_BLOCK_DELAY } else { Duration::ZERO }
}

fn next(capture: &mut Capture) -> FrameSummary {
    match capture.next(Some(TIMEOUT)).unwrap() {
        Some(frame) => FrameSummary::of(&frame),
        None => panic!("no frame within {TIMEOUT:?}"),
    }
}

/// Returns the next frame whose summary contains `text`, skipping others.
fn next_with(capture: &mut Capture, text: &str) -> FrameSummary {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        let summary = next(capture);
        if summary.text.contains(text) {
            return summary;
        }
    }
    panic!("no frame with {text:?} within {TIMEOUT:?}");
}

fn frame(source: IpAddr, group: IpAddr, payload: &[u8]) -> Vec<u8> {
    let mac = MacAddress([2, 0, 0, 0, 0, 9]);
    let group = group.try_into().unwrap();
    let datagram =
        UdpFrame { mac, source, source_port: 4000, group, destination_port: 5000, hop_limit: 1, payload };
    let mut buffer = vec![0; 2000];
    let length = datagram.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// Sends raw frames through host a's cable.
fn inject(cable: &Cable, frames: &[Vec<u8>]) {
    const PROGRAM: &str = "import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
for frame in sys.argv[1:]: s.send(bytes.fromhex(frame))";
    let hexadecimal = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut python = cable.a.command("python3").unwrap();
    python.args(["-c", PROGRAM]).args(frames.iter().map(hexadecimal));
    assert!(python.status().unwrap().success());
}

#[test]
fn datagram_of_an_unjoined_group_is_captured() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    a.connect("eth0", &lan, &["192.168.56.103/24"]).unwrap();
    let b0 = b.connect("eth0", &lan, &["192.168.56.105/24"]).unwrap();
    let mut capture = open(&b, &b0, Filter::UdpPort(50001));

    let before = SystemTime::now();
    let sender = a.run(|| UdpSocket::bind("192.168.56.103:52582").unwrap()).unwrap();
    sender.send_to(b"Hello, World!", ("224.1.1.5", 50001)).unwrap();

    let summary = next(&mut capture);
    assert_eq!(summary.text, "Ether / IP / UDP 192.168.56.103:52582 > 224.1.1.5:50001 / Raw");
    assert_eq!(summary.payload, b"Hello, World!");
    assert_eq!((summary.direction, summary.resegmented), (Direction::Multicast, false));
    assert_eq!((summary.length, summary.original_length), (55, 55));
    assert!(before <= summary.time && summary.time <= SystemTime::now());
    assert!(capture.next(Some(until_readable())).unwrap().is_none());
    assert_eq!(capture.statistics().unwrap().frames, 1);
}

#[test]
fn checksum_left_to_the_device_is_not_invalid() {
    let cable = Cable::new();
    let mut capture = open(&cable.b, &cable.b0, Filter::UdpPort(5000));
    cable.sender().send_to(b"x", (GROUP, 5000)).unwrap();
    assert_eq!(next(&mut capture).checksum, Some(ChecksumStatus::NotComputed));

    let good = frame([10, 0, 0, 1].into(), GROUP.into(), b"x");
    let mut bad = good.clone();
    bad[40] ^= 0xff;
    inject(&cable, &[good, bad]);
    assert_eq!(next(&mut capture).checksum, Some(ChecksumStatus::Valid));
    assert!(next(&mut capture).checksum.unwrap().is_invalid());
}

#[test]
fn joins_and_leaves_are_captured_at_both_ends() {
    let cable = Cable::new();
    let mut sending = open(&cable.a, &cable.a0, Filter::Control);
    let mut receiving = open(&cable.b, &cable.b0, Filter::Control);
    let socket = cable.a.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    let socket_6 = cable.a.run(|| UdpSocket::bind("[::]:0").unwrap()).unwrap();

    socket.join_multicast_v4(&GROUP, &cable.a0.ipv4().unwrap()).unwrap();
    let join = "Ether / IP / IGMPv3 report 10.0.0.1: join 239.1.2.3 (exclude none)";
    assert_eq!(next_with(&mut sending, join).direction, Direction::Outgoing);
    assert_eq!(next_with(&mut receiving, join).direction, Direction::Multicast);

    socket.leave_multicast_v4(&GROUP, &cable.a0.ipv4().unwrap()).unwrap();
    next_with(&mut receiving, "IGMPv3 report 10.0.0.1: leave 239.1.2.3 (include none)");

    socket_6.join_multicast_v6(&GROUP_6, cable.a0.index).unwrap();
    let join = format!("MLDv2 report {}: join ff15::123 (exclude none)", cable.a0.link_local());
    assert_eq!(next_with(&mut sending, &join).direction, Direction::Outgoing);
    assert_eq!(next_with(&mut receiving, &join).direction, Direction::Multicast);
}

/// Sends 550 bytes as one packet of six datagrams, then a plain one.
const SEND_LARGE: &str = "import socket, sys
UDP_SEGMENT = 103
family, group = (socket.AF_INET, '239.1.2.3') if sys.argv[1] == '4' else (socket.AF_INET6, 'ff15::123')
s = socket.socket(family, socket.SOCK_DGRAM)
s.bind(('10.0.0.1' if sys.argv[1] == '4' else 'fd00::1', 0))
if sys.argv[1] == '6': s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex('eth0'))
s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
s.sendto(bytes(i // 100 for i in range(550)), (group, 5000))
s.sendto(b'alone', (group, 5000))";

/// Joins like a program that accepts coalesced datagrams, and stays until its input ends.
const RECEIVE_COALESCED: &str = "import socket, sys
UDP_GRO = 104
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
s.bind(('239.1.2.3', 5000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('239.1.2.3') + socket.inet_aton('10.0.0.2'))
print('ready', flush=True)
sys.stdin.read()";

fn send_large(cable: &Cable, family: &str) {
    let mut python = cable.a.command("python3").unwrap();
    assert!(python.args(["-c", SEND_LARGE, family]).status().unwrap().success());
}

/// Reads the six datagrams and the plain one, and returns how many of the six the kernel had coalesced.
fn next_large(capture: &mut Capture, direction: Direction) -> usize {
    let mut resegmented = 0;
    for number in 0..6u8 {
        let summary = next(capture);
        let length = if number == 5 { 50 } else { 100 };
        assert_eq!(summary.payload, vec![number; length], "{}", summary.text);
        assert_eq!(summary.direction, direction);
        assert!(!summary.text.contains("bad"), "{}", summary.text);
        assert_eq!(summary.length, summary.original_length);
        if summary.resegmented {
            assert_eq!(summary.checksum, Some(ChecksumStatus::NotComputed));
            resegmented += 1;
        }
    }
    let summary = next(capture);
    assert_eq!((summary.payload.as_slice(), summary.resegmented), (&b"alone"[..], false));
    resegmented
}

#[test]
fn gso_packets_are_split_into_datagrams() {
    let cable = Cable::new();
    for family in ["4", "6"] {
        let mut sending = open(&cable.a, &cable.a0, Filter::UdpPort(5000));
        let mut receiving = open(&cable.b, &cable.b0, Filter::UdpPort(5000));
        send_large(&cable, family);
        for (capture, direction) in
            [(&mut sending, Direction::Outgoing), (&mut receiving, Direction::Multicast)]
        {
            assert_eq!(next_large(capture, direction), 6);
            let statistics = capture.statistics().unwrap();
            assert_eq!((statistics.frames, statistics.dropped, statistics.unreadable), (7, 0, 0));
        }
    }
}

#[test]
fn gro_packets_are_split_into_datagrams() {
    let cable = Cable::new();
    cable.a.offload("eth0", Offload::none()).unwrap();
    cable.b.offload("eth0", Offload { gro: true, ..Offload::none() }).unwrap();
    let mut receiver = cable.b.command("python3").unwrap();
    receiver.args(["-c", RECEIVE_COALESCED]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut receiver = receiver.spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(receiver.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");

    // Whether the kernel coalesces depends on the spacing of the frames.
    let deadline = Instant::now() + TIMEOUT;
    let mut capture = open(&cable.b, &cable.b0, Filter::UdpPort(5000));
    loop {
        send_large(&cable, "4");
        if next_large(&mut capture, Direction::Multicast) > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "the kernel has coalesced nothing");
    }
    drop(receiver.stdin.take());
    assert!(receiver.wait().unwrap().success());
}

#[test]
fn vlan_tags_are_restored() {
    let cable = Cable::new();
    let plain = frame([10, 0, 0, 1].into(), GROUP.into(), b"tagged");
    let tagged = |tags: &[u8]| {
        let mut frame = plain.clone();
        frame.splice(12..12, tags.iter().copied());
        frame
    };
    let mut capture = open(&cable.b, &cable.b0, Filter::UdpPort(5000));
    let one = tagged(&[0x81, 0, 0, 42]);
    inject(&cable, &[one.clone(), tagged(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 42])]);

    let first = capture.next(Some(TIMEOUT)).unwrap().unwrap();
    assert_eq!((first.bytes, first.original_length), (&one[..], one.len()));
    let second = next(&mut capture);
    assert_eq!(second.text, "Ether / 802.1Q 7 / 802.1Q 42 / IP / UDP 10.0.0.1:4000 > 239.1.2.3:5000 / Raw");
}

#[test]
fn frames_that_are_neither_ip_nor_arp_are_captured() {
    let cable = Cable::new();
    let mut capture = open(&cable.b, &cable.b0, Filter::OtherProtocols);
    let mut other = vec![0xff; 12];
    other.extend([0x88, 0x92, 1, 2, 3]);
    other.resize(60, 0);
    cable.sender().send_to(b"asks for the address first", "10.0.0.2:5001").unwrap();
    inject(&cable, &[frame([10, 0, 0, 1].into(), GROUP.into(), b"a group"), other.clone()]);
    assert_eq!(capture.next(Some(TIMEOUT)).unwrap().unwrap().bytes, &other[..]);
    assert!(capture.next(Some(until_readable())).unwrap().is_none());
}

#[test]
fn unicast_of_a_port_is_captured_without_groups() {
    let cable = Cable::new();
    let mut capture = open(&cable.b, &cable.b0, Filter::UnicastUdpPort(5000));
    let v6 = cable.a.run(|| UdpSocket::bind("[fd00::1]:0").unwrap()).unwrap();
    let v4 = cable.sender();
    v4.send_to(b"group", "239.1.2.3:5000").unwrap();
    v4.send_to(b"other port", "10.0.0.2:5001").unwrap();
    v4.send_to(b"four", "10.0.0.2:5000").unwrap();
    v6.send_to(b"group", "[ff15::1234]:5000").unwrap();
    v6.send_to(b"six", "[fd00::2]:5000").unwrap();
    let from = cable.a.run(|| UdpSocket::bind("10.0.0.1:5000").unwrap()).unwrap();
    from.send_to(b"from the port", "10.0.0.2:5001").unwrap();
    from.send_to(b"from the port", "239.1.2.3:5001").unwrap();

    let payloads = [(); 3].map(|()| String::from_utf8(next(&mut capture).payload).unwrap());
    assert_eq!(payloads, ["four", "six", "from the port"]);
    assert!(capture.next(Some(until_readable())).unwrap().is_none());
}

#[test]
fn filter_accepts_exactly_the_selected_frames() {
    let cable = Cable::new();
    let v4 = |port: u16, group: [u8; 4], text: &str| {
        let mut frame = frame([10, 0, 0, 1].into(), IpAddr::from([239, 0, 0, 1]), text.as_bytes());
        frame[30..34].copy_from_slice(&group);
        frame[36..38].copy_from_slice(&port.to_be_bytes());
        frame
    };
    let v6 = frame(Ipv6Addr::LOCALHOST.into(), GROUP_6.into(), b"six");
    let mut behind_options = v6.clone();
    behind_options[20] = 60;
    behind_options.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
    let length = u16::from_be_bytes([v6[18], v6[19]]) + 8;
    behind_options[18..20].copy_from_slice(&length.to_be_bytes());
    let mut behind_hop_by_hop = behind_options.clone();
    behind_hop_by_hop[20] = 0;
    let mut other_port = v6.clone();
    other_port[56..58].copy_from_slice(&5001u16.to_be_bytes());
    // A group or broadcast Ethernet destination makes a frame group-addressed; this one is unicast.
    let mut unicast = v4(5002, [10, 0, 0, 3], "one");
    unicast[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    let mut arp_request = vec![0xff; 6];
    arp_request.extend([2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 1]);
    arp_request.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    let frames = [
        unicast,
        arp_request,
        vec![0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 9, 0x88, 0xcc, 0, 0],
        v4(5001, [239, 1, 2, 3], "other port"),
        v4(5000, [10, 0, 0, 2], "unicast"),
        v4(5000, [239, 1, 2, 3], "four"),
        other_port,
        behind_options,
        behind_hop_by_hop,
        v6,
    ];

    let mut port = open(&cable.b, &cable.b0, Filter::UdpPort(5000));
    let mut beginning = open(&cable.b, &cable.b0, Filter::UdpBeginsWith(*b"si"));
    let mut four = open(&cable.b, &cable.b0, Filter::UdpBeginsWith(*b"fo"));
    let mut multicast = open(&cable.b, &cable.b0, Filter::Multicast);
    let mut control = open(&cable.b, &cable.b0, Filter::Control);
    let mut addressed = open(&cable.b, &cable.b0, Filter::GroupAddressed);
    inject(&cable, &frames);

    let mut payloads = Vec::new();
    for _ in 0..5 {
        payloads.push(String::from_utf8(next(&mut port).payload).unwrap());
    }
    assert_eq!(payloads, ["unicast", "four", "six", "six", "six"]);
    assert!(port.next(Some(until_readable())).unwrap().is_none());

    let six = [(); 4].map(|()| String::from_utf8(next(&mut beginning).payload).unwrap());
    assert_eq!(six, ["six"; 4], "on any port, also after extension headers");
    assert!(beginning.next(Some(until_readable())).unwrap().is_none());
    assert_eq!(next(&mut four).payload, b"four");
    assert!(four.next(Some(until_readable())).unwrap().is_none());

    let mut groups = Vec::new();
    while groups.len() < 6 {
        let summary = next(&mut multicast);
        if summary.text.contains("UDP") {
            groups.push(String::from_utf8(summary.payload).unwrap());
        }
    }
    assert_eq!(groups, ["other port", "four", "six", "six", "six", "six"]);
    while let Some(frame) = control.next(Some(until_readable())).unwrap() {
        assert!(FrameSummary::of(&frame).text.contains("MLD"), "{}", frame.packet());
    }
    let mut texts = Vec::new();
    while texts.iter().filter(|text: &&String| !text.contains("MLD")).count() < 9 {
        texts.push(next(&mut addressed).text);
    }
    for text in ["Ether / LLDP", "Ether / ARP 10.0.0.1 requests", "> 10.0.0.2:5000 "] {
        assert!(texts.iter().any(|seen| seen.contains(text)), "{text} in {texts:?}");
    }
    assert!(!texts.iter().any(|text| text.contains("10.0.0.3")), "{texts:?}");
    assert_eq!(
        port.statistics().unwrap().dropped,
        0,
        "frames rejected by the filter do not count as dropped"
    );
}

#[test]
fn control_filter_accepts_pim_and_router_discovery() {
    let cable = Cable::new();
    let mac = MacAddress([2, 0, 0, 0, 0, 9]);
    let emitted = |emit: &dyn Fn(&mut [u8]) -> usize| {
        let mut buffer = vec![0; 200];
        let length = emit(&mut buffer);
        buffer.truncate(length);
        buffer
    };
    let options = [HelloOption::HoldTime(105)];
    let hello = |source: IpAddr| {
        let frame = PimFrame::to_neighbors(mac, source, PimMessage::Hello((&options).into()));
        emitted(&|buffer| frame.emit(buffer).unwrap())
    };
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    let message = MldMessage::RouterDiscovery(RouterDiscovery::Termination);
    let termination = ControlFrame { mac, source: link_local, message };
    let mut capture = open(&cable.b, &cable.b0, Filter::Control);
    let other = frame([10, 0, 0, 1].into(), GROUP.into(), b"no control");
    let termination = emitted(&|buffer| termination.emit(buffer).unwrap());
    inject(&cable, &[other, hello([10, 0, 0, 1].into()), hello(link_local.into()), termination]);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let text = next(&mut capture).text;
        assert!(!text.contains("UDP"), "{text}");
        // The hosts themselves join IPv6 groups meanwhile.
        if !text.contains("MLDv2 report") {
            seen.push(text);
        }
    }
    assert_eq!(
        seen,
        [
            "Ether / IP / PIMv2 hello 10.0.0.1: hold 105 s",
            "Ether / IPv6 / PIMv2 hello fe80::9: hold 105 s",
            "Ether / IPv6 / MLD multicast router termination fe80::9: stops forwarding multicast",
        ]
    );
}

#[test]
fn buffer_overflow_is_counted() {
    const SENT: u64 = 3000;
    let cable = Cable::new();
    // Captures at the sending end, because the kernel queues frames on the way to the other end.
    let small = options(&cable.a0).filter(Filter::UdpPort(5000)).buffer_size(50_000);
    let mut capture = open_with(&cable.a, small);
    let bytes = capture.buffer_size().unwrap();
    assert!(if in_blocks() { bytes == 512 << 10 } else { bytes < 200_000 }, "{bytes}");
    let sender = cable.sender();
    for _ in 0..SENT {
        sender.send_to(&[7; 1000], (GROUP, 5000)).unwrap();
    }
    while capture.next(Some(until_readable())).unwrap().is_some() {}
    let statistics = capture.statistics().unwrap();
    assert!(statistics.dropped > 0);
    assert_eq!(statistics.frames + statistics.dropped, SENT);
    assert_eq!(capture.statistics().unwrap(), statistics, "a second reading changes nothing");
}

#[test]
fn outgoing_frames_can_be_omitted() {
    let cable = Cable::new();
    let mut both = open(&cable.a, &cable.a0, Filter::UdpPort(5000));
    let mut incoming = open_with(&cable.a, options(&cable.a0).filter(Filter::UdpPort(5000)).outgoing(false));
    cable.sender().send_to(b"x", (GROUP, 5000)).unwrap();
    assert!(next(&mut both).direction.is_outgoing());
    assert!(incoming.next(Some(until_readable())).unwrap().is_none());
}

#[test]
fn interface_going_down_is_reported_once() {
    let cable = Cable::new();
    let mut capture = open(&cable.b, &cable.b0, Filter::UdpPort(5000));
    cable.b.set_down("eth0").unwrap();
    let error = loop {
        match capture.next(Some(TIMEOUT)) {
            Ok(frame) => assert!(frame.is_some(), "the interface going down was not reported"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::InterfaceDown);
    cable.b.set_up("eth0").unwrap();
    let sender = cable.sender();
    let deadline = Instant::now() + TIMEOUT;
    loop {
        assert!(Instant::now() < deadline, "nothing arrived after the interface was up again");
        sender.send_to(b"again", (GROUP, 5000)).unwrap();
        if capture.next(Some(Duration::from_millis(20))).unwrap().is_some() {
            break;
        }
    }
}

#[test]
fn interface_that_comes_up_while_a_capture_opens_is_captured() {
    let cable = Cable::new();
    let sender = cable.sender();
    for round in 0..40 {
        cable.b.set_down("eth0").unwrap();
        let mut capture = std::thread::scope(|scope| {
            let opening = scope.spawn(|| open(&cable.b, &cable.b0, Filter::UdpPort(5000)));
            // At another moment of the opening in each round.
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(250 * round) {
                std::thread::yield_now();
            }
            cable.b.set_up("eth0").unwrap();
            opening.join().unwrap()
        });
        let deadline = Instant::now() + TIMEOUT;
        loop {
            assert!(
                Instant::now() < deadline,
                "round {round}: nothing is captured of an interface that is up"
            );
            sender.send_to(b"up", (GROUP, 5000)).unwrap();
            match capture.next(Some(Duration::from_millis(50))) {
                Ok(Some(_)) => break,
                Ok(None) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::InterfaceDown),
            }
        }
    }
}

#[test]
fn interfaces_are_added_and_removed_during_a_capture() {
    let cable = Cable::new();
    let other = cable.lab.switch("other").unwrap();
    let connect = |host: &Host, address| host.connect("eth1", &other, &[address]).unwrap();
    connect(&cable.a, "10.1.0.1/24");
    let new = connect(&cable.b, "10.1.0.2/24");
    let filter = Filter::UdpPort(5000);
    let mut capture = open(&cable.b, &cable.b0, filter);
    let sender = cable.a.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    let interfaces_of_frames = |capture: &mut Capture, number: usize| {
        for address in ["10.0.0.2:5000", "10.1.0.2:5000"] {
            sender.send_to(b"x", address).unwrap();
        }
        let mut indexes: Vec<_> =
            (0..number).map(|_| capture.next(Some(TIMEOUT)).unwrap().unwrap().interface.number()).collect();
        indexes.sort_unstable();
        indexes
    };

    capture.append(open(&cable.b, &new, filter)).unwrap();
    assert_eq!(interfaces_of_frames(&mut capture, 2), [cable.b0.index, new.index]);

    capture.retain(|index| index.number() == new.index).unwrap();
    assert_eq!(interfaces_of_frames(&mut capture, 1), [new.index]);
    assert!(capture.next(Some(until_readable())).unwrap().is_none());
    assert_eq!(capture.statistics().unwrap().frames, 3);
}

#[test]
fn address_filter_is_open_while_the_capture_exists() {
    let cable = Cable::new();
    let group: Ipv4Addr = [239, 9, 9, 9].into();
    let hardware = MacAddress::of_group(IpAddr::from(group).try_into().unwrap());
    let listed = || {
        let table = cable.b.read_proc_net("dev_mcast").unwrap();
        table.contains(&hardware.to_string().replace(':', ""))
    };
    let joined = || cable.b.read_proc_net("igmp").unwrap().contains("090909EF");
    assert!(!listed());
    let group = IpAddr::from(group).try_into().unwrap();
    let all = options(&cable.b0).group(group).all_multicast(true).promiscuous(true);
    let capture = open_with(&cable.b, all);
    assert!(listed() && !joined());
    drop(capture);
    assert!(!listed());
}

#[test]
fn loopback_frames_are_captured_in_both_directions() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let mut capture =
        open_with(&host, CaptureOptions::on_name("lo").filter(Filter::UdpPort(5000)).in_blocks(in_blocks()));
    let sender = host.run(|| UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    sender.send_to(b"x", ("127.0.0.1", 5000)).unwrap();
    assert_eq!(next(&mut capture).direction, Direction::Outgoing);
    assert_eq!(next(&mut capture).direction, Direction::ToUs);
}

#[test]
fn loopback_frames_are_captured_once_on_request() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let options = CaptureOptions::on_names(["lo"]).filter(Filter::UdpPort(5000)).in_blocks(in_blocks());
    let mut capture = open_with(&host, options.loopback_once(true));
    let sender = host.run(|| UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    for _ in 0..2 {
        sender.send_to(b"x", ("127.0.0.1", 5000)).unwrap();
    }
    assert_eq!([next(&mut capture).direction, next(&mut capture).direction], [Direction::ToUs; 2]);
}

#[test]
fn transmit_times_are_compared_with_due_times() {
    let cable = Cable::new();
    let socket = cable.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    let interface = InterfaceIndex::new(cable.a0.index).unwrap();
    for (sent, due) in [(2, 2), (1, 2)] {
        let capture = open_with(&cable.a, options(&cable.a0));
        let mut times = TransmitTimes::record(capture).unwrap();
        times.add_port(socket.local_addr().unwrap().port());
        (0..due).for_each(|_| times.add_due(interface, Instant::now()));
        for _ in 0..sent {
            socket.send_to(b"x", (GROUP, 5000)).unwrap();
        }
        let errors = times.errors().unwrap();
        assert_eq!(errors.as_ref().map(Vec::len), (sent == due).then_some(due));
        assert!(errors.into_iter().flatten().all(|error| error < TIMEOUT));
    }
}

#[test]
fn missing_interface_is_reported() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let error = host.run(|| Capture::open(CaptureOptions::on_name("eth7")).unwrap_err()).unwrap();
    assert_eq!((error.kind(), error.interface()), (ErrorKind::NoSuchInterface, "eth7"));
    let index = InterfaceIndex::new(4711).unwrap();
    let error = host.run(|| Capture::open(CaptureOptions::on(index)).unwrap_err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    assert!(error.to_string().starts_with("cannot capture on interface 4711: no such interface"));
}

/// Runs this test program again as an ordinary user, who may not capture on the machine itself.
#[test]
fn missing_right_is_reported_to_an_ordinary_user() {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["ordinary_user_cannot_open_a_capture", "--ignored", "--nocapture"]);
    let is_root =
        std::fs::metadata("/proc/self").map(|data| std::os::unix::fs::MetadataExt::uid(&data)).unwrap() == 0;
    if is_root {
        again.uid(NOBODY).gid(NOBODY);
    }
    let output = again.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run as an ordinary user by the test above"]
fn ordinary_user_cannot_open_a_capture() {
    let error = Capture::open(CaptureOptions::on_name("lo")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(error.to_string().contains("CAP_NET_RAW"));
    let index = mcast_sys::interface::index_of("lo").unwrap();
    let by_index = Capture::open(CaptureOptions::on(index)).unwrap_err();
    assert_eq!((by_index.interface(), by_index.to_string()), ("lo", error.to_string()));
    assert!(error.remedy().unwrap().contains("setcap cap_net_raw+ep"));
}
