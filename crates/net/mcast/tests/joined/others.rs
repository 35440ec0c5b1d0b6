//! Memberships of other processes.

use std::collections::BTreeSet;

use mcast::Family;
use mcast::joined::{self, Holder, Memberships, SocketKind, Visibility};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::host::{
    Program, eventually, holdings_of, host_on_two_lans, joined_by_sockets, sockets_of, survey,
};

#[test]
fn another_programs_memberships_are_reported() {
    let (_lab, host) = host_on_two_lans();
    let Some(program) = Program::start(
        &host,
        "a = udp(V4, 7001)
join(a, 'eth0', '239.1.2.3')
join(a, 'eth1', '239.1.2.3')
join(a, 'eth0', '232.1.2.3', '10.0.0.7')
join(a, 'eth0', '232.1.2.3', '10.0.0.8')
a.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
b = udp(V6, 7002)
join(b, 'eth1', 'ff15::1')
block(b, 'eth1', 'ff15::1', 'fd00::9')
join(b, 'eth0', '239.9.9.9')",
    ) else {
        return;
    };

    let memberships = survey(&host);

    let expected = [
        "239.1.2.3 eth0 7001 all but []",
        "239.1.2.3 eth1 7001 all but []",
        "232.1.2.3 eth0 7001 only [10.0.0.7 10.0.0.8]",
        "ff15::1 eth1 7002 all but [fd00::9]",
        // An IPv6 socket that has joined an IPv4 group.
        "239.9.9.9 eth0 7002 all but []",
    ];
    assert_eq!(joined_by_sockets(&memberships), expected.map(String::from).into());
    assert_eq!(memberships.unseen(), Some(0));

    let held = sockets_of(&memberships, "232.1.2.3")[0];
    let process = &held.socket.processes[0];
    assert_eq!((process.pid, process.name.as_str()), (program.id(), "python3"));
    // Defaults, except for the loopback switched off above.
    assert_eq!((held.multicast_all, held.loopback), (Some(true), Some(false)));
    let mapped = sockets_of(&memberships, "239.9.9.9")[0];
    assert_eq!((mapped.socket.family, mapped.loopback), (Family::V6, Some(true)));
}

#[test]
fn more_sources_than_the_first_buffer_holds_are_all_reported() {
    const SOURCES: usize = 150;

    let (_lab, host) = host_on_two_lans();
    host.sysctl("net/ipv4/igmp_max_msf", "200").unwrap();
    let script = format!(
        "a = udp(V4, 7001)\nfor n in range({SOURCES}): join(a, 'eth0', '232.1.2.3', '10.0.1.%d' % n)"
    );
    let Some(_program) = Program::start(&host, &script) else { return };

    let memberships = survey(&host);

    let held = sockets_of(&memberships, "232.1.2.3")[0];
    let addresses: BTreeSet<String> = held.filter.sources().map(|source| source.to_string()).collect();
    assert_eq!(addresses, (0..SOURCES).map(|number| format!("10.0.1.{number}")).collect());
}

#[test]
fn raw_connected_bound_and_unbound_sockets_are_distinguished() {
    let (_lab, host) = host_on_two_lans();
    let Some(_program) = Program::start(
        &host,
        "raw = socket.socket(V4, socket.SOCK_RAW, 2)
join(raw, 'eth0', '239.0.0.1')
connected = udp(V4, 7001)
connected.connect(('10.0.0.77', 9))
join(connected, 'eth0', '239.0.0.2')
bound = udp(V6, 7002)
bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth1')
join(bound, 'eth1', 'ff15::3')
holder = socket.socket(V4, socket.SOCK_DGRAM)
join(holder, 'eth0', '239.0.0.4')",
    ) else {
        return;
    };

    let memberships = survey(&host);

    let socket_of = |group| sockets_of(&memberships, group)[0].socket.clone();
    let raw = socket_of("239.0.0.1");
    assert_eq!((raw.kind, raw.local, raw.port()), (SocketKind::Raw { protocol: 2 }, None, None));
    assert_eq!(socket_of("239.0.0.2").peer, Some("10.0.0.77:9".parse().unwrap()));
    let bound = socket_of("ff15::3").bound_interface;
    assert_eq!(bound.map(mcast::InterfaceIndex::number), host.interface_index("eth1").ok());
    assert_eq!((socket_of("239.0.0.4").local, socket_of("239.0.0.4").port()), (None, None));
}

