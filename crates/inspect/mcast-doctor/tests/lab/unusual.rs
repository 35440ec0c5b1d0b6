//! Healthy networks of unusual shape, in which the doctor must accuse nobody.

use std::net::UdpSocket;
use std::time::Duration;

use mcast_doctor::{ArrivalStatus, Id, Report, Severity, Verdict};
use mcast_lab::{Host, Lab, RouteGroup, SwitchOptions};

use crate::net::{
    Net, Stream, assert_healthy, assert_received, examine, examine_host, examine_port, has_programs,
    idle_listener, inject, listener, nft, run, socket,
};

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";

/// Asserts that datagrams of both families arrive without a finding.
fn assert_both_received(net: &Net) {
    assert_received(&net.examine(GROUP, MEMBERSHIP));
    assert_received(&net.examine(GROUP_V6, MEMBERSHIP_V6));
}

/// Asserts that datagrams arrive, and that nothing is called a fault or a warning.
fn assert_not_accused(report: &Report) {
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Note), "{report:#?}");
    assert_eq!((report.arrival, report.verdict()), (ArrivalStatus::Arrives, Verdict::Healthy), "{report:#?}");
}

#[test]
pub(crate) fn three_senders_of_one_group() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let frames: Vec<_> = (0..20)
        .flat_map(|number| {
            [("10.9.0.7", 0), ("10.9.0.8", 100)]
                .map(|(source, first)| net.frame(source, GROUP, first + number))
        })
        .collect();
    let _others = inject(&net.sender, "eth0", &frames);
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}

#[test]
pub(crate) fn ipv6_groups_of_every_scope() {
    let net = Net::new();
    for group in ["ff02::1234", "ff05::1234", "ff08::1234", "ff1e::1234"] {
        assert_received(&net.examine(&format!("[{group}]:5000"), &format!("[{group}%eth0]:5000")));
    }
}

#[test]
pub(crate) fn link_local_group_of_ipv4() {
    let net = Net::with(SwitchOptions::managed());
    assert_received(&net.examine("224.0.0.200:5000", "224.0.0.200%eth0:5000"));
}

#[test]
pub(crate) fn source_specific_group_of_ipv6() {
    let net = Net::new();
    assert_received(&net.examine("[ff35::8000:1234]:5000", "fd09::1@[ff35::8000:1234%eth0]:5000"));
}

#[test]
pub(crate) fn hop_limits_of_255_and_1() {
    let net = Net::new();
    for hops in [1, 255] {
        let _stream = Stream::with(&net.sender, GROUP, move |socket| {
            socket.set_multicast_ttl_v4(hops).unwrap();
        });
        assert_received(&examine(&net.receiver, MEMBERSHIP));
    }
}

#[test]
pub(crate) fn unicast_and_broadcast_to_the_same_port() {
    let net = Net::new();
    let sender = net.sender.run(|| UdpSocket::bind("10.9.0.1:0").unwrap()).unwrap();
    sender.set_broadcast(true).unwrap();
    let broadcast = sender.try_clone().unwrap();
    let _unicast = Stream::by(sender, "10.9.0.2:5000".parse().unwrap(), 64);
    let _broadcast = Stream::by(broadcast, "10.9.0.255:5000".parse().unwrap(), 64);
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}

#[test]
pub(crate) fn jumbo_frames_on_both_sides() {
    let net = Net::new();
    for host in [&net.sender, &net.receiver] {
        host.set_mtu("eth0", 9000).unwrap();
    }
    run(
        &net.lan.inside(),
        "for i in $(ip -o link | cut -d: -f2 | cut -d@ -f1 | grep -v lo); do ip link set $i mtu 9000; done",
    );
    let _stream = Stream::sized(&net.sender, GROUP, 8000, |_| {});
    assert_received(&examine(&net.receiver, MEMBERSHIP));
}

#[test]
pub(crate) fn other_groups_with_vlan_tags() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let tagged = |number| {
        let mut frame = net.frame("10.9.0.1", "239.7.7.7:5000", number);
        frame.splice(12..12, [0x81, 0, 0, 42]);
        frame
    };
    let _trunk = inject(&net.sender, "eth0", &(0..20).map(tagged).collect::<Vec<_>>());
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}

#[test]
pub(crate) fn priority_tags() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let tagged = |number| {
        let mut frame = net.frame("10.9.0.1", GROUP, number);
        frame.splice(12..12, [0x81, 0, 0xa0, 0]);
        frame
    };
    let _injection = inject(&net.sender, "eth0", &(0..20).map(tagged).collect::<Vec<_>>());
    assert_not_accused(&examine(&net.receiver, MEMBERSHIP));
}

#[test]
pub(crate) fn policy_routing_that_knows_the_source() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    net.receiver.sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
    run(
        &net.receiver,
        "ip rule add from 10.9.0.2 table 100 && ip route add 10.9.0.0/24 dev eth0 table 100 && ip rule add fwmark 7 blackhole",
    );
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}

