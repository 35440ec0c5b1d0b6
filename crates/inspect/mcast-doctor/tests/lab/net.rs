//! Two hosts on a network, streams between them, and helpers for the tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast_capture::ControlSender;
use mcast_doctor::{
    ArrivalStatus, Finding, Id, Options, ProgramSelector, Progress, Report, Severity, Verdict,
    examine_machine, examine_membership, examine_program,
};
use mcast_lab::{Host, HostInterface, Lab, Router, Switch, SwitchOptions};
use mcast_packet::gmp::{IgmpMessage, Query, SourceQuery, Sources};
use mcast_packet::{MacAddress, UdpFrame};
use socket2::{Domain, SockRef, Socket, Type};

use crate::treatment::{examine_and_treat, on};

/// How long an examination listens.
pub(crate) const LISTEN: Duration = Duration::from_millis(1200);
/// How many datagrams show each pattern of losses, and the time limit for them on a busy machine.
const MANY: u64 = 200;
const TIMEOUT: Duration = Duration::from_secs(30);
/// The interval between two datagrams of a stream.
const INTERVAL: Duration = Duration::from_millis(10);

/// The hosts `sender` (.1) and `receiver` (.2) on one network. [`Net::second_lan`] adds another.
pub(crate) struct Net {
    pub(crate) lab: Lab,
    pub(crate) lan: Switch,
    pub(crate) sender: Host,
    pub(crate) receiver: Host,
    pub(crate) ports: [HostInterface; 2],
}

impl Net {
    pub(crate) fn new() -> Self {
        Self::with(SwitchOptions::default())
    }

    pub(crate) fn with(options: SwitchOptions) -> Self {
        let lab = Lab::new().unwrap();
        let receiver = lab.host("receiver").unwrap();
        Self::of(lab, receiver, options)
    }

    /// Returns a network whose receiver is a router.
    pub(crate) fn with_router() -> (Self, Option<Router>) {
        let lab = Lab::new().unwrap();
        let router = lab.router("receiver").unwrap();
        let net = Self::of(lab, (*router).clone(), SwitchOptions::default());
        (net, Some(router))
    }

    fn of(lab: Lab, receiver: Host, options: SwitchOptions) -> Self {
        let lan = lab.switch_with("lan", options).unwrap();
        let sender = lab.host("sender").unwrap();
        let a = sender.connect("eth0", &lan, &["10.9.0.1/24", "fd09::1/64"]).unwrap();
        let b = receiver.connect("eth0", &lan, &["10.9.0.2/24", "fd09::2/64"]).unwrap();
        for host in [&sender, &receiver] {
            host.add_route("224.0.0.0/4", "eth0").unwrap();
        }
        Self { lab, lan, sender, receiver, ports: [a, b] }
    }

    /// Connects the receiver to a second network with `eth1`.
    pub(crate) fn second_lan(&self) -> (Switch, HostInterface) {
        let lan = self.lab.switch("lan1").unwrap();
        let port = self.receiver.connect("eth1", &lan, &["10.8.0.2/24"]).unwrap();
        (lan, port)
    }

    /// Streams from the sender while the doctor on the receiver examines the membership.
    pub(crate) fn examine(&self, to: &str, membership: &str) -> Report {
        let _stream = Stream::to(&self.sender, to);
        examine(&self.receiver, membership)
    }

    pub(crate) fn send_igmp(&self, message: &IgmpMessage<'_>) {
        let index = InterfaceIndex::new(self.sender.interface_index("eth0").unwrap()).unwrap();
        let send = || ControlSender::open(index, Ipv4Addr::new(10, 9, 0, 1)).unwrap().send(message).unwrap();
        self.sender.run(send).unwrap();
    }

    /// Returns a UDP frame of the sender, which tests modify and inject.
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

/// Returns an IGMPv3 general query.
pub(crate) fn general_query(interval: Duration, max_response_time: Duration) -> IgmpMessage<'static> {
    let source_query = SourceQuery { suppress: false, robustness: 2, interval, sources: Sources::none() };
    IgmpMessage::Query(Query { group: None, max_response_time, source_query: Some(source_query) })
}

