//! A flow, and what is drawn for it on the machine that is examined.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mcast_lab::Host;
use mcast_sim::Dice;

use crate::net::run;

/// The port from which datagrams are sent.
pub(super) const FROM: u16 = 6000;

/// Where a flow meets rules on its way by a machine.
#[derive(Clone, Default)]
pub(super) struct RuleSite {
    /// The family of nftables that meets both address families: `inet` or `bridge`.
    pub(super) layer: &'static str,
    pub(super) hooks: &'static [&'static str],
    /// The tables and chains of iptables.
    pub(super) chains: &'static [&'static str],
    /// The interface on which it arrives.
    pub(super) arrives: Option<String>,
    /// Where traffic control meets it: an interface and a direction.
    pub(super) control: [String; 2],
    /// The direction of IPsec policies.
    pub(super) direction: &'static str,
}

/// A flow, and the machine that is examined.
pub(super) struct Flow {
    pub(super) dice: Dice,
    /// None where a file is examined.
    pub(super) host: Option<Host>,
    pub(super) place: RuleSite,
    /// What was drawn, for the report of a failure.
    pub(super) how: String,
    pub(super) group: IpAddr,
    pub(super) port: u16,
    pub(super) source: IpAddr,
    /// Whether the source can stay as it is. Otherwise nothing that depends on it is certain.
    pub(super) keeps_source: bool,
    tables: u32,
}

impl Flow {
    pub(super) fn new(mut dice: Dice, is_v6: bool, sources: [&str; 2]) -> Self {
        let (group, port) = (draw_group(&mut dice, is_v6), dice.between(7_000, 50_000) as u16);
        let (source, place) = (sources[usize::from(is_v6)].parse().unwrap(), RuleSite::default());
        Self {
            dice,
            host: None,
            place,
            how: String::new(),
            group,
            port,
            source,
            keeps_source: true,
            tables: 0,
        }
    }

    /// Sets the machine that is examined.
    pub(super) fn on(self, host: &Host, place: RuleSite) -> Self {
        Self { host: Some(host.clone()), place, ..self }
    }

    pub(super) const fn is_v6(&self) -> bool {
        self.group.is_ipv6()
    }

