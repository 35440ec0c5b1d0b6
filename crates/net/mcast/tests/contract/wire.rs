//! Taking datagrams off the interface: what is taken, what is left to the kernel, and that nobody else misses anything.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mcast::{ErrorKind, Family, Operation, Receiver, SourceFilter, Wire, WireStatus};

use mcast_packet::{MacAddress, UdpFrame};
use mcast_sys::bpf::{Assembler, BpfProgram, BpfRegister, ProgramKind};
use mcast_sys::lab::ethernet::{FrameBatch, FrameSocket};

use crate::net::{Net, PORT, TIMEOUT, next, texts_until, until};

/// Creates a test for each family, which is skipped where the system refuses the rights.
macro_rules! on_the_wire {
    ($($name:ident),+ $(,)?) => {
        mod v4 {
            $(#[test] fn $name() { crate::wire::with_rights(mcast::Family::V4, super::$name) })+
        }
        mod v6 {
            $(#[test] fn $name() { crate::wire::with_rights(mcast::Family::V6, super::$name) })+
        }
    };
}
pub(crate) use on_the_wire;

on_the_wire!(
    plain_datagrams_are_taken_with_all_details,
    what_is_not_plain_arrives_by_the_socket,
    a_full_ring_is_counted_to_the_datagram,
    sources_are_filtered,
    what_comes_back_from_the_network_is_discarded_as_by_the_kernel,
    datagrams_after_a_leave_are_not_delivered,
    a_group_that_another_program_receives_stays_with_the_sockets,
    a_group_returns_to_the_sockets_when_another_program_begins_to_receive,
    a_capture_of_another_program_sees_everything,
    a_second_receiver_of_the_interface_says_why_it_uses_the_socket,
    required_is_refused_where_it_is_impossible,
    frames_of_another_vlan_are_not_taken,
    an_interface_below_another_is_left_alone,
    another_xdp_program_keeps_its_interface,
    a_program_that_is_not_ours_keeps_its_interface,
    another_process_that_receives_is_named,
    a_group_returns_to_the_sockets_when_a_capture_begins,
    every_queue_of_an_interface_is_read,
    nothing_remains_of_a_killed_process,
);

/// Returns whether an ordinary user runs this, whose namespaces give no right to load programs of BPF.
fn is_ordinary_user() -> bool {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap();
    let is_root = read("status").lines().any(|line| line.starts_with("Uid:\t0\t"));
    !is_root || !read("uid_map").contains("4294967295")
}

pub(crate) fn with_rights(family: Family, test: fn(&Net)) {
    let net = Net::new(family);
    let refused = net
        .try_receiver(|builder| builder.join(net.on("eth0", net.group(99))).wire(Wire::Require))
        .err()
        .filter(|error| {
            // Before Linux 6.8, no driver reports the VLAN tags that it removes.
            error.kind() == ErrorKind::Permission || error.to_string().contains("removes VLAN tags")
        });
    match refused {
        // The right answer, and there is nothing else to test.
        Some(error) if error.kind() == ErrorKind::Permission && is_ordinary_user() => {}
        Some(error) => mcast_lab::skip(error),
        None => test(&net),
    }
}

/// Opens a receiver of a group on `eth0` that must take its datagrams off the interface.
pub(crate) fn taking(net: &Net, number: u16) -> Receiver {
    let membership = net.on("eth0", net.group(number));
    net.receiver(|builder| builder.join(membership).wire(Wire::Require))
}

pub(crate) fn status(receiver: &Receiver) -> WireStatus {
    receiver.wire_status().pop().expect("a group is joined")
}

fn plain_datagrams_are_taken_with_all_details(net: &Net) {
    let receiver = taking(net, 1);
    let before = std::time::SystemTime::now();
    net.send("eth0", net.group(1), b"taken");
    let received = next(&receiver);
    let arrival = received.arrival;
    assert_eq!(received.text, "taken");
    assert_eq!(arrival.group(), Some(net.group(1)));
    assert_eq!(arrival.interface, net.index(&net.receiver, "eth0"));
    assert_eq!(arrival.source.ip(), net.address(0, 1));
    assert_eq!((arrival.hop_limit, arrival.traffic_class, arrival.lost), (Some(1), Some(0), Some(0)));
    assert_eq!((arrival.length, arrival.truncated), (5, false));
    let time = arrival.time.unwrap();
    assert!(before <= time && time <= std::time::SystemTime::now(), "{before:?} {time:?}");
    assert_eq!(status(&receiver).reason, None);
    // The kernel's IP layer has not seen it.
    assert_eq!(net.datagrams_seen_by_the_kernel(), 0);
}

fn what_is_not_plain_arrives_by_the_socket(net: &Net) {
    let receiver = taking(net, 1);
    net.send("eth0", net.group(1), b"taken");
    net.send("eth0", net.group(1), &vec![b'f'; 5000]);
    net.send("eth0", net.group(1), b"end");
    let mut texts = texts_until(&receiver, "end");
    if !texts.iter().any(|text| text.len() == 5000) {
        // It passes by another way, so it may be later.
        texts.push(next(&receiver).text);
    }
    let mut lengths: Vec<usize> = texts.iter().map(String::len).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [3, 5, 5000]);
    assert_eq!(net.datagrams_seen_by_the_kernel(), 1);
}

fn a_full_ring_is_counted_to_the_datagram(net: &Net) {
    const SENT: u64 = 1000;
    let membership = net.on("eth0", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).receive_buffer(0).wire(Wire::Require));
    // All by one sender: its datagrams arrive by one queue, which has a ring of its own.
    net.send_with(
        |builder| builder.interface("eth0".parse().unwrap()).to(net.group(1).into()),
        |sender| {
            (0..SENT).for_each(|_| sender.send(&[0; 1400]).unwrap());
            let mut buffer = [0; 2048];
            let (mut received, mut lost) = (0, 0);
            let deadline = Instant::now() + TIMEOUT;
            while received + receiver.statistics().dropped.count().unwrap() < SENT {
                assert!(Instant::now() < deadline, "received {received}, {:?}", receiver.statistics());
                while let Some(datagram) = receiver.recv_timeout(&mut buffer, Duration::ZERO).unwrap() {
                    received += 1;
                    lost += datagram.lost.unwrap();
                }
            }
            assert!(received < SENT, "the ring did not overflow");
            assert_eq!(receiver.statistics().dropped.count(), Some(SENT - received));
            sender.send(b"end").unwrap();
            let last = until(&receiver, "end").pop().unwrap();
            assert_eq!(lost + last.arrival.lost.unwrap(), SENT - received);
            assert_eq!(receiver.statistics().received, received + 1);
        },
    );
}

