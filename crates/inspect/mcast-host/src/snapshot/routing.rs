//! The rules for routing and the routes that they lead to (`ip rule`, `ip mrule`, `ip route show table all`), and what they decide
//! for a packet.

use std::fmt;
use std::net::IpAddr;

use mcast::Family;

/// The tables of every machine: `RT_TABLE_DEFAULT`, `RT_TABLE_MAIN`, `RT_TABLE_LOCAL`.
const TABLES: [(u32, &str); 3] = [(253, "default"), (254, "main"), (255, "local")];

/// The rules for routing, in the order in which the kernel asks them, and the routes of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The rules of both families and both planes, by priority.
    pub rules: Vec<RoutingRule>,
    /// Those that cover groups, those of tables that only rules of this machine lead to, and those that do not lead out of it.
    pub routes: Vec<TableRoute>,
    /// The multicast routes of a router, of all tables.
    pub forwarded: Vec<ForwardedGroup>,
}

/// A multicast route of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedGroup {
    /// The number of the table.
    pub table: u32,
    /// The group.
    pub group: IpAddr,
    /// `None` for every source.
    pub source: Option<IpAddr>,
}

/// What a rule is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Every packet (`ip rule`).
    Packets,
    /// Groups that the machine forwards as a router (`ip mrule`).
    Forwarding,
}

/// A rule for routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingRule {
    /// What it is asked for.
    pub plane: Plane,
    /// The family of the packets.
    pub family: Family,
    /// Rules with a lower number are asked first.
    pub priority: u32,
    /// The packets that it is for.
    pub selector: RuleSelector,
    /// What it does with them.
    pub action: RuleAction,
    /// Routes with a prefix of at most this length count as missing.
    pub suppressed_length: Option<u8>,
}

/// The packets that a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSelector {
    /// Whether it is for all other packets (`not`).
    pub is_inverted: bool,
    /// The network of the source (`from`); `None` for all.
    pub source: Option<AddressPrefix>,
    /// The network of the destination (`to`); `None` for all.
    pub destination: Option<AddressPrefix>,
    /// The name of the interface that they arrive on (`iif`): `lo` for those of this machine.
    pub incoming: Option<String>,
    /// The name of the interface that the socket is bound to (`oif`).
    pub outgoing: Option<String>,
    /// The mark and its mask (`fwmark`).
    pub mark: Option<(u32, u32)>,
    /// What else it selects by, in the words of `ip rule`: ports, users and the like.
    pub others: Vec<String>,
    /// Whether it selects by something that is not known here.
    pub is_incomplete: bool,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// It looks in the table with this number. Without a route there, the next rule is asked.
    Lookup(u32),
    /// It continues with the rule of this priority.
    Goto(u32),
    /// The next rule is asked (`nop`).
    Nothing,
    /// It drops the packet.
    Reject(Rejection),
    /// The table of the VRF.
    Vrf,
}

mcast::group::named! {
    /// How a rule or route rejects.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Rejection {
        /// Silently for packets that are forwarded; senders get `EINVAL`.
        Blackhole = "blackhole",
        /// Senders get `EHOSTUNREACH` from a route, and `ENETUNREACH` from a rule.
        Unreachable = "unreachable",
        /// Senders get `EACCES`.
        Prohibit = "prohibit",
    }
}

/// A route of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRoute {
    /// The number of the table.
    pub table: u32,
    /// Where it leads.
    pub kind: RouteKind,
    /// The addresses that it is for.
    pub destination: AddressPrefix,
    /// Of routes for the same addresses, the one with the lowest number is taken.
    pub metric: u32,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// It leads out of this machine.
    Out,
    /// It leads to this machine.
    Local,
    /// It drops the packet.
    Reject(Rejection),
    /// The next rule is asked.
    Throw,
}

/// An address with the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPrefix {
    /// The first address of the network.
    pub address: IpAddr,
    /// The number of bits that all addresses of it share.
    pub length: u8,
}

