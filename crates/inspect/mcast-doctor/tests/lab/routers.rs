//! Routers between sender and receiver, and tunnels.

use mcast_doctor::Report;
use mcast_lab::{Host, Lab, RouteGroup, Router};
use socket2::Socket;

use crate::boxes::join_for_good;
use crate::net::{Stream, assert_received, briefly, examine, examine_host, examine_while, run};

/// sender - lan1 - router - lan2
struct Routed {
    _lab: Lab,
    sender: Host,
    router: Router,
    far: Host,
}

fn routed() -> Routed {
    let lab = Lab::new().unwrap();
    let (lan1, lan2) = (lab.switch("lan1").unwrap(), lab.switch("lan2").unwrap());
    let (sender, far) = (lab.host("sender").unwrap(), lab.host("far").unwrap());
    let router = lab.router("router").unwrap();
    router.connect("r0", &lan1, &["10.1.0.254/24"]).unwrap();
    router.connect("r1", &lan2, &["10.2.0.254/24"]).unwrap();
    sender.connect("eth0", &lan1, &["10.1.0.1/24"]).unwrap();
    sender.add_route_via("0.0.0.0/0", "10.1.0.254").unwrap();
    far.connect("eth0", &lan2, &["10.2.0.1/24"]).unwrap();
    far.add_route_via("0.0.0.0/0", "10.2.0.254").unwrap();
    Routed { _lab: lab, sender, router, far }
}

fn rule(from: &'static str, to: &'static [&'static str], ttl_threshold: u8) -> RouteGroup<'static> {
    RouteGroup { source: None, group: [239, 1, 2, 3].into(), from, to, ttl_threshold }
}

fn hop_limit(hops: u32) -> impl FnOnce(&Socket) + Send {
    move |socket| socket.set_multicast_ttl_v4(hops).unwrap()
}

/// A hop limit of 1 at a router.
pub(crate) fn ttl_too_small() -> Report {
    let net = routed();
    net.router.route_group(rule("r0", &["r1"], 1)).unwrap();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(1));
    examine(&net.router, "239.1.2.3%r0:5000")
}

/// The threshold of a router is too high.
pub(crate) fn ttl_threshold() -> Report {
    let net = routed();
    net.router.route_group(rule("r0", &["r1"], 16)).unwrap();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    examine(&net.router, "239.1.2.3%r0:5000")
}

/// A router that expects the group from the other side.
pub(crate) fn wrong_interface() -> Report {
    let net = routed();
    net.router
        .route_group(RouteGroup { source: Some([10, 1, 0, 1].into()), ..rule("r1", &["r0"], 1) })
        .unwrap();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    examine(&net.router, "239.1.2.3%r0:5000")
}

/// A router whose daemon routes groups on one interface only, while a host behind the other one joins.
pub(crate) fn one_routed_interface() -> Report {
    let net = routed();
    let other = RouteGroup { group: [239, 9, 9, 9].into(), ..rule("r0", &[], 1) };
    net.router.route_group(other).unwrap();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    examine_while(&net.router, "239.1.2.3%r0:5000", &briefly(), || join_for_good(&net.far))
}

/// A host behind a router that forwards unicast but not groups, like a container.
pub(crate) fn container() -> Report {
    let net = routed();
    let _stream = Stream::with(&net.sender, "239.1.2.3:5000", hop_limit(4));
    examine(&net.far, "239.1.2.3%eth0:5000")
}

/// The route for groups leads into a tunnel.
pub(crate) fn tunnel() -> Report {
    let net = routed();
    run(
        &net.far,
        "ip tuntap add mode tun name tun0 && ip address add 10.99.0.1/24 dev tun0 && ip link set tun0 up && ip route add 224.0.0.0/4 dev tun0",
    );
    examine_host(&net.far)
}

#[test]
fn router_that_has_joined_on_both_sides() {
    for (to, group) in [("239.1.2.3:5000", "239.1.2.3"), ("[ff15::1234]:5000", "ff15::1234")] {
        let net = crate::boxes::Routed::new();
        net.route(group, &["r1"]);
        let _stream = Stream::to(&net.sender, to);
        assert_received(&examine(&net.router, to));
    }
}
