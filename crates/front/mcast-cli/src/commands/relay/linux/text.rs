//! Events in words, with what to do about them.

use std::io::Write;
use std::time::{Duration, SystemTime};

use mcast_relay::amt::GatewayEvent;
use mcast_relay::driver::{Driver, DriverEvent};
use mcast_relay::http::{HttpCounts, HttpEvent, HttpRefusal};
use mcast_relay::{RefusalReason, RelayEvent, Rule, RuleCounts};
use mcast_terminal::{Console, Output};

use super::json::{EventKind, EventRecord, Names, escaped, others, why_down, why_refused};
use crate::log_lines::{LogLimiter, and_more};
use crate::output::{clock_time, count, count_of, seconds, write_json};

/// Prints events, as lines of text or as JSON.
pub(super) struct EventPrinter<'a> {
    console: &'a Console,
    json: bool,
    out: Output,
    limiter: LogLimiter<EventKind, EventRecord>,
}

impl<'a> EventPrinter<'a> {
    pub(super) fn new(json: bool, console: &'a Console) -> Self {
        Self { console, json, out: console.output(), limiter: LogLimiter::new() }
    }

    /// Prints an event of the driver.
    pub(super) fn print(&mut self, event: &DriverEvent, names: &Names) -> anyhow::Result<()> {
        let (text, remedy) = describe(event, names);
        let record = EventRecord { text, remedy, ..EventRecord::of(event, names) };
        let is_limited = matches!(
            event,
            DriverEvent::Http(_) | DriverEvent::WrongTunnelKey { .. } | DriverEvent::UnknownTunnel { .. }
        );
        // Those are counted where they happen.
        let admitted = match is_limited {
            true => Some(record),
            false => self.limiter.admit(record.kind(), record.source(), record),
        };
        admitted.map_or(Ok(()), |record| self.print_record(record))
    }

    /// Prints what was withheld and is due; at the end, all that is left. An error also if earlier events could not be written.
    pub(super) fn print_withheld(&mut self, is_end: bool) -> anyhow::Result<()> {
        while let Some((record, more)) = if is_end { self.limiter.rest() } else { self.limiter.due() } {
            let text = format!("{}{}", record.text, and_more(more));
            self.print_record(EventRecord { more: (more > 0).then_some(more), text, ..record })?;
        }
        Ok(self.out.flush()?)
    }

    pub(super) fn print_record(&mut self, record: EventRecord) -> anyhow::Result<()> {
        if self.json {
            write_json(&mut self.out, &record)?;
            return Ok(self.out.flush()?);
        }
        let dim = self.console.palette().dim;
        let time = record.at.unwrap_or_else(SystemTime::now);
        writeln!(self.out, "{dim}{}{dim:#} {}", clock_time(time), record.text)?;
        self.out.flush()?;
        record.remedy.iter().for_each(|remedy| self.console.advise(remedy));
        Ok(())
    }

    /// Prints an object as JSON; returns whether that was requested.
    pub(super) fn print_json(
        &mut self,
        event: &'static str,
        fields: &impl serde::Serialize,
    ) -> anyhow::Result<bool> {
        if self.json {
            crate::output::write_record(&mut self.out, event, fields)?;
            self.out.flush()?;
        }
        Ok(self.json)
    }
}

