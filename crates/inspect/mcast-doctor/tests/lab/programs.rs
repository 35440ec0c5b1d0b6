//! Faults of programs: sockets that do not take what they have joined, programs that do not read, and senders.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcast_doctor::{Error, HostError, Id, Options, ProgramSelector, Remedy, Report, examine_program};
use mcast_lab::{Child, Host};
use socket2::{Domain, SockFilter, SockRef, Socket, Type};

use crate::net::{
    Net, Stream, examine, examine_host, examine_port, examine_port_while, examine_process, has_programs,
    idle_listener, listener, options, run,
};

crate::table::cases! {
    receive_buffer_overflow: ReceiveBufferOverflow, "a program that reads slowly", slow_reader;
    bound_to_other_interface: BoundToOtherInterface, "a program joined on `eth0` and bound to `eth1`", bound_to_other_interface;
    bound_to_other_interface_v6: BoundToOtherInterface, "the same, IPv6", bound_to_other_interface_v6;
    bound_to_other_interface_beside: BoundToOtherInterface, "the same, group examined", other_program_bound_to_other_interface;
    bound_to_other_interface_of_machine: BoundToOtherInterface, "the same, machine examined", bound_to_other_interface_of_machine;
    bound_to_other_group: BoundToOtherGroup, "a program joined 239.1.2.3 and bound to 239.1.2.4", bound_to_other_group;
    bound_to_other_group_v6: BoundToOtherGroup, "the same, IPv6", bound_to_other_group_v6;
    ipv6_only_socket: FamilyMismatch, "an IPv4 membership of a socket with `IPV6_V6ONLY`", ipv6_only_socket;
    ipv6_address_of_ipv4_group: FamilyMismatch, "an IPv4 membership of a socket bound to an IPv6 address", ipv6_address_of_ipv4_group;
    own_groups_only: OwnGroupsOnly, "`IP_MULTICAST_ALL` 0 on the socket that reads, another has joined", own_groups_only;
    own_groups_only_of_ipv6: OwnGroupsOnly, "an IPv6 socket reads, an IPv4 socket has joined", ipv6_reader_of_ipv4_member;
    not_bound: NotBound, "a program that joins and does not bind", not_bound;
    not_bound_v6: NotBound, "the same, IPv6", not_bound_v6;
    connected_to_the_sender: ConnectedElsewhere, "a socket connected to the sender", connected_to_the_sender;
    program_stopped: ProgramStopped, "a program stopped by SIGSTOP", stopped;
    program_stopped_v6: ProgramStopped, "the same, IPv6", stopped_v6;
    program_stopped_beside: ProgramStopped, "the same, group examined", stopped_beside;
    not_read: NotRead, "a program that never reads, its buffer full", not_read;
    not_read_yet: NotRead, "a program that never reads, room in its buffer, IPv6", not_read_yet;
    socket_filter: SocketFilter, "a filter attached to the program's socket", socket_filter;
    socket_filter_v6: SocketFilter, "the same, IPv6", socket_filter_v6;
    left_group: LeftGroup, "a program that leaves the group while it is examined", left_group;
    ttl_zero: TtlTooSmall, "a program that sends with hop limit 0, beside a member", hop_limit_zero_of_program;
    ttl_zero_v6: TtlTooSmall, "the same, IPv6", hop_limit_zero_of_program_v6;
    ttl_zero_of_a_membership: TtlTooSmall, "the same, group examined on the sender", hop_limit_zero_of_membership;
    sent_by_other_interface: SentByOtherInterface, "sent by `eth1`, examined on the sender's `eth0`", sent_by_other_interface;
    sent_by_other_interface_v6: SentByOtherInterface, "the same, IPv6", sent_by_other_interface_v6;
    sent_by_other_interface_than_a_member: SentByOtherInterface, "a program sends by `eth1`, a host joins behind `eth0`", sent_by_other_interface_than_that_of_a_member;
    sent_with_the_address_of_another_interface: SentByOtherInterface, "a program sends by `eth1` with the address of `eth0`", sent_with_the_address_of_another_interface;
    loopback_off_for_a_program: LoopbackOff, "a local sender with `IP_MULTICAST_LOOP` 0, program examined", loopback_off_for_program;
    no_route_of_a_sender: NoRoute, "no route for groups, sending program examined", no_route_of_sender;
    decapsulated: Decapsulated, "a program whose socket decapsulates ESP in UDP", decapsulated;
    decapsulated_v6: Decapsulated, "the same, IPv6 (ESP in UDP)", decapsulated_v6;
    slow_reader_of_large_datagrams_v6: ReceiveBufferOverflow, "a program that reads slowly, large datagrams, IPv6", slow_reader_of_large_datagrams_v6;
}

