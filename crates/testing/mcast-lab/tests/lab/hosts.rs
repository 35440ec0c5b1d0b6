//! Hosts connected by switches and cables.

use std::{
    net::{Ipv4Addr, SocketAddrV6, UdpSocket},
    time::Instant,
};

use mcast_lab::{Cable, Lab, LabErrorKind, SwitchOptions};

use super::sockets::{GROUP, TIMEOUT, assert_nothing_received, receive, receiver, sender};

#[test]
fn multicast_crosses_a_switch() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let a0 = a.connect("eth0", &lan, &["10.0.0.1/24", "fd00::1/64"]).unwrap();
    let b0 = b.connect("eth0", &lan, &["10.0.0.2/24", "fd00::2/64"]).unwrap();

    let receiver = receiver(&b, &b0, GROUP);
    sender(&a, &a0).send(GROUP, b"hello");

    let (payload, from) = receive(&receiver);
    assert_eq!((payload.as_slice(), from.ip()), (b"hello".as_slice(), a0.addresses[0].address));
}

#[test]
fn ipv6_multicast_crosses_a_switch() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let a0 = a.connect("eth0", &lan, &["fd00::1/64"]).unwrap();
    let b0 = b.connect("eth0", &lan, &["fd00::2/64"]).unwrap();
    let group = "ff15::1234".parse().unwrap();

    let receiver = receiver(&b, &b0, group);
    sender(&a, &a0).send(group, b"six");

    let (payload, from) = receive(&receiver);
    assert_eq!((payload.as_slice(), from.ip()), (b"six".as_slice(), a0.addresses[0].address));
}

#[test]
fn link_local_addresses_are_usable_at_once_and_predictable() {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let (a0, b0) = lab.link(&a, "eth0", &[], &b, "eth0", &[]).unwrap();

    let receiver = b.run(|| UdpSocket::bind("[::]:5000").unwrap()).unwrap();
    receiver.set_read_timeout(Some(TIMEOUT)).unwrap();
    let sender = a.run(|| UdpSocket::bind("[::]:0").unwrap()).unwrap();
    sender.send_to(b"x", SocketAddrV6::new(b0.link_local(), 5000, 0, a0.index)).unwrap();

    assert_eq!(receive(&receiver).1.ip(), a0.link_local());
}

#[test]
fn closures_can_borrow_nest_and_return_values() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let mut numbers = vec![1, 2, 3];
    let sum: i32 = host
        .run(|| {
            numbers.push(4);
            host.run(|| numbers.iter().sum()).unwrap()
        })
        .unwrap();
    assert_eq!((sum, numbers.len()), (10, 4));
}

#[test]
fn a_panic_in_a_host_is_resumed_in_the_caller() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.run(|| panic!("over there"))));
    assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"over there"));
    assert_eq!(host.run(|| 1).unwrap(), 1);
}

#[test]
fn spawned_closures_run_concurrently() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let socket = host.run(|| UdpSocket::bind("127.0.0.1:5000").unwrap()).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let waiting = host.spawn(move || receive(&socket).0).unwrap();
    host.run(|| UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"go", "127.0.0.1:5000").unwrap()).unwrap();
    assert_eq!(waiting.join().unwrap(), b"go");
}

#[test]
fn interfaces_can_be_changed_renamed_and_replaced() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let host = lab.host("a").unwrap();
    let first = host.connect("eth0", &lan, &["10.0.0.1/24"]).unwrap();
    assert_eq!(host.interface_index("eth0").unwrap(), first.index);

    host.add_address("eth0", "10.0.0.9/24").unwrap();
    host.remove_address("eth0", "10.0.0.1/24").unwrap();
    let addresses: Vec<_> = host.addresses("eth0").unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.9/24".to_owned(), format!("{}/64", first.link_local())]);

    host.set_mtu("eth0", 9000).unwrap();
    host.set_down("eth0").unwrap();
    host.set_up("eth0").unwrap();
    host.rename_interface("eth0", "wan0").unwrap();
    host.delete_interface("wan0").unwrap();
    assert!(matches!(host.interface_index("wan0").unwrap_err().kind(), LabErrorKind::Missing(_)));

    let again = host.reconnect("eth0", &lan, &["10.0.0.1/24"]).unwrap();
    let last = host.reconnect("eth0", &lan, &["10.0.0.1/24"]).unwrap();
    assert_ne!(again.index, last.index);
    assert_eq!(first.hardware_address, last.hardware_address);
}

#[test]
fn hosts_can_have_macvlans_and_bridges() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    a.connect("eth0", &lan, &[]).unwrap();
    let a0 = a.macvlan("mv0", "eth0", &["10.0.0.1/24"]).unwrap();
    b.connect("eth0", &lan, &[]).unwrap();
    let b0 = b.bridge("br0", &["eth0"], &["10.0.0.2/24"]).unwrap();

    let receiver = receiver(&b, &b0, GROUP);
    sender(&a, &a0).send(GROUP, b"stacked");
    assert_eq!(receive(&receiver).0, b"stacked");
}

#[test]
fn each_host_has_its_own_sysctls_and_tables() {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"]).unwrap();
    a.sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
    assert_eq!(a.read_sysctl("net/ipv4/conf/all/rp_filter").unwrap(), "1");
    assert_eq!(b.read_sysctl("net/ipv4/conf/all/rp_filter").unwrap(), "0");

    let socket = a.run(|| UdpSocket::bind("0.0.0.0:5000").unwrap()).unwrap();
    socket.join_multicast_v4(&Ipv4Addr::new(239, 1, 2, 3), &Ipv4Addr::new(10, 0, 0, 1)).unwrap();
    assert!(a.read_proc_net("igmp").unwrap().contains("030201EF"));
    assert!(!b.read_proc_net("igmp").unwrap().contains("030201EF"));
}

