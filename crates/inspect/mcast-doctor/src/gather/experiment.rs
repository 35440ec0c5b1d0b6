//! The experiments that accompany an examination, and what they found.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use mcast::{Family, Membership};

use crate::Options;
use crate::netfilter::{CountedTraffic, CountingPlan, HookCounts};
use crate::observation::Program;
use crate::snapshot::{Link, Snapshot};
use mcast_host::CountingRules;

/// The number of destinations that are counted.
const MAX_DESTINATIONS: usize = 16;
/// The number of devices at which datagrams are counted.
const MAX_DEVICES: usize = 32;

/// The traffic of an examination.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExaminedTraffic {
    destinations: Vec<SocketAddr>,
    /// The ports from which programs may send.
    ports: Vec<(Family, u16)>,
}

impl ExaminedTraffic {
    pub(crate) fn of_membership(membership: &Membership) -> Self {
        Self { destinations: vec![membership.address.into()], ports: Vec::new() }
    }

    pub(crate) fn of_program(program: &Program) -> Self {
        let memberships = program.sockets.iter().flat_map(|socket| &socket.memberships);
        // A socket that is bound to no port has a membership without one.
        let memberships = memberships.filter(|membership| membership.address.port != 0);
        let destinations = memberships.map(|membership| membership.address.into());
        let ports = program.sockets.iter().filter_map(|socket| socket.local).flat_map(|local| {
            // A socket for IPv6 may send to IPv4 groups as well.
            let second = (local.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED)).then_some(Family::V4);
            std::iter::once(Family::of(local.ip())).chain(second).map(move |family| (family, local.port()))
        });
        Self { destinations: limited(destinations), ports: limited(ports) }
    }

    fn is_empty(&self) -> bool {
        self.destinations.is_empty() && self.ports.is_empty()
    }

    fn counted(&self) -> Vec<CountedTraffic> {
        let families = limited(self.destinations.iter().map(|to| Family::of(to.ip())));
        let datagrams = self.destinations.iter().copied().map(CountedTraffic::Datagrams);
        let sent = self.ports.iter().map(|(family, port)| CountedTraffic::SentFrom(*family, *port));
        datagrams.chain(sent).chain(families.into_iter().map(CountedTraffic::Control)).collect()
    }

    /// Returns it in words.
    fn description(&self) -> String {
        let to: Vec<_> = self.destinations.iter().map(ToString::to_string).collect();
        let from: Vec<_> =
            limited(self.ports.iter().map(|(_, port)| *port)).iter().map(u16::to_string).collect();
        match (to.is_empty(), from.is_empty()) {
            (_, true) => format!("the datagrams to {}", to.join(", ")),
            (true, false) => format!("the datagrams from port {}", from.join(", ")),
            (false, false) => {
                format!("the datagrams to {}, and from port {}", to.join(", "), from.join(", "))
            }
        }
    }
}

/// Returns the different items, and at most [`MAX_DESTINATIONS`].
fn limited<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<_>>().into_iter().take(MAX_DESTINATIONS).collect()
}

/// Rules that count packets at the hooks of the packet filter, as long as the examination runs.
#[derive(Debug, Default)]
pub(crate) struct HookExperiment {
    rules: Option<CountingRules>,
    /// What was done, for the report.
    description: Option<String>,
}

impl HookExperiment {
    /// Adds the rules, unless the options forbid it.
    pub(crate) fn begin(traffic: &ExaminedTraffic, machine: &Snapshot, options: &Options) -> Self {
        if !options.experiments || traffic.is_empty() {
            return Self::default();
        }
        let what = format!("count {} before and behind each netfilter hook", traffic.description());
        match CountingRules::add(&plan(traffic, machine)) {
            Ok(rules) => {
                let description = format!(
                    "{what}, with {} temporary nftables rules in the table {} that accept everything; removed",
                    rules.rules,
                    rules.table()
                );
                Self { rules: Some(rules), description: Some(description) }
            }
            // Other systems have no netfilter.
            Err(error)
                if error.kind() == std::io::ErrorKind::Unsupported && cfg!(not(target_os = "linux")) =>
            {
                Self::default()
            }
            Err(error) => Self { rules: None, description: Some(format!("not possible: {what}: {error}")) },
        }
    }

    /// Returns what was counted and what was done, and removes the rules.
    pub(crate) fn finish(self) -> (HookCounts, Vec<String>) {
        let Self { rules, mut description } = self;
        let counts = match rules.map(|mut rules| rules.read()) {
            Some(Ok(counts)) => counts,
            Some(Err(error)) => {
                description =
                    description.map(|what| format!("{what}; the counts could not be read: {error}"));
                HookCounts::default()
            }
            None => HookCounts::default(),
        };
        (counts, description.into_iter().collect())
    }
}

fn plan(traffic: &ExaminedTraffic, machine: &Snapshot) -> CountingPlan {
    let is_up = |link: &&Link| link.interface.up && !link.interface.loopback;
    let devices = machine.links.iter().filter(is_up).map(|link| (link.index(), link.name().to_owned()));
    CountingPlan {
        traffic: traffic.counted(),
        devices: devices.take(MAX_DEVICES).collect(),
        bridges: machine.links.iter().any(|link| link.bridge.is_some()),
        forwards: machine.number("net.ipv4.ip_forward") == Some(1) || !machine.multicast_routes.is_empty(),
    }
}