#[test]
pub(crate) fn address_translation_of_another_port() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(
        &net.receiver,
        "nft add table ip n && nft 'add chain ip n c { type nat hook prerouting priority -100 ; }' && nft add rule ip n c udp dport 5001 redirect to :6001",
    );
    let _other = Stream::to(&net.sender, "239.1.2.3:5001");
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}

#[test]
pub(crate) fn firewall_with_a_drop_policy_that_admits_groups() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    for rule in ["meta pkttype multicast accept", "meta l4proto { igmp, icmpv6 } accept"] {
        nft(&net.receiver, "inet", "hook input", rule);
    }
    run(&net.receiver, "nft 'chain inet test c { policy drop ; }'");
    let noise = net.sender.run(|| UdpSocket::bind("10.9.0.1:0").unwrap()).unwrap();
    let _dropped = Stream::by(noise, "10.9.0.2:7000".parse().unwrap(), 64);
    assert_both_received(&net);
}

#[test]
pub(crate) fn rules_for_other_sources_and_interfaces() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    net.second_lan();
    for rule in ["ip saddr 10.9.0.99 drop", "iifname eth1 udp dport 5000 counter drop", "tcp dport 22 drop"] {
        nft(&net.receiver, "inet", "hook input", rule);
    }
    assert_both_received(&net);
}

#[test]
pub(crate) fn traffic_control_of_other_traffic() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    // Drops packets to port 5001.
    let program = "4,40 0 0 36,21 0 1 5001,6 0 0 2,6 0 0 4294967295,";
    run(
        &net.receiver,
        &format!(
            "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress protocol ip bpf bytecode '{program}' direct-action"
        ),
    );
    let _other = Stream::to(&net.sender, "239.1.2.3:5001");
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}

#[test]
pub(crate) fn shaped_sender_within_its_rate() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(&net.sender, "tc qdisc add dev eth0 root tbf rate 10mbit burst 32k latency 50ms");
    assert_both_received(&net);
}

#[test]
pub(crate) fn programs_of_every_binding() {
    let net = Net::new();
    let member = [("239.1.2.3", "eth0")];
    let _programs = ["0.0.0.0:5000", GROUP].map(|bind| listener(&net.receiver, bind, &member));
    let _ipv6 = listener(&net.receiver, "[::]:5000", &[("ff15::1234", "eth0")]);
    let _v4 = Stream::to(&net.sender, GROUP);
    let _v6 = Stream::to(&net.sender, GROUP_V6);
    assert_healthy(&examine_port(&net.receiver, 5000));
    assert_received(&examine(&net.receiver, MEMBERSHIP));
}

#[test]
pub(crate) fn idle_program_without_the_group() {
    let net = Net::new();
    let _idle = idle_listener(&net.receiver, "0.0.0.0:6000", &[]);
    let _other = idle_listener(&net.receiver, "239.9.9.9:6001", &[("239.9.9.9", "eth0")]);
    assert_both_received(&net);
}

#[test]
pub(crate) fn many_groups_on_many_sockets() {
    let net = Net::new();
    let groups: Vec<_> = (1..=30).map(|last| format!("239.7.7.{last}")).collect();
    let _sockets: Vec<_> = groups
        .iter()
        .map(|group| listener(&net.receiver, &format!("{group}:5000"), &[(group, "eth0")]))
        .collect();
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}

#[test]
pub(crate) fn old_querier_without_source_specific_groups() {
    let interval = Duration::from_millis(500);
    let net = Net::with(
        SwitchOptions::managed()
            .igmp_version(2)
            .mld_version(1)
            .query_interval(interval)
            .query_response_interval(Duration::from_millis(200)),
    );
    assert_both_received(&net);
}

#[test]
pub(crate) fn bridge_on_the_receiver() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(
        &net.receiver,
        "ip link add br0 type bridge mcast_snooping 0 && ip addr flush dev eth0 && ip link set eth0 master br0 && ip addr add 10.9.0.2/24 dev br0 && ip link set br0 up && ip route add 224.0.0.0/4 dev br0",
    );
    assert_received(&net.examine(GROUP, "239.1.2.3%br0:5000"));
}

