//! Faults of programs and of their sockets.

use std::net::{Ipv4Addr, UdpSocket};

use mcast_doctor::{Id, Report};
use socket2::{Domain, Socket, Type};

use crate::net::{
    Listener, Net, Stream, assert_healthy, examine, examine_host, examine_port, examine_port_while, has,
    has_programs, idle_listener, listener, options, reading, run, socket,
};

crate::table::cases! {
    joined_other_interface: JoinedOtherInterface, "joined on `eth1`, sent on `eth0`", membership_on_other_interface;
    joined_other_interface_by_a_program: JoinedOtherInterface, "a program, the same", program_on_other_interface;
    no_route: NoRoute, "no route for groups, `%default` joined", no_route;
    no_route_on_the_machine: NoRoute, "no route for groups, machine examined", no_route_of_machine;
    receive_buffer_overflow_earlier: ReceiveBufferOverflow, "a program that does not read, machine examined later", receive_buffer_of_machine;
    sender_queue_drops: SenderQueueDrops, "`tc` token bucket that is too small", sender_queue;
    wrong_port: WrongPort, "sent to port 5001, received on port 5000", wrong_port;
    wrong_port_of_a_program: WrongPort, "a program, the same", wrong_port_of_program;
    bound_to_unicast: BoundToUnicast, "a program bound to the address of the interface", bound_to_unicast;
    foreign_groups_leak: ForeignGroupsLeak, "bound to the wildcard address, another program joins another group", foreign_groups;
    address_in_use: AddressInUse, "a program that does not share its port", address_in_use;
    duplicate_interfaces: DuplicateInterfaces, "joined on two interfaces of one network", two_interfaces_of_one_lan;
    duplicate_interfaces_of_a_program: DuplicateInterfaces, "a program, the same", program_on_two_interfaces;
    loopback_off: LoopbackOff, "a local sender with `IP_MULTICAST_LOOP` 0", loopback_off;
    membership_limit: MembershipLimit, "a program's socket with 20 groups", membership_limit;
    membership_limit_and_another_group: MembershipLimit, "a program's socket that may join two groups, and datagrams to a third", third_of_two_groups;
    membership_limit_of_sources: MembershipLimit, "a program's membership with 10 sources", source_limit;
    ssm_without_source: SsmWithoutSource, "232.1.2.3 joined without a source", ssm_without_source;
    ssm_without_source_by_a_program: SsmWithoutSource, "a program, the same", ssm_without_source_in_program;
    source_not_admitted: SourceNotAdmitted, "joined with another source than the sender", source_not_admitted;
    source_not_admitted_by_a_program: SourceNotAdmitted, "a program, the same", source_not_admitted_by_program;
    mac_alias: MacAlias, "239.129.2.3 besides 239.1.2.3", mac_alias;
    interface_recreated: InterfaceRecreated, "the interface deleted and created again while a program runs", interface_recreated;
    nothing_arrives: NothingArrives, "no sender", nothing_arrives;
    interface_down: InterfaceDown, "the interface is down", interface_down;
    connected_elsewhere: ConnectedElsewhere, "a socket connected to another host", connected_elsewhere;
    not_joined: NotJoined, "a program that binds but does not join", not_joined;
    interface_down_of_a_program: InterfaceDown, "the interface is down, program examined", interface_down_of_program;
    stopped_worker: ProgramStopped, "a process that shares the socket of a waiting parent is stopped", stopped_worker;
}

/// A membership on the wrong one of two interfaces.
pub(crate) fn membership_on_other_interface() -> Report {
    let net = Net::new();
    net.second_lan();
    net.examine("239.1.2.3:5000", "239.1.2.3%eth1:5000")
}

/// A program with a membership on the wrong interface.
pub(crate) fn program_on_other_interface() -> Report {
    let net = Net::new();
    net.second_lan();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth1")]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// The sender uses another port.
pub(crate) fn wrong_port() -> Report {
    Net::new().examine("239.1.2.3:5001", "239.1.2.3%eth0:5000")
}

/// A program that listens on another port.
pub(crate) fn wrong_port_of_program() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5001");
    examine_port(&net.receiver, 5000)
}

/// A program bound to the address of the interface.
pub(crate) fn bound_to_unicast() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "10.9.0.2:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// A program with a small buffer that does not read, found later by examining the machine.
pub(crate) fn receive_buffer_of_machine() -> Report {
    let net = Net::new();
    let listener = idle_listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    options(&listener).set_recv_buffer_size(2048).unwrap();
    let sender: UdpSocket = socket(&net.sender, [239, 1, 2, 3].into(), "eth0").into();
    for _ in 0..100 {
        sender.send_to(&[0; 1000], "239.1.2.3:5000").unwrap();
    }
    examine_host(&net.receiver)
}

