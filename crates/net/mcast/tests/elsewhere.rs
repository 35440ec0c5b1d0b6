//! The guarantees on systems without a lab: macOS, FreeBSD, Windows (and Wine, where this project
//! runs it). Nothing leaves the machine: everything is sent on the loopback interface, or on
//! `feed0` and `feed1`, which the runner for Wine creates.
#![cfg(not(any(target_os = "linux", target_os = "android")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use mcast::interface::{Interface, InterfaceWatcher};
use mcast::{Batch, Datagram, Destination, ErrorKind, InterfaceSelector, Membership, Receiver, Sender};

const DEADLINE: Duration = Duration::from_secs(10);
/// Long enough for a datagram that must not arrive to have arrived.
const SILENCE: Duration = Duration::from_millis(300);

/// Returns a port that no other test uses: below the ports that a system gives to senders, which
/// begin at 10,000 (FreeBSD), 32,768 (Linux, and so Wine) or 49,152 (macOS and Windows).
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(7_100);

    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn interface(name: &str) -> Option<Interface> {
    mcast::interface::list().unwrap().into_iter().find(|interface| interface.name == name)
}

/// Returns an interface whose IPv4 multicast no other host receives.
fn test_interface() -> Interface {
    interface("feed0").unwrap_or_else(loopback)
}

fn loopback() -> Interface {
    mcast::interface::list().unwrap().into_iter().find(|interface| interface.loopback).unwrap()
}

fn on(interface: &Interface, group: &str, port: u16) -> Membership {
    let address = format!("{group}:{port}").parse::<Membership>().unwrap();
    address.on(InterfaceSelector::Index(interface.index))
}

fn receiver(membership: &Membership) -> Receiver {
    Receiver::join_one(membership.clone()).unwrap()
}

fn sender(to: &Membership) -> Sender {
    Sender::to(Destination { address: to.address, interface: to.interface.clone() }).unwrap()
}

fn next<'b>(receiver: &Receiver, buffer: &'b mut [u8]) -> Datagram<'b> {
    receiver.recv_timeout(buffer, DEADLINE).unwrap().expect("nothing arrived")
}

#[track_caller]
fn assert_silent(receiver: &Receiver) {
    let mut buffer = [0; 64];
    let received = receiver.recv_timeout(&mut buffer, SILENCE).unwrap();
    assert!(received.is_none(), "{received:?}");
}

#[test]
fn a_datagram_reports_its_group_interface_and_source() {
    for (interface, group) in [(test_interface(), "239.1.2.3"), (loopback(), "239.1.2.4")] {
        let membership = on(&interface, group, port());
        let receiver = receiver(&membership);
        sender(&membership).send(b"hello").unwrap();

        let mut buffer = [0; 64];
        let datagram = next(&receiver, &mut buffer);

        assert_eq!(datagram.payload(), b"hello");
        assert_eq!(datagram.group(), Some(membership.address));
        assert_eq!(datagram.interface, interface.index);
        let own = interface.addresses.iter().any(|entry| entry.address == datagram.source.ip());
        assert!(own, "{datagram:?}");
        assert_eq!(datagram.hop_limit, Some(1));
        assert!(!datagram.truncated);
    }
}

#[test]
fn ipv6_datagrams_arrive_on_the_named_interface() {
    let Some(interface) = interface("feed0") else {
        eprintln!("SKIPPED: no interface is known to have private IPv6 multicast");
        return;
    };
    for group in ["[ff15::1]", "[ff02::4242]"] {
        let membership = on(&interface, group, port());
        let receiver = receiver(&membership);
        sender(&membership).send(b"six").unwrap();

        let mut buffer = [0; 64];
        let datagram = next(&receiver, &mut buffer);

        assert_eq!((datagram.payload(), datagram.group()), (&b"six"[..], Some(membership.address)));
        assert_eq!(datagram.interface, interface.index);
    }
}

#[test]
fn other_groups_on_the_same_port_are_not_delivered() {
    let (interface, port) = (test_interface(), port());
    let (wanted, other) = (on(&interface, "239.1.2.3", port), on(&interface, "239.1.2.4", port));
    let receiver_of_one = receiver(&wanted);
    // As in another program, so that the system does receive the group.
    let receiver_of_other = receiver(&other);

    sender(&other).send(b"not for you").unwrap();

    let mut buffer = [0; 64];
    assert_eq!(next(&receiver_of_other, &mut buffer).payload(), b"not for you");
    assert_silent(&receiver_of_one);
}

