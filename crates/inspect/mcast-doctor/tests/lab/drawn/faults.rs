//! Kinds of faults at a receiver, each with what is drawn for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::flow::bracketed;
use super::scene::{Join, Reader, Scene, Subject, Traffic, admit_the_port_alone};
use super::{Kind, Part, kinds};
use crate::net::{idle_listener, run};
use crate::programs::Player;
use mcast_doctor::Id;

kinds! {
    Scene;
    // What is sent.
    "a tag of a VLAN": VlanTagged, Frame, Any, |scene| {
        let tag = (scene.dice.below(8) << 13 | scene.dice.between(1, 4_094)) as u16;
        let [first, second] = tag.to_be_bytes();
        scene.note(&format!("{tag:#x}"));
        scene.change(move |frame| drop(frame.splice(12..12, [0x81, 0, first, second])));
    };
    "two tags of VLANs": VlanTagged, Frame, Any, |scene| {
        let [outer, inner] = [0, 1].map(|_| scene.dice.between(1, 250) as u8);
        scene.change(move |frame| drop(frame.splice(12..12, [0x88, 0xa8, 0, outer, 0x81, 0, 0, inner])));
    };
    "the address of another host": FramesToAnotherHost, Frame, Any, |scene| {
        let last = scene.dice.next().to_be_bytes();
        scene.change(move |frame| frame[..6].copy_from_slice(&[2, 0, last[0], last[1], last[2], 9]));
    };
    "the checksum": BadChecksum, Frame, Any, |scene| {
        let (bit, header) = (scene.dice.below(8), if scene.is_v6() { 40 } else { 20 });
        scene.change(move |frame| frame[14 + header + 6] ^= 1 << bit);
    };
    "no checksum": BadChecksum, Frame, V6, |scene| scene.change(|frame| frame[60..62].fill(0));
    "a damaged header": MalformedPackets, Frame, V4, |scene| {
        let bit = scene.dice.below(8);
        scene.change(move |frame| frame[24] ^= 1 << bit);
    };
    "a length beyond the packet": MalformedPackets, Frame, Any, |scene| {
        let (more, place) = (scene.dice.between(0x40, 0x80) as u8, if scene.is_v6() { 19 } else { 39 });
        scene.change(move |frame| frame[place] = frame[place].saturating_add(more));
    };
    "another version in the header": MalformedPackets, Frame, V6, |scene| {
        let version = scene.dice.pick(&[0, 5, 7, 15]) << 4;
        scene.change(move |frame| frame[14] = version);
    };
    "a header that is too short": MalformedPackets, Frame, V4, |scene| {
        let words = scene.dice.between(0, 4) as u8;
        scene.change(move |frame| frame[14] = 0x40 | words);
    };
    "a route that the source chooses": LostInThisMachine, Frame, V4, |scene| scene.change(crate::drops::add_source_route);
    "no source": SourceZero, Source, V4, |scene| scene.set_wrong_source(Ipv4Addr::UNSPECIFIED.into());
    "the receiver's own source": SourceIsLocal, Source, V4, |scene| scene.set_wrong_source(Ipv4Addr::new(10, 9, 0, 2).into());
    "a group as the source": InvalidSource, Source, Any, |scene| {
        let group = scene.another_group();
        scene.set_wrong_source(group);
    };
    "a source on the loopback": InvalidSource, Source, Any, |scene| {
        let last = scene.dice.between(2, 250) as u8;
        let source = if scene.is_v6() { "::1".parse().unwrap() } else { Ipv4Addr::new(127, 0, 0, last).into() };
        scene.set_wrong_source(source);
    };
    "a strict reverse path": ReversePathFilter, Source, V4, |scene| reverse_path(scene, "1", "");
    "a strict reverse path by another interface": ReversePathFilter, Source, V4, |scene| {
        reverse_path(scene, "1", "ip route add 198.51.100.0/24 dev eth1");
    };
    "a loose reverse path": ReversePathFilter, Source, V4, |scene| reverse_path(scene, "2", "");
    "a rule for the way back": FirewallDropsData, Source, Any, |scene| {
        scene.source = if scene.is_v6() { "fd77::7" } else { "198.51.100.7" }.parse().unwrap();
        let rule = scene.dice.pick(&["fib saddr . iif oif missing drop", "fib saddr oif 0 drop", "fib saddr . iif oif 0 counter drop"]);
        scene.nft("inet", "hook prerouting priority -300", &format!("meta l4proto udp {rule}"));
    };
    "the port": WrongPort, All, Any, |scene| {
        let other = scene.dice.pick(&[1, 2, 10, 1_000]);
        scene.to.set_port(scene.port + other);
    };
    "the group": SentToAnotherGroup, All, Any, other_group;
    "the address of the machine": SentToUnicast, All, Any, |scene| {
        let own = if scene.is_v6() { "fd09::2" } else { "10.9.0.2" }.parse().unwrap();
        scene.to.set_ip(own);
        scene.traffic = Traffic::By("eth0");
    };
    "losses on the way": LostBeforeThisMachine, All, Any, losses;
    "losses in the firewall": FirewallDropsData, All, Any, |scene| {
        scene.traffic = Traffic::Rtp;
        let (modulus, how) = (scene.dice.pick(&[2, 3, 5, 10]), scene.dice.pick(&["inc", "random"]));
        let rule = format!("udp dport {} numgen {how} mod {modulus} 0 drop", scene.port);
        let hook = scene.hook();
        scene.nft("inet", &format!("{hook} priority 0"), &rule);
    };
    "frames too large": MtuTooSmall, All, Any, |scene| {
        // Less than 1,280 would end IPv6.
        let (mtu, size) = (scene.dice.between(1_280, 1_400), scene.dice.between(1_410, 1_440) as usize);
        scene.run(&format!("ip link set eth0 mtu {mtu}"));
        scene.traffic = Traffic::Sized(size);
    };
    "fragments": FragmentsLost, All, V4, |scene| {
        scene.traffic = Traffic::Sized(scene.dice.between(2_000, 6_000) as usize);
        scene.nft("netdev", "hook ingress device eth0 priority 0", "ip frag-off & 0x1fff != 0 drop");
    };
    "a firewall that admits first fragments": FragmentsLost, All, V6, |scene| {
        scene.traffic = Traffic::Sized(scene.dice.between(2_000, 6_000) as usize);
        admit_the_port_alone(scene, "");
    };
    "no sender": NothingArrives, All, Any, |scene| scene.traffic = Traffic::Nothing;
    "a local sender without copies": LoopbackOff, All, Any, |scene| scene.traffic = Traffic::LocalWithoutLoopback;

    // What the machine drops before its IP layer.
    "an XDP program": XdpDrops, Device, Any, |scene| {
        let filter = crate::drops::drop_all(&scene.net.receiver);
        scene.kept.push(Box::new(filter));
    };
    "a filter of traffic control": TcDrops, TrafficControl, Any, |scene| scene.control(2);
    "a filter of traffic control that steals": TcDrops, TrafficControl, Any, |scene| scene.control(4);
    "a rule at ingress": FirewallDropsData, IngressRules, Any, |scene| scene.drop_at(&[("netdev", "hook ingress device eth0")]);
    "the interface is down": InterfaceDown, All, Any, |scene| (scene.subject, scene.is_down) = (Subject::Program, true);

    // Its rules.
    "a rule at prerouting": FirewallDropsData, Rules, Any, |scene| {
        scene.drop_at(&[("inet", "hook prerouting"), ("own", "hook prerouting")]);
    };
    "a rule at input": FirewallDropsData, Rules, Any, |scene| scene.drop_at(&[("inet", "hook input"), ("own", "hook input")]);
    "a rule that rejects": FirewallDropsData, Rules, Any, |scene| {
        scene.rule_at(&[("inet", "hook input"), ("own", "hook input")], &["reject"]);
    };
    "a rule with a set": FirewallDropsData, Rules, Any, |scene| scene.rule_with_a_set();
    "a rule with a map": FirewallDropsData, Rules, Any, |scene| scene.rule_with_a_map();
    "a rule with a mark": FirewallDropsData, States, Any, |scene| scene.rule_with_a_mark("hook prerouting");
    "a rule for new connections": FirewallDropsData, States, Any, |scene| {
        let condition = scene.condition();
        let state = scene.dice.pick(&["ct state new", "ct state != established", "ct state { new, invalid }"]);
        scene.nft("inet", "hook input priority 0", &format!("{condition} {state} drop"));
    };
    "a rule for what is not tracked": FirewallDropsData, States, Any, |scene| {
        let condition = scene.condition();
        let other = format!("chain b {{ type filter hook prerouting priority -300 ; {condition} notrack ; }} ;");
        scene.table("inet", &other, "type filter hook input priority 0 ; ct state untracked meta l4proto udp drop");
    };
    "a rule for the hop limit": FirewallDropsData, Rules, Any, |scene| {
        let rule = if scene.is_v6() { "ip6 hoplimit < 20" } else { "ip ttl lt 20" };
        let port = scene.port;
        scene.rule("", &format!("udp dport {port} {rule} drop"));
    };
    "a policy": FirewallDropsData, Rules, Any, |scene| scene.policy();
    "a rule of iptables in filter": FirewallDropsData, LegacyRules, Any, |scene| scene.iptables("-A INPUT", "DROP");
    "a rule of iptables that rejects": FirewallDropsData, LegacyRules, Any, |scene| scene.iptables("-A INPUT", "REJECT");
    "a rule of iptables in mangle at input": FirewallDropsData, LegacyRules, Any, |scene| scene.iptables("-t mangle -A INPUT", "DROP");
    "a rule of iptables in mangle": FirewallDropsData, LegacyRules, Any, |scene| scene.iptables("-t mangle -A PREROUTING", "DROP");
    "a rule of iptables in raw": FirewallDropsData, LegacyRules, Any, |scene| scene.iptables("-t raw -A PREROUTING", "DROP");
    "a queue of iptables": FirewallDropsData, LegacyRules, Any, |scene| {
        let number = scene.dice.between(1, 60_000);
        scene.iptables("-A INPUT", &format!("NFQUEUE --queue-num {number}"));
    };
    "a chain of iptables": FirewallDropsData, LegacyRules, Any, |scene| {
        let program = scene.program();
        scene.run(&format!("{program} -N own && {program} -A own -p tcp -j RETURN && {program} -A own -j DROP"));
        scene.iptables("-A INPUT", "own");
    };
    "a policy of iptables": FirewallDropsData, LegacyRules, Any, |scene| {
        let (program, protocol) = (scene.program(), if scene.is_v6() { "icmpv6" } else { "igmp" });
        scene.run(&format!("{program} -A INPUT -p {protocol} -j ACCEPT && {program} -P INPUT DROP"));
    };
    "a rule of iptables-nft": FirewallDropsData, LegacyRules, Any, |scene| scene.iptables_nft("-A INPUT", "DROP");
    "translation of the port": Redirected, Translation, Any, |scene| {
        let other = scene.dice.between(1_024, 6_000);
        translate(scene, &format!("redirect to :{other}"));
    };
    "translation of the address": Redirected, Translation, Any, |scene| {
        let (host, other) = (if scene.is_v6() { "[fd09::2]" } else { "10.9.0.2" }, scene.dice.between(1_024, 6_000));
        translate(scene, &format!("dnat to {host}:{other}"));
    };
    "a rule that writes another port": Redirected, Translation, Any, |scene| {
        let (condition, other) = (scene.condition(), scene.dice.between(1_024, 6_000));
        let priority = scene.dice.pick(&["-310", "-150", "-5", "10"]);
        scene.nft("inet", &format!("hook prerouting priority {priority}"), &format!("{condition} udp dport set {other}"));
    };
    "a policy of IPsec": IpsecPolicy, Ipsec, Any, |scene| scene.ipsec("action block");
    "a policy of IPsec that demands ESP": IpsecPolicy, Ipsec, Any, |scene| scene.ipsec("tmpl proto esp mode transport level required");

    // Its routes.
    "a rule of routing for the source": PolicyRule, PolicyRules, V6, |scene| {
        let kind = scene.dice.pick(&["prohibit", "unreachable", "blackhole"]);
        scene.run(&format!(
            "ip -6 rule add pref 100 lookup local && ip -6 rule del pref 0 && ip -6 rule add from fd09::1 {kind} pref 50"
        ));
    };
    "a transparent proxy": PolicyRule, PolicyRules, V4, |scene| {
        let (mark, condition) = (scene.dice.between(1, 200), scene.condition());
        scene.nft("ip", "hook prerouting priority mangle", &format!("{condition} meta mark set {mark}"));
        scene.run(&format!(
            "ip rule add fwmark {mark} lookup 100 pref 90 && ip route add local 0.0.0.0/0 dev lo table 100 && \
             sysctl -qw net.ipv4.conf.all.src_valid_mark=1"
        ));
    };
    "a local route for the source": SourceIsLocal, PolicyRules, V4, |scene| {
        let length = scene.dice.between(27, 31);
        scene.run(&format!("ip route add local 10.9.0.0/{length} dev lo"));
    };
    "no route for groups of IPv6": Ipv6NotReady, All, V6, |scene| scene.run("ip -6 route del multicast ff00::/8 dev eth0 table local");
    "IPv6 is disabled": Ipv6NotReady, All, V6, |scene| {
        (scene.subject, scene.is_alone) = (Subject::Membership, true);
        scene.run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1");
    };
    "an MTU that ends IPv6": Ipv6NotReady, All, V6, |scene| {
        (scene.subject, scene.is_alone) = (Subject::Membership, true);
        let mtu = scene.dice.between(600, 1_279);
        scene.run(&format!("ip link set eth0 mtu {mtu}"));
    };

    // Its program.
    "the interface": JoinedOtherInterface, Join, Any, |scene| scene.receive_by("eth1");
    "the admitted source": SourceNotAdmitted, Join, V4, |scene| {
        let wrong = Ipv4Addr::new(10, 9, 0, scene.dice.between(20, 200) as u8);
        scene.join = Join::From(wrong);
        scene.membership = Some(format!("{wrong}@{}%eth0:{}", scene.group, scene.port));
    };
    "the admitted source of IPv6": SourceNotAdmitted, All, V6, |scene| {
        // The standard library's sockets admit sources of IPv4 alone.
        scene.subject = Subject::Membership;
        scene.membership = Some(format!("fd09::77@{}%eth0:{}", bracketed(scene.group), scene.port));
    };
    "no membership": NotJoined, Join, Any, |scene| (scene.subject, scene.join) = (Subject::Program, Join::No);
    "own groups only": OwnGroupsOnly, Join, V4, |scene| {
        let (group, other) = (scene.group.to_string(), format!("0.0.0.0:{}", scene.port ^ 1));
        let joins = idle_listener(&scene.net.receiver, &other, &[(&group, "eth0")]);
        scene.kept.push(Box::new(joins));
        (scene.subject, scene.join, scene.has_own_groups_only) = (Subject::Program, Join::No, true);
    };
    "bound to unicast": BoundToUnicast, Bind, Any, |scene| {
        scene.subject = Subject::Program;
        scene.bind = if scene.is_v6() { "fd09::2" } else { "10.9.0.2" }.parse().unwrap();
    };
    "bound to another group": BoundToOtherGroup, Bind, Any, |scene| {
        (scene.subject, scene.bind) = (Subject::Program, scene.another_group());
    };
    "bound to another interface": BoundToOtherInterface, Bind, Any, |scene| {
        (scene.subject, scene.device) = (Subject::Program, Some("eth1"));
    };
    "connected to another host": ConnectedElsewhere, Bind, Any, |scene| {
        scene.subject = Subject::Program;
        let host = if scene.is_v6() { "fd09::9" } else { "10.9.0.9" }.parse().unwrap();
        scene.connected = Some(SocketAddr::new(host, scene.dice.between(1_024, 60_000) as u16));
    };
    "a filter of the socket": SocketFilter, Filter, Any, |scene| (scene.subject, scene.is_filtered) = (Subject::Program, true);
    "a program that does not read": NotRead, Reader, Any, |scene| {
        (scene.subject, scene.reader) = (Subject::Program, Reader::Idle);
    };
    "a program that is stopped": ProgramStopped, All, Any, |scene| player(scene, "", "-STOP");
    "a socket that decapsulates": Decapsulated, All, Any, |scene| {
        // ESP in UDP, which numbers that begin with 0 are not.
        scene.traffic = Traffic::Rtp;
        player(scene, "s.setsockopt(17, 100, 2)", "-CONT");
    };
}