#[test]
fn a_socket_in_two_processes_is_reported_once_with_both() {
    let (_lab, host) = host_on_two_lans();
    let Some(mut program) = Program::start(
        &host,
        "a = udp(V4, 7001)
join(a, 'eth0', '239.1.2.3')
again = os.dup(a.fileno())
held, hold = os.pipe()
child = os.fork()
if child == 0:
    os.close(hold)
    os.read(held, 1)
    os._exit(0)",
    ) else {
        return;
    };

    let memberships = survey(&host);

    let [held] = sockets_of(&memberships, "239.1.2.3")[..] else { panic!("{memberships:#?}") };
    let pids: Vec<u32> = held.socket.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.contains(&program.id()));
    assert_eq!(memberships.unseen(), Some(0));

    program.run("os.close(hold); os.waitpid(child, 0)");
    eventually(&host, "one process is left", |memberships| {
        sockets_of(memberships, "239.1.2.3")[0].socket.processes.len() == 1
    });
}

#[test]
fn a_process_that_borrows_a_socket_for_a_survey_is_not_a_holder() {
    let (_lab, host) = host_on_two_lans();
    let Some(program) = Program::start(&host, "a = udp(V4, 7001)\njoin(a, 'eth0', '239.1.2.3')") else {
        return;
    };
    // Borrows like another survey, but for longer.
    let borrow = format!(
        "import ctypes
lender = os.pidfd_open({})
mark = os.memfd_create('mcast-survey')
for number in range(3, 100):
    lent = ctypes.CDLL(None).syscall(438, lender, number, 0)
    if lent >= 0 and os.readlink('/proc/self/fd/%d' % lent).startswith('socket:'): break",
        program.id()
    );
    let Some(mut surveyor) = Program::start(&host, &borrow) else { return };
    let holders = |memberships: &Memberships| -> Vec<u32> {
        let [held] = sockets_of(memberships, "239.1.2.3")[..] else { panic!("{memberships:#?}") };
        held.socket.processes.iter().map(|process| process.pid).collect()
    };

    assert_eq!(holders(&survey(&host)), [program.id()]);

    // A process that has it without surveying is a holder.
    surveyor.run("os.close(mark)");
    eventually(&host, "both hold it", |memberships| holders(memberships).len() == 2);
}

#[test]
fn a_group_that_was_left_is_not_reported() {
    let (_lab, host) = host_on_two_lans();
    let Some(mut program) = Program::start(&host, "a = udp(V4, 7001)\njoin(a, 'eth0', '239.1.2.3')") else {
        return;
    };
    assert_eq!(holdings_of(&survey(&host), "239.1.2.3").len(), 1);

    program.run("leave(a, 'eth0', '239.1.2.3')");

    eventually(&host, "the group is gone", |memberships| holdings_of(memberships, "239.1.2.3").is_empty());
}

#[test]
fn sockets_that_may_not_be_inspected_are_counted_and_reported() {
    let (_lab, host) = host_on_two_lans();
    let Some(program) = Program::start(
        &host,
        "a, b = udp(V4, 7001), udp(V4, 7001)
join(a, 'eth0', '239.1.2.3')
join(b, 'eth0', '239.1.2.3')
join(a, 'eth0', '224.0.0.1')
c = udp(V6, 7002)
join(c, 'eth1', 'ff15::1')",
    ) else {
        return;
    };
    let _own = crate::host::join(&host, ["239.1.2.3%eth0:7001"]);

    let memberships = host
        .run(|| {
            // Without capabilities, it may no longer inspect processes that have some.
            let none = CapabilitySet::empty();
            let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
            set_capabilities(None, sets).unwrap();
            joined::memberships()
        })
        .unwrap()
        .unwrap();

    let Visibility::Partial { closed } = &memberships.visibility else {
        panic!("{:?}", memberships.visibility)
    };
    assert!(closed.contains(&program.id()), "{closed:?}");
    // A process can inspect itself, whatever privileges it has.
    assert_eq!(joined_by_sockets(&memberships), ["239.1.2.3 eth0 7001 all but []".into()].into());
    let unseen = |group| -> Vec<Holder> {
        let holders = holdings_of(&memberships, group).into_iter().map(|holding| holding.holder.clone());
        holders.filter(|holder| !matches!(holder, Holder::Socket(_))).collect()
    };
    assert_eq!(unseen("239.1.2.3"), [Holder::Unseen { sockets: Some(2) }]);
    assert_eq!(unseen("ff15::1"), [Holder::Unseen { sockets: Some(1) }]);
    assert!(unseen("224.0.0.1").contains(&Holder::Unseen { sockets: Some(1) }));
    assert_eq!(memberships.unseen(), Some(4));
}