/// sender - router a - router b - receiver
#[test]
pub(crate) fn source_behind_two_routers() {
    let lab = Lab::new().unwrap();
    let lans = ["lan0", "lan1", "lan2"].map(|name| lab.switch(name).unwrap());
    let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
    let routers = [0, 1].map(|number| {
        let router = lab.router(["a", "b"][number]).unwrap();
        for (side, interface) in ["r0", "r1"].into_iter().enumerate() {
            let address = format!("10.{}.0.{}/24", number + side + 1, 254 - number);
            router.connect(interface, &lans[number + side], &[&address]).unwrap();
        }
        router
    });
    sender.connect("eth0", &lans[0], &["10.1.0.1/24"]).unwrap();
    receiver.connect("eth0", &lans[2], &["10.3.0.1/24"]).unwrap();
    let by = |host: &Host, gateway| host.add_route_via("0.0.0.0/0", gateway).unwrap();
    by(&sender, "10.1.0.254");
    by(&routers[0], "10.2.0.253");
    by(&routers[1], "10.2.0.254");
    by(&receiver, "10.3.0.253");
    let group = [239, 1, 2, 3].into();
    for router in &routers {
        let route = RouteGroup { source: None, group, from: "r0", to: &["r1"], ttl_threshold: 1 };
        router.route_group(route).unwrap();
    }
    receiver.sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
    let _stream = Stream::to(&sender, GROUP);
    assert_received(&examine(&receiver, MEMBERSHIP));
    assert_healthy(&examine_host(&receiver));
}

#[test]
pub(crate) fn one_group_on_two_networks() {
    let net = Net::new();
    let (lan, _) = net.second_lan();
    net.sender.connect("eth1", &lan, &["10.8.0.1/24"]).unwrap();
    let by_eth1 = socket(&net.sender, [239, 1, 2, 3].into(), "eth1");
    let _second = Stream::by(by_eth1.into(), GROUP.parse().unwrap(), 64);
    assert_not_accused(&net.examine(GROUP, MEMBERSHIP));
    let _first = Stream::to(&net.sender, "239.4.5.6:5000");
    assert_not_accused(&examine(&net.receiver, "239.1.2.3%eth1:5000"));
}

#[test]
pub(crate) fn xdp_program_that_passes_everything() {
    if !crate::drops::can_trace() {
        return;
    }
    const XDP_PASS: i32 = 2;
    let net = Net::new();
    let _program = crate::drops::attach_xdp(&net.receiver, XDP_PASS);
    assert_both_received(&net);
}

#[test]
pub(crate) fn stopped_program_of_another_group() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let player = crate::programs::Player::start(&net.receiver, "239.9.9.9:5009", "");
    player.signal("-STOP");
    let _other = Stream::to(&net.sender, "239.9.9.9:5009");
    assert_both_received(&net);
}

#[test]
pub(crate) fn fragments_of_ipv6() {
    let net = Net::new();
    let _stream = Stream::sized(&net.sender, GROUP_V6, 4000, |_| {});
    assert_received(&examine(&net.receiver, MEMBERSHIP_V6));
}

#[test]
pub(crate) fn small_mtu_on_both_sides() {
    let net = Net::new();
    for host in [&net.sender, &net.receiver] {
        host.set_mtu("eth0", 1300).unwrap();
    }
    let _stream = Stream::sized(&net.sender, GROUP, 3000, |_| {});
    assert_received(&examine(&net.receiver, MEMBERSHIP));
}

#[test]
pub(crate) fn ipv4_group_on_a_host_without_ipv6() {
    let net = Net::new();
    net.receiver.sysctl("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}

#[test]
pub(crate) fn unused_interface_that_is_down() {
    let net = Net::new();
    net.second_lan();
    net.receiver.set_down("eth1").unwrap();
    assert_both_received(&net);
}

/// The copy for the router itself has the translated source as well.
#[test]
pub(crate) fn a_router_that_masquerades() {
    if !has_programs() {
        return;
    }
    let net = crate::boxes::Routed::new();
    for (family, group, to, membership) in [
        ("ip", "239.1.2.3", GROUP, "239.1.2.3%r0:5000"),
        ("ip6", "ff15::1234", GROUP_V6, "[ff15::1234%r0]:5000"),
    ] {
        net.route(group, &["r1"]);
        let chain = "{ type nat hook postrouting priority 100 ; }";
        run(
            &net.router,
            &format!(
                "nft add table {family} nat && nft 'add chain {family} nat c {chain}' && nft add rule {family} nat c oifname r1 masquerade"
            ),
        );
        let _stream = Stream::to(&net.sender, to);
        assert_received(&examine(&net.router, membership));
    }
}

/// As at a port that mirrors a trunk, with equal payloads.
#[test]
pub(crate) fn a_mirror_of_tagged_frames() {
    let net = Net::new();
    for (source, to, membership) in [("10.9.0.1", GROUP, MEMBERSHIP), ("fd09::1", GROUP_V6, MEMBERSHIP_V6)] {
        let copies = |number| {
            let frame = net.frame(source, to, number);
            let mut tagged = frame.clone();
            tagged.splice(12..12, [0x81, 0, 0, 42]);
            [frame, tagged]
        };
        let _injection = inject(&net.sender, "eth0", &(0..20).flat_map(copies).collect::<Vec<_>>());
        let report = examine(&net.receiver, membership);
        let found: Vec<_> = report.findings.iter().map(|finding| (finding.id, finding.severity)).collect();
        assert_eq!(found, [(Id::DuplicatePath, Severity::Note)], "{report:#?}");
        assert_eq!(report.verdict(), Verdict::Healthy);
    }
}
