//! What is in order, and takes nothing.

use std::net::{IpAddr, SocketAddr};

use super::scene::{Join, Scene, Subject, Traffic, admit_the_port_alone, bracketed};
use crate::net::listener;

/// What is in order, and takes nothing.
pub(super) const ORDERLY: &[fn(&mut Scene)] = &[
    |scene| {
        let condition = scene.condition();
        let hook = scene.dice.pick(&["prerouting", "input"]);
        let verdict = scene.dice.pick(&["accept", "counter", "counter accept", "meta mark set 7", "return"]);
        let priority = scene.dice.pick(&["-310", "-150", "0", "10", "300"]);
        scene.nft("inet", &format!("hook {hook} priority {priority}"), &format!("{condition} {verdict}"));
    },
    |scene| {
        let other = scene.another_group();
        let (ip, port) = (if scene.is_v6() { "ip6" } else { "ip" }, scene.port);
        scene.on_receiver(&format!(
            "nft add table inet o && nft 'add chain inet o c {{ type filter hook input priority 0 ; }}' && \
             nft 'add rule inet o c {ip} daddr {other} udp dport {port} drop' && nft 'add rule inet o c udp dport {} drop'",
            port ^ 1
        ));
    },
    // IPv4 is whole again at this hook, IPv6 is not.
    |scene| admit_the_port_alone(scene, "exthdr frag exists accept"),
    |scene| {
        let program = if scene.is_v6() { "ip6tables-legacy" } else { "iptables-legacy" };
        let (group, port) = (scene.group, scene.port);
        let other = scene.another_group();
        scene.on_receiver(&format!(
            "{program} -A INPUT -p udp -d {group} --dport {port} -j ACCEPT && {program} -A INPUT -p udp -d {other} -j DROP"
        ));
    },
    |scene| {
        let protocol = if scene.is_v6() { "ipv6" } else { "ip" };
        let action = scene.dice.pick(&["0", "4294967295"]);
        scene.on_receiver(&format!(
            "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress protocol {protocol} pref 9 bpf da bytecode '1,6 0 0 {action}'"
        ));
    },
    |scene| {
        let pass = crate::drops::attach_xdp(&scene.net.receiver, 2);
        scene.kept.push(Box::new(pass));
    },
    |scene| {
        let (place, value) = (scene.dice.pick(&["all", "eth0"]), scene.dice.pick(&["1", "2"]));
        scene.on_receiver(&format!("sysctl -qw net.ipv4.conf.{place}.rp_filter={value}"));
    },
    |scene| {
        let other = scene.another_group();
        let any = if scene.is_v6() { "::/0" } else { "0.0.0.0/0" };
        scene.on_receiver(&format!(
            "ip xfrm policy add dir in src {any} dst {other} priority 10 action block"
        ));
    },
    |scene| {
        let (family, port) = (if scene.is_v6() { "ip6" } else { "ip" }, scene.port ^ 1);
        scene.on_receiver(&format!(
            "nft add table {family} n && nft 'add chain {family} n c {{ type nat hook prerouting priority -100 ; }}' && \
             nft 'add rule {family} n c udp dport {port} redirect to :7'"
        ));
    },
    |scene| {
        // A program that binds to its group receives nothing else.
        (scene.subject, scene.bind) = (Subject::Program, scene.group);
    },
    |scene| {
        scene.membership = Some(format!("{}@{}%eth0:{}", scene.source, bracketed(scene.group), scene.port));
        match scene.source {
            IpAddr::V4(source) => scene.join = Join::From(source),
            IpAddr::V6(_) => scene.subject = Subject::Membership,
        }
    },
    |scene| scene.traffic = Traffic::Rtp,
    |scene| scene.traffic = Traffic::Sized(scene.dice.between(8, 1_400) as usize),
    |scene| scene.traffic = Traffic::Sized(scene.dice.between(2_000, 6_000) as usize),
    |scene| scene.on_receiver("ip link set eth0 mtu 9000"),
    |scene| {
        // Another program that has the same group and port.
        let any = SocketAddr::new(scene.bind_any(), scene.port).to_string();
        let group = scene.group.to_string();
        let other = listener(&scene.net.receiver, &any, &[(&group, "eth0")]);
        scene.kept.push(Box::new(other));
    },
    |scene| scene.device = Some("eth0"),
];
