//! Bad links impair datagrams as their seed decides.

use std::io::IoSlice;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use mcast_lab::{
    BadLink, Host, HostInterface, Impairment, ImpairmentScope, Lab, LinkDirection, LinkStatistics,
};
use mcast_sys::unicast;

use super::sockets::{GROUP, Sender, TIMEOUT, receive, receiver, sender};

struct Pair {
    _lab: Lab,
    a: Host,
    b: Host,
    link: BadLink,
}

fn pair(impairment: Impairment) -> Pair {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let (left, right) = (["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]);
    let link = lab.bad_link(&a, "eth0", &left, &b, "eth0", &right, impairment).unwrap();
    Pair { _lab: lab, a, b, link }
}

fn interface(host: &Host, address: &str) -> HostInterface {
    HostInterface {
        host: host.name().to_owned(),
        name: "eth0".to_owned(),
        index: host.interface_index("eth0").unwrap(),
        hardware_address: [0; 6],
        addresses: vec![address.parse().unwrap()],
    }
}

/// Sends `count` numbers and returns those that arrive, in order of arrival. The end marker is sent after the
/// impairment has been removed.
fn received_numbers(Pair { a, b, link, .. }: &Pair, count: u32) -> Vec<u32> {
    let receiver = receiver(b, &interface(b, "10.0.0.2/24"), GROUP);
    let sender = sender(a, &interface(a, "10.0.0.1/24"));
    send_numbers(&sender, count);
    wait_for_datagrams(link, u64::from(count));
    link.set(Impairment::default()).unwrap();
    sender.send(GROUP, &u32::MAX.to_be_bytes());
    let numbers = || u32::from_be_bytes(receive(&receiver).0.try_into().unwrap());
    std::iter::repeat_with(numbers).take_while(|number| *number != u32::MAX).collect()
}

fn send_numbers(sender: &Sender, count: u32) {
    for number in 0..count {
        sender.send(GROUP, &number.to_be_bytes());
    }
}

fn wait_for_datagrams(link: &BadLink, count: u64) {
    let deadline = Instant::now() + TIMEOUT;
    while link.statistics().datagrams < count {
        assert!(Instant::now() < deadline, "{:?}", link.statistics());
        std::thread::yield_now();
    }
}

#[test]
fn the_seed_decides_which_datagrams_are_lost() {
    const COUNT: u32 = 200;
    let impairment = Impairment { loss: 0.2, seed: 7, ..Impairment::default() };
    let survivors: Vec<_> =
        (0..COUNT).filter(|n| !impairment.fate(LinkDirection::Forward, u64::from(*n)).lost).collect();
    for _ in 0..2 {
        let pair = pair(impairment);
        assert_eq!(received_numbers(&pair, COUNT), survivors);
        let statistics = pair.link.statistics();
        assert_eq!(statistics.lost, u64::from(COUNT) - survivors.len() as u64);
        assert_eq!((statistics.overruns, statistics.unsent), (0, 0));
    }
    let other = pair(Impairment { seed: 8, ..impairment });
    assert_ne!(received_numbers(&other, COUNT), survivors);
}

#[test]
fn duplicated_and_reordered_datagrams_are_counted_exactly() {
    const COUNT: u32 = 100;
    let impairment = Impairment { duplicate: 0.1, reorder: 0.1, seed: 5, ..Impairment::default() };
    let pair = pair(impairment);
    let arrived = received_numbers(&pair, COUNT);
    let statistics = pair.link.statistics_of(LinkDirection::Forward);
    let swapped = arrived.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
    assert_eq!(arrived.len() as u64, u64::from(COUNT) + statistics.duplicated);
    assert_eq!(statistics.reordered, swapped);
    assert!(statistics.duplicated > 0 && statistics.reordered > 0, "{statistics:?}");
}

#[test]
fn both_directions_are_delayed() {
    let delay = Duration::from_millis(20);
    let Pair { a, b, link, .. } = &pair(Impairment { delay, ..Impairment::default() });
    let far = b.run(|| UdpSocket::bind("10.0.0.2:5000").unwrap()).unwrap();
    let near = a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    [&far, &near].iter().for_each(|socket| socket.set_read_timeout(Some(TIMEOUT)).unwrap());
    let start = Instant::now();
    near.send_to(b"ping", "10.0.0.2:5000").unwrap();
    let (_, from) = receive(&far);
    far.send_to(b"pong", from).unwrap();
    receive(&near);
    let elapsed = start.elapsed();
    assert!(elapsed >= delay * 2, "{elapsed:?}");
    assert_eq!(link.statistics().delayed, 2);
}

#[test]
fn each_gso_segment_is_a_frame_of_its_own() {
    let pair = pair(Impairment { loss: 0.5, seed: 1, ..Impairment::default() });
    let socket = pair.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    send_segments(&socket, 20);
    wait_for_datagrams(&pair.link, 20);
    let expected = (0..20).filter(|n| {
        Impairment { loss: 0.5, seed: 1, ..Impairment::default() }.fate(LinkDirection::Forward, *n).lost
    });
    assert_eq!(pair.link.statistics().lost, expected.count() as u64);
}

/// Sends datagrams of 100 bytes in one call with GSO. Some kernels (6.1) refuse GSO on interfaces without checksum
/// offload, such as those of bad links. There the datagrams are sent one by one.
fn send_segments(socket: &UdpSocket, datagrams: usize) {
    let payload = [0; 100];
    let segments = vec![IoSlice::new(&payload); datagrams];
    let to = "10.0.0.2:5000".parse().unwrap();
    match unicast::send_segments(socket, to, &segments) {
        Err(error) if unicast::is_refusal(&error) => {
            (0..datagrams).for_each(|_| assert_eq!(socket.send_to(&payload, to).unwrap(), payload.len()));
        }
        sent => sent.unwrap(),
    }
}

#[test]
fn every_datagram_of_a_flood_is_counted() {
    const SENDS: u64 = 2000;
    let pair = pair(Impairment { loss: 0.1, ..Impairment::default() });
    let socket = pair.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    // Until the neighbour is resolved, the host itself drops datagrams that exceed its queue.
    socket.send_to(b"first", "10.0.0.2:5000").unwrap();
    wait_for_datagrams(&pair.link, 1);
    (0..SENDS).for_each(|_| send_segments(&socket, 50));
    // A few of the overruns may be frames of neighbour discovery and MLD.
    let expected = 1 + 50 * SENDS..=1 + 50 * SENDS + 20;
    wait_for(|| {
        let LinkStatistics { datagrams, overruns, .. } = pair.link.statistics_of(LinkDirection::Forward);
        expected.contains(&(datagrams + overruns))
    });
}

#[test]
fn the_rate_limit_is_kept() {
    // 20 frames of 1,042 bytes take 167 ms at 1 Mbit/s.
    let pair = pair(Impairment { rate: Some(1_000_000), ..Impairment::default() });
    let receiver = receiver(&pair.b, &interface(&pair.b, "10.0.0.2/24"), GROUP);
    let sender = sender(&pair.a, &interface(&pair.a, "10.0.0.1/24"));
    let start = Instant::now();
    (0..20).for_each(|_| sender.send(GROUP, &[0; 1000]));
    (0..20).for_each(|_| drop(receive(&receiver)));
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(166), "{elapsed:?}");
}

#[test]
fn a_cut_link_has_no_carrier_until_it_is_restored() {
    let pair = pair(Impairment::default());
    let carrier = |host: &Host| host.run(|| has_carrier("eth0")).unwrap();
    assert!(carrier(&pair.a) && carrier(&pair.b));
    pair.link.cut().unwrap();
    wait_for(|| !carrier(&pair.a) && !carrier(&pair.b));
    pair.link.restore().unwrap();
    wait_for(|| carrier(&pair.a) && carrier(&pair.b));
    assert_eq!(received_numbers(&pair, 5), [0, 1, 2, 3, 4]);
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns whether an interface in the namespace of the calling thread has a carrier (IFF_RUNNING).
fn has_carrier(interface: &str) -> bool {
    let interfaces = mcast_sys::interface::list().unwrap();
    interfaces.iter().any(|each| each.name == interface && each.running)
}

#[test]
fn neighbour_discovery_is_only_impaired_when_the_scope_is_all() {
    let pair = pair(Impairment { loss: 1.0, ..Impairment::default() });
    let socket = pair.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    socket.send_to(b"x", "10.0.0.2:5000").unwrap();
    // The datagram is only sent after ARP has succeeded.
    wait_for_datagrams(&pair.link, 1);
    assert!(pair.link.statistics().untouched >= 2);

    pair.link.set(Impairment { loss: 1.0, scope: ImpairmentScope::All, ..Impairment::default() }).unwrap();
    let before = pair.link.statistics();
    let socket = pair.a.run(|| UdpSocket::bind("[fd00::1]:0").unwrap()).unwrap();
    socket.send_to(b"x", "[fd00::2]:5000").unwrap();
    wait_for_datagrams(&pair.link, before.datagrams + 1);
    assert_eq!(pair.link.statistics().untouched, before.untouched);
}

#[test]
fn directions_can_have_different_impairments() {
    let pair = pair(Impairment::default());
    let lossy = Impairment { loss: 1.0, ..Impairment::default() };
    pair.link.set_direction(LinkDirection::Reverse, lossy).unwrap();
    let far = pair.b.run(|| UdpSocket::bind("10.0.0.2:5000").unwrap()).unwrap();
    let near = pair.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    far.set_read_timeout(Some(TIMEOUT)).unwrap();
    near.send_to(b"ping", "10.0.0.2:5000").unwrap();
    let (_, from) = receive(&far);
    far.send_to(b"pong", from).unwrap();
    wait_for_datagrams(&pair.link, 2);
    assert_eq!(pair.link.statistics_of(LinkDirection::Reverse).lost, 1);
    assert_eq!(pair.link.statistics_of(LinkDirection::Forward).lost, 0);
}

#[test]
fn a_host_can_be_connected_to_a_switch_by_a_bad_link() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let a0 = a.connect("eth0", &lan, &["10.0.0.1/24"]).unwrap();
    let lossy = Impairment { loss: 0.5, seed: 2, ..Impairment::default() };
    let (b0, link) = lab.connect_badly(&b, "eth0", &lan, &["10.0.0.2/24"], lossy).unwrap();
    let receiver = receiver(&b, &b0, GROUP);
    let sender = sender(&a, &a0);
    send_numbers(&sender, 50);
    wait_for_datagrams(&link, 50);
    let survivors: Vec<_> =
        (0..50_u32).filter(|n| !lossy.fate(LinkDirection::Reverse, u64::from(*n)).lost).collect();
    for expected in survivors {
        assert_eq!(receive(&receiver).0, expected.to_be_bytes());
    }
}
