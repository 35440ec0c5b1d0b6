//! `mcast doctor --listen` and `--probe`: tests which datagrams pass between two machines, by size, hop limit and family, and
//! prints a table row or JSON object per listener and case.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast::group::{PickOptions, pick};
use mcast::interface::Interface;
use mcast::{Destination, Family, Group, Sender};
use mcast_doctor::Report;
use mcast_measure::RespondingHost;
use mcast_measure::wire::SessionId;
use mcast_path::{Listener, PathTest};
use mcast_terminal::{Console, Output};

use super::{Arguments, RIGHTS, json, text as findings};
use crate::arguments::{select_destinations, select_memberships};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{Cell, Palette, Table, count, record, write_json};
use crate::probe::{distance, millis, round_trip};
use crate::sending::{self, Target};
use crate::sys::{self, Capability};

/// The name from which the default groups are picked.
const NAME: &str = "mcast doctor";
const PORT: u16 = 24_787;

/// One end of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Receives probes and replies.
    Listen,
    /// Sends probes and evaluates the replies.
    Probe,
}

pub(super) fn run(end: End, arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match end {
        End::Listen => listen(arguments, console),
        End::Probe => probe(arguments, console),
    }
}

fn listen(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let Arguments { interfaces, admission, .. } = arguments;
    let (sources, families) = (&admission.sources, admission.families);
    let chosen = select_memberships(&groups(arguments)?, interfaces, sources, families, console)?;
    let listener = Listener::path_tests(chosen.items)?;
    sys::keep_rights(&RIGHTS)?;
    crate::probe::respond(&listener, arguments.timing.timeout, console)
}

/// Returns the groups in the arguments, or by default one per family, which are the same on every machine.
pub(super) fn groups(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    if !arguments.memberships.is_empty() {
        return Ok(arguments.memberships.clone());
    }
    let only = arguments.admission.families.only();
    let families =
        [Family::V4, Family::V6].into_iter().filter(|family| only.is_none_or(|only| only == *family));
    families
        .map(|family| {
            let options = PickOptions { family, ..PickOptions::default() };
            let group = pick(NAME, options.default_scope(), &options)
                .map_err(|error| Failure::environment(error.to_string()))?;
            Ok(match family {
                Family::V4 => format!("{group}:{PORT}"),
                Family::V6 => format!("[{group}]:{PORT}"),
            })
        })
        .collect()
}

/// Returns whether a multicast interface has an address of this family.
pub(super) fn is_here(family: Family) -> anyhow::Result<bool> {
    let has = |interface: &Interface| {
        interface.is_joined_by_default() && interface.addresses_of(family).next().is_some()
    };
    Ok(mcast::interface::list()?.iter().any(has))
}

