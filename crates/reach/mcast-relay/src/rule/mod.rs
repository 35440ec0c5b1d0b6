//! Rules: what is forwarded, from where, to where.

mod check;
mod leg;
mod parse;
mod traffic;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use mcast_group::{Family, Group};
use mcast_pace::Rate;

pub(crate) use check::{MAX_ALWAYS, check_address};
pub use leg::{Leg, LegId, Namespace, RuleError, RuleFileError};
use parse::Separated;
pub use parse::parse_rules;
pub(crate) use traffic::is_of_link;
pub use traffic::{LocalDiscovery, Rewrite, RewriteTarget, Selection, Traffic};

/// One entry of the allow-list: only what a rule names is forwarded.
///
/// Text form: `TRAFFIC from LEG to TARGET[,TARGET…] [OPTION…]`, or `TRAFFIC between LEG and LEG [OPTION…]` for both
/// directions.
///
/// | part | forms |
/// |---|---|
/// | `TRAFFIC` | `239.255.2.0/24:5000`, `10.0.0.7@232.1.2.3:5000`, `[ff15::1]:5000-5003`, `broadcast:6000`, or a discovery protocol: `mdns`, `ssdp`, `wsd`, `llmnr`, `coap`, `knx`; for HTTP clients also `239.0.0.0/8:*` with any port, and `playlist` |
/// | `LEG` | an interface: `eth0`, `netns:NAME/eth0`, `netns:PID/eth0`, `docker:NAME/eth0`; a tunnel to another site: `tunnel:NAME`; after `from` also `amt:RELAY`, a relay of AMT |
/// | `TARGET` | a leg, `udp://ADDRESS:PORT` for unicast, `http://ADDRESS:PORT` to serve clients there, or `amt-listen:ADDRESS[:PORT]` for gateways of AMT |
/// | `OPTION` | `as GROUP:PORT`, `as :PORT`, `as broadcast:PORT`, `ttl N`, `rate 10Mbit`, `allow SERVICE,…`, `deny SERVICE,…`, `repair 200ms`, `always`, `no-replies`, `keep-source` |
///
/// ```
/// use mcast_relay::Rule;
///
/// let rule: Rule = "239.255.2.0/24:5000 from vlan10 to vlan20,vlan30 rate 10Mbit".parse()?;
/// assert_eq!(rule.legs().count(), 3);
/// assert!("224.0.0.5:5000 from eth0 to eth1".parse::<Rule>().is_err());
/// # Ok::<(), mcast_relay::RuleError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The traffic.
    pub traffic: Traffic,
    /// Between which legs, and in which directions.
    pub route: Route,
    /// The groups and ports it is sent to, if they are not those it arrived with.
    pub rewrite: Option<Rewrite>,
    /// The hop limit to send with. By default one less than on arrival, that of the discovery protocol, or 1 from or to a group
    /// of a single link (224.0.0.0/24, ff02::/16).
    pub hop_limit: Option<u8>,
    /// The maximum rate of the rule.
    pub rate: Option<Rate>,
    /// The services of mDNS to forward.
    pub services: ServiceFilter,
    /// The time in which a datagram that is lost in a tunnel is repaired. Without one, it is not.
    pub repair: Option<Duration>,
    /// Whether the groups are joined even while nobody downstream has joined them.
    pub always: bool,
    /// Whether unicast replies to the copies are dropped, so that nothing goes from the targets to the senders.
    pub no_replies: bool,
    /// Whether copies are sent with the address and port of their sender, so that replies go to it without the relay. Only
    /// senders in a network of the leg on which they arrive: those of others, and of addresses that are valid on one link only,
    /// are replaced as usual.
    pub keep_source: bool,
}

/// The legs of a rule, and the directions between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// From one leg to others.
    OneWay {
        /// The leg that the traffic arrives on.
        from: Leg,
        /// Where it is sent.
        to: Vec<RuleTarget>,
    },
    /// From each leg to all others.
    Between(Vec<Leg>),
}

/// Where a rule sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RuleTarget {
    /// To the group on a leg.
    Leg(Leg),
    /// To a unicast address.
    Unicast(SocketAddr),
    /// To the HTTP clients that connect to this address of the relay's host.
    Http(SocketAddr),
    /// To the gateways of AMT that request it at this address.
    AmtGateways(SocketAddr),
}

/// Which services of mDNS are forwarded, by type: `ipp` stands for `_ipp._tcp` and `_ipp._udp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServiceFilter {
    /// All of them.
    #[default]
    All,
    /// Only these.
    Allow(Vec<String>),
    /// All but these.
    Deny(Vec<String>),
}

impl ServiceFilter {
    /// Returns whether a service of this type, without its underscore, is forwarded. Case is ignored.
    #[must_use]
    pub fn admits(&self, service: &[u8]) -> bool {
        let lists = |list: &[String]| list.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(service));
        match self {
            Self::All => true,
            Self::Allow(list) => lists(list),
            Self::Deny(list) => !lists(list),
        }
    }
}

