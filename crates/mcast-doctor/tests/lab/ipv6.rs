//! What only IPv6 knows.

use mcast_doctor::Report;

use crate::net::{Net, examine, run};

/// Switched off on the interface.
pub(crate) fn switched_off() -> Report {
    let net = Net::new();
    net.receiver.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

/// Another host has the address.
pub(crate) fn duplicate_address() -> Report {
    let net = Net::new();
    net.receiver.sysctl("net/ipv6/conf/eth0/accept_dad", "1").unwrap();
    run(
        &net.receiver,
        "ip -6 address add fd09::1/64 dev eth0 && for i in $(seq 100); do ip -6 address show dev eth0 | grep -q dadfailed && exit 0; sleep 0.05; done; exit 1",
    );
    net.examine("[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

/// The loopback interface without a route for groups.
pub(crate) fn loopback_route() -> Report {
    examine(&Net::new().receiver, "[ff15::1234%lo]:5000")
}

/// A group that never leaves its machine.
pub(crate) fn interface_local_scope() -> Report {
    examine(&Net::new().receiver, "[ff01::1234%eth0]:5000")
}

/// A group of the reserved scope.
pub(crate) fn reserved_scope() -> Report {
    examine(&Net::new().receiver, "[ff10::1234%eth0]:5000")
}