/// Returns whether the table of the guide is written. The doctor then listens as long as the command does.
pub(crate) fn is_blessing() -> bool {
    std::env::var_os("MCAST_BLESS").is_some()
}

/// Returns the options of most examinations, which listen for [`LISTEN`].
pub(crate) fn briefly() -> Options {
    if is_blessing() { Options::default() } else { Options::default().listening(LISTEN) }
}

/// Examines a membership on a host for [`LISTEN`].
pub(crate) fn examine(host: &Host, membership: &str) -> Report {
    examine_for(host, membership, &briefly())
}

pub(crate) fn examine_for(host: &Host, membership: &str, options: &Options) -> Report {
    examine_while(host, membership, options, || {})
}

/// Like [`examine_for`], and calls `act` on another thread once the doctor listens.
pub(crate) fn examine_while(
    host: &Host,
    membership: &str,
    options: &Options,
    act: impl FnOnce() + Send,
) -> Report {
    when_listening(act, None, |report_progress| joined(host, membership, options, report_progress))
}

/// Like [`examine`], until enough datagrams have arrived for losses to show.
pub(crate) fn examine_many(host: &Host, membership: &str) -> Report {
    let options = Options::default().listening(TIMEOUT);
    when_listening(|| {}, Some(MANY), |report_progress| joined(host, membership, &options, report_progress))
}

fn joined(host: &Host, membership: &str, options: &Options, report_progress: Reporter<'_>) -> Report {
    let membership = membership.parse().unwrap();
    examine_and_treat(host, || {
        on(host, || examine_membership(&membership, options, &mut &*report_progress).unwrap())
    })
}

/// Examines the program that has a port open on a host.
pub(crate) fn examine_port(host: &Host, port: u16) -> Report {
    examine_port_while(host, port, || {})
}

/// Like [`examine_port`], and calls `act` on another thread once the doctor listens.
pub(crate) fn examine_port_while(host: &Host, port: u16, act: impl FnOnce() + Send) -> Report {
    let program = ProgramSelector::Port(port);
    when_listening(act, None, |report_progress| selected(host, program, &briefly(), report_progress))
}

/// Like [`examine_port`], until enough datagrams have arrived for losses to show.
pub(crate) fn examine_port_for_many(host: &Host, port: u16) -> Report {
    let (program, options) = (ProgramSelector::Port(port), Options::default().listening(TIMEOUT));
    when_listening(|| {}, Some(MANY), |report_progress| selected(host, program, &options, report_progress))
}

pub(crate) fn examine_process(host: &Host, id: u32) -> Report {
    let program = ProgramSelector::Process(id);
    when_listening(|| {}, None, |report_progress| selected(host, program, &briefly(), report_progress))
}

fn selected(
    host: &Host,
    program: ProgramSelector,
    options: &Options,
    report_progress: Reporter<'_>,
) -> Report {
    examine_and_treat(host, || {
        on(host, || examine_program(program, options, &mut &*report_progress).unwrap())
    })
}

/// A progress callback of an examination that may run more than once.
type Reporter<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync);

/// Runs an examination with a progress callback, whose first call lets `act` begin on another thread, and which ends the
/// examination when `enough` datagrams have arrived.
fn when_listening(
    act: impl FnOnce() + Send,
    enough: Option<u64>,
    examine: impl FnOnce(Reporter<'_>) -> Report,
) -> Report {
    let (listens, listening) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || listening.recv().map(|()| act()));
        examine(&move |progress: Progress| {
            // Only the first call matters.
            let _ = listens.try_send(());
            let is_enough = match enough {
                Some(enough) => progress.on_wire >= enough,
                None => progress.of == Options::default().listen && progress.is_enough(),
            };
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    })
}

pub(crate) fn examine_host(host: &Host) -> Report {
    examine_and_treat(host, || on(host, || examine_machine().unwrap()))
}