    /// The address family, as nftables calls it.
    pub(super) const fn own(&self) -> &'static str {
        if self.is_v6() { "ip6" } else { "ip" }
    }

    pub(super) const fn program(&self) -> &'static str {
        if self.is_v6() { "ip6tables-legacy" } else { "iptables-legacy" }
    }

    pub(super) const fn any_net(&self) -> &'static str {
        if self.is_v6() { "::/0" } else { "0.0.0.0/0" }
    }

    pub(super) const fn any_address(&self) -> IpAddr {
        if self.is_v6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }

    pub(super) const fn net_of_group(&self) -> &'static str {
        if self.is_v6() { "ff15::/16" } else { "239.0.0.0/8" }
    }

    pub(super) const fn to(&self) -> SocketAddr {
        SocketAddr::new(self.group, self.port)
    }

    pub(super) fn membership(&self, interface: &str) -> String {
        match self.group {
            IpAddr::V4(group) => format!("{group}%{interface}:{}", self.port),
            IpAddr::V6(group) => format!("[{group}%{interface}]:{}", self.port),
        }
    }

    pub(super) fn another_group(&mut self) -> IpAddr {
        let is_v6 = self.is_v6();
        draw_group(&mut self.dice, is_v6)
    }

    pub(super) fn note(&mut self, what: &str) {
        self.how.push_str(what);
        self.how.push_str("; ");
    }

    /// Runs a command on the machine that is examined.
    pub(super) fn run(&mut self, command: &str) {
        self.note(command);
        run(self.host.as_ref().unwrap(), command);
    }

    /// Adds a chain of its own with these rules, and the chain `d`, which drops.
    pub(super) fn nft(&mut self, family: &str, hook: &str, rules: &str) {
        self.table(family, "", &format!("type filter {hook} ; {rules}"));
    }

    /// Adds a table with this chain, and what the chain needs.
    pub(super) fn table(&mut self, family: &str, needs: &str, chain: &str) {
        self.tables += 1;
        let number = self.tables;
        self.run(&format!(
            "nft 'table {family} t{number} {{ {needs} chain d {{ drop ; }} ; chain c {{ {chain} ; }} ; }}'"
        ));
    }

    /// Draws a hook of the machine.
    pub(super) fn hook(&mut self) -> &'static str {
        let hooks = self.place.hooks;
        self.dice.pick(hooks)
    }

    fn priority(&mut self) -> &'static str {
        self.dice.pick(&["-310", "-150", "-5", "0", "10", "300"])
    }

    /// Adds a rule with this end to a chain of a hook of the machine, or of one of these families and hooks.
    pub(super) fn rule_at(&mut self, places: &[(&'static str, &'static str)], verdicts: &[&str]) {
        let (family, hook) = self.dice.pick(places);
        let family = if family == "own" { self.own() } else { family };
        let (condition, priority) = (self.condition(), self.priority());
        let (counter, verdict) = (self.dice.pick(&["", "counter "]), self.dice.pick(verdicts));
        self.nft(family, &format!("{hook} priority {priority}"), &format!("{condition} {counter}{verdict}"));
    }

    /// The same, which drops.
    pub(super) fn drop_at(&mut self, places: &[(&'static str, &'static str)]) {
        self.rule_at(places, &["drop", "jump d", "goto d"]);
    }

    /// Adds this rule at a hook of the machine, in a table with what it needs.
    pub(super) fn rule(&mut self, needs: &str, rule: &str) {
        let (layer, hook, priority) = (self.place.layer, self.hook(), self.priority());
        self.table(layer, needs, &format!("type filter {hook} priority {priority} ; {rule}"));
    }

    /// Drops what a set has, which is drawn.
    pub(super) fn rule_with_a_set(&mut self) {
        let (ip, group, port, other) = (self.own(), self.group, self.port, self.another_group());
        let kind = if self.is_v6() { "ipv6_addr" } else { "ipv4_addr" };
        let (set, rule) = self.dice.pick(&[
            (format!("type {kind} ; elements = {{ {group}, {other} }}"), format!("{ip} daddr @s drop")),
            (
                format!("type {kind} ; flags interval ; elements = {{ {} }}", self.net_of_group()),
                format!("{ip} daddr @s counter drop"),
            ),
            (
                format!("type {kind} . inet_service ; elements = {{ {group} . {port}, {other} . 53 }}"),
                format!("{ip} daddr . udp dport @s drop"),
            ),
        ]);
        self.rule(&format!("set s {{ {set} ; }} ;"), &rule);
    }

    /// Drops by a map of verdicts.
    pub(super) fn rule_with_a_map(&mut self) {
        let (ip, group, port) = (self.own(), self.group, self.port);
        let verdict = self.dice.pick(&["drop", "jump d", "goto d"]);
        let map = self.dice.pick(&[
            format!("udp dport vmap {{ 53 : accept, {port} : {verdict} }}"),
            format!("{ip} daddr vmap {{ {group} : {verdict} }}"),
            format!("meta l4proto . th dport vmap {{ udp . {port} : {verdict}, tcp . 22 : accept }}"),
        ]);
        self.rule("", &map);
    }

    /// Drops what an earlier chain has marked.
    pub(super) fn rule_with_a_mark(&mut self, hook: &'static str) {
        let (layer, condition, mark) = (self.place.layer, self.condition(), self.dice.between(1, 1 << 20));
        let other = format!(
            "chain b {{ type filter {hook} priority -20 ; {condition} meta mark set {mark:#x} ; }} ;"
        );
        let rule = self
            .dice
            .pick(&[format!("meta mark {mark:#x} drop"), format!("mark and {mark:#x} == {mark:#x} drop")]);
        self.table(layer, &other, &format!("type filter {hook} priority 30 ; {rule}"));
    }

    /// Drops what is not accepted.
    pub(super) fn policy(&mut self) {
        let others = [
            "udp dport 53 accept",
            "ct state established accept",
            "iif lo accept",
            "tcp dport { 22, 80 } accept",
        ];
        let other = self.dice.pick(&others[..if self.place.layer == "bridge" { 1 } else { 4 }]);
        let counter = self.dice.pick(&["", "counter "]);
        let (layer, hook) = (self.place.layer, self.hook());
        let rules = format!("meta l4proto {{ igmp, icmpv6 }} {counter}accept ; {other}");
        self.nft(layer, &format!("{hook} priority 0 ; policy drop"), &rules);
    }

    /// Adds a rule of iptables in a chain of the machine that begins with `prefix`.
    pub(super) fn iptables(&mut self, chain: &str, verdict: &str) {
        let (program, condition) = (self.program(), self.condition_of_iptables());
        self.run(&format!("{program} {chain} {condition} -j {verdict}"));
    }

    /// The same, by the program that writes rules of nftables.
    pub(super) fn iptables_nft(&mut self, chain: &str, verdict: &str) {
        let (program, condition) = (self.program().replace("legacy", "nft"), self.condition_of_iptables());
        self.run(&format!("{program} {chain} {condition} -j {verdict}"));
    }

    fn condition_of_iptables(&mut self) -> String {
        let (group, port, source) = (self.group, self.port, self.source);
        let mut all = vec![
            format!("-d {group}"),
            format!("-p udp --dport {port}"),
            format!("-p udp --dport {}:{}", port - 5, port + 5),
            format!("-p udp -m multiport --dports 53,{port}"),
            format!("-p udp ! -d {} --dport {port}", if self.is_v6() { "ff02::/16" } else { "224.0.0.0/8" }),
        ];
        if self.keeps_source {
            all.push(format!("-p udp -s {source} --dport {port}"));
            all.push(format!("-p udp --sport {FROM} -d {}", self.net_of_group()));
        }
        if let Some(arrives) = &self.place.arrives {
            all.push(format!("-i {arrives} -p udp -d {}", self.net_of_group()));
            all.push("-p udp -m pkttype --pkt-type multicast".to_owned());
        }
        self.dice.pick(&all)
    }

    /// Adds a filter of traffic control where the machine has them, that ends with this action for every datagram of UDP.
    pub(super) fn control(&mut self, action: u32) {
        let [device, direction] = self.place.control.clone();
        let protocol = if self.is_v6() { "ipv6" } else { "ip" };
        let (protocol, preference) = (self.dice.pick(&[protocol, "all"]), self.dice.between(1, 40_000));
        // Datagrams of UDP to any port.
        let (offset, kind) = if self.is_v6() { (20, 0x86dd) } else { (23, 0x0800) };
        self.run(&format!(
            "tc qdisc add dev {device} clsact && tc filter add dev {device} {direction} protocol {protocol} pref {preference} bpf da bytecode \
             '6,40 0 0 12,21 0 3 {kind},48 0 0 {offset},21 0 1 17,6 0 0 {action},6 0 0 4294967295'"
        ));
    }

    /// Adds an IPsec policy with this measure for what the group is in.
    pub(super) fn ipsec(&mut self, measure: &str) {
        let [any, own] = [self.any_net(), self.net_of_group()].map(str::to_owned);
        let groups = [any, own, self.group.to_string()];
        let group = self.dice.pick(&groups);
        self.ipsec_for(&group, measure);
    }

    pub(super) fn ipsec_for(&mut self, group: &str, measure: &str) {
        let (any, direction) = (self.any_net(), self.place.direction);
        self.run(&format!("ip xfrm policy add dir {direction} src {any} dst {group} priority 10 {measure}"));
    }

    /// Draws a condition of nftables that holds for the datagrams.
    pub(super) fn condition(&mut self) -> String {
        let (ip, group, port, source) = (self.own(), self.group, self.port, self.source);
        let mut all = vec![
            format!("udp dport {port}"),
            format!("udp dport {}-{}", port - 3, port + 3),
            format!("{ip} daddr {group}"),
            format!("{ip} daddr {}", self.net_of_group()),
            format!("meta l4proto udp {ip} daddr {{ {group} }}"),
            format!("th dport {{ {port}, 53 }}"),
            format!("udp dport & 0xffff == {port}"),
            format!("{ip} daddr . udp dport {{ {group} . {port} }}"),
            format!("@th,16,16 {port}"),
        ];
        if self.keeps_source {
            all.push(format!("{ip} saddr {source} udp dport != 53"));
            all.push(format!("udp sport {FROM} {ip} daddr {group}"));
        }
        if let Some(arrives) = &self.place.arrives {
            all.push(format!("iifname {arrives} udp dport {port}"));
            all.push("udp length > 8 meta pkttype multicast".to_owned());
        }
        self.dice.pick(&all)
    }
}

pub(super) fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// Draws a group of the range for private use, without 239.255.0.0/16, of which many protocols have groups.
pub(super) fn draw_group(dice: &mut Dice, is_v6: bool) -> IpAddr {
    let [.., a, b, c] = dice.next().to_be_bytes();
    match is_v6 {
        false => Ipv4Addr::new(239, a.min(254), b.max(1), c.max(1)).into(),
        true => Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, u16::from(a), u16::from_be_bytes([b.max(1), c])).into(),
    }
}
