//! `mcast ping`: shows which hosts answer, their distance and delay, and whether multicast or unicast fails.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast::{InterfaceSelector, Sender, SenderBuilder};
use mcast_measure::wire::{PROBE_LENGTH, SessionId};
use mcast_measure::{
    AcceptedReply, ClockTime, PingSchedule, Pings, ProbeCase, ProbeResults, ProbeSession, RespondingHost,
    lost_percent,
};
use mcast_path::{Asker, Listener};
use mcast_terminal::Console;

use crate::arguments::{
    Families, parse_count, parse_dscp, parse_duration, parse_percent, parse_size, select_destination,
    select_memberships, with_dscp,
};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{Cell, Palette, Table, count, count_of, excess_loss, record, seconds, write_record};
use crate::probe::{self, distance, millis, round_trip};
use crate::sending::{self, Target};
use crate::sys;

/// Ping a group, by multicast and by unicast
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to ping: `GROUP[%INTERFACE]:PORT`, or a name; with --reply, what to join
    #[arg(value_name = "GROUP:PORT")]
    group: String,

    /// Answer pings, until Ctrl-C
    #[arg(long, conflicts_with_all = ["count", "every", "wait", "size", "expect", "max_loss", "ttl", "dscp", "json"])]
    reply: bool,

    /// Use this interface: a name, index or address, or `all`; repeatable
    /// [default: the route to the group; with --reply all]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    /// How many networks to cross [default: 1, this network; 0 is this host]
    #[arg(short, long, value_name = "HOPS")]
    ttl: Option<u8>,

    /// Set the DSCP: 0 to 63, or a name such as EF, AF41, CS5
    #[arg(long, value_name = "DSCP", value_parser = parse_dscp)]
    dscp: Option<u8>,

    /// With --reply: accept only this source; with a leading `!`, all sources except it; repeatable
    #[arg(short, long = "source", value_name = "SOURCE", value_delimiter = ',', requires = "reply")]
    sources: Vec<String>,

    #[command(flatten)]
    families: Families,

    /// Payload bytes per probe, at least 62; answers have the same length
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "64")]
    size: usize,

    /// Print one JSON object per responder
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    timing: TimingOptions,

    #[command(flatten)]
    criteria: SuccessCriteria,
}

/// The interval of probes, and limits.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How often, and when to stop")]
struct TimingOptions {
    /// Stop after N probes [default: until Ctrl-C]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    count: Option<u64>,

    /// Time between probes, at least 10ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1s")]
    every: Duration,

    /// Stop after TIME
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Wait at most TIME for an answer
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1s")]
    wait: Duration,
}

/// The criteria of success.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Success criteria")]
struct SuccessCriteria {
    /// Exit status 1 if fewer than N hosts answer [default: 1]
    #[arg(long, value_name = "N")]
    expect: Option<usize>,

    /// Exit status 1 if a host missed more than PERCENT of the multicast probes
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    max_loss: Option<f64>,
}

const EXAMPLES: &str = "\
Each probe is sent to the group and also to each responder by unicast, so that loss and round trips
of both can be compared. Hops are counted on the way to the responder. Answers have the length of
the probes and are limited in rate.

Examples:
  mcast ping 239.255.1.2:5000 --reply                 on every host that should answer
  mcast ping 239.255.1.2:5000                         one probe per second, until Ctrl-C
  mcast ping 239.255.1.2:5000 -c 5 --every 200ms      five probes
  mcast ping 239.255.1.2:5000 -t 8 -c 3               across routers
  mcast ping 239.255.1.2:5000 -c 10 --expect 3 --max-loss 0    for scripts
  mcast ping 239.255.1.2:5000 -c 5 --json             for programs";

/// The minimum interval; responders do not answer faster probes.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// What to ping and how: the arguments, resolved.
#[derive(Debug)]
struct PingPlan {
    targets: Vec<Target>,
    sender: SenderBuilder,
    case: ProbeCase,
    /// Whether the hop limit is the default, which is then pointed out.
    is_default_reach: bool,
    schedule: PingSchedule,
    criteria: SuccessCriteria,
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if arguments.reply { reply(arguments, console) } else { ping(plan(arguments, console)?, console) }
}