/// A stream of numbered datagrams at a constant rate, until it is dropped.
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Streams from `eth0` of a host.
    pub(crate) fn to(host: &Host, to: &str) -> Self {
        Self::with(host, to, |_| {})
    }

    /// Like [`Self::to`], with a socket changed by `prepare`.
    pub(crate) fn with(host: &Host, to: &str, prepare: impl FnOnce(&Socket) + Send) -> Self {
        Self::sized(host, to, 64, prepare)
    }

    /// Like [`Self::with`], with `size` bytes per datagram.
    pub(crate) fn sized(host: &Host, to: &str, size: usize, prepare: impl FnOnce(&Socket) + Send) -> Self {
        let to: SocketAddr = to.parse().unwrap();
        let socket = socket(host, to.ip(), "eth0");
        prepare(&socket);
        Self::by(socket.into(), to, size)
    }

    pub(crate) fn by(socket: UdpSocket, to: SocketAddr, size: usize) -> Self {
        let mut payload = vec![0; size.max(8)];
        Self::of(socket, to, move |number| {
            payload[..8].copy_from_slice(&number.to_be_bytes());
            payload.clone()
        })
    }

    /// Streams RTP from `eth0` of a host.
    pub(crate) fn rtp(host: &Host, to: &str) -> Self {
        let to: SocketAddr = to.parse().unwrap();
        Self::of(socket(host, to.ip(), "eth0").into(), to, |number| rtp(number as u16, 7))
    }

    /// Streams these payloads.
    pub(crate) fn of(
        socket: UdpSocket,
        to: SocketAddr,
        mut payload: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for number in 0_u64.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                // In some cases sending is expected to fail.
                let _ = socket.send_to(&payload(number), to);
                std::thread::sleep(INTERVAL);
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

/// Returns an RTP packet with this sequence number and source.
pub(crate) fn rtp(number: u16, ssrc: u32) -> Vec<u8> {
    let mut payload = [0; 64];
    let packet = mcast_packet::payload::Rtp {
        marker: false,
        payload_type: 96,
        sequence: number,
        timestamp: u32::from(number) * 900,
        ssrc,
        csrc_count: 0,
        extension: None,
        payload: b"picture",
    };
    let length = packet.emit(&mut payload).unwrap();
    payload[..length].to_vec()
}

/// Opens a socket on a host that sends to groups on an interface.
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

/// Streams from a host with a socket of its own, and returns its port.
pub(crate) fn stream_of_program(host: &Host, to: &str, interface: &str) -> (Stream, u16) {
    let to = to.parse::<SocketAddr>().unwrap();
    let socket = socket(host, to.ip(), interface);
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (Stream::by(socket.into(), to, 64), port)
}

/// A socket that a thread reads until it is dropped.
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

/// Opens a listener like a typical program: bound to an address, joined on interfaces by their index.
pub(crate) fn listener(host: &Host, bind: &str, joins: &[(&str, &str)]) -> Listener {
    reading(idle_listener(host, bind, joins))
}

/// Reads from a socket until the listener is dropped.
pub(crate) fn reading(socket: UdpSocket) -> Listener {
    socket.set_read_timeout(Some(INTERVAL)).unwrap();
    let reads = socket.try_clone().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            // Most reads time out.
            let _ = reads.recv(&mut [0; 64]);
        }
    });
    Listener { socket, stop, thread: Some(thread) }
}

/// Like [`listener`], for a program that does not read.
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

/// Returns the options of a socket of the standard library.
pub(crate) fn options(socket: &UdpSocket) -> SockRef<'_> {
    SockRef::from(socket)
}

/// Runs a shell command on a host and asserts that it succeeds.
pub(crate) fn run(host: &Host, command: &str) {
    let output = host.command("sh").unwrap().args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns whether this machine has the programs that inject causes; prints a note if not.
pub(crate) fn has_programs() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let exists = |program: &&str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing: Vec<_> =
        ["nft", "tc", "bridge", "ip", "python3"].into_iter().filter(|each| !exists(each)).collect();
    if !missing.is_empty() {
        mcast_lab::skip(format_args!("this test needs {}", missing.join(", ")));
    }
    missing.is_empty()
}

