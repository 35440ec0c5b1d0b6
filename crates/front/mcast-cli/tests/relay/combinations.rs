//! Every kind of source with every kind of target: each combination carries datagrams, or is refused with a reason.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use mcast_lab::Host;
use mcast_relay::Rule;

use crate::network::{Network, address, member, relay_unready, sender, stop};
use crate::sites::new_tunnel_key;
use crate::support::{MCAST, Running, eventually, program};

const SOURCES: [&str; 6] = ["interface", "netns", "docker", "tunnel", "amt", "broadcast"];
const TARGETS: [&str; 7] = ["interface", "netns", "docker", "udp", "http", "tunnel", "amt"];

/// What cannot work, and why.
const REFUSED: [(&str, &str, &str); 2] = [
    ("broadcast", "http", "they request a group, and broadcast has none"),
    ("broadcast", "amt", "AMT carries groups that cross networks, and no broadcasts"),
];

/// A source on segment 1, the relay under test between it and segments 2 and 3, hosts that receive on segment 2, and
/// beyond segment 3 another relay with a host on segment 4.
struct World {
    /// Its hosts end with it.
    _network: Network,
    source: Host,
    relay: Host,
    receiver: Host,
    /// Between segments 1 and 3: the other end of tunnels and AMT.
    upstream: Host,
    /// Between segments 3 and 4: the other end of what goes into a tunnel or to gateways of AMT.
    downstream: Host,
    distant: Host,
    boxes: [Boxed; 2],
    folder: tempfile::TempDir,
    key: String,
}

/// A host whose interface the relay enters: as the namespace of a process, and as a container.
struct Boxed {
    _host: Host,
    holder: Running,
}

impl World {
    fn new() -> Self {
        let network = Network::new(4);
        let boxed = |name: &str, segment| {
            let host = network.host(name, 5, &[segment]);
            let holder = program(&host, "sleep", &["120"], false);
            Boxed { _host: host, holder }
        };
        let (boxes, folder) = ([boxed("in", 1), boxed("out", 2)], tempfile::tempdir().unwrap());
        let source = network.host("source", 1, &[1]);
        let key = new_tunnel_key(&source, folder.path(), &["in", "out"]);
        Self {
            relay: network.host("relay", 9, &[1, 2, 3]),
            receiver: network.host("receiver", 2, &[2]),
            upstream: network.host("upstream", 7, &[1, 3]),
            downstream: network.host("downstream", 8, &[3, 4]),
            distant: network.host("distant", 4, &[4]),
            source,
            boxes,
            folder,
            key,
            _network: network,
        }
    }