fn plan(arguments: &Arguments, console: &Console) -> anyhow::Result<PingPlan> {
    let Arguments { timing, size, criteria, .. } = arguments;
    if timing.every < MIN_INTERVAL {
        return Err(Failure::usage("this is faster than responders answer")
            .remedy("use at least 10ms; `mcast perf send` sends faster")
            .into());
    }
    let (destination, implied) =
        select_destination(&arguments.group, arguments.families, "ping one at a time", console)?;
    let longest = sending::longest_payload(destination.address.group.family());
    if !(PROBE_LENGTH..=longest).contains(size) {
        let remedy = format!("use a size from {PROBE_LENGTH} to {longest}: an answer must fit in");
        return Err(Failure::usage(format!("a probe of {size} bytes cannot be sent")).remedy(remedy).into());
    }
    let reach = arguments.ttl.or(implied);
    let hop_limit = reach.unwrap_or(1);
    let TimingOptions { every, wait, count, timeout } = *timing;
    Ok(PingPlan {
        targets: sending::resolve(&[destination], &arguments.interfaces)?,
        sender: with_dscp(Sender::builder().hop_limit(hop_limit), arguments.dscp),
        case: ProbeCase { size: *size, hop_limit },
        is_default_reach: reach.is_none(),
        schedule: PingSchedule { every, wait, count, timeout, expected: criteria.expect },
        criteria: *criteria,
        json: arguments.json,
    })
}

/// Pings the group and each host that answers.
fn ping(plan: PingPlan, console: &Console) -> anyhow::Result<Outcome> {
    let sender = plan.sender.build()?;
    let interrupt = Interrupt::catch(|| {})?;
    sending::print(&plan.targets, plan.case.hop_limit, plan.is_default_reach, console);
    let targets: Vec<_> = plan.targets.iter().map(Target::template).collect();
    let mut pings = Pings::new(SessionId::random(), plan.case, plan.schedule);
    let live = !plan.json && !console.is_quiet();
    let mut asker = Asker::new(&sender, &targets);
    asker.run(
        &mut pings,
        || !interrupt.has_arrived(),
        |pings, reply| match pings.session().responders().get(reply.responder) {
            Some(responder) if live => print_reply(responder, &reply, console),
            _ => {}
        },
    )?;
    let (session, now) = (pings.session(), asker.now());
    match plan.json {
        true => write_json(session, now, console)?,
        false => write_text(session, now, console)?,
    }
    note_totals(session, console);
    let outcome = judge(&plan.criteria, session, now, console);
    Ok(interrupt.outcome().unwrap_or(outcome))
}

fn judge(criteria: &SuccessCriteria, session: &ProbeSession, now: ClockTime, console: &Console) -> Outcome {
    let (answering, required) = (session.responders().len(), criteria.expect.unwrap_or(1));
    let losses = session
        .responders()
        .iter()
        .map(|responder| lost(responder.multicast(0), session.sent_to_group(responder, now)));
    let miss = match answering < required {
        true => Some(format!("{answering} answered, expected at least {required}")),
        false => excess_loss(losses.fold(0.0, f64::max), criteria.max_loss),
    };
    miss.iter().for_each(|miss| console.note(miss));
    Outcome::of(miss.is_none())
}

/// Returns the probes without an answer, in percent.
fn lost(results: &ProbeResults, sent: u64) -> f64 {
    lost_percent(sent.saturating_sub(results.received()), sent)
}

fn reply(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let group = std::slice::from_ref(&arguments.group);
    let Arguments { interfaces, sources, families, .. } = arguments;
    let chosen = select_memberships(group, interfaces, sources, *families, console)?;
    let mut families = chosen.items.iter().map(|membership| membership.address.group.family());
    let first = families.next();
    let Some(family) = first.filter(|first| families.all(|family| family == *first)) else {
        return Err(Failure::usage(format!("\"{}\" is both IPv4 and IPv6", arguments.group))
            .remedy("choose with -4 or -6")
            .into());
    };
    let listener = Listener::probes(chosen.items, Some(family))?;
    sys::keep_rights(&[])?;
    probe::respond(&listener, arguments.timing.timeout, console)
}

/// Prints an answer on standard error when it arrives.
fn print_reply(responder: &RespondingHost, accepted: &AcceptedReply, console: &Console) {
    let AcceptedReply { is_new, number, reply, .. } = *accepted;
    let Palette { address, good, dim, .. } = *console.palette_for_notes();
    let results = if reply.by_unicast { "unicast  " } else { "multicast" };
    let hops = reply.hops().map(|hops| format!("  {}", distance(Some((hops, hops))))).unwrap_or_default();
    let new = if is_new { format!("  {good}new{good:#}") } else { String::new() };
    let line = format!(
        "{address}{}{address:#}  {dim}{results} {number}{dim:#}  {}{hops}{new}\n",
        responder.address,
        round_trip(Some(accepted.round_trip)),
    );
    // If standard error is closed, answers cannot be shown.
    let _ = console.notes().write_all(line.as_bytes());
}

/// Writes a row per responder.
fn write_text(pings: &ProbeSession, now: ClockTime, console: &Console) -> io::Result<()> {
    let mut out = console.output();
    if pings.responders().is_empty() {
        return Ok(());
    }
    table(pings, now, console.palette()).write(&mut out)?;
    for responder in pings.responders() {
        if let Some(time) = responder.join_to_first {
            writeln!(out, "{} had joined {} before it received the first", responder.address, seconds(time))?;
        }
    }
    out.flush()
}

