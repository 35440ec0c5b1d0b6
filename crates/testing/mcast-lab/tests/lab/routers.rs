//! Routers forward the groups that have rules.

use std::net::{IpAddr, UdpSocket};

use mcast_lab::{Host, HostInterface, Lab, LabErrorKind, RouteGroup, Router};

use super::sockets::{GROUP, TIMEOUT, assert_nothing_received, receive, receiver, sender};

struct TwoLans {
    _lab: Lab,
    router: Router,
    near: (Host, HostInterface),
    far: (Host, HostInterface),
}

/// near - lan1 - router - lan2 - far
fn two_lans() -> TwoLans {
    let lab = Lab::new().unwrap();
    let (lan1, lan2) = (lab.switch("lan1").unwrap(), lab.switch("lan2").unwrap());
    let (a, b, router) = (lab.host("a").unwrap(), lab.host("b").unwrap(), lab.router("r").unwrap());
    router.connect("r0", &lan1, &["10.1.0.254/24", "fd01::fe/64"]).unwrap();
    router.connect("r1", &lan2, &["10.2.0.254/24", "fd02::fe/64"]).unwrap();
    let a0 = a.connect("eth0", &lan1, &["10.1.0.1/24", "fd01::1/64"]).unwrap();
    let b0 = b.connect("eth0", &lan2, &["10.2.0.1/24", "fd02::1/64"]).unwrap();
    for (host, gateway, gateway6) in [(&a, "10.1.0.254", "fd01::fe"), (&b, "10.2.0.254", "fd02::fe")] {
        host.add_route_via("10.0.0.0/8", gateway).unwrap();
        host.add_route_via("fd00::/8", gateway6).unwrap();
    }
    TwoLans { _lab: lab, router, near: (a, a0), far: (b, b0) }
}

fn route(group: IpAddr) -> RouteGroup<'static> {
    RouteGroup { source: None, group, from: "r0", to: &["r1"], ttl_threshold: 1 }
}

#[test]
fn unicast_is_routed() {
    let TwoLans { near: (a, _), far: (b, _), .. } = &two_lans();
    for (address, bind) in [("10.2.0.1:5000", "0.0.0.0:0"), ("[fd02::1]:5000", "[::]:0")] {
        let receiver = b.run(|| UdpSocket::bind(address).unwrap()).unwrap();
        receiver.set_read_timeout(Some(TIMEOUT)).unwrap();
        a.run(|| UdpSocket::bind(bind).unwrap().send_to(b"through", address).unwrap()).unwrap();
        assert_eq!(receive(&receiver).0, b"through");
    }
}

#[test]
fn a_group_is_forwarded_from_the_first_datagram_when_its_hop_limit_allows() {
    let TwoLans { router, near: (a, a0), far: (b, b0), .. } = &two_lans();
    router.route_group(route(GROUP)).unwrap();
    let receiver = receiver(b, b0, GROUP);
    let sender = sender(a, a0);
    sender.set_hop_limit(1);
    sender.send(GROUP, b"one");
    sender.set_hop_limit(2);
    sender.send(GROUP, b"two");
    assert_eq!(receive(&receiver).0, b"two");
    // Sent only now, because a datagram that the kernel holds until it has the route may be overtaken.
    sender.send(GROUP, b"three");
    assert_eq!(receive(&receiver).0, b"three");
}

#[test]
fn the_hop_limit_must_exceed_the_threshold() {
    let TwoLans { router, near: (a, a0), far: (b, b0), .. } = &two_lans();
    router.route_group(RouteGroup { ttl_threshold: 3, ..route(GROUP) }).unwrap();
    let receiver = receiver(b, b0, GROUP);
    let sender = sender(a, a0);
    for hop_limit in [3, 4] {
        sender.set_hop_limit(hop_limit);
        sender.send(GROUP, &[hop_limit as u8]);
    }
    assert_eq!(receive(&receiver).0, [4]);
}