/// Returns an event in words, and what to do about it.
pub(super) fn describe(event: &DriverEvent, names: &Names) -> (String, Option<String>) {
    let plain = |text: String| (text, None);
    match event {
        DriverEvent::LegUp { leg, addresses } => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let addresses = if addresses.is_empty() { "no address".into() } else { addresses.join(", ") };
            (format!("{} is up: {addresses}", names.leg(*leg)), None)
        }
        DriverEvent::LegDown { leg, reason } => {
            // An engine of containers may have given it.
            (format!("{} cannot be used: {}", names.leg(*leg), escaped(reason)), None)
        }
        DriverEvent::Amt { leg, event } => (describe_amt(names.leg(*leg), event), None),
        DriverEvent::ReceiveLost { leg, count } => (
            format!(
                "{} or coalesced buffers of several lost on {}: the system dropped them, because the receive buffer was full",
                count_of(*count, "datagram"),
                names.leg(*leg)
            ),
            Some("give the relay more processor time, or forward less: name groups in the rules that are needed".into()),
        ),
        DriverEvent::Problem { leg, problem, remedy } => {
            (format!("{}: {}", names.leg(*leg), escaped(problem)), remedy.clone())
        }
        DriverEvent::Relay(event) => describe_relay(event, names),
        DriverEvent::HttpListening(address) => {
            (format!("serving HTTP clients at http://{address}/status"), None)
        }
        DriverEvent::HttpFailed { problem, .. } => (problem.clone(), None),
        DriverEvent::Http(HttpEvent { client, count, text, reason, .. }) => {
            let others = others(*count);
            let what = if *reason == HttpRefusal::Stalled { "client" } else { "request of" };
            (format!("{what} {client}{others}: {}", escaped(text)), None)
        }
        DriverEvent::TunnelUp { leg, relay, address } => {
            plain(format!("{} is up: relay {relay} at {address}", names.leg(*leg)))
        }
        DriverEvent::TunnelDown { leg, reason } => {
            plain(format!("{} is down: {}", names.leg(*leg), why_down(*reason)))
        }
        DriverEvent::TunnelMoved { leg, address } => {
            plain(format!("the other end of {} is now at {address}", names.leg(*leg)))
        }
        DriverEvent::TunnelRefused { leg, reason } => {
            let (why, remedy) = why_refused(*reason);
            (format!("the other end refuses {}: {why}", names.leg(*leg)), Some(remedy.to_owned()))
        }
        DriverEvent::TunnelUnanswered { leg, host } => (
            format!("{host} does not answer for {}", names.leg(*leg)),
            Some("check that the relay there runs with --listen-tunnel and the same key file, and that UDP to it passes".into()),
        ),
        DriverEvent::WrongTunnelKey { address, count } => (
            format!("{address}{} dials a tunnel with another key", others(*count)),
            Some("give both ends the same key file, and send SIGHUP to both".into()),
        ),
        DriverEvent::UnknownTunnel { name, address, count } => (
            format!("{address}{} dials tunnel:{}, which no rule here names", others(*count), escaped(name)),
            Some(format!("add a rule with tunnel:{} here, or correct the name there", escaped(name))),
        ),
    }
}

fn describe_amt(leg: &str, event: &GatewayEvent) -> String {
    match event {
        GatewayEvent::Connected { relay } => format!("{leg}: the relay {relay} accepts memberships"),
        GatewayEvent::Lost { relay, failure } => {
            format!("{leg}: the relay {relay} {failure}, looking for another one")
        }
        GatewayEvent::NoRelay => format!("{leg}: no relay answers, trying again"),
    }
}