fn sources_are_filtered(net: &Net) {
    let unwanted = net.another_source(1);
    let membership = net.on("eth0", net.group(1)).from_sources(SourceFilter::Exclude([unwanted].into()));
    let receiver = net.receiver(|builder| builder.join(membership.clone()).wire(Wire::Require));
    net.send_from(unwanted, net.group(1), b"unwanted");
    net.send("eth0", net.group(1), b"first");
    assert_eq!(texts_until(&receiver, "first"), ["first"]);
    assert_eq!(receiver.statistics().refused, 1);

    let only = SourceFilter::Include([unwanted].into());
    net.receiver.run(|| receiver.set_sources(&membership, only)).unwrap().unwrap();
    net.send("eth0", net.group(1), b"now unwanted");
    net.send_from(unwanted, net.group(1), b"second");
    assert_eq!(texts_until(&receiver, "second"), ["second"]);
}

fn datagrams_after_a_leave_are_not_delivered(net: &Net) {
    let [one, two] = [1, 2].map(|number| net.on("eth0", net.group(number)));
    let both = [one.clone(), two];
    let receiver = net.receiver(|builder| builder.join_all(both).wire(Wire::Require));
    // One that waits in the ring, and one that arrives later.
    net.send("eth0", net.group(1), b"before");
    net.receiver.run(|| receiver.leave(&one)).unwrap().unwrap();
    net.send("eth0", net.group(1), b"after");
    net.send("eth0", net.group(2), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    assert_eq!(receiver.wire_status().len(), 1);
}

fn a_group_that_another_program_receives_stays_with_the_sockets(net: &Net) {
    let other = program(net);
    let membership = net.on("eth0", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership.clone()).wire(Wire::Auto));
    let reason = status(&receiver).reason.expect("it is left to the socket");
    assert!(reason.contains("receives on this port, too"), "{reason}");
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    assert_eq!(receive(&other), b"end");

    let refused = net.try_receiver(|builder| builder.join(membership).wire(Wire::Require)).unwrap_err();
    assert_eq!((refused.operation(), refused.kind()), (Operation::TakeFrames, ErrorKind::AddressInUse));
}

