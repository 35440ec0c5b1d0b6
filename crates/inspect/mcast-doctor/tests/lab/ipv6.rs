//! Causes specific to IPv6.

use mcast_doctor::{Id, Report, Verdict};

use crate::net::{Net, Stream, examine, examine_host, has_programs, run, socket};

crate::table::cases! {
    ipv6_not_ready: Ipv6NotReady, "`disable_ipv6` 1", disabled;
    ipv6_duplicate_address: Ipv6NotReady, "an address that another host also has", duplicate_address;
    ipv6_loopback_route: Ipv6LoopbackRoute, "`lo` without a route for groups", loopback_route;
    scope_never_leaves: ScopeNeverLeaves, "ff01::1234 joined on `eth0`", interface_local_scope;
    scope_reserved: ScopeNeverLeaves, "ff10::1234 joined", reserved_scope;
    ipv6_without_enough_mtu: Ipv6NotReady, "MTU 1200, below the least of IPv6", small_mtu;
}

/// IPv6 is disabled on the interface.
pub(crate) fn disabled() -> Report {
    let net = Net::new();
    net.receiver.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

const DUPLICATE: &str = "ip -6 address add fd09::1/64 dev eth0 && for i in $(seq 100); do ip -6 address show dev eth0 | grep -q dadfailed && exit 0; sleep 0.05; done; exit 1";

/// Another host has the same address.
pub(crate) fn duplicate_address() -> Report {
    let net = Net::new();
    net.receiver.sysctl("net/ipv6/conf/eth0/accept_dad", "1").unwrap();
    run(&net.receiver, DUPLICATE);
    net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

/// The loopback interface has no route for groups.
pub(crate) fn loopback_route() -> Report {
    let net = Net::new();
    let to: std::net::SocketAddr = "[ff15::1234]:5000".parse().unwrap();
    let _stream = Stream::by(socket(&net.receiver, to.ip(), "lo").into(), to, 64);
    examine(&net.receiver, "[ff15::1234%lo]:5000")
}

/// A group that never leaves the machine.
pub(crate) fn interface_local_scope() -> Report {
    examine(&Net::new().receiver, "[ff01::1234%eth0]:5000")
}

/// A group with a reserved scope.
pub(crate) fn reserved_scope() -> Report {
    examine(&Net::new().receiver, "[ff10::1234%eth0]:5000")
}

/// Taking the interface down would disconnect everyone who uses it.
#[test]
fn remedy_creates_an_address_without_taking_the_interface_down() {
    if !crate::net::has_programs() {
        return;
    }
    for prepare in
        ["ip link set eth0 addrgenmode none && ip -6 address flush dev eth0", "ip -6 address flush dev eth0"]
    {
        let net = Net::new();
        run(&net.receiver, prepare);
        let report = examine(&net.receiver, "[ff15::1234%eth0]:5000");
        let finding =
            report.findings.iter().find(|finding| finding.id == mcast_doctor::Id::Ipv6NotReady).unwrap();
        let command = finding.remedies[0].command().unwrap();
        assert!(!command.contains("down"), "{command}");
        run(&net.receiver, &command);
        let wait = "for i in $(seq 100); do ip -6 address show dev eth0 scope link | grep -q fe80 && exit 0; sleep 0.05; done; exit 1";
        run(&net.receiver, wait);
    }
}

/// The MTU is too small for IPv6.
pub(crate) fn small_mtu() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip link set eth0 mtu 1200");
    let report = net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000");
    let finding = &report.findings[0];
    assert!(finding.cause.contains("MTU of eth0 is 1200"), "{finding:?}");
    report
}

/// No program needs it, as far as is known.
#[test]
fn duplicate_address_of_a_machine_is_a_warning() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    assert_eq!(examine_host(&net.receiver).findings, []);
    net.receiver.sysctl("net/ipv6/conf/eth0/accept_dad", "1").unwrap();
    run(&net.receiver, DUPLICATE);
    let report = examine_host(&net.receiver);
    let [warning] = report.findings.as_slice() else { panic!("{report:#?}") };
    assert_eq!((warning.id, report.verdict()), (Id::Ipv6NotReady, Verdict::Warnings));
}
