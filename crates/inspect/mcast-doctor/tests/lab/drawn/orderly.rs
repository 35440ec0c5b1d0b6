//! What is in order, and takes nothing.

use std::net::{IpAddr, SocketAddr};

use super::flow::{Flow, bracketed};
use super::scene::{Join, Scene, Subject, Traffic, admit_the_port_alone};
use super::{Family, Orderly};
use crate::net::listener;

/// What is in order at each machine.
pub(super) const RULES: &[fn(&mut Flow)] = &[
    // Rules that hold for the flow and do not drop, and rules that drop something else.
    |flow| {
        let condition = flow.condition();
        let verdict = flow.dice.pick(&["accept", "counter", "counter accept", "meta mark set 7", "return"]);
        flow.rule("", &format!("{condition} {verdict}"));
    },
    |flow| {
        let (ip, other) = (flow.own(), flow.another_group());
        flow.rule("", &format!("{ip} daddr {other} drop"));
    },
    |flow| {
        let port = flow.port ^ 1;
        flow.rule("", &format!("udp dport {port} drop"));
    },
    |flow| {
        let (ip, first, second) = (flow.own(), flow.another_group(), flow.another_group());
        flow.rule("", &format!("{ip} daddr {{ {first}, {second} }} drop"));
    },
    |flow| {
        let (port, ip, other) = (flow.port, flow.own(), flow.another_group());
        flow.rule(
            "",
            &format!("{ip} daddr . udp dport vmap {{ {other} . {port} : drop, {other} . 53 : drop }}"),
        );
    },
    |flow| flow.rule("", "iifname eth9 drop"),
    |flow| flow.rule("", "udp dport 53 drop ; tcp dport { 22, 80 } counter drop"),
    |flow| flow.rule("", "meta mark 0x7777 drop"),
    |flow| {
        let port = flow.port;
        flow.rule("", &format!("udp dport {port} udp length > 60000 drop"));
    },
    |flow| {
        let (layer, hook, port) = (flow.place.layer, flow.hook(), flow.port);
        let rules = format!(
            "meta l4proto {{ igmp, icmpv6 }} accept ; udp dport {port} accept ; exthdr frag exists accept"
        );
        let rules = if layer == "bridge" { rules.replace(" ; exthdr frag exists accept", "") } else { rules };
        flow.nft(layer, &format!("{hook} priority 0 ; policy drop"), &rules);
    },
    |flow| {
        let chains = flow.place.chains;
        if !chains.is_empty() {
            let chain = flow.dice.pick(chains);
            flow.iptables(chain, "ACCEPT");
        }
    },
    |flow| {
        let (chains, program, other) = (flow.place.chains, flow.program(), flow.another_group());
        if !chains.is_empty() {
            let chain = flow.dice.pick(chains);
            flow.run(&format!("{program} {chain} -p udp -d {other} -j DROP"));
        }
    },
    |flow| {
        let other = flow.another_group().to_string();
        flow.ipsec_for(&other, "action block");
    },
    |flow| flow.run("ip route add default dev lo table 77 && ip rule add fwmark 0x77 lookup 77"),
    |flow| flow.run("ip rule add from 192.0.2.0/24 prohibit"),
    |flow| flow.run("ip route add blackhole 198.51.100.0/24"),
    |flow| {
        let ([device, direction], action) =
            (flow.place.control.clone(), flow.dice.pick(&["0", "4294967295"]));
        flow.run(&format!(
            "tc qdisc add dev {device} clsact && tc filter add dev {device} {direction} pref 9 bpf da bytecode '1,6 0 0 {action}'"
        ));
    },
];

pub(super) const RECEIVER: &[Orderly<Scene>] = &[
    (Family::V4, |scene| admit_the_port_alone(scene, "")),
    // IPv4 is whole again at this hook, IPv6 is not.
    (Family::V6, |scene| admit_the_port_alone(scene, "exthdr frag exists accept")),
    (Family::Any, |scene| {
        let pass = crate::drops::attach_xdp(&scene.net.receiver, 2);
        scene.kept.push(Box::new(pass));
    }),
    (Family::Any, |scene| {
        let (place, value) = (scene.dice.pick(&["all", "eth0"]), scene.dice.pick(&["1", "2"]));
        scene.run(&format!("sysctl -qw net.ipv4.conf.{place}.rp_filter={value}"));
    }),
    (Family::Any, |scene| {
        let (family, port) = (scene.own(), scene.port ^ 1);
        scene.table(
            family,
            "",
            &format!("type nat hook prerouting priority -100 ; udp dport {port} redirect to :7"),
        );
    }),
    (Family::Any, |scene| {
        // A program that binds to its group receives nothing else.
        (scene.subject, scene.bind) = (Subject::Program, scene.group);
    }),
    (Family::Any, |scene| {
        scene.membership = Some(format!("{}@{}%eth0:{}", scene.source, bracketed(scene.group), scene.port));
        match scene.source {
            IpAddr::V4(source) => scene.join = Join::From(source),
            IpAddr::V6(_) => scene.subject = Subject::Membership,
        }
    }),
    (Family::Any, |scene| scene.traffic = Traffic::Rtp),
    (Family::Any, |scene| scene.traffic = Traffic::Sized(scene.dice.between(8, 1_400) as usize)),
    (Family::Any, |scene| scene.traffic = Traffic::Sized(scene.dice.between(2_000, 6_000) as usize)),
    (Family::Any, |scene| scene.run("ip link set eth0 mtu 9000")),
    (Family::Any, |scene| {
        // Another program that has the same group and port.
        let any = SocketAddr::new(scene.any_address(), scene.port).to_string();
        let group = scene.group.to_string();
        let other = listener(&scene.net.receiver, &any, &[(&group, "eth0")]);
        scene.kept.push(Box::new(other));
    }),
    (Family::Any, |scene| scene.device = Some("eth0")),
    (Family::Any, |scene| {
        scene.nft("inet", "hook prerouting priority -300", "fib saddr . iif oif missing drop");
    }),
    (Family::Any, |scene| scene.nft("inet", "hook prerouting priority -300", "meta l4proto udp notrack")),
    (Family::Any, |scene| scene.nft("inet", "hook output priority 0", "meta l4proto udp drop")),
    (Family::Any, |scene| {
        scene.nft("netdev", "hook ingress device eth1 priority 0", "meta l4proto udp drop");
    }),
];
