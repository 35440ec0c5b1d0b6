//! Taking datagrams off the interface while something changes: others begin to receive, interfaces change, and processes are
//! stopped.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast::{Family, Receiver, Wire};
use mcast_lab::{Child, Host};

use crate::net::{Net, TIMEOUT, next, texts_until};
use crate::wire::{frame, on_the_wire, program, receive, receiving_process, send_ten, status, taking};

on_the_wire!(
    a_group_returns_to_the_sockets_when_another_interface_receives_its_frames,
    a_group_returns_to_the_sockets_when_a_container_shares_its_interface,
    a_group_returns_to_the_sockets_when_rules_see_its_frames_first,
    a_group_returns_to_the_sockets_when_its_interface_becomes_a_port,
    an_interface_that_leaves_the_namespace_is_not_followed_by_the_program,
    datagrams_from_an_address_that_this_host_had_are_delivered,
    a_stopped_process_takes_nothing_from_others,
    a_running_process_takes_datagrams_for_as_long_as_it_runs,
    damaged_datagrams_are_counted_apart,
    loss_is_never_reported_before_it_happened,
    an_interface_is_left_alone_once_the_kernel_forwards_from_it,
    an_mtu_that_the_driver_refuses_is_named,
);

/// Sends numbered datagrams until the group has returned to the sockets, and one more, each of which must arrive once.
fn each_arrives_once_until_returned(net: &Net, receiver: &Receiver) -> String {
    let deadline = Instant::now() + TIMEOUT;
    let mut sent: Vec<String> = Vec::new();
    let reason = loop {
        if let Some(reason) = status(receiver).reason {
            break reason;
        }
        assert!(Instant::now() < deadline, "it was not noticed");
        sent.push(sent.len().to_string());
        net.send("eth0", net.group(1), sent.last().unwrap().as_bytes());
    };
    net.send("eth0", net.group(1), b"end");
    sent.push("end".into());
    let mut texts = texts_until(receiver, "end");
    texts.sort();
    sent.sort();
    assert_eq!(texts, sent, "each arrives once");
    reason
}

fn a_group_returns_to_the_sockets_when_another_interface_receives_its_frames(net: &Net) {
    let receiver = taking(net, 1);
    net.receiver.macvlan("upper", "eth0", &[]).unwrap();
    let reason = each_arrives_once_until_returned(net, &receiver);
    assert_eq!(reason, "upper receives its frames, too");
    // The program still runs there, and takes no other group either.
    net.receiver.run(|| receiver.join(net.on("eth0", net.group(2)))).unwrap().unwrap_err();
    assert!(receiver.wire_status().iter().all(|status| !status.is_taken()), "{:?}", receiver.wire_status());
}

/// As the networks of containers do it: nothing of that is an interface of the receiver's namespace.
fn a_group_returns_to_the_sockets_when_a_container_shares_its_interface(net: &Net) {
    let receiver = taking(net, 1);
    let container = net.lab.host("container").unwrap();
    let inside = container.command("sleep").unwrap().arg("600").spawn().unwrap();
    let of_container = inside.id().to_string();
    let kind = ["type", "macvlan", "mode", "bridge"];
    ip(
        &net.receiver,
        &[&["link", "add", "link", "eth0", "name", "shared", "netns", &of_container], &kind[..]].concat(),
    );
    ip(&container, &["link", "set", "shared", "up"]);
    let reason = each_arrives_once_until_returned(net, &receiver);
    assert!(
        reason.starts_with("something outside of this network namespace receives its frames"),
        "{reason}"
    );
    // Nor does one that joins later take anything.
    net.receiver.run(|| receiver.join(net.on("eth0", net.group(2)))).unwrap().unwrap_err();
}

fn a_group_returns_to_the_sockets_when_rules_see_its_frames_first(net: &Net) {
    let receiver = taking(net, 1);
    let chain = "table netdev tap { chain copies { type filter hook ingress device eth0 priority 0; }; }";
    let loaded = net.receiver.command("nft").and_then(|mut nft| nft.arg(chain).output());
    if !loaded.is_ok_and(|loaded| loaded.status.success()) {
        return mcast_lab::skip("nft cannot filter frames that arrive here");
    }
    let reason = each_arrives_once_until_returned(net, &receiver);
    assert!(reason.starts_with("rules at its ingress see its frames first"), "{reason}");
}