    /// Serves the container engine's interface; returns its address. The name of a container is that of the box.
    fn engine(&self) -> String {
        let path = self.folder.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let [inner, outer] = [0, 1].map(|number| self.boxes[number].holder.child.id());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, mut request) = (client.unwrap(), [0; 1_024]);
                let length = client.read(&mut request).unwrap_or(0);
                let is_in = String::from_utf8_lossy(&request[..length]).contains("/containers/in/json");
                let process = if is_in { inner } else { outer };
                let _ = write!(client, "HTTP/1.0 200 OK\r\n\r\n{{\"State\": {{\"Pid\": {process}}}}}");
            }
        });
        format!("unix://{}", path.display())
    }

    /// Returns the traffic of a combination, and the group that it has at the receiver.
    fn traffic(source: &str, number: u8) -> String {
        let port = port(number);
        if source == "broadcast" { format!("broadcast:{port}") } else { format!("{}:{port}", group(number)) }
    }

    fn rule(&self, source: &str, target: &str, number: u8) -> String {
        let process = |inside: usize| format!("netns:{}/eth0", self.boxes[inside].holder.child.id());
        let from = match source {
            "netns" => process(0),
            "docker" => "docker:in".into(),
            "tunnel" => "tunnel:in".into(),
            "amt" => "amt:10.0.3.7".into(),
            _ => "eth0".into(),
        };
        let to = match target {
            "netns" => process(1),
            "docker" => "docker:out".into(),
            "udp" => "udp://10.0.2.2:7000".into(),
            "http" => "http://10.0.2.9:4022".into(),
            "tunnel" => "tunnel:out".into(),
            "amt" => "amt-listen:10.0.3.9".into(),
            _ => "eth1".into(),
        };
        format!("{} from {from} to {to}", Self::traffic(source, number))
    }

    /// Starts the other relay of a source, if there is one.
    fn start_upstream(&self, source: &str) -> Option<Running> {
        let to = match source {
            "tunnel" => "tunnel:in",
            "amt" => "amt-listen:10.0.3.7",
            _ => return None,
        };
        let rules = (0..7).map(|number| format!("{} from eth0 to {to}", Self::traffic(source, number)));
        let rules: Vec<String> = rules.collect();
        let mut arguments: Vec<&str> = rules.iter().map(String::as_str).collect();
        if source == "tunnel" {
            arguments.extend(["--tunnel", "in=10.0.3.9:5700", "--tunnel-key", &self.key]);
        }
        Some(relay_unready(&self.upstream, &arguments))
    }

    fn start_relay(&self, rules: &[String]) -> Running {
        let engine = format!("DOCKER_HOST={}", self.engine());
        let mut arguments = vec![engine.as_str(), MCAST, "relay", "--json"];
        arguments.extend(rules.iter().map(String::as_str));
        let names = |name: &str| rules.iter().any(|rule| rule.contains(name));
        if names("tunnel:in") {
            arguments.extend(["--listen-tunnel", "10.0.3.9:5700"]);
        }
        if names("tunnel:out") {
            arguments.extend(["--tunnel", "out=10.0.3.8:5700"]);
        }
        if names("tunnel:") {
            arguments.extend(["--tunnel-key", &self.key]);
        }
        program(&self.relay, "env", &arguments, false)
    }

    /// Starts what receives from a target; returns whether something has come.
    fn start_receiver(&self, source: &str, target: &str, number: u8) -> Box<dyn FnMut() -> bool> {
        match target {
            "udp" => arrivals(self.receiver.run(|| UdpSocket::bind("10.0.2.2:7000")).unwrap().unwrap()),
            "http" => {
                let (receiver, mut stream) = (self.receiver.clone(), None);
                let path = format!("/udp/{}:{}/", group(number), port(number));
                Box::new(move || {
                    let client = stream.get_or_insert_with(|| connected(&receiver, &path));
                    let mut buffer = [0; 1_024];
                    match client.as_mut().and_then(|client| client.read(&mut buffer).ok()) {
                        Some(length) if length > 0 => {
                            String::from_utf8_lossy(&buffer[..length]).contains("through")
                        }
                        // The leg may not be up yet, or the relay not listen.
                        Some(_) => stream.take().is_none(),
                        None if client.is_none() => stream.take().is_none(),
                        None => false,
                    }
                })
            }
            "amt" => {
                let group = format!("{}:{}", group(number), port(number));
                let arguments = ["recv", "--amt", "10.0.3.9", &group, "--json", "-c", "1", "-W", "30s"];
                let running = program(&self.downstream, MCAST, &arguments, false);
                Box::new(move || running.stdout.text().contains("through"))
            }
            "tunnel" if source == "broadcast" => broadcasts(&self.distant, number),
            _ if source == "broadcast" => broadcasts(&self.receiver, number),
            "tunnel" => members(&self.distant, number, 4, 4),
            _ => members(&self.receiver, number, 2, 2),
        }
    }
}

const fn group(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(239, 1, 2, number + 1)
}

fn port(number: u8) -> u16 {
    5_001 + u16::from(number)
}

fn members(host: &Host, number: u8, segment: u8, last: u8) -> Box<dyn FnMut() -> bool> {
    arrivals(member(host, (group(number), port(number)), Ipv4Addr::new(10, 0, segment, last)))
}

fn broadcasts(host: &Host, number: u8) -> Box<dyn FnMut() -> bool> {
    arrivals(host.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port(number)))).unwrap().unwrap())
}

