//! `mcast doctor --probe`: sends probes, and evaluates the replies.

use std::io::Write;
use std::net::SocketAddr;

use mcast::{Destination, Group, Interface, Sender};
use mcast_doctor::{PathTest, Report};
use mcast_measure::wire::SessionId;
use mcast_terminal::Console;

use super::super::{Arguments, json, text as findings};
use super::{is_here, report};
use crate::arguments::select_destinations;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::rights::{self, Capability};
use crate::sending::{self, Target};

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let chosen = select_destinations(&super::groups(arguments)?, arguments.admission.families, console)?;
    let highest = arguments.path.ttl.or(chosen.hop_limit).unwrap_or(1);
    let sender = Sender::builder().build()?;
    // To capture the replies, and to see whether this machine loses them.
    rights::keep(&[Capability::NetRaw])?;
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
        probed.iter().try_for_each(|one| report::objects(one, &mut out))?;
        json::write(&report, &mut out)?;
    } else {
        report::table(&probed, console.palette(), &mut out)?;
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
        let peers = self.arguments.path.peers.iter().copied();
        let test = PathTest::new(destination.address, interface.as_ref(), self.highest, id);
        let mut test = test.with_peers(peers.map(|peer| SocketAddr::new(peer, 0)));
        sending::print(&targets, self.highest, self.arguments.path.ttl.is_none(), self.console);
        let targets: Vec<_> = targets.iter().map(Target::template).collect();
        test.run(&self.sender, &targets, self.arguments.path.count, || !self.interrupt.has_arrived())?;
        Ok(test)
    }
}

/// Returns the interface on which probes are sent; `None` if there are several.
pub(in super::super) fn interface_of(targets: &[Target], group: Group) -> anyhow::Result<Option<Interface>> {
    let [target] = targets else { return Ok(None) };
    match target.interface_name() {
        Some(name) => Ok(mcast::interfaces()?.into_iter().find(|interface| interface.name == name)),
        None => Ok(mcast::default_interface(group)?),
    }
}