fn describe_relay(event: &RelayEvent, names: &Names) -> (String, Option<String>) {
    let plain = |text: String| (text, None);
    match event {
        RelayEvent::PeerAppeared { relay, leg } => plain(format!("relay {relay} is on {}", names.leg(*leg))),
        RelayEvent::PeerDisappeared { relay } => {
            plain(format!("relay {relay} has stopped or is unreachable"))
        }
        RelayEvent::Forwarding { rule, from, to } => {
            let (rule, from, to) = (names.rule(*rule), names.leg(*from), names.side(*to));
            plain(format!("forwarding from {from} to {to}: {rule}"))
        }
        RelayEvent::StandingBy { rule, from, to, relay } => {
            let (rule, from, to) = (names.rule(*rule), names.leg(*from), names.side(*to));
            plain(format!("standing by from {from} to {to}, relay {relay} forwards: {rule}"))
        }
        RelayEvent::SameSegment { one, other } => {
            let (one, other) = (names.leg(*one), names.leg(*other));
            let text =
                format!("{one} and {other} are on the same segment: nothing is forwarded between them");
            (text, Some(format!("remove {one} or {other} from the rule, or connect it to another network")))
        }
        RelayEvent::LoopFound { leg, source, mac, destination } => {
            let mac = mac.map_or_else(String::new, |mac| format!(" ({mac})"));
            let leg = names.leg(*leg);
            let text = format!(
                "{source}{mac} on {leg} also relays {destination}: what it repeats is dropped until nothing comes back \
                 any more"
            );
            (text, Some(format!("turn off the relay (mDNS repeater, UDP broadcast relay) at {source}")))
        }
        RelayEvent::RouterFound { leg, home, source, destination } => {
            let (leg, home) = (names.leg(*leg), names.leg(*home));
            let text = format!(
                "a router also forwards {destination} from {home} to {leg}: datagrams of {source}, which is on {home}, \
                 arrive on {leg} and are not forwarded"
            );
            let remedy =
                "use the router (smcroute, pimd, igmpproxy, the kernel's routes) or this rule, not both";
            (text, Some(remedy.into()))
        }
        RelayEvent::ChainFound { relay, leg, to } => {
            let (leg, to) = (names.leg(*leg), names.side(*to));
            let text = format!(
                "copies that relay {relay} sends on {leg} are not forwarded to {to}: no relay forwards the copies of another one"
            );
            let remedy =
                format!("forward to {to} from where the senders are, or connect the relays by a tunnel");
            (text, Some(remedy))
        }
        RelayEvent::TooManyGroups { leg, host, groups, count } => {
            let text = format!(
                "{} ignored or displaced on {}, too many groups are joined: {host} has most, {groups} of them",
                count_of(*count, "membership report"),
                names.leg(*leg)
            );
            (text, Some(format!("find out what {host} does, and stop it")))
        }
        RelayEvent::NotForwarded { rule, reason, count, culprit } => {
            let (why, remedy) = refusal(*reason);
            let culprit = culprit.map(|address| format!(", most of them at {address}")).unwrap_or_default();
            let text = format!(
                "{} not forwarded, {why}{culprit}: {}",
                count_of(*count, "datagram"),
                names.rule(*rule)
            );
            (text, remedy.map(Into::into))
        }
        RelayEvent::SourceReplaced { rule, leg, source } => {
            let (rule, leg) = (names.rule(*rule), names.leg(*leg));
            let text = format!(
                "copies of what {source} sends on {leg} have the address of the relay: it is in no network of {leg} alone, or valid on \
                 one link only: {rule}"
            );
            (text, Some(format!("give {leg} an address in the network of {source}, or remove keep-source")))
        }
        RelayEvent::OtherSources { leg, group } => {
            let text = format!(
                "hosts on {} have joined {group} from other sources than the relay, and would not receive its copies",
                names.leg(*leg)
            );
            (text, Some("join it there from the address of the relay, or without a source".into()))
        }
        RelayEvent::NoReports { leg } => {
            let text = format!("no host on {} has reported a membership", names.leg(*leg));
            (text, Some("if hosts there do not report, add the option `always` to the rule".into()))
        }
    }
}