fn arrivals(socket: UdpSocket) -> Box<dyn FnMut() -> bool> {
    socket.set_nonblocking(true).unwrap();
    Box::new(move || {
        let mut buffer = [0; 64];
        socket.recv(&mut buffer).is_ok_and(|length| buffer[..length].starts_with(b"through"))
    })
}

/// Requests a path; returns the connection once the request has been sent.
fn connected(host: &Host, path: &str) -> Option<TcpStream> {
    let server: SocketAddr = "10.0.2.9:4022".parse().unwrap();
    let mut stream = host.run(|| TcpStream::connect(server)).unwrap().ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 10.0.2.9:4022\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    Some(stream)
}

/// Returns whether a combination cannot work, and asserts that its rule is refused for that reason.
fn is_refused(rule: &str, source: &str, target: &str) -> bool {
    let reason = REFUSED.iter().find(|(of, to, _)| (*of, *to) == (source, target));
    match (rule.parse::<Rule>(), reason) {
        (Ok(_), None) => false,
        (Err(error), Some((.., reason))) => {
            assert!(error.to_string().contains(reason), "{rule}: {error}");
            true
        }
        (parsed, reason) => panic!("{rule}: {parsed:?}, {reason:?}"),
    }
}

/// Sends by all combinations of this source until each of them has carried something.
fn carries(source: &str) {
    assert!(SOURCES.contains(&source));
    let world = World::new();
    let combinations = TARGETS.iter().zip(0..).map(|(target, number)| (*target, number));
    let combinations: Vec<(&str, u8)> = combinations
        .filter(|(target, number)| !is_refused(&world.rule(source, target, *number), source, target))
        .collect();
    let rules: Vec<String> =
        combinations.iter().map(|(target, number)| world.rule(source, target, *number)).collect();
    let from_tunnel =
        (0..7).map(|number| format!("{} from tunnel:out to eth1", World::traffic(source, number)));
    let from_tunnel: Vec<String> = from_tunnel.collect();
    let mut arguments: Vec<&str> = from_tunnel.iter().map(String::as_str).collect();
    arguments.extend(["--listen-tunnel", "10.0.3.8:5700", "--tunnel-key", &world.key]);
    let downstream = relay_unready(&world.downstream, &arguments);
    let upstream = world.start_upstream(source);
    let relay = world.start_relay(&rules);
    let waiting = combinations
        .iter()
        .map(|(target, number)| (*target, *number, world.start_receiver(source, target, *number)));
    let waiting: RefCell<Vec<_>> = RefCell::new(waiting.collect());
    let socket = sender(&world.source, address(1, 1));
    socket.set_broadcast(true).unwrap();
    socket.set_ttl(8).unwrap();
    let send = |number: u8| {
        let to = if source == "broadcast" { Ipv4Addr::new(10, 0, 1, 255) } else { group(number) };
        socket.send_to(format!("through {number}").as_bytes(), (to, port(number))).unwrap();
    };
    let all_have_arrived = || {
        let mut waiting = waiting.borrow_mut();
        waiting.iter().for_each(|(_, number, _)| send(*number));
        waiting.retain_mut(|(_, _, has_arrived)| !has_arrived());
        waiting.is_empty()
    };
    let missing = || waiting.borrow().iter().map(|(target, ..)| *target).collect::<Vec<_>>();
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("a datagram by every target", all_have_arrived);
    }));
    assert!(done.is_ok(), "nothing comes from {source} by {:?}: {}", missing(), relay.stdout.text());
    stop(relay);
    upstream.into_iter().chain([downstream]).for_each(|running| drop(stop(running)));
    for boxed in world.boxes {
        boxed.holder.child.kill().unwrap();
    }
}

#[test]
fn from_an_interface_to_every_target() {
    carries("interface");
}

#[test]
fn from_a_namespace_to_every_target() {
    carries("netns");
}

#[test]
fn from_a_container_to_every_target() {
    carries("docker");
}

#[test]
fn from_a_tunnel_to_every_target() {
    carries("tunnel");
}

#[test]
fn from_a_relay_of_amt_to_every_target() {
    carries("amt");
}

#[test]
fn from_broadcast_to_every_target_that_can_carry_it() {
    carries("broadcast");
}
