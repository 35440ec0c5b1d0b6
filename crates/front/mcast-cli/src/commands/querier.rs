//! `mcast querier`: shows queriers, or acts as one.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use mcast::{Family, InterfaceSelector};
use mcast_capture::QuerierState;
use mcast_packet::gmp::querier::{QuerierSettings, Role};
use mcast_sys::{Bridge, BridgeQuerier};
use mcast_terminal::{Console, Output};
use mcast_watch::live::{
    ActiveQuerierEvent, ActiveQueriers, CapturedQuery, QuerierInterface, QuerierListener, QuerierTrouble,
};
use mcast_watch::{ObservedQuerier, ObservedQuery};
use serde::Serialize;

use crate::arguments::{Families, Goal, parse_duration};
use crate::exit::{Failure, Outcome};
use crate::interrupt::{Interrupt, Service};
use crate::output::{Cell, Table, clock_time, rfc3339, seconds, write_json};
use crate::session::{Control, End, SessionSteps, Step};
use crate::sys::{self, Capability};

/// Show IGMP and MLD queriers, or act as one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("v4", |option| option.help("Only IGMP, the queries about IPv4 groups")), mut_arg("v6", |option| option.help("Only MLD, the queries about IPv6 groups")))]
pub(crate) struct Arguments {
    /// Use this interface: a name, index or address; repeatable [default: all that are up and can multicast, but not
    /// loopback]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    #[command(flatten)]
    families: Families,

    /// Stop after TIME [default: when a querier is known wherever one is needed, or after 130s]
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Keep running and report each query, until Ctrl-C
    #[arg(long, conflicts_with = "timeout")]
    watch: bool,

    /// Provoke a query: join an unused group and leave it again, which most queriers answer with a query
    /// within a second
    #[arg(long, conflicts_with = "be")]
    provoke: bool,

    /// Print one JSON object per event and per querier
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    be: QuerierOptions,
}

/// Options for acting as the querier.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Act as querier")]
struct QuerierOptions {
    /// Send queries unless a querier with a lower address does; needs -i and CAP_NET_RAW
    #[arg(long = "become", requires = "interfaces")]
    be: bool,

    /// Time between general queries
    #[arg(long, value_name = "TIME", default_value = "125s", value_parser = parse_duration, requires = "be")]
    query_interval: Duration,

    /// Time for hosts to answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, requires = "be")]
    response_interval: Duration,

    /// Tolerate N-1 lost messages in a row
    #[arg(long, value_name = "N", default_value = "2", requires = "be")]
    robustness: u8,

    /// Use IGMPv2 and MLDv1, for switches and routers that support nothing newer
    #[arg(long, requires = "be")]
    older: bool,
}

const EXAMPLES: &str = "\
A snooping switch forwards a group only to ports with members, and forgets members after 260 s
unless a querier makes hosts report again. Without a querier, streams stop minutes after they
started. Queries are normally 125 s apart, and a querier is considered gone after 255 s without a query, so a
shorter observation cannot show that there is no querier. The state of the kernel's bridges is
shown immediately.

With --become, mcast sends general queries, and group-specific queries when a host leaves a group. It
pauses while a querier with a lower address is active (RFC 9776, RFC 9777). It needs an IPv4 address
for IGMP and a link-local address for MLD. After it exits, memberships expire.

Exit status 1 if no querier is known where one is needed.

Examples:
  mcast querier                                 queriers on all interfaces
  mcast querier -i eth0 --provoke -W 5s         provoke a query
  mcast querier -i eth0 --watch --json          every query, for programs
  sudo mcast querier -i eth0 --become           act as querier in a network without one";

/// Longer than the time between two queries of a querier with default settings.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(130);
/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The status for the service manager.
const STATUS: &str = "Sends queries unless a querier with a lower address does";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let settings = arguments.be.settings()?;
    let only = arguments.families.only();
    let families =
        [Family::V4, Family::V6].into_iter().filter(|family| only.is_none_or(|only| only == *family));
    let targets = QuerierInterface::select(&arguments.interfaces, &families.collect::<Vec<_>>())?;
    if targets.is_empty() {
        return Err(Failure::environment("no interface is up and can multicast")
            .remedy("`mcast interfaces` shows what each of them lacks")
            .into());
    }
    match arguments.be.be {
        true => send_queries(arguments, settings, targets, console),
        false => listen(arguments, &targets, console),
    }
}