/// Adds a rule in a new nftables chain.
pub(crate) fn nft(host: &Host, family: &str, hook: &str, rule: &str) {
    run(
        host,
        &format!(
            "nft add table {family} test && nft 'add chain {family} test c {{ type filter {hook} priority 0 ; }}' && nft add rule {family} test c {rule}"
        ),
    );
}

/// Repeatedly sends raw frames until it is dropped.
pub(crate) struct Injection {
    child: mcast_lab::Child,
}

/// Repeatedly sends raw frames on an interface of a host, one every 10 ms. The first frame has been sent when this
/// returns.
pub(crate) fn inject(host: &Host, interface: &str, frames: &[Vec<u8>]) -> Injection {
    inject_every(host, interface, frames, INTERVAL)
}

/// Like [`inject`], with another interval.
pub(crate) fn inject_every(
    host: &Host,
    interface: &str,
    frames: &[Vec<u8>],
    interval: Duration,
) -> Injection {
    const PROGRAM: &str = "import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
frames = [bytes.fromhex(frame) for frame in sys.argv[3:]]
s.send(frames[0])
print('sent', flush=True)
while True:
    for frame in frames[1:] + frames[:1]:
        time.sleep(float(sys.argv[2]))
        s.send(frame)";
    let hexadecimal = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut python = host.command("python3").unwrap();
    let interval = interval.as_secs_f64().to_string();
    python.args(["-c", PROGRAM, interface, interval.as_str()]).args(frames.iter().map(hexadecimal));
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

/// Returns whether a report has a finding with this id, of any severity.
pub(crate) fn has(report: &Report, id: Id) -> bool {
    report.findings.iter().any(|finding| finding.id == id)
}

/// Asserts that the cause was found, and no other fault.
pub(crate) fn assert_only(report: &Report, id: Id) {
    let listing = || report.findings.iter().map(describe).collect::<Vec<_>>().join("\n");
    // A warning does not explain that nothing arrives.
    let is_fault = |each: &Finding| each.severity == Severity::Fault;
    let explains = report.findings.iter().any(|each| each.id == id && is_fault(each));
    let is_other = |each: &&Finding| each.id != id && (explains || each.id != Id::NothingArrives);
    let others: Vec<_> = report.findings.iter().filter(|each| is_fault(each)).filter(is_other).collect();
    assert!(report.findings.iter().any(|each| each.id == id), "no {id}:\n{}\n{report:#?}", listing());
    assert!(others.is_empty(), "besides {id}:\n{}\n{report:#?}", listing());
    report.findings.iter().for_each(assert_documented);
}

/// Asserts that the page of a finding states the scope of its commands.
fn assert_documented(finding: &Finding) {
    let has_scope = finding.remedies.iter().any(|remedy| remedy.scope.is_some());
    let is_stated = || finding.id.page().contains("What the doctor's commands affect");
    assert!(!has_scope || is_stated(), "declare the remedies of {} with `offering`", finding.id);
}

/// Asserts that there are no findings.
pub(crate) fn assert_healthy(report: &Report) {
    let findings: Vec<_> = report.findings.iter().map(describe).collect();
    assert!(findings.is_empty(), "{}\n{report:#?}", findings.join("\n"));
}

/// Asserts that there are no findings, and that datagrams reached the socket.
pub(crate) fn assert_received(report: &Report) {
    assert_healthy(report);
    assert!(
        report.observations.iter().any(
            |observation| observation.layer == "socket" && observation.message.contains("datagrams from")
        ),
        "{report:#?}"
    );
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Arrives, Verdict::Healthy), "{report:#?}");
}

pub(crate) fn describe(finding: &Finding) -> String {
    format!("{} {}: {}", finding.severity, finding.id, finding.cause)
}
