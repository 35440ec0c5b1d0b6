//! Two hosts on a network, datagrams between them, and small words for what tests do with them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::{ControlFlow, Deref};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mcast_doctor::{
    Finding, Id, Options, Report, Severity, Target, examine_machine, examine_membership, examine_program,
};
use mcast_lab::{Host, Lab, Port, Switch, SwitchOptions};
use mcast_packet::{MacAddress, UdpFrame};
use socket2::{Domain, SockRef, Socket, Type};

/// How long a case listens.
pub(crate) const LISTEN: Duration = Duration::from_millis(1200);
/// The time between two datagrams of a stream.
const PACE: Duration = Duration::from_millis(10);

/// The hosts `sender` (.1) and `receiver` (.2) on one network, and a second network at the receiver's `eth1`.
pub(crate) struct Net {
    pub(crate) lab: Lab,
    pub(crate) lan: Switch,
    pub(crate) sender: Host,
    pub(crate) receiver: Host,
    pub(crate) ports: [Port; 2],
}

impl Net {
    pub(crate) fn new() -> Self {
        Self::with(SwitchOptions::default())
    }

    pub(crate) fn with(options: SwitchOptions) -> Self {
        let lab = Lab::new().unwrap();
        let lan = lab.switch_with("lan", options).unwrap();
        let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
        let a = sender.connect("eth0", &lan, &["10.9.0.1/24", "fd09::1/64"]).unwrap();
        let b = receiver.connect("eth0", &lan, &["10.9.0.2/24", "fd09::2/64"]).unwrap();
        for host in [&sender, &receiver] {
            host.add_route("224.0.0.0/4", "eth0").unwrap();
        }
        Self { lab, lan, sender, receiver, ports: [a, b] }
    }

    /// A second network at the receiver: `eth1`.
    pub(crate) fn second_lan(&self) -> (Switch, Port) {
        let lan = self.lab.switch("lan1").unwrap();
        let port = self.receiver.connect("eth1", &lan, &["10.8.0.2/24"]).unwrap();
        (lan, port)
    }

    /// The sender streams, and the receiver's doctor examines the membership.
    pub(crate) fn examine(&self, to: &str, membership: &str) -> Report {
        let _stream = Stream::to(&self.sender, to);
        examine(&self.receiver, membership)
    }

    /// A UDP frame of the sender's, to be changed and injected.
    pub(crate) fn frame(&self, source: &str, to: &str, number: u32) -> Vec<u8> {
        let to: SocketAddr = to.parse().unwrap();
        let mut buffer = [0; 256];
        let frame = UdpFrame {
            mac: MacAddress(self.ports[0].hardware_address),
            source: source.parse().unwrap(),
            source_port: 6000,
            group: mcast::Group::new(to.ip()).unwrap(),
            destination_port: to.port(),
            hop_limit: 4,
            payload: &number.to_be_bytes(),
        };
        let length = frame.emit(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }
}

/// Examines a membership on a host for a while.
pub(crate) fn examine(host: &Host, membership: &str) -> Report {
    examine_for(host, membership, &Options::default().listening(LISTEN))
}

pub(crate) fn examine_for(host: &Host, membership: &str, options: &Options) -> Report {
    let membership = membership.parse().unwrap();
    host.run(|| examine_membership(&membership, options, &mut |_| ControlFlow::Continue(())).unwrap())
        .unwrap()
}

/// Examines whoever has a port open on a host.
pub(crate) fn examine_port(host: &Host, port: u16) -> Report {
    let (listens, _nobody) = channel();
    examine_port_and_watch(host, port, listens)
}

/// The same, telling somebody that it listens.
pub(crate) fn examine_port_and_watch(host: &Host, port: u16, listens: Sender<()>) -> Report {
    let options = Options::default().listening(LISTEN);
    let mut watch = |_| {
        // Whoever was told once may have gone.
        let _ = listens.send(());
        ControlFlow::Continue(())
    };
    host.run(|| examine_program(Target::Port(port), &options, &mut watch).unwrap()).unwrap()
}

pub(crate) fn look_at(host: &Host) -> Report {
    host.run(|| examine_machine().unwrap()).unwrap()
}

/// Datagrams, numbered, at an even pace, until it is dropped.
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// From a host by its `eth0`.
    pub(crate) fn to(host: &Host, to: &str) -> Self {
        Self::with(host, to, |_| {})
    }

    /// The same, by a socket that has been prepared.
    pub(crate) fn with(host: &Host, to: &str, prepare: impl FnOnce(&Socket) + Send) -> Self {
        Self::sized(host, to, 64, prepare)
    }

    /// The same with so many bytes a datagram.
    pub(crate) fn sized(host: &Host, to: &str, size: usize, prepare: impl FnOnce(&Socket) + Send) -> Self {
        let to: SocketAddr = to.parse().unwrap();
        let socket = socket(host, to.ip(), "eth0");
        prepare(&socket);
        Self::by(socket.into(), to, size)
    }