fn a_group_returns_to_the_sockets_when_another_program_begins_to_receive(net: &Net) {
    let receiver = taking(net, 1);
    net.send("eth0", net.group(1), b"taken");
    assert_eq!(next(&receiver).text, "taken");
    let other = program(net);
    let deadline = Instant::now() + TIMEOUT;
    let mut sent: Vec<String> = Vec::new();
    while status(&receiver).is_taken() {
        assert!(Instant::now() < deadline, "it was not noticed");
        sent.push(format!("{}", sent.len()));
        net.send("eth0", net.group(1), sent.last().unwrap().as_bytes());
    }
    net.send("eth0", net.group(1), b"end");
    sent.push("end".into());
    let mut texts = texts_until(&receiver, "end");
    texts.sort();
    sent.sort();
    assert_eq!(texts, sent, "each arrives once");
    while receive(&other) != b"end" {}
    net.send("eth0", net.group(1), b"both");
    assert_eq!((next(&receiver).text.as_bytes(), &*receive(&other)), (&b"both"[..], &b"both"[..]));
}

fn a_capture_of_another_program_sees_everything(net: &Net) {
    let membership = net.on("eth0", net.group(1));
    let _capture = net
        .receiver
        .run(|| {
            let protocol = i32::from(0x0003_u16.to_be());
            socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(protocol.into())).unwrap()
        })
        .unwrap();
    let receiver = net.receiver(|builder| builder.join(membership).wire(Wire::Auto));
    let reason = status(&receiver).reason.expect("it is left to the socket");
    assert!(reason.contains("captures packets on this interface"), "{reason}");
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn a_second_receiver_of_the_interface_says_why_it_uses_the_socket(net: &Net) {
    let first = taking(net, 1);
    let membership = net.on("eth0", net.group(2));
    let second = net.receiver(|builder| builder.join(membership).wire(Wire::Auto));
    let reason = status(&second).reason.expect("the first receiver has the interface");
    // Both are bound to the same port, but to different groups.
    assert_eq!(reason, "another XDP program or AF_XDP socket uses it");
    net.send("eth0", net.group(1), b"one");
    net.send("eth0", net.group(2), b"two");
    assert_eq!(texts_until(&first, "one"), ["one"]);
    assert_eq!(texts_until(&second, "two"), ["two"]);
}

fn required_is_refused_where_it_is_impossible(net: &Net) {
    let membership = net.on("lo", net.group(1));
    let refused = net.try_receiver(|builder| builder.join(membership).wire(Wire::Require)).unwrap_err();
    assert_eq!((refused.operation(), refused.kind()), (Operation::TakeFrames, ErrorKind::Unsupported));
    let text = refused.to_string();
    assert!(text.contains("lo: ") && text.contains("not an Ethernet interface"), "{text}");

    let receiver = taking(net, 1);
    let refused = net.receiver.run(|| receiver.join(net.on("lo", net.group(2)))).unwrap().unwrap_err();
    assert_eq!(refused.operation(), Operation::TakeFrames);
    assert_eq!(receiver.memberships().len(), 1, "nothing has changed");
}

/// Opens the socket of a program that shares the port.
pub(crate) fn program(net: &Net) -> UdpSocket {
    let any: IpAddr = match net.family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let (group, index) = (net.group(1).group.addr(), net.index(&net.receiver, "eth0").number());
    let own = net.address(0, 2);
    net.receiver
        .run(|| {
            let domain = socket2::Domain::for_address(SocketAddr::new(any, PORT));
            let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&SocketAddr::new(any, PORT).into()).unwrap();
            socket.set_read_timeout(Some(TIMEOUT)).unwrap();
            match (group, own) {
                (IpAddr::V4(group), IpAddr::V4(own)) => socket.join_multicast_v4(&group, &own).unwrap(),
                (IpAddr::V6(group), _) => socket.join_multicast_v6(&group, index).unwrap(),
                _ => unreachable!("both are of one family"),
            }
            socket.into()
        })
        .unwrap()
}