fn a_group_returns_to_the_sockets_when_its_interface_becomes_a_port(net: &Net) {
    let receiver = taking(net, 1);
    ip(&net.receiver, &["link", "add", "br0", "type", "bridge"]);
    ip(&net.receiver, &["link", "set", "eth0", "master", "br0"]);
    let deadline = Instant::now() + TIMEOUT;
    let reason = loop {
        assert!(Instant::now() < deadline, "it was not noticed");
        if let Some(reason) = status(&receiver).reason {
            break reason;
        }
        std::thread::yield_now();
    };
    assert_eq!(reason, "it is a port of br0");
}

/// The receiver does not follow its interfaces, so nothing else notices it.
fn an_interface_that_leaves_the_namespace_is_not_followed_by_the_program(net: &Net) {
    let _receiver = taking(net, 1);
    let other = net.lab.host("other").unwrap();
    let elsewhere = other.command("sleep").unwrap().arg("600").spawn().unwrap();
    ip(&net.receiver, &["link", "set", "eth0", "netns", &elsewhere.id().to_string()]);
    let has_program = || {
        let shown = other.command("ip").unwrap().args(["link", "show", "eth0"]).output().unwrap();
        assert!(shown.status.success());
        String::from_utf8_lossy(&shown.stdout).contains("xdp")
    };
    let deadline = Instant::now() + TIMEOUT;
    while has_program() {
        assert!(Instant::now() < deadline, "the program still runs there");
        std::thread::yield_now();
    }
    elsewhere.kill().unwrap();
}

/// An address moves from one host to another, as with VRRP.
fn datagrams_from_an_address_that_this_host_had_are_delivered(net: &Net) {
    if net.family == Family::V6 {
        // The kernel does not look at the sources of IPv6.
        return;
    }
    net.receiver.add_address("eth0", "10.0.0.9/24").unwrap();
    let receiver = taking(net, 1);
    let frame = frame(net, "10.0.0.9".parse().unwrap(), b"moved");
    send_ten(net, &frame);
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    ip(&net.receiver, &["address", "delete", "10.0.0.9/24", "dev", "eth0"]);
    let deadline = Instant::now() + TIMEOUT;
    loop {
        assert!(Instant::now() < deadline, "they are still discarded");
        send_ten(net, &frame);
        net.send("eth0", net.group(1), b"end");
        if texts_until(&receiver, "end").len() > 1 {
            break;
        }
    }
    assert_eq!(status(&receiver).reason, None);
}

fn a_stopped_process_takes_nothing_from_others(net: &Net) {
    let process = receiving_process(net, Wire::Require);
    let signal = |name: &str| {
        let status = std::process::Command::new("kill").args([name, &process.id().to_string()]).status();
        assert!(status.unwrap().success());
    };
    signal("-STOP");
    let other = program(net);
    other.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while other.recv(&mut [0; 64]).is_err() {
        assert!(Instant::now() < deadline, "the stopped process takes everything");
        net.send("eth0", net.group(1), b"x");
    }
    other.set_nonblocking(false).unwrap();
    net.send("eth0", net.group(1), b"end");
    while receive(&other) != b"end" {}
    signal("-CONT");
    process.kill().unwrap();
}

/// The program takes frames for two seconds after each renewal.
fn a_running_process_takes_datagrams_for_as_long_as_it_runs(net: &Net) {
    let receiver = taking(net, 1);
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed() < Duration::from_secs(5) {
        net.send("eth0", net.group(1), b"x");
        assert_eq!(next(&receiver).text, "x");
        sent += 1;
    }
    // On a very busy machine, a renewal may be late.
    let by_the_socket = net.datagrams_seen_by_the_kernel();
    assert!(by_the_socket < sent / 4, "{by_the_socket} of {sent} continued to the kernel");
}