impl Rule {
    /// Returns the legs that it names.
    pub fn legs(&self) -> impl Iterator<Item = &Leg> {
        let (from, to, between): (_, &[RuleTarget], &[Leg]) = match &self.route {
            Route::OneWay { from, to } => (Some(from), to, &[]),
            Route::Between(legs) => (None, &[], legs),
        };
        let to = to.iter().filter_map(|target| match target {
            RuleTarget::Leg(leg) => Some(leg),
            RuleTarget::Unicast(_) | RuleTarget::Http(_) | RuleTarget::AmtGateways(_) => None,
        });
        from.into_iter().chain(to).chain(between)
    }

    /// Returns whether the rule forwards whether or not somebody downstream has joined. Discovery protocols do: programs
    /// send requests to a group that they have not joined, and there is little traffic. So does a rule with a group of
    /// 224.0.0.0/24, which hosts join without a report (RFC 4541 section 2.1.2).
    #[must_use]
    pub fn is_always(&self) -> bool {
        let is_unreported = |group: Group| group.family() == Family::V4 && is_of_link(group);
        self.always
            || self.traffic.protocol.is_some()
            || self.traffic.ranges().iter().any(|range| is_unreported(range.groups.first))
    }

    /// Returns whether it only serves HTTP clients, which request each group from the relay.
    #[must_use]
    pub fn is_http_only(&self) -> bool {
        let is_http = |target: &RuleTarget| matches!(target, RuleTarget::Http(_));
        matches!(&self.route, Route::OneWay { to, .. } if to.iter().all(is_http))
    }

    /// Returns the addresses at which gateways of AMT request what the rule sends.
    pub fn amt_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let to: &[RuleTarget] = match &self.route {
            Route::OneWay { to, .. } => to,
            Route::Between(_) => &[],
        };
        to.iter().filter_map(|target| match target {
            RuleTarget::AmtGateways(address) => Some(*address),
            RuleTarget::Leg(_) | RuleTarget::Unicast(_) | RuleTarget::Http(_) => None,
        })
    }

    /// Returns each leg that the traffic arrives on with each target that it is sent to.
    #[must_use]
    pub fn pairs(&self) -> Vec<(Leg, RuleTarget)> {
        match &self.route {
            Route::OneWay { from, to } => to.iter().map(|target| (from.clone(), target.clone())).collect(),
            Route::Between(legs) => legs
                .iter()
                .flat_map(|from| legs.iter().filter(move |to| *to != from).map(move |to| (from, to)))
                .map(|(from, to)| (from.clone(), RuleTarget::Leg(to.clone())))
                .collect(),
        }
    }

    /// Returns what identifies the rule to other relays: its traffic and where that is sent to, without the names of
    /// its legs, which differ between machines.
    #[must_use]
    pub fn digest(&self, target: &RuleTarget) -> u64 {
        let unicast = match target {
            RuleTarget::Leg(_) => String::new(),
            RuleTarget::Unicast(address) | RuleTarget::Http(address) => address.to_string(),
            RuleTarget::AmtGateways(_) => target.to_string(),
        };
        let rewrite = self.rewrite.as_ref().map(ToString::to_string).unwrap_or_default();
        let text = format!("{}\n{rewrite}\n{unicast}", self.traffic);
        // FNV-1a: the same on every machine and in every version.
        text.bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

impl fmt::Display for RuleTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leg(leg) => leg.fmt(f),
            Self::Unicast(address) => write!(f, "udp://{address}"),
            Self::Http(address) => write!(f, "http://{address}"),
            Self::AmtGateways(address) => write!(f, "amt-listen:{address}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.traffic.fmt(f)?;
        match &self.route {
            Route::OneWay { from, to } => write!(f, " from {from} to {}", Separated(",", to))?,
            Route::Between(legs) => write!(f, " between {}", Separated(" and ", legs))?,
        }
        if let Some(rewrite) = &self.rewrite {
            write!(f, " as {rewrite}")?;
        }
        if let Some(hop_limit) = self.hop_limit {
            write!(f, " ttl {hop_limit}")?;
        }
        match self.rate {
            None => {}
            Some(Rate::Datagrams(rate)) => write!(f, " rate {rate}pps")?,
            Some(Rate::Bits(rate)) => write!(f, " rate {rate}bit")?,
        }
        match &self.services {
            ServiceFilter::All => {}
            ServiceFilter::Allow(services) => write!(f, " allow {}", Separated(",", services))?,
            ServiceFilter::Deny(services) => write!(f, " deny {}", Separated(",", services))?,
        }
        if let Some(bound) = self.repair {
            write!(f, " repair {}ms", bound.as_millis())?;
        }
        let flags =
            [(self.always, " always"), (self.no_replies, " no-replies"), (self.keep_source, " keep-source")];
        for (is_set, name) in flags {
            f.write_str(if is_set { name } else { "" })?;
        }
        Ok(())
    }
}
