//! Floods, half-open connections, an engine that hangs, and interfaces that are deleted: the rest continues.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mcast_lab::Host;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::network::{Network, address, member, relay, sender, stop};
use crate::support::{MCAST, TIMEOUT, eventually, program};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

/// Returns a payload that no other datagram of the test has: repeats of a source are tested before they are forwarded.
fn new_payload() -> [u8; 4] {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

/// Sends 100 datagrams, one after the other has arrived; returns the longest time until one has. Floods of other tests
/// overflow the queue that the kernel has for all network namespaces, so one that was lost is replaced.
fn slowest(socket: &UdpSocket, member: &UdpSocket) -> Duration {
    member.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let times = (0..100).map(|_| {
        let start = Instant::now();
        while !arrives(socket, member) {
            assert!(start.elapsed() < TIMEOUT, "nothing is forwarded any more");
        }
        thread::sleep(Duration::from_millis(10));
        start.elapsed()
    });
    times.max().unwrap()
}

/// Sends a datagram, and returns whether it arrives.
fn arrives(socket: &UdpSocket, member: &UdpSocket) -> bool {
    let payload = new_payload();
    socket.send_to(&payload, (GROUP, 5000)).unwrap();
    let mut buffer = [0; 64];
    loop {
        match member.recv(&mut buffer) {
            Ok(4) if buffer[..4] == payload => return true,
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                return false;
            }
        }
    }
}

/// An IGMPv2 report for a group (RFC 2236 section 2).
fn report(group: Ipv4Addr) -> [u8; 8] {
    let [a, b, c, d] = group.octets();
    let words = [0x1600, u32::from(a) << 8 | u32::from(b), u32::from(c) << 8 | u32::from(d)];
    let sum: u32 = words.iter().sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    [0x16, 0, (sum >> 8) as u8, sum as u8, a, b, c, d]
}

#[test]
fn a_flood_of_reports_does_not_stop_forwarding() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let relay = relay(&r, &["239.0.0.0/8:5001 from eth0 to eth1", "239.1.2.3:5000 from eth0 to eth1 always"]);
    relay.stdout.wait_for("5000 from eth0 to eth1 always\",\"from\"");
    let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_IGMP)));
    let raw = b.run(open).unwrap().unwrap();
    raw.set_multicast_if_v4(&Ipv4Addr::new(10, 0, 2, 2)).unwrap();
    let (is_over, to) = (Arc::new(AtomicBool::new(false)), SocketAddr::from((GROUP, 0)));
    let flood = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            let mut count = 0_u32;
            while !is_over.load(Ordering::Relaxed) {
                let group = Ipv4Addr::from_bits(0xef00_0000 | count.wrapping_mul(2_654_435_761) >> 8);
                count += u32::from(raw.send_to(&report(group), &SockAddr::from(to)).is_ok());
            }
            count
        }
    });
    let joined = member(&b, (GROUP, 5000), Ipv4Addr::new(10, 0, 2, 2));
    let slowest = slowest(&sender(&a, address(1, 1)), &joined);
    is_over.store(true, Ordering::Relaxed);
    let count = flood.join().unwrap();
    assert!(count > 1_000, "{count} reports are not a flood");
    assert!(slowest < Duration::from_secs(5), "{slowest:?} during {count} reports");
    stop(relay);
}

fn connect(host: &Host) -> TcpStream {
    host.run(|| TcpStream::connect("10.0.1.9:4022")).unwrap().unwrap()
}

#[test]
fn connections_without_a_request_do_not_keep_others_out() {
    let network = Network::new(1);
    let (r, b, c) = (network.host("r", 9, &[1]), network.host("b", 2, &[1]), network.host("c", 3, &[1]));
    let relay = crate::network::relay_unready(&r, &["239.1.2.0/24:5000 from eth0 to http://10.0.1.9:4022"]);
    relay.stdout.wait_for(r#""event":"http-listening""#);
    let mut half_open = Vec::new();
    for _ in 0..500 {
        let mut stream = connect(&b);
        // It may have been closed in favour of another one.
        let _ = stream.write_all(b"GET /udp/239.1.2.3:5000/ HTTP/1.1\r\nHo");
        half_open.push(stream);
    }
    let asked = Instant::now();
    let mut stream = connect(&c);
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: 10.0.1.9:4022\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    // Before the first of the others are closed because their time is over.
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    let (_, summary) = stop(relay);
    assert_eq!(summary["http"]["refused"][0]["reason"], "busy", "{summary}");
}

#[test]
fn a_container_engine_that_hangs_delays_nothing() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let _engine = UnixListener::bind(&path).unwrap();
    let engine = format!("DOCKER_HOST=unix://{}", path.display());
    let rules = ["239.1.2.3:5000 from eth0 to eth1 always", "239.1.2.4:5000 from eth0 to docker:web always"];
    let relay = program(&r, "env", &[&[&engine, MCAST, "relay", "--json"][..], &rules].concat(), false);
    relay.stdout.wait_for(r#""event":"forwarding""#);
    let joined = member(&b, (GROUP, 5000), Ipv4Addr::new(10, 0, 2, 2));
    // The engine is asked again every second, and waited for two seconds.
    let slowest = slowest(&sender(&a, address(1, 1)), &joined);
    assert!(slowest < Duration::from_millis(1_000), "{slowest:?}");
    stop(relay);
}

#[test]
fn interfaces_that_are_deleted_while_they_forward_delay_nothing_and_return() {
    let network = Network::new(3);
    let (a, r) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2, 3]));
    let (b, c) = (network.host("b", 2, &[2]), network.host("c", 3, &[3]));
    let relay = relay(&r, &["239.1.2.3:5000 from eth0 to eth1,eth2 always"]);
    relay.stdout.wait_for("\"to\":\"eth2\"");
    let lasting = member(&b, (GROUP, 5000), Ipv4Addr::new(10, 0, 2, 2));
    let returning = member(&c, (GROUP, 5000), Ipv4Addr::new(10, 0, 3, 3));
    let socket = sender(&a, address(1, 1));
    returning.set_nonblocking(true).unwrap();
    for _ in 0..3 {
        r.delete_interface("eth2").unwrap();
        assert!(slowest(&socket, &lasting) < Duration::from_secs(2));
        network.connect(&r, "eth2", 9, 3);
        while returning.recv(&mut [0; 64]).is_ok() {}
        eventually("a copy on the new interface", || {
            socket.send_to(&new_payload(), (GROUP, 5000)).unwrap();
            returning.recv(&mut [0; 64]).is_ok()
        });
    }
    stop(relay);
}
