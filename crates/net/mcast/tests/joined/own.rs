//! Memberships of this process.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use mcast::joined::SocketKind;
use mcast::{Drops, Family, Receiver, Sender};

use crate::host::{
    TIMEOUT, holdings_of, host_on_two_lans, index, join, joined_by_sockets, sockets_of, survey,
};

#[test]
fn every_kind_of_membership_is_reported_with_its_sources() {
    let (_lab, host) = host_on_two_lans();
    let _receiver = join(
        &host,
        [
            "239.1.2.3%eth0:7001",
            "10.0.0.7,10.0.0.8@232.1.2.3%eth1:7002",
            "!10.0.0.9@239.1.2.4%eth0:7003",
            "[ff15::1%eth1]:7004",
            "fd00::7@[ff3e::8000:1%eth0]:7005",
            "!fd00::8,fd00::9@[ff15::2%eth0]:7006",
        ],
    );

    let memberships = survey(&host);

    let expected = [
        "239.1.2.3 eth0 7001 all but []",
        "232.1.2.3 eth1 7002 only [10.0.0.7 10.0.0.8]",
        "239.1.2.4 eth0 7003 all but [10.0.0.9]",
        "ff15::1 eth1 7004 all but []",
        "ff3e::8000:1 eth0 7005 only [fd00::7]",
        "ff15::2 eth0 7006 all but [fd00::8 fd00::9]",
    ];
    assert_eq!(joined_by_sockets(&memberships), expected.map(String::from).into());
    assert_eq!(memberships.unseen(), Some(0));
}

#[test]
fn a_socket_is_described_with_its_process() {
    let (_lab, host) = host_on_two_lans();
    let receiver = host
        .run(|| {
            let membership = "239.1.2.3%eth0:7000".parse().unwrap();
            Receiver::builder().join(membership).receive_buffer(100_000).build().unwrap()
        })
        .unwrap();

    let memberships = survey(&host);

    let [holding] = holdings_of(&memberships, "239.1.2.3")[..] else { panic!("{memberships:#?}") };
    assert_eq!((holding.interface, holding.interface_name.as_str()), (index(&host, "eth0"), "eth0"));
    let [held] = sockets_of(&memberships, "239.1.2.3")[..] else { panic!("{memberships:#?}") };
    // The receiver receives only its own memberships.
    assert_eq!((held.multicast_all, held.loopback), (Some(false), Some(true)));
    let socket = &held.socket;
    assert_eq!((socket.family, socket.kind), (Family::V4, SocketKind::Udp));
    assert_eq!(socket.local, Some("239.1.2.3:7000".parse().unwrap()));
    assert_eq!((socket.peer, socket.bound_interface), (None, None));
    assert_eq!(socket.receive_buffer, receiver.receive_buffer());
    assert_eq!(socket.drops, Some(0));
    let pid = host.run(std::process::id).unwrap();
    let process = socket.processes.iter().find(|process| process.pid == pid).unwrap();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(process.name, name.trim_end());
}

#[test]
fn drops_of_the_kernel_are_counted() {
    const SENT: u64 = 500;

    let (_lab, host) = host_on_two_lans();
    let receiver = host
        .run(|| {
            let membership = "239.1.2.3%eth0:7000".parse().unwrap();
            Receiver::builder().join(membership).receive_buffer(4096).gro(false).build().unwrap()
        })
        .unwrap();

    let sender = host.run(|| Sender::to("239.1.2.3%eth0:7000".parse().unwrap()).unwrap()).unwrap();
    (0..SENT).for_each(|_| sender.send(&[0; 1000]).unwrap());
    let (deadline, mut buffer, mut received) = (Instant::now() + TIMEOUT, [0; 2048], 0);
    while receiver.statistics().dropped != Drops::Exactly(SENT - received) {
        received += u64::from(receiver.recv_timeout(&mut buffer, Duration::ZERO).unwrap().is_some());
        assert!(Instant::now() < deadline, "{received} of {SENT}, {:?}", receiver.statistics());
    }

    let memberships = survey(&host);

    let [held] = sockets_of(&memberships, "239.1.2.3")[..] else { panic!("{memberships:#?}") };
    assert!(received < SENT);
    assert_eq!(held.socket.drops.map(u64::from), Some(SENT - received));
}

#[test]
fn many_groups_are_each_found_once() {
    const GROUPS: u16 = 300;

    let (_lab, host) = host_on_two_lans();
    let memberships = (0..GROUPS)
        .map(|number| format!("239.2.{}.{}%eth0:7000", number / 256, number % 256).parse().unwrap());
    let _receiver = host.run(|| Receiver::builder().join_all(memberships).build()).unwrap().unwrap();

    let memberships = survey(&host);

    let found: Vec<_> = memberships
        .holdings
        .iter()
        .filter(|holding| holding.group.to_string().starts_with("239.2."))
        .collect();
    let groups: BTreeSet<_> = found.iter().map(|holding| holding.group).collect();
    assert_eq!((found.len(), groups.len()), (GROUPS.into(), GROUPS.into()));
    assert_eq!(memberships.unseen(), Some(0));
}

#[test]
fn hosts_of_one_process_are_not_mixed() {
    let (lab, host) = host_on_two_lans();
    let other = lab.host("other").unwrap();
    crate::host::add_interfaces(&lab, &other);
    assert_eq!(index(&host, "eth0"), index(&other, "eth0"), "the test needs equal indexes");
    let _receiver = join(&host, ["239.1.2.3%eth0:7000"]);
    let _other = join(&other, ["239.1.2.3%eth0:7001"]);

    let ports = |host| -> BTreeSet<String> { joined_by_sockets(&survey(host)) };

    assert_eq!(ports(&host), ["239.1.2.3 eth0 7000 all but []".into()].into());
    assert_eq!(ports(&other), ["239.1.2.3 eth0 7001 all but []".into()].into());
}

#[test]
fn a_survey_leaves_sockets_unchanged() {
    let (_lab, host) = host_on_two_lans();
    let receiver = join(&host, ["239.1.2.3%eth0:7000"]);
    let sender = host.run(|| Sender::to("239.1.2.3%eth0:7000".parse().unwrap()).unwrap()).unwrap();
    sender.send(b"queued").unwrap();

    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = host.run(open).unwrap();
    let snapshots = [survey(&host), survey(&host)];

    let [first, second] = snapshots.each_ref().map(|memberships| sockets_of(memberships, "239.1.2.3"));
    assert_eq!((first.len(), first), (1, second));
    let mut buffer = [0; 100];
    let datagram = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap().unwrap();
    assert_eq!(datagram.payload(), b"queued");
    // Other tests of this process open and close descriptors, too. A descriptor that each survey
    // left open would show as unbounded growth.
    for _ in 0..200 {
        survey(&host);
    }
    assert!(host.run(open).unwrap() < before + 150, "descriptors are left open");
}
