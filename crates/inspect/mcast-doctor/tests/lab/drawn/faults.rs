//! Kinds of faults, each with what is drawn for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mcast_doctor::Id;

use super::scene::{Join, Scene, Subject, Traffic, admit_the_port_alone, bracketed};
use crate::net::run;

/// A kind of fault, which changes the scene and returns what must be found.
pub(super) type Kind = (&'static str, fn(&mut Scene) -> Id);

pub(super) const KINDS: &[Kind] = &[
    ("a rule of nftables", nft_rule),
    ("a rule of nftables", nft_rule),
    ("a policy of nftables", nft_policy),
    ("a rule of iptables", iptables),
    ("a filter of traffic control", traffic_control),
    ("an XDP program", |scene| {
        let filter = crate::drops::drop_all(&scene.net.receiver);
        scene.kept.push(Box::new(filter));
        Id::XdpDrops
    }),
    ("the reverse path", reverse_path),
    ("the port", |scene| {
        let other = scene.dice.pick(&[1, 2, 10, 1_000]);
        scene.to.set_port(scene.port + other);
        Id::WrongPort
    }),
    ("the group", other_group),
    ("the interface", |scene| {
        scene.join = Join::On("eth1");
        scene.membership = Some(format!("{}%eth1:{}", bracketed(scene.group), scene.port));
        Id::JoinedOtherInterface
    }),
    ("the admitted source", |scene| {
        let wrong = Ipv4Addr::new(10, 9, 0, scene.dice.between(20, 200) as u8);
        scene.join = Join::From(wrong);
        let wrong = if scene.is_v6() { "fd09::77".parse().unwrap() } else { IpAddr::V4(wrong) };
        scene.membership = Some(format!("{wrong}@{}%eth0:{}", bracketed(scene.group), scene.port));
        // The standard library's sockets admit sources of IPv4 alone.
        if scene.is_v6() {
            scene.subject = Subject::Membership;
        }
        Id::SourceNotAdmitted
    }),
    ("no membership", |scene| {
        (scene.subject, scene.join) = (Subject::Program, Join::No);
        Id::NotJoined
    }),
    ("bound to unicast", |scene| {
        scene.subject = Subject::Program;
        scene.bind = if scene.is_v6() { "fd09::2" } else { "10.9.0.2" }.parse().unwrap();
        Id::BoundToUnicast
    }),
    ("bound to another group", |scene| {
        scene.subject = Subject::Program;
        scene.bind = scene.another_group();
        Id::BoundToOtherGroup
    }),
    ("bound to another interface", |scene| {
        (scene.subject, scene.device) = (Subject::Program, Some("eth1"));
        Id::BoundToOtherInterface
    }),
    ("connected to another host", |scene| {
        scene.subject = Subject::Program;
        let host = if scene.is_v6() { "fd09::9" } else { "10.9.0.9" }.parse().unwrap();
        scene.connected = Some(SocketAddr::new(host, scene.dice.between(1_024, 60_000) as u16));
        Id::ConnectedElsewhere
    }),
    ("a filter of the socket", |scene| {
        (scene.subject, scene.is_filtered) = (Subject::Program, true);
        Id::SocketFilter
    }),
    ("a program that does not read", |scene| {
        (scene.subject, scene.is_read) = (Subject::Program, false);
        Id::NotRead
    }),
    ("the interface is down", |scene| {
        (scene.subject, scene.is_down) = (Subject::Program, true);
        Id::InterfaceDown
    }),
    ("a tag of a VLAN", |scene| {
        let tag = (scene.dice.below(8) << 13 | scene.dice.between(1, 4_094)) as u16;
        let [first, second] = tag.to_be_bytes();
        scene.note(&format!("{tag:#x}"));
        scene.change = Box::new(move |frame| drop(frame.splice(12..12, [0x81, 0, first, second])));
        Id::VlanTagged
    }),
    ("the address of another host", |scene| {
        let last = scene.dice.next().to_be_bytes();
        scene.change =
            Box::new(move |frame| frame[..6].copy_from_slice(&[2, 0, last[0], last[1], last[2], 9]));
        Id::FramesToAnotherHost
    }),
    ("the checksum", |scene| {
        let (bit, header) = (scene.dice.below(8), if scene.is_v6() { 40 } else { 20 });
        scene.change = Box::new(move |frame| frame[14 + header + 6] ^= 1 << bit);
        Id::BadChecksum
    }),
    ("a damaged header", |scene| {
        scene.use_v4();
        let bit = scene.dice.below(8);
        scene.change = Box::new(move |frame| frame[24] ^= 1 << bit);
        Id::MalformedPackets
    }),
    ("no source", |scene| {
        scene.use_v4();
        scene.source = Ipv4Addr::UNSPECIFIED.into();
        Id::SourceZero
    }),
    ("the receiver's own source", |scene| {
        scene.use_v4();
        scene.source = Ipv4Addr::new(10, 9, 0, 2).into();
        Id::SourceIsLocal
    }),
    ("a policy of IPsec", |scene| {
        let any = if scene.is_v6() { "::/0" } else { "0.0.0.0/0" };
        let group = scene.dice.pick(&[any.to_owned(), scene.group.to_string(), scene.net_of_group()]);
        let what = scene.dice.pick(&["action block", "tmpl proto esp mode transport level required"]);
        scene.on_receiver(&format!("ip xfrm policy add dir in src {any} dst {group} priority 10 {what}"));
        Id::IpsecPolicy
    }),
    ("translation", translation),
    ("losses on the way", losses),
    ("losses in the firewall", |scene| {
        scene.traffic = Traffic::Rtp;
        let modulus = scene.dice.pick(&[2, 3, 5, 10]);
        let how = scene.dice.pick(&["inc", "random"]);
        let hook = scene.dice.pick(&["input", "prerouting"]);
        let rule = format!("udp dport {} numgen {how} mod {modulus} 0 drop", scene.port);
        scene.nft("inet", &format!("hook {hook} priority 0"), &rule);
        Id::FirewallDropsData
    }),
    ("frames too large", |scene| {
        // Less than 1,280 would end IPv6.
        let (mtu, size) = (scene.dice.between(1_280, 1_400), scene.dice.between(1_410, 1_440) as usize);
        scene.on_receiver(&format!("ip link set eth0 mtu {mtu}"));
        scene.traffic = Traffic::Sized(size);
        Id::MtuTooSmall
    }),
    ("fragments", |scene| {
        scene.use_v4();
        scene.traffic = Traffic::Sized(scene.dice.between(2_000, 6_000) as usize);
        scene.nft("netdev", "hook ingress device eth0 priority 0", "ip frag-off & 0x1fff != 0 drop");
        Id::FragmentsLost
    }),
    ("a firewall that admits first fragments", |scene| {
        scene.use_v6();
        scene.traffic = Traffic::Sized(scene.dice.between(2_000, 6_000) as usize);
        admit_the_port_alone(scene, "");
        Id::FragmentsLost
    }),
    ("no sender", |scene| {
        scene.traffic = Traffic::Nothing;
        Id::NothingArrives
    }),
];

fn nft_rule(scene: &mut Scene) -> Id {
    let own = if scene.is_v6() { "ip6" } else { "ip" };
    let (family, hook) = scene.dice.pick(&[
        ("netdev", "ingress device eth0"),
        ("inet", "prerouting"),
        (own, "prerouting"),
        ("inet", "input"),
        (own, "input"),
        (own, "input"),
    ]);
    let priority = scene.dice.pick(&["-310", "-150", "-5", "0", "10", "300"]);
    let condition = scene.condition();
    let counter = scene.dice.pick(&["", "counter "]);
    let verdicts: &[&str] = match hook {
        "input" => &["drop", "jump d", "goto d", "reject"],
        _ => &["drop", "jump d", "goto d"],
    };
    let verdict = scene.dice.pick(verdicts);
    scene.nft(
        family,
        &format!("hook {hook} priority {priority}"),
        &format!("{condition} {counter}{verdict}"),
    );
    Id::FirewallDropsData
}

fn nft_policy(scene: &mut Scene) -> Id {
    let (hook, counter) = (scene.dice.pick(&["input", "prerouting"]), scene.dice.pick(&["", "counter "]));
    let other = scene.dice.pick(&["udp dport 53 accept", "ct state established accept", "iif lo accept"]);
    scene.nft(
        "inet",
        &format!("hook {hook} priority 0"),
        &format!("meta l4proto {{ igmp, icmpv6 }} {counter}accept"),
    );
    scene
        .on_receiver(&format!("nft 'add rule inet t c {other}' && nft 'chain inet t c {{ policy drop ; }}'"));
    Id::FirewallDropsData
}
fn iptables(scene: &mut Scene) -> Id {
    let program = if scene.is_v6() { "ip6tables-legacy" } else { "iptables-legacy" };
    let (table, chain) = scene.dice.pick(&[
        ("filter", "INPUT"),
        ("filter", "INPUT"),
        ("mangle", "INPUT"),
        ("mangle", "PREROUTING"),
        ("raw", "PREROUTING"),
    ]);
    let (group, port, source) = (scene.group, scene.port, scene.source);
    let condition = scene.dice.pick(&[
        format!("-d {group}"),
        format!("-p udp --dport {port}"),
        format!("-p udp -s {source}"),
        format!("-i eth0 -p udp -d {}", scene.net_of_group()),
        format!("-p udp -m multiport --dports 53,{port}"),
        "-p udp -m pkttype --pkt-type multicast".to_owned(),
    ]);
    let verdict =
        if chain == "INPUT" && table == "filter" { scene.dice.pick(&["DROP", "REJECT"]) } else { "DROP" };
    scene.on_receiver(&format!("{program} -t {table} -A {chain} {condition} -j {verdict}"));
    Id::FirewallDropsData
}

fn traffic_control(scene: &mut Scene) -> Id {
    let protocol = if scene.is_v6() { "ipv6" } else { "ip" };
    let protocol = scene.dice.pick(&[protocol, "all"]);
    let (preference, action) = (scene.dice.between(1, 40_000), scene.dice.pick(&[2, 4]));
    // Datagrams of UDP to any port.
    let (offset, kind) = if scene.is_v6() { (20, 0x86dd) } else { (23, 0x0800) };
    scene.on_receiver(&format!(
        "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress protocol {protocol} pref {preference} bpf da bytecode \
         '6,40 0 0 12,21 0 3 {kind},48 0 0 {offset},21 0 1 17,6 0 0 {action},6 0 0 4294967295'"
    ));
    Id::TcDrops
}

fn reverse_path(scene: &mut Scene) -> Id {
    scene.use_v4();
    let [.., a] = scene.dice.next().to_be_bytes();
    let (place, value) = (scene.dice.pick(&["all", "eth0"]), scene.dice.pick(&["1", "2"]));
    scene.on_receiver(&format!("sysctl -qw net.ipv4.conf.{place}.rp_filter={value}"));
    scene.source = Ipv4Addr::new(198, 51, 100, a.max(1)).into();
    if value == "1" && scene.dice.chance(0.5) {
        scene.on_receiver("ip route add 198.51.100.0/24 dev eth1");
    }
    Id::ReversePathFilter
}

fn other_group(scene: &mut Scene) -> Id {
    let mut other = scene.group;
    match &mut other {
        IpAddr::V4(group) => {
            let [a, b, c, d] = group.octets();
            *group = scene.dice.pick(&[
                Ipv4Addr::new(a, b, c, d ^ 1),
                Ipv4Addr::new(a, b, c ^ 1, d),
                if b == c { Ipv4Addr::new(a, b, c, d ^ 4) } else { Ipv4Addr::new(a, c, b, d) },
                Ipv4Addr::new(a, b ^ 0x80, c, d),
            ]);
        }
        IpAddr::V6(group) => {
            let mut parts = group.segments();
            let place = scene.dice.pick(&[6, 7]);
            parts[place] ^= 1 << scene.dice.below(12);
            *group = parts.into();
        }
    }
    scene.note(&format!("{} is sent to instead of {}", other, scene.group));
    scene.to.set_ip(other);
    Id::SentToAnotherGroup
}

fn translation(scene: &mut Scene) -> Id {
    let (port, other) = (scene.port, scene.dice.between(1_024, 60_000));
    let host = if scene.is_v6() {
        format!("dnat to [fd09::2]:{other}")
    } else {
        format!("dnat to 10.9.0.2:{other}")
    };
    let family = if scene.is_v6() { "ip6" } else { "ip" };
    let what = scene.dice.pick(&[format!("redirect to :{other}"), host]);
    let priority = scene.dice.pick(&["-100", "-101", "0"]);
    scene.on_receiver(&format!(
        "nft add table {family} n && nft 'add chain {family} n c {{ type nat hook prerouting priority {priority} ; }}' && \
         nft 'add rule {family} n c udp dport {port} {what}'"
    ));
    Id::Redirected
}

fn losses(scene: &mut Scene) -> Id {
    scene.traffic = Traffic::Rtp;
    let lost = scene.dice.pick(&[3, 10, 30, 50, 80]);
    let rule = match scene.dice.chance(0.5) {
        true => format!("numgen random mod 100 < {lost} drop"),
        false => format!("numgen inc mod 100 < {lost} drop"),
    };
    let command = format!(
        "nft add table bridge t && nft 'add chain bridge t c {{ type filter hook forward priority 0 ; }}' && \
         nft 'add rule bridge t c udp dport {} {rule}'",
        scene.port
    );
    scene.note(&command);
    run(&scene.net.lan.inside(), &command);
    Id::LostBeforeThisMachine
}