    pub(crate) fn by(socket: UdpSocket, to: SocketAddr, size: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut payload = vec![0; size.max(8)];
            for number in 0_u64.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                payload[..8].copy_from_slice(&number.to_be_bytes());
                // What cannot be sent is what some cases are about.
                let _ = socket.send_to(&payload, to);
                std::thread::sleep(PACE);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A socket of a host that sends to groups by an interface.
pub(crate) fn socket(host: &Host, group: IpAddr, interface: &str) -> Socket {
    let index = host.interface_index(interface).unwrap();
    let own = host.addresses(interface).unwrap().iter().find_map(|own| match own.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    host.run(|| {
        let socket = Socket::new(Domain::for_address(SocketAddr::new(group, 0)), Type::DGRAM, None).unwrap();
        match group {
            IpAddr::V4(_) => {
                socket.set_multicast_if_v4(&own.unwrap()).unwrap();
                socket.set_multicast_ttl_v4(4).unwrap();
                let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
                socket.bind(&any.into()).unwrap();
            }
            IpAddr::V6(_) => {
                socket.set_multicast_if_v6(index).unwrap();
                socket.set_multicast_hops_v6(4).unwrap();
                let any: SocketAddr = (Ipv6Addr::UNSPECIFIED, 0).into();
                socket.bind(&any.into()).unwrap();
            }
        }
        socket
    })
    .unwrap()
}

/// A socket that is read until it is dropped.
pub(crate) struct Listener {
    socket: UdpSocket,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Deref for Listener {
    type Target = UdpSocket;

    fn deref(&self) -> &UdpSocket {
        &self.socket
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A listener as programs have it: bound to an address, joined on interfaces by their index.
pub(crate) fn listener(host: &Host, bind: &str, joins: &[(&str, &str)]) -> Listener {
    let socket = idle_listener(host, bind, joins);
    socket.set_read_timeout(Some(PACE)).unwrap();
    let reads = socket.try_clone().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            // Mostly the time is over.
            let _ = reads.recv(&mut [0; 64]);
        }
    });
    Listener { socket, stop, thread: Some(thread) }
}

/// The same of a program that does not read.
pub(crate) fn idle_listener(host: &Host, bind: &str, joins: &[(&str, &str)]) -> UdpSocket {
    let bind: SocketAddr = bind.parse().unwrap();
    let indices: Vec<_> =
        joins.iter().map(|(group, interface)| (*group, host.interface_index(interface).unwrap())).collect();
    host.run(|| {
        let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&bind.into()).unwrap();
        for (group, index) in indices {
            join(&socket, group.parse().unwrap(), index);
        }
        UdpSocket::from(socket)
    })
    .unwrap()
}

fn join(socket: &Socket, group: IpAddr, index: u32) {
    match group {
        IpAddr::V4(group) => {
            socket.join_multicast_v4_n(&group, &socket2::InterfaceIndexOrAddress::Index(index)).unwrap();
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, index).unwrap(),
    }
}

/// Options of a socket of the standard library.
pub(crate) fn options(socket: &UdpSocket) -> SockRef<'_> {
    SockRef::from(socket)
}

/// Runs a program on a host, and demands that it succeeds.
pub(crate) fn run(host: &Host, command: &str) {
    let output = host.command("sh").unwrap().args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this machine has the programs by which causes are injected; says so when it has not.
pub(crate) fn has_programs() -> bool {
    let runs = |program: &&str| Command::new(program).arg("--help").output().is_ok();
    let missing: Vec<_> =
        ["nft", "tc", "bridge", "ip", "python3"].into_iter().filter(|each| !runs(each)).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: this test needs {}", missing.join(", "));
        assert!(std::env::var_os("MCAST_REQUIRE_ALL").is_none(), "no skip is allowed");
    }
    missing.is_empty()
}

/// A rule of a new nftables chain.
pub(crate) fn nft(host: &Host, family: &str, hook: &str, rule: &str) {
    run(
        host,
        &format!(
            "nft add table {family} test && nft 'add chain {family} test c {{ type filter {hook} priority 0 ; }}' && nft add rule {family} test c {rule}"
        ),
    );
}

/// Puts frames on the wire as they are, over and over until it is dropped.
pub(crate) struct Injection {
    child: mcast_lab::Child,
}

/// Puts frames on the wire of a host's interface, one every 10 ms, again and again; the first has been sent
/// when it returns.
pub(crate) fn inject(host: &Host, interface: &str, frames: &[Vec<u8>]) -> Injection {
    const PROGRAM: &str = "import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
frames = [bytes.fromhex(frame) for frame in sys.argv[2:]]
s.send(frames[0])
print('sent', flush=True)
while True:
    for frame in frames[1:] + frames[:1]:
        time.sleep(0.01)
        s.send(frame)";
    let hexadecimal = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut python = host.command("python3").unwrap();
    python.args(["-c", PROGRAM, interface]).args(frames.iter().map(hexadecimal));
    let mut child = python.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    Injection { child }
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Demands that a cause was found, and no other fault.
pub(crate) fn assert_only(report: &Report, id: Id) {
    let told = || report.findings.iter().map(tell).collect::<Vec<_>>().join("\n");
    let others: Vec<_> =
        report.findings.iter().filter(|each| each.severity == Severity::Fault && each.id != id).collect();
    assert!(report.findings.iter().any(|each| each.id == id), "no {id}:\n{}\n{report:#?}", told());
    assert!(others.is_empty(), "beside {id}:\n{}\n{report:#?}", told());
}

/// Demands that nothing was found at all.
pub(crate) fn assert_healthy(report: &Report) {
    let told: Vec<_> = report.findings.iter().map(tell).collect();
    assert!(told.is_empty(), "{}\n{report:#?}", told.join("\n"));
}

fn tell(finding: &Finding) -> String {
    format!("{} {}: {}", finding.severity, finding.id, finding.cause)
}
