//! Variants of causes whose remedies once failed, or cut other traffic.

use std::net::UdpSocket;

use mcast_doctor::Report;

use crate::net::{Net, Stream, examine, run};

crate::table::cases! {
    joined_by_route: JoinedOtherInterface, "joined on the interface of the route for groups, `eth1`, sent on `eth0`", joined_by_route;
    joined_by_route_v6: JoinedOtherInterface, "the same, IPv6", joined_by_route_v6;
    unreachable_route: NoRoute, "a route that rejects groups", unreachable_route;
    no_route_v6: NoRoute, "no route for IPv6 groups, `%default` joined", no_route_v6;
    no_address_is_generated: Ipv6NotReady, "`addr_gen_mode` 1, no address", no_address_is_generated;
    deleted_ipv6_addresses: Ipv6NotReady, "no IPv6 address", deleted_addresses;
    sent_by_route: SentByOtherInterface, "sent by the route for groups, `eth1`, examined on the sender's `eth0`", sent_by_route;
    sent_by_route_v6: SentByOtherInterface, "the same, IPv6", sent_by_route_v6;
}

/// Joined on the interface of the route for groups, which is not the one on which the group arrives.
pub(crate) fn joined_by_route() -> Report {
    let net = Net::new();
    net.second_lan();
    run(&net.receiver, "ip route replace 224.0.0.0/4 dev eth1");
    net.examine("239.1.2.3:5000", "239.1.2.3%default:5000")
}

/// The same in IPv6.
pub(crate) fn joined_by_route_v6() -> Report {
    let net = Net::new();
    net.second_lan();
    run(&net.receiver, "ip -6 route add multicast ff00::/8 dev eth1 table local metric 10");
    net.examine("[ff15::1234]:5000", "[ff15::1234%default]:5000")
}

/// A route that rejects groups, beside which none can be added.
pub(crate) fn unreachable_route() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip route replace unreachable 224.0.0.0/4");
    net.examine("239.1.2.3:5000", "239.1.2.3%default:5000")
}

/// No route for IPv6 groups.
pub(crate) fn no_route_v6() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip -6 route flush type multicast table local");
    net.examine("[ff15::1234]:5000", "[ff15::1234%default]:5000")
}

/// An interface that creates no link-local address.
pub(crate) fn no_address_is_generated() -> Report {
    without_ipv6_address("net/ipv6/conf/eth0/addr_gen_mode", "1")
}

/// An interface whose addresses were deleted.
pub(crate) fn deleted_addresses() -> Report {
    without_ipv6_address("net/ipv6/conf/eth0/accept_dad", "0")
}

fn without_ipv6_address(setting: &str, value: &str) -> Report {
    let net = Net::new();
    net.receiver.sysctl(setting, value).unwrap();
    run(&net.receiver, "ip -6 address flush dev eth0");
    let _stream = Stream::to(&net.sender, "[ff15::1234]:5000");
    examine(&net.receiver, "[ff15::1234%eth0]:5000")
}

/// A sender that leaves the choice to the route for groups, which uses `eth1`.
pub(crate) fn sent_by_route() -> Report {
    let route = "ip route replace 224.0.0.0/4 dev eth1";
    sent_by("0.0.0.0:0", route, "239.1.2.3:5000", "239.1.2.3%eth0:5000")
}

/// The same in IPv6.
pub(crate) fn sent_by_route_v6() -> Report {
    let route = "ip -6 route add multicast ff00::/8 dev eth1 table local metric 10";
    sent_by("[::]:0", route, "[ff15::1234]:5000", "[ff15::1234%eth0]:5000")
}

fn sent_by(bind: &str, route: &str, to: &str, membership: &str) -> Report {
    let net = Net::new();
    let (lan, _) = net.second_lan();
    net.sender.connect("eth1", &lan, &["10.8.0.1/24", "fd08::1/64"]).unwrap();
    run(&net.sender, route);
    let socket = net.sender.run(|| UdpSocket::bind(bind).unwrap()).unwrap();
    let _stream = Stream::by(socket, to.parse().unwrap(), 64);
    examine(&net.sender, membership)
}