#[test]
fn ipv6_groups_are_forwarded() {
    let TwoLans { router, near: (a, a0), far: (b, b0), .. } = &two_lans();
    let group = "ff15::1234".parse().unwrap();
    router.route_group(route(group)).unwrap();
    let receiver = receiver(b, b0, group);
    let IpAddr::V6(address) = group else { panic!() };
    // std cannot set the IPv6 hop limit.
    let socket = a.run(|| UdpSocket::bind("[fd01::1]:0").unwrap()).unwrap();
    socket2::SockRef::from(&socket).set_multicast_hops_v6(5).unwrap();
    socket.send_to(b"six", std::net::SocketAddrV6::new(address, 5000, 0, a0.index)).unwrap();
    assert_eq!(receive(&receiver).0, b"six");

    let threshold = RouteGroup { ttl_threshold: 2, ..route(group) };
    let error = router.route_group(threshold).unwrap_err();
    assert!(matches!(error.kind(), LabErrorKind::Unsupported(_)));
}

#[test]
fn other_groups_and_sources_are_not_forwarded() {
    let TwoLans { router, near: (a, a0), far: (b, b0), .. } = &two_lans();
    let (other_source, unrouted) = ("239.255.1.4".parse().unwrap(), "239.255.1.5".parse().unwrap());
    let absent = Some("10.1.0.99".parse().unwrap());
    router.route_group(RouteGroup { source: absent, ..route(other_source) }).unwrap();
    router.route_group(RouteGroup { source: Some("10.1.0.1".parse().unwrap()), ..route(GROUP) }).unwrap();
    let sender = sender(a, a0);
    sender.set_hop_limit(8);
    let receivers = [other_source, unrouted, GROUP].map(|group| {
        let receiver = receiver(b, b0, group);
        sender.send(group, b"x");
        receiver
    });
    receive(&receivers[2]);
    assert_nothing_received(&receivers[0]);
    assert_nothing_received(&receivers[1]);
}

#[test]
fn rules_can_be_added_and_removed_while_datagrams_arrive() {
    let TwoLans { router, near: (a, a0), far: (b, b0), .. } = &two_lans();
    let other = "239.255.1.4".parse().unwrap();
    let (first, second) = (receiver(b, b0, GROUP), receiver(b, b0, other));
    router.route_group(route(other)).unwrap();
    let sender = sender(a, a0);
    sender.set_hop_limit(8);
    // When the datagram to `other` has arrived, the kernel has an entry that drops this one.
    sender.send(GROUP, b"early");
    sender.send(other, b"x");
    receive(&second);

    router.route_group(route(GROUP)).unwrap();
    sender.send(GROUP, b"routed");
    assert_eq!(receive(&first).0, b"routed");

    router.unroute_group(GROUP).unwrap();
    sender.send(GROUP, b"late");
    sender.send(other, b"x");
    receive(&second);
    assert_nothing_received(&first);
}

#[test]
fn invalid_rules_are_rejected() {
    let TwoLans { router, .. } = &two_lans();
    let error = |route: RouteGroup<'_>| router.route_group(route).unwrap_err();
    let unicast = error(route("10.0.0.1".parse().unwrap()));
    assert!(matches!(unicast.kind(), LabErrorKind::Invalid(_)));
    let mixed = error(RouteGroup { source: Some("fd01::1".parse().unwrap()), ..route(GROUP) });
    assert!(matches!(mixed.kind(), LabErrorKind::Invalid(_)));
    let missing = error(RouteGroup { to: &["r7"], ..route(GROUP) });
    assert!(matches!(missing.kind(), LabErrorKind::Missing(_)));
}

#[test]
fn a_snooping_switch_sends_every_group_to_the_router() {
    let lab = Lab::new().unwrap();
    let lan1 = lab.switch_with("lan1", mcast_lab::SwitchOptions::managed()).unwrap();
    let lan2 = lab.switch_with("lan2", mcast_lab::SwitchOptions::managed()).unwrap();
    let (a, b, router) = (lab.host("a").unwrap(), lab.host("b").unwrap(), lab.router("r").unwrap());
    router.connect("r0", &lan1, &["10.1.0.254/24"]).unwrap();
    router.connect("r1", &lan2, &["10.2.0.254/24"]).unwrap();
    let a0 = a.connect("eth0", &lan1, &["10.1.0.1/24"]).unwrap();
    let b0 = b.connect("eth0", &lan2, &["10.2.0.1/24"]).unwrap();
    router.route_group(route(GROUP)).unwrap();
    let receiver = receiver(&b, &b0, GROUP);
    lan2.wait_for_member(&b, "eth0", GROUP, TIMEOUT).unwrap();
    let sender = sender(&a, &a0);
    sender.set_hop_limit(2);
    sender.send(GROUP, b"snooped");
    assert_eq!(receive(&receiver).0, b"snooped");
}