/// Returns a reason in words, and what to do about it.
const fn refusal(reason: RefusalReason) -> (&'static str, Option<&'static str>) {
    match reason {
        RefusalReason::HopLimit => {
            ("because the TTL was 1", Some("add the option `ttl N` to the rule, or send with a larger TTL"))
        }
        RefusalReason::RateLimit => ("above the rate", Some("raise the rate of the rule, if it should pass")),
        RefusalReason::TooManyPaths => ("too many senders", Some("raise --max-paths, or lower --path-idle")),
        RefusalReason::Unreachable => ("the target cannot be reached", None),
        RefusalReason::TooManyRepeats => {
            ("too many repeats at once to determine whether they are a loop", None)
        }
        RefusalReason::OwnCopy => ("sent by this relay", None),
        RefusalReason::CopyOfPeer => ("sent by another relay", None),
        RefusalReason::Standby => ("another relay forwards", None),
        RefusalReason::Starting => ("waiting for other relays", None),
        RefusalReason::Reply => ("replies", None),
        RefusalReason::Routed => ("copies of a router", None),
        RefusalReason::NoLeg => ("no usable interface", None),
        RefusalReason::NotWanted => ("nobody has joined", None),
        RefusalReason::Repeat => ("repeated", None),
        RefusalReason::Echo => ("sent back by a box that also relays", None),
        RefusalReason::Returned => ("returned by tunnels", None),
        RefusalReason::Duplicate => ("arrived by another tunnel before", None),
        RefusalReason::TooManyHops => (
            "they have passed too many relays",
            Some("connect the sites by fewer tunnels in a row: at most 8 relays"),
        ),
        RefusalReason::Filtered => ("contain nothing that the rule forwards", None),
        _ => ("refused", None),
    }
}

/// Returns the summary.
pub(super) fn summary_lines(driver: &Driver, time: Duration) -> Vec<String> {
    let mut lines: Vec<_> = driver.relay().rules().map(|(rule, counts)| summary_line(rule, counts)).collect();
    lines.extend(super::json::summary_lines(driver));
    lines.extend(http_line(&driver.http_counts()));
    let amt = driver.amt();
    if amt.sent > 0 || amt.gateways > 0 || !amt.refused.is_empty() {
        let refused: Vec<_> =
            amt.refused.iter().map(|(reason, number)| format!("{} ({reason})", count(*number))).collect();
        let refused =
            if refused.is_empty() { String::new() } else { format!("; not used: {}", refused.join(", ")) };
        let (gateways, sent) = (count_of(amt.gateways, "gateway"), count_of(amt.sent, "datagram"));
        lines.push(format!("AMT: {gateways}, sent {sent}{refused}"));
    }
    let unsent = match driver.counts().unsent {
        0 => String::new(),
        unsent => format!("; not taken by the system: {}", count(unsent)),
    };
    let lost = match driver.counts().lost {
        0 => String::new(),
        lost => {
            format!(
                "; datagrams or coalesced buffers lost, because a receive buffer was full: {}",
                count(lost)
            )
        }
    };
    lines.push(format!("relayed for {}{lost}{unsent}", seconds(time)));
    lines
}

/// Returns what HTTP clients have been served, if there was one.
fn http_line(counts: &HttpCounts) -> Option<String> {
    let refused: Vec<_> =
        counts.refusals().map(|(reason, number)| format!("{} ({})", count(number), reason.name())).collect();
    if counts.served == 0 && refused.is_empty() {
        return None;
    }
    let mut text = format!(
        "HTTP: served {}, sent {}",
        count_of(counts.served, "stream"),
        count_of(counts.sent_bytes, "byte")
    );
    if counts.skipped > 0 {
        text += &format!(", skipped {} for slow clients", count_of(counts.skipped, "datagram"));
    }
    if !refused.is_empty() {
        text += &format!("; refused or dropped: {}", refused.join(", "));
    }
    Some(text)
}

fn summary_line(rule: &Rule, counts: &RuleCounts) -> String {
    let copies =
        if counts.copies == 1 { "1 copy".into() } else { format!("{} copies", count(counts.copies)) };
    let mut text = format!("{rule}: received {}, sent {copies}", count_of(counts.arrived, "datagram"));
    if counts.replies > 0 {
        let replies = if counts.replies == 1 { "reply" } else { "replies" };
        text += &format!(" and {} {replies}", count(counts.replies));
    }
    let refusals = counts.refusals();
    let refused: Vec<_> =
        refusals.map(|(reason, number)| format!("{} ({})", count(number), refusal(reason).0)).collect();
    if !refused.is_empty() {
        text += &format!("; not forwarded: {}", refused.join(", "));
    }
    text
}