/// A packet, as far as rules ask for it.
#[derive(Clone, Copy, Debug)]
pub struct RoutedPacket<'a> {
    /// What the rules are asked for.
    pub plane: Plane,
    /// `None` before the system has chosen one.
    pub source: Option<IpAddr>,
    /// The group or address that it is sent to.
    pub destination: IpAddr,
    /// `lo` for what this machine sends itself.
    pub incoming: &'a str,
    /// The interface that the program has chosen to send by.
    pub outgoing: Option<&'a str>,
    /// `None` if it is not known.
    pub mark: Option<u32>,
}

/// What a rule would decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The rule.
    pub rule: &'a RoutingRule,
    /// The route in the table that the rule leads to.
    pub route: Option<&'a TableRoute>,
    /// Where the packet goes by it.
    pub kind: RouteKind,
    /// Whether the rule is for the packet; otherwise that depends on what is not known.
    pub is_certain: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Matching {
    Yes,
    No,
    Unknown,
}

impl RoutedPacket<'_> {
    /// Returns one that a program of this machine sends without choosing an interface.
    const fn sent_to(destination: IpAddr) -> Self {
        Self { plane: Plane::Packets, source: None, destination, incoming: "lo", outgoing: None, mark: None }
    }
}

/// Returns a group that no protocol has.
fn any_group(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([239, 255, 255, 1]),
        Family::V6 => IpAddr::from([0xff15, 0, 0, 0, 0, 0, 0, 1]),
    }
}

impl Routing {
    /// Returns what the rules may decide for a packet, in their order, up to the first that decides it for certain.
    pub fn decisions(&self, packet: &RoutedPacket<'_>) -> Vec<Decision<'_>> {
        let family = Family::of(packet.destination);
        let rules: Vec<_> =
            self.rules.iter().filter(|rule| rule.family == family && rule.plane == packet.plane).collect();
        let mut decisions = Vec::new();
        let mut from = 0;
        while let Some(rule) = rules.get(from) {
            from += 1;
            let matching = rule.matching(packet);
            if matching == Matching::No {
                continue;
            }
            let is_certain = matching == Matching::Yes;
            let (kind, route) = match rule.action {
                RuleAction::Reject(rejection) => (RouteKind::Reject(rejection), None),
                RuleAction::Lookup(table) => match self.route(table, packet.destination) {
                    Some(route) if rule.admits(route) => (route.kind, Some(route)),
                    _ => continue,
                },
                RuleAction::Goto(priority) if is_certain => {
                    // The kernel jumps forwards only.
                    from = rules
                        .iter()
                        .position(|rule| rule.priority >= priority)
                        .map_or(rules.len(), |to| to.max(from));
                    continue;
                }
                // Nothing is known about the routes of a VRF for a packet whose device is not known.
                RuleAction::Goto(_) | RuleAction::Nothing | RuleAction::Vrf => continue,
            };
            if kind == RouteKind::Throw {
                continue;
            }
            decisions.push(Decision { rule, route, kind, is_certain });
            if is_certain {
                break;
            }
        }
        decisions
    }

    /// Returns what a rule decides about the groups of a family that this machine sends: that they are rejected. A route for groups in
    /// the main table does not help then.
    pub fn rejected(&self, family: Family) -> Option<Decision<'_>> {
        self.chosen(&RoutedPacket::sent_to(any_group(family)), |kind| matches!(kind, RouteKind::Reject(_)))
    }