/// Notes how much was sent, answered and ignored.
fn note_totals(pings: &ProbeSession, console: &Console) {
    console.note(format_args!(
        "{} to the group, {} answering",
        count_of(pings.sent(0), "probe"),
        count_of(pings.responders().len() as u64, "host")
    ));
    for (number, what) in [(pings.foreign(), "of another ping"), (pings.refused(), "that answer no probe")] {
        if number > 0 {
            console.note(format_args!("ignored {} {what}", count_of(number, "datagram")));
        }
    }
}

fn table(pings: &ProbeSession, now: ClockTime, palette: &Palette) -> Table {
    let titles = [
        "responder",
        "distance",
        "multicast",
        "lost",
        "min",
        "mean",
        "p99",
        "dup",
        "unicast",
        "lost",
        "min",
        "mean",
        "p99",
        "dup",
    ];
    let mut table = Table::new(&titles, palette.heading);
    for responder in pings.responders() {
        let name = Cell::new(responder.address.to_string()).style(palette.address);
        let group = cells(responder.multicast(0), pings.sent_to_group(responder, now), palette);
        let alone = cells(responder.unicast(), pings.sent_to(responder, now), palette);
        table.row([name, Cell::new(distance(responder.hops))].into_iter().chain(group).chain(alone));
    }
    table
}

/// Returns the cells for answers, loss, round trips and duplicates.
fn cells(results: &ProbeResults, sent: u64, palette: &Palette) -> [Cell; 6] {
    let times = results.round_trips();
    let time = |time| Cell::new(round_trip(time)).right();
    let lost = lost(results, sent);
    let style = if lost > 0.0 { palette.bad } else { palette.good };
    [
        Cell::new(format!("{}/{}", count(results.received()), count(sent))).right(),
        Cell::new(format!("{lost:.1}%")).style(style).right(),
        time(times.min()),
        time(times.mean()),
        time(times.quantile(0.99)),
        Cell::new(count(results.duplicated())).right(),
    ]
}

/// Writes a JSON object per responder.
fn write_json(pings: &ProbeSession, now: ClockTime, console: &Console) -> io::Result<()> {
    let mut out = console.output();
    let mut responders = pings.responders().iter();
    responders.try_for_each(|responder| {
        write_record(&mut out, "responder", &Figures::new(pings, responder, now))
    })?;
    out.flush()
}

record! {
    fn new(pings: &ProbeSession, responder: &RespondingHost, now: ClockTime) {}

    /// One object at the end for each host that replied.
    struct Figures {
        /// Address from which the host replies
        address: IpAddr = responder.address,
        /// Random ID of the responder, in hexadecimal
        responder: String = format!("{:016x}", responder.id),
        /// Minimum number of routers on the path; null unless both hosts report hop limits
        hops: Option<u8> = responder.hops.map(|(fewest, _)| fewest),
        /// Maximum number of routers on the path; null unless both hosts report hop limits
        hops_max: Option<u8> = responder.hops.map(|(_, most)| most),
        /// Time from the host's join to the first probe that reached it, in milliseconds; null if it had joined
        /// before probing started
        join_to_first_ms: Option<f64> = responder.join_to_first.map(millis),
        /// Probes to the group, answered by unicast
        multicast: DirectionFigures =
            DirectionFigures::new(responder.multicast(0), pings.sent_to_group(responder, now)),
        /// Probes to this host only
        unicast: DirectionFigures = DirectionFigures::new(responder.unicast(), pings.sent_to(responder, now)),
    }
}

record! {
    fn new(results: &ProbeResults, sent: u64) {
        let times = results.round_trips();
    }

    struct DirectionFigures {
        /// Probes sent since the host joined that were answered or whose timeout has passed
        sent: u64 = sent,
        /// Probes that were answered
        received: u64 = results.received(),
        /// Probes that were not answered
        lost: u64 = sent.saturating_sub(results.received()),
        /// Loss in percent
        loss_percent: f64 = lost(results, sent),
        /// Duplicate replies received
        duplicated: u64 = results.duplicated(),
        /// Minimum round-trip time, in milliseconds; null without replies
        rtt_min_ms: Option<f64> = times.min().map(millis),
        /// Mean round-trip time, in milliseconds; null without replies
        rtt_mean_ms: Option<f64> = times.mean().map(millis),
        /// Round-trip time, 99th percentile, in milliseconds; null without replies
        rtt_p99_ms: Option<f64> = times.quantile(0.99).map(millis),
    }
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<Figures>("ping", "Responder (`mcast ping --json`)")
        .event("responder")
        .describe("unicast.sent", "Probes that were answered or whose timeout has passed"),
}
