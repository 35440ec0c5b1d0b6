//! The list of tables.

use anyhow::Result;

use super::bridge;
use super::engine::Engine;
use super::fairness::{self, Bottleneck};
use super::messages::{self, LARGE, SMALL, Subject};
use super::{Bench, groups, http, latency, log, loss, queue, relay, relay_targets, relay_tunnel, throughput};
use crate::arguments::Measure;
use crate::contestants::{ALL, Contestant};
use crate::network::Link;
use crate::report::Figures;
use crate::tools::Need;
use latency::Pings;
use throughput::{Direction, Roster};

/// A table that can be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) title: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Throughput(Direction, Roster, Link, usize),
    Queue,
    Latency(Pings),
    Loss {
        equal_buffers: bool,
    },
    Groups {
        v6: bool,
    },
    Messages(Subject),
    Relay(Link),
    RelayTargets,
    RelayTunnel(Link),
    /// Clients of this many groups.
    Http(u8),
    Bridge(Engine),
    Log,
    Fairness(Bottleneck),
}

/// Small datagrams, and those that fill a frame.
const SIZES: [usize; 2] = [64, 1400];

/// All tables, in the order of the document.
pub(crate) fn all() -> Vec<Plan> {
    let mut plans = Vec::new();
    for direction in Direction::ALL {
        for link in Link::ALL {
            plans.extend(SIZES.map(|size| Plan {
                name: format!("{}-{}-{size}", direction.name(), link.letter()),
                title: format!("{}, {size} bytes, {}", direction.title(), link.description()),
                kind: Kind::Throughput(direction, Roster::All, link, size),
            }));
        }
    }
    plans.extend(SIZES.map(|size| Plan {
        name: format!("receive-command-{size}"),
        title: format!("Receiving with the command, {size} bytes, {}", Link::Frames.description()),
        kind: Kind::Throughput(Direction::Receive, Roster::Command, Link::Frames, size),
    }));
    plans.extend(Pings::ALL.map(|pings| plan(pings.name(), pings.title(), Kind::Latency(pings))));
    let loss = "Loss at 200,000 datagrams a second";
    plans.push(plan(
        "loss-equal",
        &format!("{loss}, 8 MiB of receive buffer for all"),
        Kind::Loss { equal_buffers: true },
    ));
    plans.push(plan(
        "loss-defaults",
        &format!("{loss}, default buffers"),
        Kind::Loss { equal_buffers: false },
    ));
    plans.push(plan("groups-v4", "Cost of a datagram by IPv4 groups joined", Kind::Groups { v6: false }));
    plans.push(plan("groups-v6", "Cost of a datagram by IPv6 groups joined", Kind::Groups { v6: true }));
    plans.extend([Link::Whole, Link::Frames].map(|link| {
        let title = format!("Forwarding, 1,316 bytes, 200 groups, {}", link.description());
        plan(&format!("relay-{}", link.letter()), &title, Kind::Relay(link))
    }));
    plans.push(plan(
        "relay-targets",
        "Forwarding to ten unicast targets, one of which cannot be reached, microseconds",
        Kind::RelayTargets,
    ));
    plans.extend([Link::Whole, Link::Frames].map(|link| {
        let title = format!("Forwarding through a tunnel, 1,200 bytes, {}", link.description());
        plan(&format!("relay-tunnel-{}", link.letter()), &title, Kind::RelayTunnel(link))
    }));
    for (name, what, groups) in [("http-same", "the same group", 1), ("http-different", "8 groups", 8)] {
        let title = format!("Groups by HTTP, 8 clients of {what}, 40 Mbit/s each");
        plans.push(plan(name, &title, Kind::Http(groups)));
    }
    plans.extend(
        Engine::ALL
            .map(|engine| plan(&format!("bridge-{}", engine.name()), engine.title(), Kind::Bridge(engine))),
    );
    plans.push(plan("log", "Messages of 1 KiB into the log of a stream, MB/s", Kind::Log));
    plans.extend(messages());
    plans.extend(Bottleneck::ALL.map(|bottleneck| {
        let Bottleneck { rate, round_trip } = bottleneck;
        let title = format!("Automatic rate on a link of {rate} Mbit/s and {round_trip} ms, Mbit/s");
        plan(&format!("fairness-{rate}"), &title, Kind::Fairness(bottleneck))
    }));
    plans.push(plan("python-queue", "Python: one datagram per call, and in batches, 64 bytes", Kind::Queue));
    for (direction, link) in [Direction::Receive, Direction::Send]
        .into_iter()
        .flat_map(|direction| [Link::Whole, Link::Frames].map(|link| (direction, link)))
    {
        plans.push(plan(
            &format!("python-{}-{}", direction.name(), link.letter()),
            &format!("{} in Python, 64 bytes, {}", direction.title(), link.description()),
            Kind::Throughput(direction, Roster::Python, link, 64),
        ));
    }
    plans
}

