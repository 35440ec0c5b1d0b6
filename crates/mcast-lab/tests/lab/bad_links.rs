//! Bad links do what their seed says, datagram by datagram.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use mcast_lab::{BadLink, Direction, Host, Impairment, Lab, LinkStatistics, Port, Scope};

use super::sockets::{GROUP, PATIENCE, Sender, hear, receiver, sender};

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

fn port(host: &Host, address: &str) -> Port {
    Port {
        host: host.name().to_owned(),
        name: "eth0".to_owned(),
        index: host.interface_index("eth0").unwrap(),
        hardware_address: [0; 6],
        addresses: vec![address.parse().unwrap()],
    }
}

/// The numbers that arrive of so many sent, in the order in which they do. The last is sent on a perfect link.
fn numbers_across(Pair { a, b, link, .. }: &Pair, count: u32) -> Vec<u32> {
    let receiver = receiver(b, &port(b, "10.0.0.2/24"), GROUP);
    let sender = sender(a, &port(a, "10.0.0.1/24"));
    send_numbers(&sender, count);
    wait_until_seen(link, u64::from(count));
    link.set(Impairment::default()).unwrap();
    sender.send(GROUP, &u32::MAX.to_be_bytes());
    let numbers = || u32::from_be_bytes(hear(&receiver).0.try_into().unwrap());
    std::iter::repeat_with(numbers).take_while(|number| *number != u32::MAX).collect()
}

/// Sends no faster than the smallest receive buffers can take.
fn send_numbers(sender: &Sender, count: u32) {
    for number in 0..count {
        sender.send(GROUP, &number.to_be_bytes());
    }
}

fn wait_until_seen(link: &BadLink, count: u64) {
    let deadline = Instant::now() + PATIENCE;
    while link.statistics().datagrams < count {
        assert!(Instant::now() < deadline, "{:?}", link.statistics());
        std::thread::yield_now();
    }
}

#[test]
fn losses_are_exactly_the_seeds() {
    const COUNT: u32 = 200;
    let impairment = Impairment { loss: 0.2, seed: 7, ..Impairment::default() };
    let survivors: Vec<_> =
        (0..COUNT).filter(|n| !impairment.fate(Direction::Forth, u64::from(*n)).lost).collect();
    for _ in 0..2 {
        let pair = pair(impairment);
        assert_eq!(numbers_across(&pair, COUNT), survivors);
        let statistics = pair.link.statistics();
        assert_eq!(statistics.lost, u64::from(COUNT) - survivors.len() as u64);
        assert_eq!((statistics.overruns, statistics.unsent), (0, 0));
    }
    let other = pair(Impairment { seed: 8, ..impairment });
    assert_ne!(numbers_across(&other, COUNT), survivors);
}

#[test]
fn duplicates_and_swaps_arrive_as_drawn() {
    const COUNT: u32 = 100;
    let impairment = Impairment { duplicate: 0.1, reorder: 0.1, seed: 5, ..Impairment::default() };
    let pair = pair(impairment);
    let arrived = numbers_across(&pair, COUNT);
    let statistics = pair.link.statistics_of(Direction::Forth);
    let swapped = arrived.windows(2).filter(|two| two[0] > two[1]).count() as u64;
    assert_eq!(arrived.len() as u64, u64::from(COUNT) + statistics.duplicated);
    assert_eq!(statistics.reordered, swapped);
    assert!(statistics.duplicated > 0 && statistics.reordered > 0, "{statistics:?}");
}

#[test]
fn delay_is_kept_in_both_directions() {
    let delay = Duration::from_millis(20);
    let Pair { a, b, link, .. } = &pair(Impairment { delay, ..Impairment::default() });
    let there = b.run(|| UdpSocket::bind("10.0.0.2:5000").unwrap()).unwrap();
    let here = a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    [&there, &here].iter().for_each(|socket| socket.set_read_timeout(Some(PATIENCE)).unwrap());
    let start = Instant::now();
    here.send_to(b"ping", "10.0.0.2:5000").unwrap();
    let (_, from) = hear(&there);
    there.send_to(b"pong", from).unwrap();
    hear(&here);
    let taken = start.elapsed();
    assert!(taken >= delay * 2, "{taken:?}");
    assert_eq!(link.statistics().delayed, 2);
}

#[test]
fn a_datagram_is_a_frame_also_when_the_sender_used_gso() {
    let pair = pair(Impairment { loss: 0.5, seed: 1, ..Impairment::default() });
    let socket = pair.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    set_segment_size(&socket, 100);
    socket.send_to(&[0; 2000], "10.0.0.2:5000").unwrap();
    wait_until_seen(&pair.link, 20);
    let expected = (0..20).filter(|n| {
        Impairment { loss: 0.5, seed: 1, ..Impairment::default() }.fate(Direction::Forth, *n).lost
    });
    assert_eq!(pair.link.statistics().lost, expected.count() as u64);
}

#[allow(unsafe_code)]
fn set_segment_size(socket: &UdpSocket, size: i32) {
    use std::os::fd::AsRawFd;
    let name = libc::UDP_SEGMENT;
    // SAFETY: an integer and its size.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, name, std::ptr::from_ref(&size).cast(), 4)
    };
    assert_eq!(result, 0);
}