const GROUP: &str = "239.1.2.3:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";

/// Opens a socket on a host, prepared before it is bound.
fn bound(host: &Host, bind: &str, prepare: impl FnOnce(&Socket) + Send) -> UdpSocket {
    let bind: SocketAddr = bind.parse().unwrap();
    host.run(|| {
        let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        prepare(&socket);
        socket.bind(&bind.into()).unwrap();
        UdpSocket::from(socket)
    })
    .unwrap()
}

/// Joins 239.1.2.3 on the interface of the receiver with an address.
fn join_v4(socket: &UdpSocket, interface: Ipv4Addr) {
    options(socket).join_multicast_v4(&Ipv4Addr::new(239, 1, 2, 3), &interface).unwrap();
}

const ETH0: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// A program whose socket was opened in another network namespace than its own: it is said where that is, instead of that there is
/// no socket.
#[test]
fn socket_of_a_program_in_another_namespace_is_named() {
    let net = Net::new();
    let socket = bound(&net.sender, "0.0.0.0:5000", |_| {});
    let start = || std::process::Command::new("sleep").arg("60").stdin(OwnedFd::from(socket)).spawn();
    let mut program = net.receiver.run(start).unwrap().unwrap();
    let select = ProgramSelector::Process(program.id());
    let examined =
        net.receiver.run(|| examine_program(select, &Options::default(), &mut |_| ControlFlow::Continue(())));
    program.kill().unwrap();
    program.wait().unwrap();
    let error = examined.unwrap().unwrap_err();
    let Error::Host(HostError::SocketElsewhere { socket, ref name, .. }) = error else { panic!("{error}") };
    assert_eq!((socket.port(), name.as_deref()), (5000, None), "the namespaces of the lab have no name");
    assert!(error.to_string().starts_with("sleep ("), "{error}");
}

/// A program whose socket has joined, and is bound to no port.
fn joined_without_a_port(to: &str) -> Report {
    joined_without_a_port_in(&Net::new(), to)
}

/// The same, where another program receives what it has joined.
#[test]
fn program_that_joins_for_another_is_not_accused() {
    if has_programs() {
        let net = Net::new();
        let _listener = listener(&net.receiver, "0.0.0.0:5000", &[]);
        let report = joined_without_a_port_in(&net, GROUP);
        assert!(report.findings.iter().all(|finding| finding.id != Id::NotBound), "{report:#?}");
    }
}

fn joined_without_a_port_in(net: &Net, to: &str) -> Report {
    let to = to.parse::<SocketAddr>().unwrap();
    let index = net.receiver.interface_index("eth0").unwrap();
    let start = || {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None).unwrap();
        match to.ip() {
            IpAddr::V4(group) => socket.join_multicast_v4(&group, &ETH0).unwrap(),
            IpAddr::V6(group) => socket.join_multicast_v6(&group, index).unwrap(),
        }
        std::process::Command::new("sleep").arg("60").stdin(OwnedFd::from(socket)).spawn().unwrap()
    };
    let mut program = net.receiver.run(start).unwrap();
    let _stream = Stream::to(&net.sender, &to.to_string());
    let report = examine_process(&net.receiver, program.id());
    program.kill().unwrap();
    program.wait().unwrap();
    report
}

pub(crate) fn not_bound() -> Report {
    joined_without_a_port(GROUP)
}

pub(crate) fn not_bound_v6() -> Report {
    joined_without_a_port(GROUP_V6)
}