/// Starts another program that receives, and sends it this signal.
fn player(scene: &mut Scene, script: &str, signal: &str) {
    let player = Player::start(&scene.net.receiver, &scene.to().to_string(), script);
    player.signal(signal);
    scene.kept.push(Box::new(player));
    (scene.subject, scene.reader) = (Subject::Program, Reader::Another);
}

/// Filters by the path to the source, which is on another network.
fn reverse_path(scene: &mut Scene, value: &str, route: &str) {
    let [.., last] = scene.dice.next().to_be_bytes();
    let place = scene.dice.pick(&["all", "eth0"]);
    scene.run(&format!("sysctl -qw net.ipv4.conf.{place}.rp_filter={value}"));
    scene.source = Ipv4Addr::new(198, 51, 100, last.max(1)).into();
    if !route.is_empty() {
        scene.run(route);
    }
}

fn other_group(scene: &mut Scene) {
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
    scene.note(&format!("{other} is sent to"));
    scene.to.set_ip(other);
}

/// Adds a translation of what is sent to the port.
fn translate(scene: &mut Scene, what: &str) {
    let (family, port, priority) = (scene.own(), scene.port, scene.dice.pick(&["-100", "-101", "0"]));
    scene.table(
        family,
        "",
        &format!("type nat hook prerouting priority {priority} ; udp dport {port} {what}"),
    );
}