/// Listens for queries.
fn listen(arguments: &Arguments, targets: &[QuerierInterface], console: &Console) -> anyhow::Result<Outcome> {
    let mut printer = EventPrinter::new(arguments.json, console);
    let known_bridges = bridges(console);
    let mut listener = match QuerierListener::open(targets) {
        Ok(listener) => listener,
        Err(error) => {
            // The state of the bridges is shown in any case.
            print_table(targets, &[], &known_bridges, None, &mut printer)?;
            return Err(error.into());
        }
    };
    sys::keep_rights(&[])?;
    let interrupt = Interrupt::catch(|| {})?;
    if arguments.provoke {
        listener.provoke()?;
    }
    let timeout = (!arguments.watch).then(|| arguments.timeout.unwrap_or(DEFAULT_TIMEOUT));
    match timeout {
        Some(most) => {
            console.note(format_args!("listening for queries, for at most {} s", most.as_secs_f64().ceil()));
        }
        None => console.note("listening for queries until Ctrl-C"),
    }
    let goal = Goal::until(timeout, Instant::now());
    let mut control = Control::new(interrupt, goal, console);
    let ends_when_known = !arguments.watch && arguments.timeout.is_none();
    let mut listening = Listening { listener, printer, known_bridges, ends_when_known };
    control.run(&mut listening)?;
    let Listening { listener, mut printer, .. } = listening;
    // Bridges may have learned of queriers meanwhile.
    let (bridges, listened) = (bridges(console), Some(listener.elapsed()));
    let is_known = print_table(targets, &listener.observed(), &bridges, listened, &mut printer)?;
    Ok(control.interrupt.outcome().unwrap_or_else(|| Outcome::of(is_known)))
}

/// Listens to the queries of others.
struct Listening<'a> {
    listener: QuerierListener<'a>,
    printer: EventPrinter<'a>,
    known_bridges: Vec<Bridge>,
    ends_when_known: bool,
}

impl SessionSteps for Listening<'_> {
    fn step(&mut self, _: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step> {
        if self.ends_when_known && self.listener.is_known(&self.known_bridges) {
            return Ok(Step::Over(End::Enough));
        }
        match self.listener.next(wait) {
            Ok(Some(query)) => self.printer.query(&query)?,
            Ok(None) => {}
            Err(error) if error.kind() == mcast_capture::ErrorKind::InterfaceDown => {
                self.printer.console.warn(&error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Step::Idle)
    }

    fn longest_wait(&mut self) -> Duration {
        POLL_INTERVAL
    }
}

/// Returns the bridges of this machine; none if the system does not support bridges.
fn bridges(console: &Console) -> Vec<Bridge> {
    match mcast_sys::bridge::list() {
        Ok(bridges) => bridges,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Vec::new(),
        Err(error) => {
            console.warn(format_args!("cannot read the state of the kernel's bridges: {error}"));
            Vec::new()
        }
    }
}

/// Sends queries unless a querier with a lower address does.
fn send_queries(
    arguments: &Arguments,
    settings: QuerierSettings,
    targets: Vec<QuerierInterface>,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let queriers = ActiveQueriers::open(targets, settings)?;
    let service = Service::begin();
    // Keeps only the capability to open sockets for interfaces that appear later.
    sys::keep_rights(&[Capability::NetRaw])?;
    let interrupt = Interrupt::catch(|| {})?;
    console.note(format_args!(
        "sending queries every {} s unless a querier with a lower address does; a membership lasts {} s \
         after its last report",
        settings.query_interval().as_secs_f64(),
        settings.group_membership_interval().as_secs_f64()
    ));
    let hangup = service.hangups()?;
    let goal = Goal::until(arguments.timeout, Instant::now());
    let mut control = Control::new(interrupt, goal, console).with_service(service, hangup);
    let mut sending = Sending { queriers, printer: EventPrinter::new(arguments.json, console) };
    let ended = sending.queriers.follow().map_err(Into::into).and_then(|()| control.run(&mut sending));
    sending.queriers.states().for_each(|(target, state, sent)| console.note(summary(target, state, sent)));
    ended?;
    Ok(control.interrupt.outcome().unwrap_or(Outcome::Yes))
}

/// Sends the queries of this machine. A hang-up begins them again.
struct Sending<'a> {
    queriers: ActiveQueriers,
    printer: EventPrinter<'a>,
}

impl SessionSteps for Sending<'_> {
    fn step(&mut self, _: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step> {
        let Self { queriers, printer } = self;
        print_events(queriers, printer)?;
        if let Some(query) = queriers.receive(wait)? {
            printer.query(&query)?;
        }
        print_events(queriers, printer)?;
        Ok(Step::Idle)
    }

    fn longest_wait(&mut self) -> Duration {
        POLL_INTERVAL
    }

    fn reload(&mut self) -> anyhow::Result<()> {
        self.queriers.stop();
        Ok(self.queriers.follow()?)
    }

    fn status(&self) -> String {
        STATUS.to_owned()
    }
}

fn print_events(queriers: &mut ActiveQueriers, printer: &mut EventPrinter<'_>) -> anyhow::Result<()> {
    while let Some((target, event)) = queriers.next_event() {
        printer.active(target, event)?;
    }
    Ok(())
}

impl QuerierOptions {
    fn settings(&self) -> anyhow::Result<QuerierSettings> {
        let settings = QuerierSettings::default()
            .with_robustness(self.robustness)
            .and_then(|settings| settings.with_intervals(self.query_interval, self.response_interval))
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(if self.older { settings.older() } else { settings })
    }
}

/// Prints events, as lines of text or as JSON.
struct EventPrinter<'a> {
    console: &'a Console,
    json: bool,
    out: Output,
}