fn damaged_datagrams_are_counted_apart(net: &Net) {
    let receiver = taking(net, 1);
    let mut frame = frame(net, net.address(0, 1), b"damaged");
    *frame.last_mut().unwrap() ^= 1;
    send_ten(net, &frame);
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    let statistics = receiver.statistics();
    assert_eq!((statistics.damaged, statistics.refused, statistics.received), (10, 0, 1));
}

/// The ring overflows while it is read, so that several gaps wait in it.
fn loss_is_never_reported_before_it_happened(net: &Net) {
    const SENT: u64 = 20_000;
    let membership = net.on("eth0", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).receive_buffer(0).wire(Wire::Require));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            net.send_with(
                |builder| builder.interface("eth0".parse().unwrap()).to(net.group(1).into()),
                |sender| (0..SENT).for_each(|number| sender.send(&number.to_be_bytes()).unwrap()),
            );
        });
        let (mut received, mut lost) = (0, 0);
        let mut buffer = [0; 64];
        let deadline = Instant::now() + TIMEOUT;
        while received + receiver.statistics().dropped.count().unwrap() < SENT {
            assert!(Instant::now() < deadline, "received {received}, {:?}", receiver.statistics());
            let Some(datagram) = receiver.recv_timeout(&mut buffer, Duration::ZERO).unwrap() else {
                continue;
            };
            lost += datagram.lost.unwrap();
            let number = u64::from_be_bytes(*datagram.payload().first_chunk().unwrap());
            assert!(received + lost <= number, "{lost} lost and {received} received before number {number}");
            received += 1;
        }
    });
}

/// Adds a virtual interface for multicast routing, in any table, until its input ends.
const ROUTER: &str = "import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
s.setsockopt(socket.IPPROTO_IP, 209, struct.pack('I', 100))
s.setsockopt(socket.IPPROTO_IP, 200, 1)
index = socket.if_nametoindex(sys.argv[1])
s.setsockopt(socket.IPPROTO_IP, 202, struct.pack('HBBIii', 0, 8, 1, 0, index, 0))
print('routing', flush=True)
sys.stdin.read()";

/// The interface has another name than when the group was joined, and the router another table than the usual one.
fn an_interface_is_left_alone_once_the_kernel_forwards_from_it(net: &Net) {
    if net.family == Family::V6 || !mcast_lab::has_program("python3", "--version", "a multicast router") {
        return;
    }
    let receiver = taking(net, 1);
    ip(&net.receiver, &["link", "set", "eth0", "down"]);
    ip(&net.receiver, &["link", "set", "eth0", "name", "lan0"]);
    ip(&net.receiver, &["link", "set", "lan0", "up"]);
    let mut router: Child = net
        .receiver
        .command("python3")
        .unwrap()
        .args(["-c", ROUTER, "lan0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(router.stdout.take().unwrap()).lines().next();
    assert_eq!(line.unwrap().unwrap(), "routing");
    let reason = each_arrives_once_until_returned(net, &receiver);
    assert_eq!(reason, "the kernel forwards multicast from this interface");
    router.kill().unwrap();
}

/// The driver looks at the other end of the link, which is in another namespace.
fn an_mtu_that_the_driver_refuses_is_named(net: &Net) {
    let host = net.lab.host("far").unwrap();
    let far = host.command("sleep").unwrap().arg("600").spawn().unwrap();
    let process = far.id().to_string();
    ip(
        &net.receiver,
        &["link", "add", "long", "type", "veth", "peer", "name", "long", "mtu", "9000", "netns", &process],
    );
    ip(&net.receiver, &["link", "set", "long", "up"]);
    let index = net.index(&net.receiver, "long");
    let reason = "the MTU of the link, 9000, is too large for an XDP program (a veth pair allows 3500)";
    let support = net.receiver.run(|| mcast::wire_support(index)).unwrap().unwrap();
    assert_eq!(support.reason.as_deref(), Some(reason));
    let membership = net.on("long", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).wire(Wire::Auto));
    assert_eq!(status(&receiver).reason.as_deref(), Some(reason));
    far.kill().unwrap();
}

fn ip(host: &Host, arguments: &[&str]) {
    let status = host.command("ip").unwrap().args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}");
}