    /// Returns what rejects some groups of a family that this machine sends: a route, or a rule, whose prefix they have.
    /// A route for all groups takes the place of one that rejects all, but not of these.
    pub fn rejecting(&self, family: Family) -> Vec<Decision<'_>> {
        let all_groups = if family == Family::V4 { 4 } else { 8 };
        let is_about = |AddressPrefix { address, length }: &AddressPrefix| {
            Family::of(*address) == family && address.is_multicast() && *length > all_groups
        };
        let routes = self.routes.iter().map(|route| route.destination);
        let rules = self.rules.iter().filter_map(|rule| rule.selector.destination);
        let mut prefixes: Vec<_> = routes.chain(rules).filter(is_about).collect();
        prefixes.sort_unstable_by_key(|prefix| (prefix.address, prefix.length));
        prefixes.dedup();
        let rejection = |prefix: AddressPrefix| {
            let first = self.decisions(&RoutedPacket::sent_to(prefix.address)).into_iter().next()?;
            let is_by_route = first.route.is_some_and(|route| route.destination == prefix);
            let is_this = is_by_route || first.rule.selector.destination == Some(prefix);
            (first.is_certain && is_this && matches!(first.kind, RouteKind::Reject(_))).then_some(first)
        };
        prefixes.into_iter().filter_map(rejection).collect()
    }

    /// Returns the rule besides the usual ones that leads to a kind of route: one that is for the packet, before others that may be.
    pub fn chosen(
        &self,
        packet: &RoutedPacket<'_>,
        is_wanted: fn(RouteKind) -> bool,
    ) -> Option<Decision<'_>> {
        let decisions = self.decisions(packet).into_iter();
        let wanted = decisions.filter(|one| is_wanted(one.kind) && !one.rule.is_usual());
        wanted.min_by_key(|one| !one.is_certain)
    }

    /// Returns the rule besides the usual ones that keeps a group from being forwarded: it rejects, or leads to a table without a
    /// multicast route for it. The kernel asks no further rule then.
    pub fn forwarding_rule(&self, packet: &RoutedPacket<'_>) -> Option<(&RoutingRule, Option<u32>)> {
        let family = Family::of(packet.destination);
        let rules = self.rules.iter().filter(|rule| (rule.plane, rule.family) == (packet.plane, family));
        let rule = rules.into_iter().find(|rule| {
            rule.matching(packet) == Matching::Yes
                && !matches!(rule.action, RuleAction::Nothing | RuleAction::Vrf)
        })?;
        let has_route = |table: u32| {
            self.forwarded.iter().any(|route| {
                let is_of = route.source.is_none_or(|source| Some(source) == packet.source);
                route.table == table && route.group == packet.destination && is_of
            })
        };
        match rule.action {
            RuleAction::Lookup(table) => {
                (!rule.is_usual() && !has_route(table)).then_some((rule, Some(table)))
            }
            RuleAction::Reject(_) => Some((rule, None)),
            _ => None,
        }
    }

    /// Returns the route of a table for an address: of those with the longest prefix, the one with the lowest metric.
    fn route(&self, table: u32, address: IpAddr) -> Option<&TableRoute> {
        let routes =
            self.routes.iter().filter(|route| route.table == table && route.destination.contains(address));
        routes.max_by_key(|route| (route.destination.length, std::cmp::Reverse(route.metric)))
    }
}

impl RoutingRule {
    /// Returns whether it is one of those of every machine, which lead everything to the tables `local`, `main` and `default`.
    pub fn is_usual(&self) -> bool {
        let is_usual = |table| TABLES.iter().any(|(usual, _)| *usual == table);
        self.selector == RuleSelector::default()
            && self.suppressed_length.is_none()
            && matches!(self.action, RuleAction::Lookup(table) if is_usual(table))
    }

    fn admits(&self, route: &TableRoute) -> bool {
        self.suppressed_length.is_none_or(|length| route.destination.length > length)
    }

    fn matching(&self, packet: &RoutedPacket<'_>) -> Matching {
        let RuleSelector {
            is_inverted,
            source,
            destination,
            incoming,
            outgoing,
            mark,
            others,
            is_incomplete,
        } = &self.selector;
        let is_excluded = source.is_some_and(|prefix| !packet.source.is_some_and(|own| prefix.contains(own)))
            || destination.is_some_and(|prefix| !prefix.contains(packet.destination))
            || incoming.as_deref().is_some_and(|name| name != packet.incoming)
            || outgoing.as_deref().is_some_and(|name| Some(name) != packet.outgoing)
            || mark.zip(packet.mark).is_some_and(|((value, mask), own)| own & mask != value & mask);
        let is_unknown = *is_incomplete || !others.is_empty() || (mark.is_some() && packet.mark.is_none());
        match (is_excluded, is_unknown) {
            (true, _) if *is_inverted => Matching::Yes,
            (true, _) => Matching::No,
            (false, true) => Matching::Unknown,
            (false, false) if *is_inverted => Matching::No,
            (false, false) => Matching::Yes,
        }
    }

