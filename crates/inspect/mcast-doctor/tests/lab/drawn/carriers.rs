//! Kinds of faults at a receiver whose interface is carried by another one: a macvlan, a VXLAN, a bridge.

use super::flow::Flow;
use super::kinds;
use super::scene::{Scene, Traffic};
use crate::net::run;

kinds! {
    Scene;
    "a rule below a macvlan": FirewallDropsData, All, Any, |scene| {
        macvlan(scene, "bridge");
        scene.drop_at(&[("netdev", "hook ingress device eth0")]);
    };
    "a filter below a macvlan": TcDrops, All, Any, |scene| {
        macvlan(scene, "bridge");
        scene.control(2);
    };
    "an XDP program below a macvlan": XdpDrops, All, Any, |scene| {
        macvlan(scene, "bridge");
        let filter = crate::drops::drop_all(&scene.net.receiver);
        scene.kept.push(Box::new(filter));
    };
    "a rule at a macvlan": FirewallDropsData, All, Any, |scene| {
        macvlan(scene, "bridge");
        scene.drop_at(&[("netdev", "hook ingress device mv0"), ("own", "hook input")]);
    };
    "a macvlan that admits listed sources": MacvlanIsolation, All, Any, |scene| macvlan(scene, "source");
    "a rule below a VXLAN": FirewallDropsData, All, Any, |scene| {
        let id = vxlan(scene);
        scene.note(&format!("VXLAN {id}"));
        let verdict = scene.dice.pick(&["drop", "counter drop", "reject"]);
        let family = scene.dice.pick(&["inet", "ip"]);
        scene.nft(family, "hook input priority 0", &format!("udp dport 4789 {verdict}"));
    };
    "a rule of iptables below a VXLAN": FirewallDropsData, All, Any, |scene| {
        vxlan(scene);
        let chain = scene.dice.pick(&["-A INPUT", "-t raw -A PREROUTING", "-t mangle -A PREROUTING"]);
        scene.run(&format!("iptables-legacy {chain} -p udp --dport 4789 -j DROP"));
    };
    "another network of a VXLAN": OtherVxlan, All, Any, |scene| {
        let id = vxlan(scene);
        replace_vxlan(scene, id ^ 1, "group 239.99.1.1", 4789);
    };
    "another group of a VXLAN": OtherVxlan, All, Any, |scene| {
        let id = vxlan(scene);
        replace_vxlan(scene, id, "group 239.99.1.2", 4789);
    };
    "another port of a VXLAN": WrongPort, All, Any, |scene| {
        let id = vxlan(scene);
        replace_vxlan(scene, id, "group 239.99.1.1", 8472);
    };
    "a rule at a VXLAN": FirewallDropsData, All, Any, |scene| {
        vxlan(scene);
        scene.place.arrives = Some("vx0".to_owned());
        scene.drop_at(&[("netdev", "hook ingress device vx0"), ("inet", "hook input")]);
    };
    "a rule of a bridge at prerouting": FirewallDropsData, All, Any, |scene| {
        bridge(scene);
        scene.drop_at(&[("bridge", "hook prerouting")]);
    };
    "a rule of a bridge at input": FirewallDropsData, All, Any, |scene| {
        bridge(scene);
        scene.drop_at(&[("bridge", "hook input")]);
    };
    "a rule of ebtables": FirewallDropsData, All, Any, |scene| {
        bridge(scene);
        let chain = scene.dice.pick(&["filter -A INPUT", "nat -A PREROUTING"]);
        let condition = ebtables(scene);
        scene.run(&format!("ebtables-nft -t {chain} {condition} -j DROP"));
    };
    "another Ethernet address by ebtables": Redirected, All, Any, |scene| {
        bridge(scene);
        let (condition, last) = (ebtables(scene), scene.dice.between(10, 99));
        scene.run(&format!("ebtables-nft -t nat -A PREROUTING {condition} -j dnat --to-destination 02:00:00:00:00:{last}"));
    };
    "a rule behind a bridge": FirewallDropsData, All, Any, |scene| {
        bridge(scene);
        scene.place.arrives = Some("br9".to_owned());
        scene.drop_at(&[("own", "hook input"), ("inet", "hook prerouting")]);
    };
    "joined on a port of a bridge": JoinedOtherInterface, All, Any, |scene| {
        bridge(scene);
        scene.receive_by("eth0");
    };
}

/// Receives by a macvlan of this mode.
fn macvlan(scene: &mut Scene, mode: &str) {
    scene.run(&format!(
        "ip link add mv0 link eth0 type macvlan mode {mode} && ip link set mv0 up && ip address add 10.9.0.22/24 dev mv0 && \
         ip address add fd09::22/64 dev mv0 nodad"
    ));
    scene.receive_by("mv0");
}

/// Makes `eth0` a port of a bridge, by which the group is received.
fn bridge(scene: &mut Scene) {
    scene.run(
        "ip link add br9 type bridge mcast_snooping 0 && ip link set br9 up && ip address flush dev eth0 scope global && \
         ip link set eth0 master br9 && ip address add 10.9.0.2/24 dev br9 && ip address add fd09::2/64 dev br9 nodad",
    );
    super::scene::without_ip_layer(&scene.net.receiver);
    scene.place.arrives = None;
    scene.receive_by("br9");
}

/// Draws a condition of ebtables that holds for the datagrams.
pub(super) fn ebtables(flow: &mut Flow) -> String {
    let (group, port) = (flow.group, flow.port);
    match flow.is_v6() {
        false => flow.dice.pick(&[
            format!("-p IPv4 --ip-destination {group}"),
            "-p IPv4 --ip-destination 239.0.0.0/8".to_owned(),
            format!("-p IPv4 --ip-proto udp --ip-dport {port}"),
        ]),
        true => flow.dice.pick(&[
            format!("-p IPv6 --ip6-destination {group}"),
            "-p IPv6 --ip6-destination ff15::/16".to_owned(),
            format!("-p IPv6 --ip6-proto udp --ip6-dport {port}"),
        ]),
    }
}

/// Receives by a VXLAN between the hosts, and returns its number.
fn vxlan(scene: &mut Scene) -> u64 {
    let id = scene.dice.between(2, 60_000) & !1;
    run(&scene.net.sender, &vxlan_with(id, "group 239.99.1.1", 4789, 1));
    let own = vxlan_with(id, "group 239.99.1.1", 4789, 2);
    scene.run(&own);
    scene.source = if scene.is_v6() { "fd88::1" } else { "10.88.0.1" }.parse().unwrap();
    scene.traffic = Traffic::By("vx0");
    scene.receive_by("vx0");
    id
}

fn vxlan_with(id: u64, carried: &str, port: u16, host: u8) -> String {
    format!(
        "ip link add vx0 type vxlan id {id} {carried} dev eth0 dstport {port} ttl 4 && ip link set vx0 up && \
         ip address add 10.88.0.{host}/24 dev vx0 && ip address add fd88::{host}/64 dev vx0 nodad"
    )
}

/// Replaces the VXLAN of the receiver by another one.
fn replace_vxlan(scene: &mut Scene, id: u64, carried: &str, port: u16) {
    let other = vxlan_with(id, carried, port, 2);
    scene.run(&format!("ip link del vx0 && {other}"));
}