pub(crate) fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// Returns a frame to the first group.
pub(crate) fn frame(net: &Net, source: IpAddr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 200];
    let frame = UdpFrame {
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        source,
        source_port: 5000,
        group: net.group(1).group,
        destination_port: PORT,
        hop_limit: 1,
        payload,
    };
    let length = frame.emit(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// Sends a frame ten times from the sender.
pub(crate) fn send_ten(net: &Net, frame: &[u8]) {
    let index = net.index(&net.sender, "eth0").number();
    let mut batch = FrameBatch::default();
    (0..10).for_each(|_| batch.push(frame));
    let failed = net.sender.run(|| FrameSocket::open(index).unwrap().send(&batch)).unwrap();
    assert_eq!(failed, 0);
}

/// A relay that keeps sources, or a loop, sends a host's own datagrams back. The kernel discards them if they are of IPv4.
fn what_comes_back_from_the_network_is_discarded_as_by_the_kernel(net: &Net) {
    let own = net.address(0, 2);
    let frame = frame(net, own, b"back");
    let by = |wire| {
        let membership = net.on("eth0", net.group(1));
        let receiver = net.receiver(|builder| builder.join(membership).wire(wire));
        send_ten(net, &frame);
        net.send("eth0", net.group(1), b"end");
        texts_until(&receiver, "end")
    };
    let by_the_socket = by(Wire::Off);
    assert_eq!(by(Wire::Require), by_the_socket);
    assert_eq!(by_the_socket.len(), if net.family == Family::V4 { 1 } else { 11 });
}

/// The switch removes the tag from the frame and passes it on beside it, as a driver that removes tags does.
fn frames_of_another_vlan_are_not_taken(net: &Net) {
    let receiver = taking(net, 1);
    let mut bytes = frame(net, net.address(0, 1), b"of another VLAN");
    let send = |frame: &[u8]| send_ten(net, frame);
    // The same frames without a tag are taken.
    send(&bytes);
    (0..10).for_each(|_| assert_eq!(next(&receiver).text, "of another VLAN"));

    bytes.splice(12..12, [0x81, 0, 0, 7]);
    let before = packets(net);
    send(&bytes);
    let deadline = Instant::now() + TIMEOUT;
    while packets(net) < before + 10 {
        assert!(Instant::now() < deadline, "the tagged frames did not arrive");
        std::thread::yield_now();
    }
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    assert_eq!(receiver.statistics().refused, 0, "they were not even taken");
}

/// Returns the number of frames that the receiver's `eth0` has received.
fn packets(net: &Net) -> u64 {
    let table = net.receiver.read_proc_net("dev").unwrap();
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn an_interface_below_another_is_left_alone(net: &Net) {
    net.receiver.macvlan("upper", "eth0", &[]).unwrap();
    let membership = net.on("eth0", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).wire(Wire::Auto));
    assert_eq!(status(&receiver).reason.as_deref(), Some("upper receives its frames, too"));
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn another_xdp_program_keeps_its_interface(net: &Net) {
    let first = taking(net, 1);
    let membership = net.on("eth0", net.group(2));
    let error = net.try_receiver(|builder| builder.join(membership).wire(Wire::Require)).unwrap_err();
    assert!(error.to_string().contains("another XDP program"), "{error}");
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&first, "end"), ["end"]);
}

fn a_program_that_is_not_ours_keeps_its_interface(net: &Net) {
    const PASS: i32 = 2;
    let index = net.index(&net.receiver, "eth0");
    let attached = net.receiver.run(|| {
        let mut code = Assembler::new();
        code.set(BpfRegister::R0, PASS);
        code.exit();
        let program = BpfProgram::load(ProgramKind::Xdp, &code.finish()).unwrap();
        program.attach_to_interface(index).unwrap()
    });
    let support = net.receiver.run(|| mcast::wire_support(index)).unwrap().unwrap();
    assert_eq!(support.reason.as_deref(), Some("another XDP program or AF_XDP socket uses it"));
    let membership = net.on("eth0", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).wire(Wire::Auto));
    assert_eq!(status(&receiver).reason, support.reason);
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    assert!(has_xdp(net), "it still runs");

    drop(receiver);
    attached.unwrap().detach().unwrap();
    assert_eq!(status(&taking(net, 1)).reason, None);
}

fn another_process_that_receives_is_named(net: &Net) {
    let process = receiving_process(net, Wire::Off);
    let membership = net.on("eth0", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).wire(Wire::Auto));
    let reason = status(&receiver).reason.unwrap();
    let name = format!("(process {}) receives on this port, too", process.id());
    assert!(reason.ends_with(&name), "{reason}");
    process.kill().unwrap();
}