    /// Returns the words after `ip`, which add or delete it; `None` if it cannot be described completely.
    pub fn words(&self) -> Option<Vec<String>> {
        let words = self.to_string();
        let (_, words) = words.split_once(": ")?;
        let is_known = !self.selector.is_incomplete && self.action != RuleAction::Vrf;
        is_known.then(|| words.split(' ').map(str::to_owned).collect())
    }

    /// Returns the command that lists it.
    pub const fn command(&self) -> &'static str {
        match (self.plane, self.family) {
            (Plane::Packets, Family::V4) => "ip rule",
            (Plane::Packets, Family::V6) => "ip -6 rule",
            (Plane::Forwarding, Family::V4) => "ip mrule",
            (Plane::Forwarding, Family::V6) => "ip -6 mrule",
        }
    }
}

impl AddressPrefix {
    /// Returns whether an address is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        let same = |own: u128, other: u128, bits: u8| {
            let unused = bits.saturating_sub(self.length);
            own.checked_shr(unused.into()) == other.checked_shr(unused.into())
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(_) | IpAddr::V4(_), _) if self.length == 0 => {
                self.address.is_ipv4() == address.is_ipv4()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// Writes it as `ip rule` does: `50: from all to 239.0.0.0/8 prohibit`.
impl fmt::Display for RoutingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RuleSelector { is_inverted, source, destination, incoming, outgoing, mark, others, .. } =
            &self.selector;
        write!(f, "{}: ", self.priority)?;
        if *is_inverted {
            f.write_str("not ")?;
        }
        match source {
            Some(source) => write!(f, "from {source}")?,
            None => f.write_str("from all")?,
        }
        if let Some(destination) = destination {
            write!(f, " to {destination}")?;
        }
        match mark {
            Some((value, u32::MAX)) => write!(f, " fwmark {value:#x}")?,
            Some((value, mask)) => write!(f, " fwmark {value:#x}/{mask:#x}")?,
            None => {}
        }
        for (word, name) in [("iif", incoming), ("oif", outgoing)] {
            if let Some(name) = name {
                write!(f, " {word} {name}")?;
            }
        }
        for other in others {
            write!(f, " {other}")?;
        }
        match self.action {
            RuleAction::Lookup(table) => write!(f, " lookup {}", table_name(table))?,
            RuleAction::Goto(priority) => write!(f, " goto {priority}")?,
            RuleAction::Nothing => f.write_str(" nop")?,
            RuleAction::Reject(rejection) => write!(f, " {rejection}")?,
            RuleAction::Vrf => f.write_str(" lookup [l3mdev-table]")?,
        }
        match self.suppressed_length {
            Some(length) => write!(f, " suppress_prefixlength {length}"),
            None => Ok(()),
        }
    }
}

/// Writes it as `ip route show table all` does, as far as it is known: `local default table 100`.
impl fmt::Display for TableRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Out => {}
            RouteKind::Local => f.write_str("local ")?,
            RouteKind::Reject(rejection) => write!(f, "{rejection} ")?,
            RouteKind::Throw => f.write_str("throw ")?,
        }
        match self.destination.length {
            0 => f.write_str("default")?,
            _ => self.destination.fmt(f)?,
        }
        write!(f, " table {}", table_name(self.table))
    }
}

/// Returns the name of a table of every machine, or the number of another one.
pub fn table_name(table: u32) -> String {
    let usual = TABLES.iter().find(|(number, _)| *number == table);
    usual.map_or_else(|| table.to_string(), |(_, name)| (*name).to_owned())
}

/// Writes a single address without its length.
impl fmt::Display for AddressPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        match self.length == whole {
            true => self.address.fmt(f),
            false => write!(f, "{}/{}", self.address, self.length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{prefix, route, rule};

    const OWN: RoutedPacket<'static> = RoutedPacket {
        plane: Plane::Packets,
        source: None,
        destination: IpAddr::V4(std::net::Ipv4Addr::new(239, 1, 2, 3)),
        incoming: "lo",
        outgoing: None,
        mark: None,
    };

