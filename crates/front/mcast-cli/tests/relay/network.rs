//! Segments, the hosts on them, and relays between them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use mcast_lab::{Host, Impairment, Lab, Switch};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::schemas::assert_valid;
use crate::support::{Ended, Running, start};

/// Segments `s1`, `s2`, ... with the networks 10.0.1.0/24 and fd00:1::/64, and so on.
pub(crate) struct Network {
    lab: Lab,
    segments: Vec<Switch>,
}

impl Network {
    pub(crate) fn new(segments: u8) -> Self {
        let lab = Lab::new().unwrap();
        let segments = (1..=segments).map(|number| lab.switch(&format!("s{number}")).unwrap()).collect();
        Self { lab, segments }
    }

    /// Adds a host with an interface on each of these segments, `eth0` and so on, with this number in its addresses.
    pub(crate) fn host(&self, name: &str, number: u8, segments: &[u8]) -> Host {
        let host = self.lab.host(name).unwrap();
        for (interface, segment) in segments.iter().enumerate() {
            self.connect(&host, &format!("eth{interface}"), number, *segment);
        }
        host
    }

    /// Adds an interface on this segment to a host.
    pub(crate) fn connect(&self, host: &Host, interface: &str, number: u8, segment: u8) {
        let addresses = [format!("10.0.{segment}.{number}/24"), format!("fd00:{segment}::{number}/64")];
        let switch = &self.segments[usize::from(segment) - 1];
        host.connect(interface, switch, &addresses.each_ref().map(String::as_str)).unwrap();
    }

    /// Adds a host whose interface `eth0` is on this segment, by a link that loses this share of frames.
    pub(crate) fn lossy_host(&self, name: &str, number: u8, segment: u8, loss: f64) -> Host {
        let host = self.lab.host(name).unwrap();
        let address = format!("10.0.{segment}.{number}/24");
        let switch = &self.segments[usize::from(segment) - 1];
        let loses = Impairment { loss, seed: number.into(), ..Impairment::default() };
        self.lab.connect_badly(&host, "eth0", switch, &[&address], loses).unwrap();
        host
    }
}

/// Returns the address of a host on a segment.
pub(crate) fn address(segment: u8, number: u8) -> IpAddr {
    [10, 0, segment, number].into()
}

/// `mcast relay` with these rules and options, once it forwards or stands by.
pub(crate) fn relay(host: &Host, arguments: &[&str]) -> Running {
    let running = relay_unready(host, arguments);
    running.stdout.wait_for(r#""text":"#);
    crate::support::eventually("a relay that forwards or stands by", || {
        let text = running.stdout.text();
        text.contains(r#""event":"forwarding""#) || text.contains(r#""event":"standing-by""#)
    });
    running
}

pub(crate) fn relay_unready(host: &Host, arguments: &[&str]) -> Running {
    start(host, &[&["relay", "--json"], arguments].concat())
}

/// Stops a relay with Ctrl-C; returns its events and its summary.
pub(crate) fn stop(relay: Running) -> (Vec<Value>, Value) {
    let ended = relay.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    records(&ended)
}

/// Returns the events of a relay and its summary.
pub(crate) fn records(ended: &Ended) -> (Vec<Value>, Value) {
    let mut events = ended.json();
    let summary = events.pop().unwrap();
    events.iter().for_each(|event| assert_valid("relay-event", event));
    assert_valid("relay-summary", &summary);
    (events, summary)
}

/// Returns the events of this type.
pub(crate) fn of_type<'a>(events: &'a [Value], event: &str) -> Vec<&'a Value> {
    events.iter().filter(|record| record["event"] == event).collect()
}

/// Returns how many datagrams the first rule has refused for this reason.
pub(crate) fn refused(summary: &Value, reason: &str) -> u64 {
    let refused = summary["rules"][0]["refused"].as_array().unwrap();
    refused.iter().find(|entry| entry["reason"] == reason).map_or(0, |entry| entry["count"].as_u64().unwrap())
}

/// Returns the resident memory of a program in kilobytes.
pub(crate) fn memory(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Opens a socket that sends to groups by this address, with TTL 8.
pub(crate) fn sender(host: &Host, own: IpAddr) -> UdpSocket {
    let socket = host.run(|| UdpSocket::bind((own, 0))).unwrap().unwrap();
    socket.set_multicast_ttl_v4(8).unwrap();
    // By the interface of the address that it is bound to, without a route to the group.
    let IpAddr::V4(interface) = own else { panic!("{own} is not an address of IPv4") };
    socket2::SockRef::from(&socket).set_multicast_if_v4(&interface).unwrap();
    socket
}

/// Returns the texts of the datagrams that `mcast recv --json` has printed.
pub(crate) fn texts(ended: &Ended) -> Vec<String> {
    ended.json().iter().filter_map(|datagram| Some(datagram["text"].as_str()?.to_owned())).collect()
}

/// Opens a socket that joins a group on the interface with this address, as programs do that share the port.
pub(crate) fn member(host: &Host, (group, port): (Ipv4Addr, u16), own: Ipv4Addr) -> UdpSocket {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        socket.join_multicast_v4(&group, &own)?;
        Ok::<_, std::io::Error>(socket.into())
    };
    host.run(open).unwrap().unwrap()
}