fn losses(scene: &mut Scene) {
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
}

/// Returns whether something shows a fault beside another one.
pub(super) fn is_shown(kind: &Kind<Scene>, other: &Kind<Scene>) -> bool {
    match (kind.part, other.part) {
        // Only what gets there shows it: what connection tracking and earlier rules do with it, and whether it is read.
        (Part::States | Part::Reader, _) => false,
        // A device that runs the program shows no frames.
        (Part::Source | Part::Frame | Part::PolicyRules, Part::Device) => false,
        // Whether the datagrams of another packet have a way back is known once they get there.
        (Part::Source, Part::Frame) if kind.id == Id::FirewallDropsData => false,
        // The interface of the VLAN, which does not exist yet, has a filter and routes of its own.
        (Part::Source | Part::PolicyRules, Part::Frame) => other.id != Id::VlanTagged,
        // It asks for what the frame begins with.
        (Part::TrafficControl, Part::Frame) => other.id != Id::VlanTagged,
        // It is about another source then.
        (Part::PolicyRules, Part::Source) => false,
        // A mark is known once the datagrams have got it.
        (Part::PolicyRules, _) => kind.name != "a transparent proxy",
        // Connection tracking translates nothing that is damaged.
        (Part::Translation, Part::Frame) => false,
        // A program that has joined nothing, and that nothing reaches, shows no interest in the group.
        (Part::Bind, Part::Join) | (Part::Join, Part::Bind) => false,
        // Nothing states what takes datagrams that no known cause takes.
        _ => kind.id != Id::LostInThisMachine,
    }
}