fn probe(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let chosen = select_destinations(&groups(arguments)?, arguments.admission.families, console)?;
    let highest = arguments.path.ttl.or(chosen.hop_limit).unwrap_or(1);
    let sender = Sender::builder().build()?;
    // To capture the replies, and to see whether this machine loses them.
    sys::keep_rights(&[Capability::NetRaw])?;
    let interrupt = Interrupt::catch(|| {})?;
    let prober = Prober { arguments, highest, sender, interrupt, console };
    let is_default = arguments.memberships.is_empty();
    let mut probed = Vec::new();
    let mut report = Report::default();
    let mut failure = None;
    for destination in &chosen.items {
        match prober.probe(destination) {
            Ok(one) => probed.push(one),
            Err(error) if is_default && chosen.items.len() > 1 => {
                let family = destination.address.group.family();
                console.note(format_args!("{family}: not probed: {error}"));
                // This machine may lack the family of one of the two default groups.
                if is_here(family)? {
                    let cause = error.downcast_ref();
                    report
                        .findings
                        .extend(cause.and_then(|error| PathTest::without_route(destination.address, error)));
                }
                failure = failure.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    if let (true, true, Some(failure)) = (probed.is_empty(), report.findings.is_empty(), failure) {
        return Err(failure);
    }
    let has_answers = probed.iter().any(|one| !one.session.responders().is_empty());
    report.findings.extend(probed.iter().flat_map(|one| one.findings(is_default && has_answers)));
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut out = console.output();
    if arguments.results.json {
        probed.iter().try_for_each(|one| objects(one, &mut out))?;
        json::write(&report, &mut out)?;
    } else {
        table(&probed, console.palette(), &mut out)?;
        findings::write(&report, false, console, &mut out)?;
    }
    out.flush()?;
    Ok(prober.interrupt.outcome().unwrap_or_else(|| arguments.results.outcome(&report)))
}

/// Sends probes and receives replies.
struct Prober<'a> {
    arguments: &'a Arguments,
    highest: u8,
    sender: Sender,
    interrupt: Interrupt,
    console: &'a Console,
}

impl Prober<'_> {
    fn probe(&self, destination: &Destination) -> anyhow::Result<PathTest> {
        let targets = sending::resolve(std::slice::from_ref(destination), &self.arguments.interfaces)?;
        let interface = interface_of(&targets, destination.address.group)?;
        let id = SessionId::random();
        let peers = self.arguments.path.probe.iter().flatten().copied();
        let test = PathTest::new(destination.address, interface.as_ref(), self.highest, id);
        let mut test = test.with_peers(peers.map(|peer| SocketAddr::new(peer, 0)));
        sending::print(&targets, self.highest, self.arguments.path.ttl.is_none(), self.console);
        let targets: Vec<_> = targets.iter().map(Target::template).collect();
        test.run(&self.sender, &targets, self.arguments.path.count, || !self.interrupt.has_arrived())?;
        Ok(test)
    }
}

/// Returns the interface on which probes are sent; `None` if there are several.
pub(super) fn interface_of(targets: &[Target], group: Group) -> anyhow::Result<Option<Interface>> {
    let [target] = targets else { return Ok(None) };
    match target.interface_name() {
        Some(name) => Ok(mcast::interface::list()?.into_iter().find(|interface| interface.name == name)),
        None => Ok(mcast::interface::towards(group.addr())?),
    }
}

/// Writes a table of all groups, if there were replies.
fn table(probed: &[PathTest], palette: &Palette, out: &mut Output) -> io::Result<()> {
    let titles =
        ["listener", "family", "distance", "size", "TTL", "arrived", "unicast", "dup", "min", "mean"];
    let mut table = Table::new(&titles, palette.heading);
    let mut is_empty = true;
    for one in probed {
        for listener in one.session.responders() {
            (0..one.session.cases().len()).for_each(|case| table.row(row(one, listener, case, palette)));
            is_empty = false;
        }
    }
    if is_empty {
        return Ok(());
    }
    table.write(out)?;
    writeln!(out)
}

fn row(one: &PathTest, listener: &RespondingHost, case: usize, palette: &Palette) -> Vec<Cell> {
    let (received, sent) = (listener.multicast(case).received(), one.session.sent(case));
    let [min, mean] = times(listener, case).map(|time| Cell::new(round_trip(time)).right());
    let Some(tried) = one.session.cases().get(case) else { return Vec::new() };
    vec![
        Cell::new(listener.address.to_string()).style(palette.address),
        Cell::new(one.address.group.family().to_string()),
        Cell::new(distance(listener.hops)),
        Cell::new(count(tried.size as u64)).right(),
        Cell::new(tried.hop_limit.to_string()).right(),
        arrivals(Some((received, sent)), palette),
        arrivals(one.unicast_results(listener, case), palette),
        Cell::new(count(listener.multicast(case).duplicated())).right(),
        min,
        mean,
    ]
}

/// Returns `5/5`; empty if nothing was probed.
fn arrivals(counts: Option<(u64, u64)>, palette: &Palette) -> Cell {
    match counts {
        None => Cell::default(),
        Some((_, 0)) => Cell::new("not sent").style(palette.dim).right(),
        Some((received, sent)) => {
            let style = if received < sent { palette.bad } else { palette.good };
            Cell::new(format!("{}/{}", count(received), count(sent))).style(style).right()
        }
    }
}

/// Returns the shortest round trip and the mean.
fn times(listener: &RespondingHost, case: usize) -> [Option<Duration>; 2] {
    let times = listener.multicast(case).round_trips();
    [times.min(), times.mean()]
}

record! {
    fn new(one: &PathTest, listener: &RespondingHost, case: usize) {
        let tried = &one.session.cases()[case];
        let [rtt_min_ms, rtt_mean_ms] = times(listener, case).map(|time| time.map(millis));
        let unicast = one.unicast_results(listener, case);
    }

    /// A result as JSON: `schemas/doctor-path.json`.
    struct Object {
        /// Record type
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["path"])))]
        event: &'static str = "path",
        /// Address from which the listener replies
        address: IpAddr = listener.address,
        /// Random ID of the listener, in hexadecimal; several listeners can share an address
        listener: String = format!("{:016x}", listener.id),
        /// Probed group and port
        group: String = one.address.to_string(),
        /// Interface on which the probes were sent; null if none was selected
        interface: Option<String> = one.interface.clone(),
        /// Payload bytes per probe
        size: usize = tried.size,
        /// Hop limit of the probes
        ttl: u8 = tried.hop_limit,
        /// Minimum number of routers on the path; null unless both hosts report hop limits
        hops: Option<u8> = listener.hops.map(|(fewest, _)| fewest),
        /// Probes sent; 0 if the system refused to send probes of this size
        sent: u64 = one.session.sent(case),
        /// Probes that the listener replied to
        received: u64 = listener.multicast(case).received(),
        /// Duplicate replies received
        duplicated: u64 = listener.multicast(case).duplicated(),
        /// Unicast probes of this size sent to the listener; null if it is not probed by unicast
        unicast_sent: Option<u64> = unicast.map(|(_, sent)| sent),
        /// Unicast probes of this size that the listener replied to; null if it is not probed by unicast
        unicast_received: Option<u64> = unicast.map(|(received, _)| received),
        /// Minimum round-trip time, in milliseconds; null without replies
        rtt_min_ms: Option<f64> = rtt_min_ms,
        /// Mean round-trip time, in milliseconds; null without replies
        rtt_mean_ms: Option<f64> = rtt_mean_ms,
    }
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<Object>("doctor-path", "Path measurement (`mcast doctor --probe --json`)")
        .about("One object per listener, probe size and hop limit."),
}

fn objects(one: &PathTest, out: &mut Output) -> io::Result<()> {
    for listener in one.session.responders() {
        for case in 0..one.session.cases().len() {
            write_json(out, &Object::new(one, listener, case))?;
        }
    }
    Ok(())
}