#[test]
fn names_must_be_unique() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let host = lab.host("a").unwrap();
    assert!(matches!(lab.host("a").unwrap_err().kind(), LabErrorKind::Taken(_)));
    assert!(matches!(lab.host("lan").unwrap_err().kind(), LabErrorKind::Taken(_)));
    host.connect("eth0", &lan, &[]).unwrap();
    host.connect("eth0", &lan, &[]).unwrap_err();
}

#[test]
fn invalid_names_addresses_and_sysctls_are_rejected() {
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let host = lab.host("a").unwrap();
    let errors = [
        lab.host("").unwrap_err(),
        lab.host("a\0b").unwrap_err(),
        host.connect("far too long a name", &lan, &[]).unwrap_err(),
        host.connect("a/b", &lan, &[]).unwrap_err(),
        host.connect("eth0", &lan, &["10.0.0.1"]).unwrap_err(),
        host.sysctl("kernel/hostname", "x").unwrap_err(),
        host.sysctl("net/../kernel/hostname", "x").unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error.kind(), LabErrorKind::Invalid(_)), "{error}");
    }
}

#[test]
fn closures_see_the_name_of_their_host() {
    let lab = Lab::new().unwrap();
    let host = lab.host("eastny").unwrap();
    let name = host.run(|| std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap()).unwrap();
    assert_eq!(name.trim(), "eastny");
}

#[test]
fn hosts_that_outlive_their_lab_return_gone() {
    let lab = Lab::new().unwrap();
    let host = lab.host("a").unwrap();
    let mut command = host.command("true").unwrap();
    drop(lab);
    assert_eq!(*command.spawn().unwrap_err().kind(), LabErrorKind::Gone);
    assert_eq!(*host.run(|| ()).unwrap_err().kind(), LabErrorKind::Gone);
    assert_eq!(*host.interface_index("lo").unwrap_err().kind(), LabErrorKind::Gone);
}

#[test]
fn twenty_labs_can_exist_at_the_same_time() {
    let all_have_received = std::sync::Barrier::new(20);
    std::thread::scope(|scope| {
        let one = || {
            let lab = Lab::new().unwrap();
            let lan = lab.switch("lan").unwrap();
            let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
            let a0 = a.connect("eth0", &lan, &["10.0.0.1/24"]).unwrap();
            let b0 = b.connect("eth0", &lan, &["10.0.0.2/24"]).unwrap();
            let receiver = receiver(&b, &b0, GROUP);
            let number = format!("{:?}", std::thread::current().id());
            sender(&a, &a0).send(GROUP, number.as_bytes());
            assert_eq!(receive(&receiver).0, number.as_bytes());
            all_have_received.wait();
            assert_nothing_received(&receiver);
        };
        let labs: Vec<_> = (0..20).map(|_| scope.spawn(one)).collect();
        labs.into_iter().for_each(|lab| lab.join().unwrap());
    });
}

#[test]
fn four_hosts_are_ready_in_less_than_a_second() {
    Lab::new().unwrap();
    let mut times = std::array::from_fn::<_, 5, _>(|_| four_hosts());
    times.sort_unstable();
    println!("four hosts on a managed switch were ready in {times:?}");
    // About 6 ms on an idle machine. The kernel has one lock for all namespaces, and other tests create theirs now.
    assert!(times[0] < std::time::Duration::from_secs(1), "{times:?}");
}

fn four_hosts() -> std::time::Duration {
    let start = Instant::now();
    let lab = Lab::new().unwrap();
    let lan = lab.switch_with("lan", SwitchOptions::managed()).unwrap();
    for number in 1..=4 {
        let host = lab.host(&format!("h{number}")).unwrap();
        host.connect("eth0", &lan, &[&format!("10.0.0.{number}/24"), &format!("fd00::{number}/64")]).unwrap();
    }
    start.elapsed()
}

/// A host of one lab stands for the machine, whose interfaces another lab borrows.
#[test]
fn a_cable_of_the_machine_connects_a_host_and_can_be_given_back() {
    let (outside, lab) = (Lab::new().unwrap(), Lab::new().unwrap());
    let machine = outside.host("machine").unwrap();
    let ip = "link add one address 02:00:00:00:00:01 type veth peer name two address 02:00:00:00:00:02";
    assert!(machine.command("ip").unwrap().args(ip.split(' ')).status().unwrap().success());
    let ends = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
    let cable = machine.run(|| Cable::new(ends[0], ends[1]).unwrap()).unwrap();
    let lan = lab.switch("lan").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let b0 = b.connect("eth0", &lan, &["10.0.0.2/24"]).unwrap();
    let receiver = receiver(&b, &b0, GROUP);

    for text in [b"first", b"again"] {
        let a0 = a.connect_by(&cable, "eth0", &lan, &["10.0.0.1/24"]).unwrap();
        assert_eq!(a0.hardware_address, ends[0]);
        sender(&a, &a0).send(GROUP, text);
        assert_eq!(receive(&receiver).0, text);

        a.give_back("eth0", &cable).unwrap();
        assert!(a.interface_index("eth0").is_err());
    }
}