fn a_group_returns_to_the_sockets_when_a_capture_begins(net: &Net) {
    let receiver = taking(net, 1);
    let capture = net.receiver.run(|| {
        let protocol = i32::from(0x0003_u16.to_be());
        socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(protocol.into())).unwrap()
    });
    let deadline = Instant::now() + TIMEOUT;
    let mut sent = 0;
    while status(&receiver).is_taken() {
        assert!(Instant::now() < deadline, "it was not noticed");
        net.send("eth0", net.group(1), b"x");
        sent += 1;
    }
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end").len(), sent + 1, "each arrives once");
    drop(capture.unwrap());
}

/// The kernel distributes the flows of a link over its queues.
fn every_queue_of_an_interface_is_read(net: &Net) {
    let interface = if net.connect_card_with_queues() { "eth0" } else { link_with_queues(net) };
    let membership = net.on("many", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).wire(Wire::Require));

    // Each sender has a port of its own, and so a flow.
    let mut sent: Vec<String> = (0..64).map(|number: u32| number.to_string()).collect();
    for text in &sent {
        net.send_with(
            |builder| builder.interface(interface.parse().unwrap()),
            |sender| sender.send_to(text.as_bytes(), net.group(1)).unwrap(),
        );
    }
    let mut received: Vec<String> = sent.iter().map(|_| next(&receiver).text).collect();
    received.sort();
    sent.sort();
    assert_eq!(received, sent);
    assert_eq!(net.datagrams_seen_by_the_kernel(), 0, "all were taken");
}

/// Connects the hosts by a virtual link with several queues, whose interfaces have the returned name.
fn link_with_queues(net: &Net) -> &'static str {
    let elsewhere = net.sender.command("sleep").unwrap().arg("600").spawn().unwrap();
    let queues = ["numtxqueues", "4", "numrxqueues", "4"];
    let ip = |host: &mcast_lab::Host, arguments: &[&str]| {
        let status = host.command("ip").unwrap().args(arguments).status().unwrap();
        assert!(status.success(), "{arguments:?}");
    };
    let process = elsewhere.id().to_string();
    let add = ["link", "add", "many"];
    let peer = ["type", "veth", "peer", "name", "many", "netns", &process];
    ip(&net.receiver, &[&add[..], &queues, &peer, &queues].concat());
    elsewhere.kill().unwrap();
    for (host, last) in [(&net.sender, 1), (&net.receiver, 2)] {
        ip(host, &["link", "set", "many", "up"]);
        host.add_address("many", &format!("10.9.0.{last}/24")).unwrap();
        ip(host, &["addr", "add", &format!("fd00:9::{last}/64"), "dev", "many", "nodad"]);
    }
    "many"
}

/// Starts a process that receives the first group, and waits until it has joined.
pub(crate) fn receiving_process(net: &Net, wire: Wire) -> mcast_lab::Child {
    let mut process = net
        .receiver
        .command(std::env::current_exe().unwrap())
        .unwrap()
        .args(["--ignored", "--exact", "wire::receives_until_it_is_killed", "--nocapture"])
        .env("GROUP", net.group(1).to_string())
        .env("WIRE", if wire == Wire::Off { "off" } else { "require" })
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("receiving")), "it did not start");
    process
}

fn nothing_remains_of_a_killed_process(net: &Net) {
    let mut process = receiving_process(net, Wire::Require);
    assert!(has_xdp(net), "the program is not listed");
    process.kill().unwrap();
    process.wait().unwrap();

    let deadline = Instant::now() + TIMEOUT;
    while has_xdp(net) {
        assert!(Instant::now() < deadline, "the program remains");
        std::thread::yield_now();
    }
    let receiver = taking(net, 1);
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

#[test]
#[ignore = "started by tests that need another process"]
fn receives_until_it_is_killed() {
    let group = std::env::var("GROUP").unwrap();
    let wire = if std::env::var("WIRE").unwrap() == "off" { Wire::Off } else { Wire::Require };
    let membership = group.parse::<mcast::GroupAddr>().unwrap();
    let membership = mcast::Membership::new(membership).on(mcast::InterfaceSelector::Name("eth0".into()));
    let receiver = Receiver::builder().join(membership).wire(wire).build().unwrap();
    println!("receiving");
    receiver.recv(&mut [0; 16]).unwrap();
}

/// Returns whether an XDP program runs on the receiver's `eth0`.
pub(crate) fn has_xdp(net: &Net) -> bool {
    let shown = net.receiver.command("ip").unwrap().args(["link", "show", "eth0"]).output().unwrap();
    String::from_utf8_lossy(&shown.stdout).contains("xdp")
}