#[test]
fn other_interfaces_are_not_delivered() {
    let (Some(joined), Some(other)) = (interface("feed0"), interface("feed1")) else {
        eprintln!("SKIPPED: this test needs two interfaces");
        return;
    };
    let port = port();
    let on_one = receiver(&on(&joined, "239.1.2.3", port));
    let on_other = receiver(&on(&other, "239.1.2.3", port));

    sender(&on(&other, "239.1.2.3", port)).send(b"elsewhere").unwrap();

    let mut buffer = [0; 64];
    assert_eq!(next(&on_other, &mut buffer).interface, other.index);
    assert_silent(&on_one);
}

#[test]
fn unicast_to_the_port_is_not_delivered() {
    let membership = on(&test_interface(), "239.1.2.3", port());
    let receiver = receiver(&membership);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"unicast", ("127.0.0.1", membership.address.port)).unwrap();
    assert_silent(&receiver);
}

#[test]
fn several_groups_on_a_port_are_distinguished() {
    let (interface, port) = (test_interface(), port());
    // Wine inherits Linux's limit of 20 per socket.
    let groups: Vec<_> = (1..=20).map(|n| on(&interface, &format!("239.9.0.{n}"), port)).collect();
    let receiver = Receiver::builder().join_all(groups.clone()).build().unwrap();
    for group in &groups {
        sender(group).send(group.address.group.to_string().as_bytes()).unwrap();
    }
    for _ in &groups {
        let mut buffer = [0; 64];
        let datagram = next(&receiver, &mut buffer);
        assert_eq!(datagram.payload(), datagram.group().unwrap().group.to_string().as_bytes());
    }
    assert_silent(&receiver);
}

#[test]
fn a_datagram_that_does_not_fit_is_marked_as_truncated() {
    let membership = on(&test_interface(), "239.1.2.3", port());
    let receiver = receiver(&membership);
    sender(&membership).send(b"much too long").unwrap();
    let mut small = [0; 4];
    let datagram = next(&receiver, &mut small);
    assert_eq!((datagram.payload(), datagram.truncated), (&b"much"[..], true));
}

#[test]
fn an_empty_datagram_counts_as_a_datagram() {
    let membership = on(&test_interface(), "239.1.2.3", port());
    let receiver = receiver(&membership);
    sender(&membership).send(b"").unwrap();
    let mut buffer = [0; 4];
    assert_eq!(next(&receiver, &mut buffer).payload(), b"");
}

#[test]
fn large_datagrams_arrive_and_too_large_ones_are_refused() {
    let membership = on(&loopback(), "239.1.2.3", port());
    let receiver = receiver(&membership);
    let sender = sender(&membership);
    let large = vec![7; 60_000];
    sender.send(&large).unwrap();
    let mut buffer = vec![0; 65_536];
    assert_eq!(next(&receiver, &mut buffer).payload(), large);

    let error = sender.send(&vec![0; 70_000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn a_batch_delivers_datagrams_in_order() {
    let membership = on(&test_interface(), "239.1.2.3", port());
    let receiver = receiver(&membership);
    let sender = sender(&membership);
    for number in 0..20_u8 {
        sender.send(&[number]).unwrap();
    }
    let (mut batch, mut numbers) = (Batch::new(8, 64), Vec::new());
    while numbers.len() < 20 {
        assert!(receiver.recv_batch(&mut batch, Some(DEADLINE)).unwrap() > 0);
        numbers.extend(batch.iter().map(|datagram| datagram.payload()[0]));
    }
    assert!(numbers.iter().copied().eq(0..20), "{numbers:?}");
}

/// Where the system supports segmentation, these are sent as segmented buffers.
#[test]
fn a_batch_of_equal_datagrams_arrives_as_separate_datagrams() {
    let port = port();
    let membership = on(&test_interface(), "239.1.2.3", port);
    let (receiver, sender) = (receiver(&membership), sender(&membership));
    let payloads: Vec<Vec<u8>> = (0..100_u8).map(|number| vec![number; 100]).chain([vec![100; 50]]).collect();
    let outgoing: Vec<_> = payloads.iter().map(|payload| mcast::Outgoing::new(payload)).collect();
    assert_eq!(sender.send_batch(&outgoing).unwrap(), payloads.len());
    assert_eq!(sender.statistics().datagrams, payloads.len() as u64);

    let mut buffer = [0; 8192];
    for payload in &payloads {
        assert_eq!(next(&receiver, &mut buffer).payload(), payload);
    }
}

#[test]
fn a_wake_up_ends_a_wait_once() {
    let receiver = receiver(&on(&test_interface(), "239.1.2.3", port()));
    let waker = receiver.waker();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| receiver.recv(&mut [0; 64]).unwrap_err().kind());
        waker.wake().unwrap();
        assert_eq!(waiting.join().unwrap(), ErrorKind::Woken);
    });
    assert_silent(&receiver);
}