    fn decided(rules: Vec<RoutingRule>, routes: Vec<TableRoute>) -> Vec<(u32, RouteKind, bool)> {
        let routing = Routing { rules, routes, forwarded: Vec::new() };
        let decisions = routing.decisions(&OWN);
        decisions
            .iter()
            .map(|decision| (decision.rule.priority, decision.kind, decision.is_certain))
            .collect()
    }

    const PROHIBIT: RuleAction = RuleAction::Reject(Rejection::Prohibit);

    #[test]
    fn first_rule_for_a_packet_decides() {
        let main = || rule(32766, None, RuleAction::Lookup(254));
        let out = || route(254, RouteKind::Out, "224.0.0.0/4");
        let reject = RouteKind::Reject(Rejection::Prohibit);
        let other = rule(40, Some("238.0.0.0/8"), PROHIBIT);
        let own = rule(50, Some("239.0.0.0/8"), PROHIBIT);
        assert_eq!(decided(vec![other.clone(), own.clone(), main()], vec![out()]), [(50, reject, true)]);
        assert_eq!(decided(vec![other, main()], vec![out()]), [(32766, RouteKind::Out, true)]);
        let mut marked = own.clone();
        marked.selector.mark = Some((1, u32::MAX));
        assert_eq!(
            decided(vec![marked, main()], vec![out()]),
            [(50, reject, false), (32766, RouteKind::Out, true)]
        );
        let mut inverted = own;
        inverted.selector.is_inverted = true;
        assert_eq!(decided(vec![inverted, main()], vec![out()]), [(32766, RouteKind::Out, true)]);
        assert_eq!(decided(vec![main()], Vec::new()), []);
    }

    #[test]
    fn longest_prefix_decides_and_throw_asks_the_next_rule() {
        let rules =
            || vec![rule(90, None, RuleAction::Lookup(90)), rule(32766, None, RuleAction::Lookup(254))];
        let main = || route(254, RouteKind::Out, "0.0.0.0/0");
        let reject = RouteKind::Reject(Rejection::Blackhole);
        let blackhole = || route(90, reject, "224.0.0.0/4");
        assert_eq!(decided(rules(), vec![main(), blackhole()]), [(90, reject, true)]);
        let exception = route(90, RouteKind::Out, "239.1.0.0/16");
        assert_eq!(decided(rules(), vec![blackhole(), exception, main()]), [(90, RouteKind::Out, true)]);
        let throw = route(90, RouteKind::Throw, "239.1.0.0/16");
        assert_eq!(decided(rules(), vec![blackhole(), throw, main()]), [(32766, RouteKind::Out, true)]);
        let mut suppressed = rules();
        suppressed[0].suppressed_length = Some(4);
        assert_eq!(decided(suppressed, vec![blackhole(), main()]), [(32766, RouteKind::Out, true)]);
        let jump = vec![rule(10, None, RuleAction::Goto(100)), rules().remove(0), rules().remove(1)];
        assert_eq!(decided(jump, vec![blackhole(), main()]), [(32766, RouteKind::Out, true)]);
    }

    #[test]
    fn rules_and_routes_are_written_as_by_ip() {
        let text = rule(50, Some("239.0.0.0/8"), PROHIBIT).to_string();
        assert_eq!(text, "50: from all to 239.0.0.0/8 prohibit");
        let mut marked = rule(32765, None, RuleAction::Lookup(100));
        marked.selector.mark = Some((1, u32::MAX));
        assert_eq!(marked.to_string(), "32765: from all fwmark 0x1 lookup 100");
        assert_eq!(route(100, RouteKind::Local, "0.0.0.0/0").to_string(), "local default table 100");
        assert_eq!(prefix("fd61::1/128").to_string(), "fd61::1");
        assert!(rule(0, None, RuleAction::Lookup(255)).is_usual() && !marked.is_usual());
    }

    #[test]
    fn prefixes_contain_their_addresses_only() {
        let contains = |text: &str, address: &str| prefix(text).contains(address.parse().unwrap());
        assert!(contains("239.0.0.0/8", "239.1.2.3") && !contains("239.0.0.0/8", "238.1.2.3"));
        assert!(contains("0.0.0.0/0", "10.0.0.1") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "ff15::1") && contains("ff00::/8", "ff15::1"));
        assert!(!contains("fd61::1/128", "fd61::2"));
    }
}