impl<'a> EventPrinter<'a> {
    fn new(json: bool, console: &'a Console) -> Self {
        Self { console, json, out: console.output() }
    }

    /// Prints a received query.
    fn query(&mut self, captured: &CapturedQuery<'_>) -> anyhow::Result<()> {
        let words = format!("{} {}", captured.query.source, captured.text);
        self.print(&Event::query(captured), captured.time, &words)
    }

    /// Prints what happened to a querier of this machine.
    fn active(&mut self, target: &QuerierInterface, event: ActiveQuerierEvent) -> anyhow::Result<()> {
        let protocol = target.protocol();
        let of = |event, address| Event { address: Some(address), ..Event::new(event, target) };
        let (event, words) = match event {
            ActiveQuerierEvent::Started { address, version } => {
                (of("started", address), format!("sends queries from {address} ({protocol}v{version})"))
            }
            ActiveQuerierEvent::Sent { address, version, group, text } => {
                let event = Event { version: Some(version), group, ..of("query-sent", address) };
                (event, format!("sent {text}"))
            }
            ActiveQuerierEvent::YieldedTo(other) => {
                let words = format!("{protocol} stops sending queries: {other} has a lower address");
                (of("yielded", other), words)
            }
            ActiveQuerierEvent::TookOverFrom(other) => {
                let words = format!("{protocol} sends queries again: {other} has gone silent");
                (of("took-over", other), words)
            }
            ActiveQuerierEvent::Trouble(trouble) => {
                self.console.warn(format_args!("{}: {}", target.name, describe(&trouble, target)));
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.print(&event, SystemTime::now(), &words)
    }

    /// Prints an event: as JSON, or as `words` after the time and the interface.
    fn print(&mut self, event: &Event, time: SystemTime, words: &str) -> anyhow::Result<()> {
        if self.json {
            return self.print_json(event);
        }
        let palette = self.console.palette();
        let (dim, interface) = (palette.dim, palette.interface);
        let by = &event.interface;
        writeln!(self.out, "{dim}{}{dim:#} {interface}{by}{interface:#} {words}", clock_time(time))?;
        Ok(self.out.flush()?)
    }

    fn print_json(&mut self, event: &Event) -> anyhow::Result<()> {
        if self.json {
            write_json(&mut self.out, event)?;
            self.out.flush()?;
        }
        Ok(())
    }
}

fn describe(trouble: &QuerierTrouble, target: &QuerierInterface) -> String {
    let protocol = target.protocol();
    let lacks = match trouble {
        QuerierTrouble::Down => "it is down or gone",
        QuerierTrouble::NoAddress if target.family == Family::V4 => "it has no IPv4 address",
        QuerierTrouble::NoAddress => "it has no usable link-local address yet",
        QuerierTrouble::OlderVersion { querier, version } => {
            return format!(
                "{querier} queries with {protocol}v{version}; all queriers of a network should use the same \
                 version (--older)"
            );
        }
        QuerierTrouble::Unsent(why) => return why.clone(),
        _ => "it does not work",
    };
    format!("{lacks}: no {protocol} queries until that has changed")
}

fn summary(target: &QuerierInterface, state: Option<QuerierState>, queries: u64) -> String {
    let role = match state.map(|state| state.role) {
        Some(Role::Querier) => "was the querier".to_owned(),
        Some(Role::Listener { querier }) => format!("{querier} was the querier"),
        None => "could not send queries".to_owned(),
    };
    let unqueried = match state.map_or(0, |state| state.unqueried_groups) {
        0 => String::new(),
        many => format!("; {many} groups were left faster than queries could be sent"),
    };
    format!("{} {}: {role}, sent {queries} queries{unqueried}", target.name, target.protocol())
}

/// Prints the queriers of each interface. Returns whether one is known wherever one is needed.
fn print_table(
    targets: &[QuerierInterface],
    observed: &[ObservedQuerier],
    bridges: &[Bridge],
    listened: Option<Duration>,
    printer: &mut EventPrinter<'_>,
) -> anyhow::Result<bool> {
    let palette = *printer.console.palette();
    let titles = ["interface", "protocol", "querier", "version", "interval", "expires in", "known from"];
    let mut table = Table::new(&titles, palette.heading);
    let mut is_known_everywhere = true;
    let mut silent = Vec::new();
    for target in targets {
        let known = target.queriers(observed);
        for known in &known {
            printer.print_json(&Event::known(target, known))?;
            table.row(row(target, known));
        }
        let by_bridge = target.bridge_with_querier(bridges);
        if let Some((bridge, querier)) = by_bridge {
            printer.print_json(&Event::of_bridge(target, querier))?;
            table.row(row_of_bridge(target, bridge, querier));
        }
        if known.is_empty() && by_bridge.is_none() {
            printer.print_json(&Event::new("silent", target))?;
            let none = if target.is_used { "none known" } else { "none known, none needed: no address" };
            table.row([
                Cell::new(&target.name).style(palette.interface),
                Cell::new(target.protocol()),
                Cell::new(none).style(if target.is_used { palette.warning } else { palette.dim }),
            ]);
            is_known_everywhere &= !target.is_used;
            silent.extend(target.is_used.then_some(target));
        }
    }
    if !printer.json {
        table.write(&mut printer.out)?;
        printer.out.flush()?;
    }
    if !silent.is_empty() {
        explain(&silent, listened, printer);
    }
    Ok(is_known_everywhere)
}

fn row(target: &QuerierInterface, known: &ObservedQuerier) -> [Cell; 7] {
    let every = match (known.mean_interval, known.query.interval) {
        (Some(observed), Some(announced)) => {
            format!("{} (announced: {})", seconds(observed), whole(announced))
        }
        (Some(observed), None) => seconds(observed),
        (None, Some(announced)) => format!("{} (announced)", whole(announced)),
        (None, None) => "?".into(),
    };
    let querier = match known.address.is_unspecified() {
        true => format!("{} (a snooping switch)", known.address),
        false => known.address.to_string(),
    };
    [
        Cell::new(&target.name),
        Cell::new(target.protocol()),
        Cell::new(querier),
        Cell::new(format!("{}v{}", target.protocol(), known.query.version)),
        Cell::new(every),
        Cell::new(if known.expires.is_zero() { "gone".into() } else { whole(known.expires) }),
        Cell::new("heard"),
    ]
}

fn row_of_bridge(target: &QuerierInterface, bridge: &Bridge, querier: &BridgeQuerier) -> [Cell; 7] {
    let is_itself = querier.expires.is_none();
    let version = match target.family {
        Family::V4 => bridge.igmp_version,
        Family::V6 => bridge.mld_version,
    };
    [
        Cell::new(&target.name),
        Cell::new(target.protocol()),
        Cell::new(match is_itself {
            true => format!("{} (the bridge itself)", querier.address),
            false => querier.address.to_string(),
        }),
        Cell::new(match version.filter(|_| is_itself) {
            Some(version) => format!("{}v{version}", target.protocol()),
            None => "?".into(),
        }),
        Cell::new(bridge.query_interval.filter(|_| is_itself).map_or_else(|| "?".into(), whole)),
        Cell::new(querier.expires.map_or_else(|| "never".into(), whole)),
        Cell::new(format!("bridge {}", bridge.name)),
    ]
}

/// Explains what the absence of queries means.
fn explain(silent: &[&QuerierInterface], listened: Option<Duration>, printer: &EventPrinter<'_>) {
    const BETWEEN_QUERIES: Duration = Duration::from_secs(125);
    const GONE: Duration = Duration::from_secs(255);
    let console = printer.console;
    let names: Vec<_> =
        silent.iter().map(|target| format!("{} on {}", target.protocol(), target.name)).collect();
    let names = names.join(", ");
    match listened {
        None => console.note(format_args!("{names}: only the kernel's bridges could be examined")),
        Some(time) if time < BETWEEN_QUERIES => console.note(format_args!(
            "{names}: no query in {}, which proves nothing: queries are normally 125 s apart. Listen longer \
             (-W 130s), or provoke a query (--provoke)",
            seconds(time)
        )),
        Some(time) if time < GONE => console.note(format_args!(
            "{names}: no query in {}: with default timers one would have arrived. A querier is considered \
             gone after 255 s without a query",
            seconds(time)
        )),
        Some(time) => console.note(format_args!("{names}: no querier; no query in {}", seconds(time))),
    }
    console.note(
        "without a querier, a snooping switch forgets members (after 260 s) and their streams stop: enable \
         the querier of the switch or router, or run: sudo mcast querier --become -i INTERFACE",
    );
}

fn whole(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

/// One object per event. Fields that do not apply to an event are null.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Event {
    /// Event: a query was received (`heard`); with `--become`: the querier started (`begins`), sent a query
    /// (`asked`), stopped because a querier with a lower address is present (`yielded`), or resumed because that
    /// querier fell silent (`took-over`); at the end, for each interface: a known querier (`querier`), a querier
    /// known to a bridge (`bridge`), or no known querier (`silent`)
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["query-received", "started", "query-sent", "yielded", "took-over", "querier", "bridge", "silent"])))]
    event: &'static str,
    /// Time of the event (RFC 3339, UTC, with nanoseconds); for a received query, the kernel's receive time
    time: String,
    /// Name of the interface
    interface: String,
    /// Protocol
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["igmp", "mld"])))]
    protocol: String,
    /// Address of the querier, or own address with `--become`; 0.0.0.0 for a switch that sends queries without
    /// being a router
    address: Option<IpAddr>,
    /// Version of the query: 1 to 3 for IGMP, 1 or 2 for MLD
    version: Option<u8>,
    /// Group of a group-specific query; null for a general query
    group: Option<IpAddr>,
    /// Queries received
    queries: Option<u64>,
    /// Query interval that the querier announces, in seconds; null if it announces none
    interval_seconds: Option<f64>,
    /// Mean time between received general queries, in seconds; null before the second one
    observed_interval_seconds: Option<f64>,
    /// Robustness variable that the querier announces; null if it announces none
    robustness: Option<u8>,
    /// Maximum response time for hosts, in seconds
    max_response_seconds: Option<f64>,
    /// Time until the querier counts as gone without another query, in seconds; null if the bridge itself is the
    /// querier
    expires_seconds: Option<f64>,
}