/// A rate limit in the send queue of the sender.
pub(crate) fn sender_queue() -> Report {
    let net = Net::new();
    run(&net.sender, "tc qdisc add dev eth0 root tbf rate 100kbit burst 2k latency 20ms");
    let sender = socket(&net.sender, [239, 1, 2, 3].into(), "eth0");
    let sender = UdpSocket::from(sender);
    let port = sender.local_addr().unwrap().port();
    let _stream = Stream::by(sender, "239.1.2.3:5000".parse().unwrap(), 1000);
    examine_port(&net.sender, port)
}

/// A socket bound to the wildcard address, while another program joins another group.
pub(crate) fn foreign_groups() -> Report {
    let net = Net::new();
    let _victim = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let _other = listener(&net.receiver, "239.4.5.6:5000", &[("239.4.5.6", "eth0")]);
    let _wanted = Stream::to(&net.sender, "239.1.2.3:5000");
    let _foreign = Stream::to(&net.sender, "239.4.5.6:5000");
    examine_port(&net.receiver, 5000)
}

/// A program that does not share its port.
pub(crate) fn address_in_use() -> Report {
    let net = Net::new();
    let _greedy = net.receiver.run(|| UdpSocket::bind("0.0.0.0:5000").unwrap()).unwrap();
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

/// A membership on two interfaces of one network.
pub(crate) fn two_interfaces_of_one_lan() -> Report {
    let net = Net::new();
    net.receiver.connect("eth1", &net.lan, &["10.9.0.3/24"]).unwrap();
    net.examine("239.1.2.3:5000", "239.1.2.3%all:5000")
}

/// A program with memberships on both.
pub(crate) fn program_on_two_interfaces() -> Report {
    let net = Net::new();
    net.receiver.connect("eth1", &net.lan, &["10.9.0.3/24"]).unwrap();
    let _listener =
        listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0"), ("239.1.2.3", "eth1")]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// The sender on the same machine has `IP_MULTICAST_LOOP` off.
pub(crate) fn loopback_off() -> Report {
    let net = Net::new();
    let prepare = |socket: &Socket| socket.set_multicast_loop_v4(false).unwrap();
    let _stream = Stream::with(&net.receiver, "239.1.2.3:5000", prepare);
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// A socket of a program that has reached the limit of memberships.
pub(crate) fn membership_limit() -> Report {
    let net = Net::new();
    let groups: Vec<_> = (1..=20).map(|last| format!("239.7.7.{last}")).collect();
    let joins: Vec<_> = groups.iter().map(|group| (group.as_str(), "eth0")).collect();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &joins);
    let _stream = Stream::to(&net.sender, "239.7.7.1:5000");
    examine_port(&net.receiver, 5000)
}

/// A program whose socket may join two groups, and that receives a third one at its port.
pub(crate) fn third_of_two_groups() -> Report {
    let net = Net::new();
    net.receiver.sysctl("net/ipv4/igmp_max_memberships", "2").unwrap();
    let joins = [("239.7.7.1", "eth0"), ("239.7.7.2", "eth0")];
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &joins);
    let _streams =
        ["239.7.7.1:5000", "239.7.7.2:5000", "239.1.2.3:5000"].map(|to| Stream::to(&net.sender, to));
    examine_port(&net.receiver, 5000)
}

/// What a program at the limit was refused is not another group than one that is silent.
#[test]
fn group_that_the_limit_refused_is_not_sent_to_by_mistake() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    net.receiver.sysctl("net/ipv4/igmp_max_memberships", "2").unwrap();
    let joins = [("239.1.2.1", "eth0"), ("239.1.2.2", "eth0")];
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &joins);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let report = examine_port(&net.receiver, 5000);
    assert!(has(&report, Id::MembershipLimit) && !has(&report, Id::SentToAnotherGroup), "{report:#?}");
}

/// A membership of a program that has reached the limit of sources.
pub(crate) fn source_limit() -> Report {
    let net = Net::new();
    let _listener = source_specific(&net, &(1..=10).collect::<Vec<_>>());
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// Opens a listener for 239.1.2.3 and the sources 10.9.0.x.
fn source_specific(net: &Net, sources: &[u8]) -> Listener {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let bind: std::net::SocketAddr = "239.1.2.3:5000".parse().unwrap();
        socket.bind(&bind.into()).unwrap();
        for last in sources {
            let (source, group) = (Ipv4Addr::new(10, 9, 0, *last), Ipv4Addr::new(239, 1, 2, 3));
            socket.join_ssm_v4(&source, &group, &Ipv4Addr::new(10, 9, 0, 2)).unwrap();
        }
        socket
    };
    reading(net.receiver.run(open).unwrap().into())
}