#[test]
fn a_group_is_joined_and_left_while_a_thread_waits() {
    let (interface, first) = (test_interface(), port());
    let receiver = receiver(&on(&interface, "239.1.2.3", first));
    let later = on(&interface, "239.1.2.4", port());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut buffer = [0; 64];
            next(&receiver, &mut buffer).payload().to_vec()
        });
        receiver.join(later.clone()).unwrap();
        sender(&later).send(b"later").unwrap();
        assert_eq!(waiting.join().unwrap(), b"later");
    });

    receiver.leave(&later).unwrap();
    sender(&later).send(b"too late").unwrap();
    assert_silent(&receiver);
    assert_eq!(receiver.leave(&later).unwrap_err().kind(), ErrorKind::NotJoined);
}

#[test]
fn a_wait_ends_at_its_timeout() {
    let receiver = receiver(&on(&test_interface(), "239.1.2.3", port()));
    let started = Instant::now();
    assert!(receiver.recv_timeout(&mut [0; 4], SILENCE).unwrap().is_none());
    assert!((SILENCE..DEADLINE).contains(&started.elapsed()));
}

#[test]
fn a_reply_comes_from_the_port_of_the_service() {
    let membership = on(&test_interface(), "239.1.2.3", port());
    let receiver = receiver(&membership);
    let sender = sender(&membership);
    sender.send(b"who is there?").unwrap();
    let mut buffer = [0; 64];
    let question = next(&receiver, &mut buffer);

    receiver.reply(question.arrival(), b"me").unwrap();

    let mut buffer = [0; 64];
    let family = membership.address.group.family();
    let reply = sender.recv_answer(family, &mut buffer, DEADLINE).unwrap().expect("no reply arrived");
    assert_eq!((reply.payload, reply.source.port()), (&b"me"[..], membership.address.port));
}

#[test]
fn excluded_sources_are_not_delivered() {
    let (interface, port) = (test_interface(), port());
    let own = interface.addresses_of(mcast::Family::V4).next().unwrap();
    let group = format!("!{own}@239.1.2.3:{port}").parse::<Membership>().unwrap();
    let excluding = receiver(&group.clone().on(InterfaceSelector::Index(interface.index)));
    let any = receiver(&on(&interface, "239.1.2.3", port));

    sender(&on(&interface, "239.1.2.3", port)).send(b"hello").unwrap();

    let mut buffer = [0; 64];
    assert_eq!(next(&any, &mut buffer).source.ip(), own);
    assert_silent(&excluding);
}

#[test]
fn a_source_specific_membership_works_or_is_refused_as_unsupported() {
    let (interface, port) = (test_interface(), port());
    let own = interface.addresses_of(mcast::Family::V4).next().unwrap();
    let text = format!("{own}@232.1.2.3:{port}");
    let membership: Membership = text.parse().unwrap();
    match Receiver::join_one(membership.on(InterfaceSelector::Index(interface.index))) {
        Ok(receiver) => {
            sender(&on(&interface, "232.1.2.3", port)).send(b"mine").unwrap();
            let mut buffer = [0; 64];
            assert_eq!(next(&receiver, &mut buffer).source.ip(), own);
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
    }
}

#[test]
fn an_unknown_interface_is_refused() {
    let membership: Membership = "239.1.2.3%nowhere:7000".parse().unwrap();
    assert_eq!(Receiver::join_one(membership).unwrap_err().kind(), ErrorKind::NoSuchInterface);
}

#[test]
fn the_hop_limit_can_change_from_datagram_to_datagram() {
    let membership = on(&test_interface(), "239.1.2.3", port());
    let receiver = receiver(&membership);
    let sender = sender(&membership);
    for hops in [5, 1, 9] {
        sender.send_one(&mcast::Outgoing::new(b"hop").hop_limit(hops)).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(next(&receiver, &mut buffer).hop_limit, Some(hops));
    }
    sender.send(b"as before").unwrap();
    let mut buffer = [0; 64];
    assert_eq!(next(&receiver, &mut buffer).hop_limit, Some(1));
}

#[test]
fn a_watcher_is_silent_while_nothing_changes() {
    let watcher = InterfaceWatcher::new().unwrap();
    assert_eq!(watcher.wait(Some(SILENCE)).unwrap(), None);
    assert_eq!(watcher.known(), mcast::interface::list().unwrap());
}