/// Joined on `eth0`, bound to `eth1`.
fn bound_to_device(group: &str, bind: &str) -> Report {
    let net = Net::new();
    net.second_lan();
    let to: SocketAddr = group.parse().unwrap();
    let listener = listener(&net.receiver, bind, &[(&to.ip().to_string(), "eth0")]);
    options(&listener).bind_device(Some(b"eth1")).unwrap();
    let _stream = Stream::to(&net.sender, group);
    examine_port(&net.receiver, 5000)
}

pub(crate) fn bound_to_other_interface() -> Report {
    bound_to_device(GROUP, "0.0.0.0:5000")
}

pub(crate) fn bound_to_other_interface_v6() -> Report {
    bound_to_device(GROUP_V6, "[::]:5000")
}

/// The same, found while the doctor's own socket receives.
pub(crate) fn other_program_bound_to_other_interface() -> Report {
    let net = Net::new();
    net.second_lan();
    let listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    options(&listener).bind_device(Some(b"eth1")).unwrap();
    net.examine(GROUP, "239.1.2.3%eth0:5000")
}

/// The same, found by examining the machine.
pub(crate) fn bound_to_other_interface_of_machine() -> Report {
    let net = Net::new();
    net.second_lan();
    let listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    options(&listener).bind_device(Some(b"eth1")).unwrap();
    examine_host(&net.receiver)
}

pub(crate) fn bound_to_other_group() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "239.1.2.4:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

pub(crate) fn bound_to_other_group_v6() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "[ff15::1235]:5000", &[("ff15::1234", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP_V6);
    examine_port(&net.receiver, 5000)
}