/// A source-specific group without a source.
pub(crate) fn ssm_without_source() -> Report {
    Net::new().examine("232.1.2.3:5000", "232.1.2.3%eth0:5000")
}

/// A program that joined without a source.
pub(crate) fn ssm_without_source_in_program() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "232.1.2.3:5000", &[("232.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, "232.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// A membership with the wrong source.
pub(crate) fn source_not_admitted() -> Report {
    Net::new().examine("232.1.2.3:5000", "10.9.0.77@232.1.2.3%eth0:5000")
}

/// A program with the wrong source.
pub(crate) fn source_not_admitted_by_program() -> Report {
    let net = Net::new();
    let _listener = source_specific(&net, &[77]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// The interface is deleted and created again while the program listens.
pub(crate) fn interface_recreated() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    examine_port_while(&net.receiver, 5000, || {
        net.receiver.reconnect("eth0", &net.lan, &["10.9.0.2/24"]).unwrap();
    })
}

/// A socket connected to a host that does not send.
pub(crate) fn connected_elsewhere() -> Report {
    let net = Net::new();
    let listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    listener.connect("10.9.0.99:6000").unwrap();
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// A program that binds but does not join.
pub(crate) fn not_joined() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

/// No route, while the routing table is to choose the interface.
pub(crate) fn no_route() -> Report {
    let net = Net::new();
    net.receiver.remove_route("224.0.0.0/4", "eth0").unwrap();
    net.examine("239.1.2.3:5000", "239.1.2.3%default:5000")
}

/// No route, found by examining the machine.
pub(crate) fn no_route_of_machine() -> Report {
    let net = Net::new();
    net.receiver.remove_route("224.0.0.0/4", "eth0").unwrap();
    examine_host(&net.receiver)
}

pub(crate) fn interface_down() -> Report {
    let net = Net::new();
    net.receiver.set_down("eth0").unwrap();
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

pub(crate) fn interface_down_of_program() -> Report {
    let net = Net::new();
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    net.receiver.set_down("eth0").unwrap();
    examine_port(&net.receiver, 5000)
}

/// There is no sender.
pub(crate) fn nothing_arrives() -> Report {
    examine(&Net::new().receiver, "239.1.2.3%eth0:5000")
}

/// Groups that share an Ethernet address.
pub(crate) fn mac_alias() -> Report {
    let net = Net::new();
    let _alias = Stream::to(&net.sender, "239.129.2.3:5000");
    net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

#[test]
pub(crate) fn socket_that_only_joins_is_fine_if_another_receives() {
    let net = Net::new();
    let _joins = listener(&net.receiver, "10.9.0.2:5000", &[("239.1.2.3", "eth0")]);
    let receives = listener(&net.receiver, "239.1.2.3:5000", &[]);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    let report = examine_port(&net.receiver, 5000);
    drop(receives);
    crate::net::assert_healthy(&report);
}

/// A process that inherited the socket should read it, and is stopped; its parent waits.
pub(crate) fn stopped_worker() -> Report {
    // The worker ends with its parent (`PR_SET_PDEATHSIG`).
    const WORKER: &str = "
import ctypes
worker = os.fork()
if worker == 0:
    ctypes.CDLL(None).prctl(1, 9)
    os.kill(os.getpid(), signal.SIGSTOP)
else:
    os.waitpid(worker, 0)";
    let net = Net::new();
    let _player = crate::programs::Player::start(&net.receiver, "239.1.2.3:5000", WORKER);
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    examine_port(&net.receiver, 5000)
}

#[test]
fn program_beside_one_whose_buffer_is_full() {
    let net = Net::new();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let full = idle_listener(&net.receiver, "0.0.0.0:6000", &[("239.7.7.7", "eth0")]);
    options(&full).set_recv_buffer_size(2048).unwrap();
    let _other = Stream::to(&net.sender, "239.7.7.7:6000");
    let _stream = Stream::to(&net.sender, "239.1.2.3:5000");
    // The buffer is full before the examination begins.
    while net
        .receiver
        .read_proc_net("udp")
        .unwrap()
        .lines()
        .filter(|line| line.contains(":1770 "))
        .all(|line| line.trim_end().ends_with(" 0"))
    {
        std::thread::yield_now();
    }
    assert_healthy(&examine_port(&net.receiver, 5000));
}