#[test]
fn every_datagram_is_accounted_for_however_many_there_are() {
    const SENDS: u64 = 2000;
    let pair = pair(Impairment { loss: 0.1, ..Impairment::default() });
    let socket = pair.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    // Before the neighbour is known, the host itself drops what it has too much of.
    socket.send_to(b"first", "10.0.0.2:5000").unwrap();
    wait_until_seen(&pair.link, 1);
    set_segment_size(&socket, 100);
    for _ in 0..SENDS {
        socket.send_to(&[0; 5000], "10.0.0.2:5000").unwrap();
    }
    // Among the frames that found no room there may be a few of neighbour discovery and MLD.
    let expected = 1 + 50 * SENDS..=1 + 50 * SENDS + 20;
    wait_for(|| {
        let LinkStatistics { datagrams, overruns, .. } = pair.link.statistics_of(Direction::Forth);
        expected.contains(&(datagrams + overruns))
    });
}

#[test]
fn the_rate_is_kept() {
    // 20 datagrams of 1,042 bytes in all at 1 Mbit/s take 167 ms.
    let pair = pair(Impairment { rate: Some(1_000_000), ..Impairment::default() });
    let receiver = receiver(&pair.b, &port(&pair.b, "10.0.0.2/24"), GROUP);
    let sender = sender(&pair.a, &port(&pair.a, "10.0.0.1/24"));
    let start = Instant::now();
    (0..20).for_each(|_| sender.send(GROUP, &[0; 1000]));
    (0..20).for_each(|_| drop(hear(&receiver)));
    let taken = start.elapsed();
    assert!(taken >= Duration::from_millis(166), "{taken:?}");
}

#[test]
fn a_cut_link_has_no_carrier_until_it_is_mended() {
    let pair = pair(Impairment::default());
    let carrier = |host: &Host| host.run(|| running("eth0")).unwrap();
    assert!(carrier(&pair.a) && carrier(&pair.b));
    pair.link.cut().unwrap();
    wait_for(|| !carrier(&pair.a) && !carrier(&pair.b));
    pair.link.mend().unwrap();
    wait_for(|| carrier(&pair.a) && carrier(&pair.b));
    assert_eq!(numbers_across(&pair, 5), [0, 1, 2, 3, 4]);
}

fn wait_for(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether an interface in the calling thread's namespace has a carrier (IFF_RUNNING).
#[allow(unsafe_code)]
fn running(interface: &str) -> bool {
    use std::os::fd::AsRawFd;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // SAFETY: a zeroed request with a short name, filled in by the kernel.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from as libc::c_char;
        }
        assert_eq!(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &mut request), 0);
        i32::from(request.ifr_ifru.ifru_flags) & libc::IFF_RUNNING != 0
    }
}

#[test]
fn loss_of_everything_spares_neighbour_discovery_unless_told_otherwise() {
    let pair = pair(Impairment { loss: 1.0, ..Impairment::default() });
    let socket = pair.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    socket.send_to(b"x", "10.0.0.2:5000").unwrap();
    // The datagram can only be lost after ARP has got through.
    wait_until_seen(&pair.link, 1);
    assert!(pair.link.statistics().untouched >= 2);

    let before = pair.link.statistics();
    pair.link.set(Impairment { loss: 1.0, scope: Scope::All, ..Impairment::default() }).unwrap();
    let six = pair.a.run(|| UdpSocket::bind("[fd00::1]:0").unwrap()).unwrap();
    six.send_to(b"x", "[fd00::2]:5000").unwrap();
    wait_until_seen(&pair.link, before.datagrams + 1);
    assert_eq!(pair.link.statistics().untouched, before.untouched);
}

#[test]
fn directions_can_differ() {
    let pair = pair(Impairment::default());
    let lossy = Impairment { loss: 1.0, ..Impairment::default() };
    pair.link.set_direction(Direction::Back, lossy).unwrap();
    let there = pair.b.run(|| UdpSocket::bind("10.0.0.2:5000").unwrap()).unwrap();
    let here = pair.a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    there.set_read_timeout(Some(PATIENCE)).unwrap();
    here.send_to(b"ping", "10.0.0.2:5000").unwrap();
    let (_, from) = hear(&there);
    there.send_to(b"pong", from).unwrap();
    wait_until_seen(&pair.link, 2);
    assert_eq!(pair.link.statistics_of(Direction::Back).lost, 1);
    assert_eq!(pair.link.statistics_of(Direction::Forth).lost, 0);
}

#[test]
fn a_host_can_hang_on_a_switch_by_a_bad_cable() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let a0 = a.connect("eth0", &lan, &["10.0.0.1/24"]).unwrap();
    let lossy = Impairment { loss: 0.5, seed: 2, ..Impairment::default() };
    let (b0, link) = lab.connect_badly(&b, "eth0", &lan, &["10.0.0.2/24"], lossy).unwrap();
    let receiver = receiver(&b, &b0, GROUP);
    let sender = sender(&a, &a0);
    send_numbers(&sender, 50);
    wait_until_seen(&link, 50);
    let survivors: Vec<_> =
        (0..50_u32).filter(|n| !lossy.fate(Direction::Back, u64::from(*n)).lost).collect();
    for expected in survivors {
        assert_eq!(hear(&receiver).0, expected.to_be_bytes());
    }
}