/// An IPv6 socket that excludes IPv4, with an IPv4 membership.
pub(crate) fn ipv6_only_socket() -> Report {
    let net = Net::new();
    let socket = bound(&net.receiver, "[::]:5000", |socket| socket.set_only_v6(true).unwrap());
    join_v4(&socket, ETH0);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

/// An IPv6 socket bound to an IPv6 address, with an IPv4 membership.
pub(crate) fn ipv6_address_of_ipv4_group() -> Report {
    let net = Net::new();
    let socket = bound(&net.receiver, "[fd09::2]:5000", |_| {});
    join_v4(&socket, ETH0);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

/// A socket that reads, and another that holds the membership.
pub(crate) fn own_groups_only() -> Report {
    let net = Net::new();
    let reader = listener(&net.receiver, "0.0.0.0:5000", &[]);
    own_groups_only_of(&reader);
    let joiner = net.receiver.run(|| Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap()).unwrap().into();
    join_v4(&joiner, ETH0);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

/// An IPv6 socket that reads, and an IPv4 socket that holds the membership.
pub(crate) fn ipv6_reader_of_ipv4_member() -> Report {
    let net = Net::new();
    let _reader = listener(&net.receiver, "[::]:5000", &[]);
    let joiner = net.receiver.run(|| Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap()).unwrap().into();
    join_v4(&joiner, ETH0);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

/// Turns `IP_MULTICAST_ALL` off.
fn own_groups_only_of(socket: &UdpSocket) {
    options(socket).set_multicast_all_v4(false).unwrap();
}

/// Connected to the sender itself, which binds the socket to a unicast address.
pub(crate) fn connected_to_the_sender() -> Report {
    let net = Net::new();
    let sender = UdpSocket::from(crate::net::socket(&net.sender, [239, 1, 2, 3].into(), "eth0"));
    let port = sender.local_addr().unwrap().port();
    let listener = idle_listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    listener.connect(("10.9.0.1", port)).unwrap();
    let _stream = Stream::by(sender, GROUP.parse().unwrap(), 64);
    examine_port(&net.receiver, 5000)
}

/// A Python program that joins 239.1.2.3 (or ff15::1234) and reads, until it is dropped.
pub(crate) struct Player(Child);

impl Player {
    /// Starts it. `script` runs after the join, with the socket `s`.
    pub(crate) fn start(host: &Host, to: &str, script: &str) -> Self {
        const PROGRAM: &str = "import socket, sys, time, os, signal
host, port, script = sys.argv[1:]
v6 = ':' in host
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((host, int(port)))
group = socket.inet_pton(s.family, host)
index = socket.if_nametoindex('eth0').to_bytes(4, sys.byteorder)
if v6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + index)
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + bytes(4) + index)
print('ready', flush=True)
exec(script)
while True:
    s.recv(2000)";
        let to: SocketAddr = to.parse().unwrap();
        let mut python = host.command("python3").unwrap();
        python.args(["-c", PROGRAM, &to.ip().to_string(), &to.port().to_string(), script]);
        let mut child = python.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A program that is stopped, in one family.
fn stopped_player(group: &str) -> Report {
    let net = Net::new();
    let player = Player::start(&net.receiver, group, "");
    player.signal("-STOP");
    let _stream = Stream::to(&net.sender, group);
    examine_port(&net.receiver, 5000)
}

pub(crate) fn stopped() -> Report {
    stopped_player(GROUP)
}

pub(crate) fn stopped_v6() -> Report {
    stopped_player(GROUP_V6)
}

/// A stopped program whose buffer is full, while the doctor's own socket receives.
pub(crate) fn stopped_beside() -> Report {
    let net = Net::new();
    let player =
        Player::start(&net.receiver, GROUP, "s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)");
    player.signal("-STOP");
    net.examine(GROUP, "239.1.2.3%eth0:5000")
}

/// A program that reads more slowly than datagrams arrive, with a small buffer.
pub(crate) fn slow_reader() -> Report {
    const SLOWLY: &str = "
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
while True:
    s.recv(2000)
    time.sleep(0.05)";
    let net = Net::new();
    let _player = Player::start(&net.receiver, GROUP, SLOWLY);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

/// The same in IPv6, where only one of the large datagrams fits into the buffer.
pub(crate) fn slow_reader_of_large_datagrams_v6() -> Report {
    const SLOWLY: &str = "
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
while True:
    s.recv(2000)
    time.sleep(0.2)";
    let net = Net::new();
    let _player = Player::start(&net.receiver, GROUP_V6, SLOWLY);
    let _stream = Stream::sized(&net.sender, GROUP_V6, 1300, |_| {});
    examine_port(&net.receiver, 5000)
}

/// A program that never reads.
pub(crate) fn not_read() -> Report {
    let net = Net::new();
    let listener = idle_listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    options(&listener).set_recv_buffer_size(2048).unwrap();
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

/// A program that does not read, with room for everything.
pub(crate) fn not_read_yet() -> Report {
    let net = Net::new();
    let _listener = idle_listener(&net.receiver, "[ff15::1234]:5000", &[("ff15::1234", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP_V6);
    examine_port(&net.receiver, 5000)
}

/// A filter that rejects everything, attached to the socket.
fn filtered(group: &str) -> Report {
    /// Classic BPF: return 0.
    const REJECT: SockFilter = SockFilter::new(6, 0, 0, 0);
    let net = Net::new();
    let to: SocketAddr = group.parse().unwrap();
    let listener = listener(&net.receiver, group, &[(&to.ip().to_string(), "eth0")]);
    options(&listener).attach_filter(&[REJECT]).unwrap();
    let _stream = Stream::to(&net.sender, group);
    examine_port(&net.receiver, 5000)
}

pub(crate) fn socket_filter() -> Report {
    filtered(GROUP)
}

pub(crate) fn socket_filter_v6() -> Report {
    filtered(GROUP_V6)
}

/// A program whose socket takes ESP out of UDP, and datagrams that do not begin with four zero bytes.
fn decapsulating(group: &str) -> Report {
    const ESP_IN_UDP: &str = "s.setsockopt(17, 100, 2)";
    let net = Net::new();
    let _player = Player::start(&net.receiver, group, ESP_IN_UDP);
    let to: SocketAddr = group.parse().unwrap();
    let sender = crate::net::socket(&net.sender, to.ip(), "eth0");
    let _stream = Stream::of(sender.into(), to, |number| format!("picture {number:08}").into_bytes());
    examine_port(&net.receiver, 5000)
}

pub(crate) fn decapsulated() -> Report {
    decapsulating(GROUP)
}

pub(crate) fn decapsulated_v6() -> Report {
    decapsulating(GROUP_V6)
}

/// A program that leaves the group while it is examined.
pub(crate) fn left_group() -> Report {
    let net = Net::new();
    let listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port_while(&net.receiver, 5000, || {
        let eth0 = socket2::InterfaceIndexOrAddress::Address(ETH0);
        options(&listener).leave_multicast_v4_n(&Ipv4Addr::new(239, 1, 2, 3), &eth0).unwrap();
    })
}

/// Streams to a group with hop limit 0, on a host with a member.
fn hop_limit_zero(group: &str, examine: impl FnOnce(&Net, u16) -> Report) -> Report {
    let net = Net::new();
    let to: SocketAddr = group.parse().unwrap();
    let sender = crate::net::socket(&net.sender, to.ip(), "eth0");
    match to {
        SocketAddr::V4(_) => sender.set_multicast_ttl_v4(0).unwrap(),
        SocketAddr::V6(_) => sender.set_multicast_hops_v6(0).unwrap(),
    }
    let _member = listener(&net.sender, group, &[(&to.ip().to_string(), "eth0")]);
    let sender = UdpSocket::from(sender);
    let port = sender.local_addr().unwrap().port();
    let _stream = Stream::by(sender, to, 64);
    examine(&net, port)
}

pub(crate) fn hop_limit_zero_of_program() -> Report {
    hop_limit_zero(GROUP, |net, port| examine_port(&net.sender, port))
}

pub(crate) fn hop_limit_zero_of_program_v6() -> Report {
    hop_limit_zero(GROUP_V6, |net, port| examine_port(&net.sender, port))
}

pub(crate) fn hop_limit_zero_of_membership() -> Report {
    let report = hop_limit_zero(GROUP, |net, _| examine(&net.sender, "239.1.2.3%eth0:5000"));
    let programs: Vec<_> =
        report.findings.iter().filter_map(|each| each.subject.program.as_deref()).collect();
    let own = format!("({})", std::process::id());
    assert!(programs.iter().any(|program| program.contains(&own)), "{programs:?}: {report:#?}");
    report
}

/// Connects the sender to a second network with `eth1`.
fn second_lan_of_sender(net: &Net) {
    let (lan, _) = net.second_lan();
    net.sender.connect("eth1", &lan, &["10.8.0.1/24", "fd08::1/64"]).unwrap();
}

/// A sender that uses `eth1`, looked at there, in one family.
fn sent_by_eth1(group: &str, membership: &str) -> Report {
    let net = Net::new();
    second_lan_of_sender(&net);
    let to: SocketAddr = group.parse().unwrap();
    let _stream = Stream::by(crate::net::socket(&net.sender, to.ip(), "eth1").into(), to, 64);
    examine(&net.sender, membership)
}

pub(crate) fn sent_by_other_interface() -> Report {
    sent_by_eth1(GROUP, "239.1.2.3%eth0:5000")
}

pub(crate) fn sent_by_other_interface_v6() -> Report {
    sent_by_eth1(GROUP_V6, "[ff15::1234%eth0]:5000")
}

/// A program that sends by `eth1`, while a host joins on the network of `eth0`.
pub(crate) fn sent_by_other_interface_than_that_of_a_member() -> Report {
    let net = Net::new();
    second_lan_of_sender(&net);
    let sender = UdpSocket::from(crate::net::socket(&net.sender, [239, 1, 2, 3].into(), "eth1"));
    let port = sender.local_addr().unwrap().port();
    let _stream = Stream::by(sender, GROUP.parse().unwrap(), 64);
    let mut member = None;
    examine_port_while(&net.sender, port, || {
        member = Some(listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]));
    })
}

/// A program that is bound to the address of `eth0` and sends by `eth1`.
pub(crate) fn sent_with_the_address_of_another_interface() -> Report {
    let net = Net::new();
    second_lan_of_sender(&net);
    let sender = bound(&net.sender, "10.9.0.1:0", |socket| {
        socket.set_multicast_if_v4(&Ipv4Addr::new(10, 8, 0, 1)).unwrap();
    });
    let port = sender.local_addr().unwrap().port();
    let _stream = Stream::by(sender, GROUP.parse().unwrap(), 64);
    examine_port(&net.sender, port)
}

/// A program on the machine of its sender, which has `IP_MULTICAST_LOOP` off.
pub(crate) fn loopback_off_for_program() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
    let prepare = |socket: &Socket| socket.set_multicast_loop_v4(false).unwrap();
    let _stream = Stream::with(&net.receiver, GROUP, prepare);
    examine_port(&net.receiver, 5000)
}

/// A program that sends without choosing an interface, on a machine without a route for groups.
pub(crate) fn no_route_of_sender() -> Report {
    let net = Net::new();
    net.sender.remove_route("224.0.0.0/4", "eth0").unwrap();
    let sender = bound(&net.sender, "0.0.0.0:0", |_| {});
    let port = sender.local_addr().unwrap().port();
    let _stream = Stream::by(sender, GROUP.parse().unwrap(), 64);
    examine_port(&net.sender, port)
}

/// Returns the commands of a finding.
fn commands(report: &Report, id: Id) -> Vec<String> {
    let findings = report.findings.iter().filter(|finding| finding.id == id);
    findings.flat_map(|finding| finding.remedies.iter().filter_map(Remedy::command)).collect()
}

#[test]
fn route_moves_a_stream_to_the_expected_interface() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    second_lan_of_sender(&net);
    run(&net.sender, "ip route replace 224.0.0.0/4 dev eth1");
    let sender = bound(&net.sender, "0.0.0.0:0", |_| {});
    let _stream = Stream::by(sender, GROUP.parse().unwrap(), 64);
    let report = examine(&net.sender, "239.1.2.3%eth0:5000");
    let commands = commands(&report, Id::SentByOtherInterface);
    assert_eq!(commands, ["ip route replace 239.1.2.3/32 dev eth0"]);
    run(&net.sender, &commands[0]);
    crate::net::assert_received(&examine(&net.receiver, "239.1.2.3%eth0:5000"));
}

#[test]
fn stopped_program_reads_again_after_the_remedy() {
    let net = Net::new();
    let player = Player::start(&net.receiver, GROUP, "");
    player.signal("-STOP");
    let _stream = Stream::to(&net.sender, GROUP);
    let commands = commands(&examine_port(&net.receiver, 5000), Id::ProgramStopped);
    assert_eq!(commands, [format!("kill -CONT {}", player.0.id())]);
    run(&net.receiver, &commands[0]);
    crate::net::assert_healthy(&examine_port(&net.receiver, 5000));
}

/// Asserts that a member of 239.1.2.3 receives nothing after `injure`, and receives again after `heal`.
fn assert_healed(net: &Net, injure: impl Fn(SockRef<'_>), heal: impl Fn(SockRef<'_>)) {
    let socket = idle_listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    injure(options(&socket));
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // What was queued before.
    while socket.recv(&mut [0; 100]).is_ok() {}
    heal(options(&socket));
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.recv(&mut [0; 100]).unwrap();
}

#[test]
fn sockets_receive_after_the_remedy() {
    const JOINED: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
    let net = Net::new();
    net.second_lan();
    let _stream = Stream::to(&net.sender, GROUP);
    assert_healed(
        &net,
        |socket| socket.bind_device(Some(b"eth1")).unwrap(),
        |socket| socket.bind_device(None).unwrap(),
    );
    assert_healed(
        &net,
        |socket| socket.attach_filter(&[SockFilter::new(6, 0, 0, 0)]).unwrap(),
        |socket| socket.detach_filter().unwrap(),
    );
    assert_healed(
        &net,
        |socket| {
            socket.leave_multicast_v4(&JOINED, &ETH0).unwrap();
            socket.set_multicast_all_v4(false).unwrap();
        },
        |socket| socket.join_multicast_v4(&JOINED, &ETH0).unwrap(),
    );
}

/// Programs that look unusual and receive.
pub(crate) mod healthy {
    use super::*;
    use crate::net::assert_healthy;

    /// Classic BPF: return 65535.
    const ADMIT: SockFilter = SockFilter::new(6, 0, 0, 65_535);

    #[test]
    pub(crate) fn ipv6_socket_that_has_joined_an_ipv4_group_itself() {
        let net = Net::new();
        let socket = listener(&net.receiver, "[::]:5000", &[]);
        join_v4(&socket, ETH0);
        let _stream = Stream::to(&net.sender, GROUP);
        assert_healthy(&examine_port(&net.receiver, 5000));
        assert_healthy(&examine_host(&net.receiver));
    }

    /// Each of several sockets on a port gets a copy, also with `SO_REUSEPORT`.
    #[test]
    pub(crate) fn sockets_that_share_a_port() {
        let net = Net::new();
        let reader = || {
            let prepare = |socket: &Socket| socket.set_reuse_port(true).unwrap();
            let socket = bound(&net.receiver, GROUP, prepare);
            join_v4(&socket, ETH0);
            socket
        };
        let readers = [reader(), reader()];
        let stop = AtomicBool::new(false);
        let read = |reader: UdpSocket| {
            reader.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let mut received = 0;
            while !stop.load(Ordering::Relaxed) {
                received += u32::from(reader.recv(&mut [0; 100]).is_ok());
            }
            received
        };
        let _stream = Stream::to(&net.sender, GROUP);
        std::thread::scope(|scope| {
            let reading = readers.map(|reader| scope.spawn(|| read(reader)));
            let report = examine_port(&net.receiver, 5000);
            stop.store(true, Ordering::Relaxed);
            let received = reading.map(|thread| thread.join().unwrap());
            assert_healthy(&report);
            assert!(received.iter().all(|received| *received > 10), "{received:?}");
        });
    }

    #[test]
    pub(crate) fn one_socket_for_each_interface() {
        let net = Net::new();
        net.second_lan();
        let sockets = ["eth0", "eth1"].map(|interface| {
            let socket = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", interface)]);
            options(&socket).bind_device(Some(interface.as_bytes())).unwrap();
            socket
        });
        let _stream = Stream::to(&net.sender, GROUP);
        assert_healthy(&examine_port(&net.receiver, 5000));
        drop(sockets);
    }

    #[test]
    pub(crate) fn socket_with_a_filter_that_admits_the_group() {
        let net = Net::new();
        let listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
        options(&listener).attach_filter(&[ADMIT]).unwrap();
        let _stream = Stream::to(&net.sender, GROUP);
        assert_healthy(&examine_port(&net.receiver, 5000));
    }

    #[test]
    pub(crate) fn program_that_reads_in_bursts() {
        const IN_BURSTS: &str = "
s.setblocking(False)
while True:
    time.sleep(0.3)
    try:
        while True: s.recv(2000)
    except BlockingIOError: pass";
        let net = Net::new();
        let _player = Player::start(&net.receiver, GROUP, IN_BURSTS);
        let _stream = Stream::to(&net.sender, GROUP);
        assert_healthy(&examine_port(&net.receiver, 5000));
    }

    #[test]
    pub(crate) fn sender_with_two_interfaces_that_has_chosen_one() {
        let net = Net::new();
        second_lan_of_sender(&net);
        let sender = UdpSocket::from(crate::net::socket(&net.sender, [239, 1, 2, 3].into(), "eth1"));
        let port = sender.local_addr().unwrap().port();
        let _stream = Stream::by(sender, GROUP.parse().unwrap(), 64);
        assert_healthy(&examine_port(&net.sender, port));
        assert_healthy(&examine_host(&net.sender));
    }

    /// Chat programs do this.
    #[test]
    pub(crate) fn program_that_does_not_want_to_receive_what_it_sends() {
        let net = Net::new();
        let listener = listener(&net.receiver, GROUP, &[("239.1.2.3", "eth0")]);
        options(&listener).set_multicast_loop_v4(false).unwrap();
        let own = listener.try_clone().unwrap();
        options(&own).set_multicast_if_v4(&ETH0).unwrap();
        let _own = Stream::by(own, GROUP.parse().unwrap(), 64);
        let _other = Stream::to(&net.sender, GROUP);
        assert_healthy(&examine_port(&net.receiver, 5000));
    }
}