impl Event {
    fn new(event: &'static str, target: &QuerierInterface) -> Self {
        Self {
            event,
            time: rfc3339(SystemTime::now()),
            interface: target.name.clone(),
            protocol: target.protocol().to_ascii_lowercase(),
            ..Self::default()
        }
    }

    /// Creates the event of a received query.
    fn query(captured: &CapturedQuery<'_>) -> Self {
        let CapturedQuery { target, query, time, .. } = captured;
        Self { time: rfc3339(*time), ..Self::new("query-received", target).with_query(query) }
    }

    /// Creates the event of a querier that a bridge knows.
    fn of_bridge(target: &QuerierInterface, querier: &BridgeQuerier) -> Self {
        Self {
            address: Some(querier.address),
            expires_seconds: querier.expires.map(|expires| expires.as_secs_f64()),
            ..Self::new("bridge", target)
        }
    }

    /// Creates the event of a known querier.
    fn known(target: &QuerierInterface, known: &ObservedQuerier) -> Self {
        Self {
            queries: Some(known.queries),
            observed_interval_seconds: known.mean_interval.map(|interval| interval.as_secs_f64()),
            expires_seconds: Some(known.expires.as_secs_f64()),
            ..Self::new("querier", target).with_query(&known.query)
        }
    }

    fn with_query(self, query: &ObservedQuery) -> Self {
        Self {
            address: Some(query.source),
            version: Some(query.version),
            group: query.group,
            interval_seconds: query.interval.map(|interval| interval.as_secs_f64()),
            robustness: query.robustness,
            max_response_seconds: Some(query.max_response_time.as_secs_f64()),
            ..self
        }
    }
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<Event>("querier-event", "Querier event (`mcast querier --json`)"),
}