/// The tables of reliable messages.
fn messages() -> impl Iterator<Item = Plan> {
    let plain = [LARGE, SMALL].map(|size| {
        plan(
            &format!("messages-plain-{size}"),
            &format!("Messages, {size} bytes, {}", Link::Whole.description()),
            Kind::Messages(Subject::Plain(size)),
        )
    });
    let lossy = [1, 4, 8].map(|receivers| {
        let who = if receivers == 1 { "one receiver".to_owned() } else { format!("{receivers} receivers") };
        plan(
            &format!("messages-lossy-{receivers}"),
            &format!("Messages, {LARGE} bytes, on links that lose some, {who}"),
            Kind::Messages(Subject::Lossy(receivers)),
        )
    });
    let delays = plan(
        "messages-latency",
        "Messages, 224 bytes, 20,000 a second: how long each takes, microseconds",
        Kind::Messages(Subject::Delays),
    );
    let slow = plan(
        "messages-latency-1000",
        "Messages, 224 bytes, 1,000 a second: how long each takes, microseconds",
        Kind::Messages(Subject::SlowDelays),
    );
    let acknowledged = plan(
        "messages-acknowledged",
        "Messages, 224 bytes: how long until four receivers have acknowledged each, microseconds",
        Kind::Messages(Subject::Acknowledged(4)),
    );
    let durable = plan(
        "messages-durable",
        "Messages, 700 bytes, in a log and acknowledged by two receivers",
        Kind::Messages(Subject::Durable),
    );
    plain.into_iter().chain(lossy).chain([durable, delays, slow, acknowledged])
}

fn plan(name: &str, title: &str, kind: Kind) -> Plan {
    Plan { name: name.to_owned(), title: title.to_owned(), kind }
}

impl Plan {
    /// Returns the tools that it needs.
    pub(crate) fn needs(&self, options: &Measure) -> Vec<Need> {
        match self.kind {
            Kind::Throughput(_, roster, ..) => needs(roster.contestants(), options),
            Kind::Loss { .. } => needs(ALL, options),
            Kind::Queue => vec![Need::Pymcast, Need::MulticastExpert],
            Kind::Latency(Pings::All) => vec![Need::Reference, Need::Mcast, Need::Sockperf],
            Kind::Latency(Pings::Wire | Pings::Paced) => vec![Need::Reference],
            Kind::Groups { .. } => vec![Need::Reference],
            Kind::Messages(subject) => messages::needs(subject, options),
            Kind::Relay(_) => vec![Need::Mcast, Need::Socat, Need::Smcroute],
            Kind::RelayTargets => vec![Need::Mcast],
            Kind::RelayTunnel(_) => vec![Need::Mcast, Need::Socat],
            Kind::Http(_) => vec![Need::Reference, Need::Mcast],
            Kind::Log => vec![Need::Fio],
            Kind::Fairness(_) => Vec::new(),
            Kind::Bridge(engine) => engine.needs(),
        }
    }

    pub(crate) fn measure(&self, bench: &Bench) -> Result<Figures> {
        match self.kind {
            Kind::Throughput(direction, roster, link, size) => {
                throughput::measure(bench, self, direction, (roster, link, size))
            }
            Kind::Queue => queue::measure(bench, self),
            Kind::Latency(pings) => latency::measure(bench, self, pings),
            Kind::Loss { equal_buffers } => loss::measure(bench, self, equal_buffers),
            Kind::Groups { v6 } => groups::measure(bench, self, v6),
            Kind::Messages(subject) => messages::measure(bench, self, subject),
            Kind::Relay(link) => relay::measure(bench, self, link),
            Kind::RelayTargets => relay_targets::measure(bench, self),
            Kind::RelayTunnel(link) => relay_tunnel::measure(bench, self, link),
            Kind::Http(groups) => http::measure(bench, self, groups),
            Kind::Bridge(engine) => bridge::measure(bench, self, engine),
            Kind::Log => log::measure(bench, self),
            Kind::Fairness(bottleneck) => fairness::measure(bench, self, bottleneck),
        }
    }
}

fn needs(contestants: &[Contestant], options: &Measure) -> Vec<Need> {
    let selected = contestants.iter().filter(|contestant| options.wants(contestant.name));
    selected.filter_map(Contestant::need).chain([Need::Reference]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_of_tables_are_unique() {
        let plans = all();
        let names: HashSet<_> = plans.iter().map(|plan| &plan.name).collect();
        assert_eq!(names.len(), plans.len());
        assert_eq!(plans.len(), 3 * 3 * 2 + 7 + 3 + 2 + 9 + 5 + 2 + 1 + 2 + 2 + 2 + 2);
    }
}
