//! `mcast querier`: shows queriers, or acts as one.

mod output;

use std::time::{Duration, Instant};

use mcast::{Bridge, ErrorKind, Family, InterfaceSelector};
use mcast_packet::gmp::querier::QuerierSettings;
use mcast_terminal::Console;
use mcast_watch::live::{ActiveQueriers, QuerierInterface, QuerierListener};

use crate::arguments::{Families, parse_duration};
use crate::exit::{Failure, Outcome};
use crate::interrupt::{Hangup, Interrupt};
use crate::rights::{self, Capability};
use crate::service::Service;
use output::EventPrinter;

/// Show IGMP and MLD queriers, or act as one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
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
started. Queries are normally 125 s apart, and a querier is considered gone after 255 s without one,
so a shorter observation cannot show that there is no querier. What the kernel's bridges know is
shown immediately.

With --become, it sends general queries, and group-specific queries when a host leaves a group. It
stops while a querier with a lower address is active (RFC 3376, RFC 3810), and needs an IPv4 address
for IGMP and a link-local address for MLD. When it ends, memberships expire as they would without
it.

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
            output::print_table(targets, &[], &known_bridges, None, &mut printer)?;
            return Err(error.into());
        }
    };
    rights::keep(&[])?;
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
    let ends_when_known = !arguments.watch && arguments.timeout.is_none();
    while !interrupt.has_arrived() {
        let left = timeout.map_or(POLL_INTERVAL, |timeout| timeout.saturating_sub(listener.elapsed()));
        if left.is_zero() || ends_when_known && listener.is_known(&known_bridges) {
            break;
        }
        match listener.next(left.min(POLL_INTERVAL)) {
            Ok(Some(query)) => printer.query(&query)?,
            Ok(None) => {}
            Err(error) if error.kind() == mcast_capture::ErrorKind::InterfaceDown => console.warn(&error),
            Err(error) => return Err(error.into()),
        }
    }
    // Bridges may have learned of queriers meanwhile.
    let (bridges, listened) = (bridges(console), Some(listener.elapsed()));
    let is_known = output::print_table(targets, &listener.observed(), &bridges, listened, &mut printer)?;
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(is_known)))
}

/// Returns the bridges of this machine; none if the system does not support bridges.
fn bridges(console: &Console) -> Vec<Bridge> {
    match mcast::bridges() {
        Ok(bridges) => bridges,
        Err(error) if error.kind() == ErrorKind::Unsupported => Vec::new(),
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
    let mut queriers = ActiveQueriers::open(targets, settings)?;
    let service = Service::begin();
    // Keeps only the capability to open sockets for interfaces that appear later.
    rights::keep(&[Capability::NetRaw])?;
    let interrupt = Interrupt::catch(|| {})?;
    console.note(format_args!(
        "sending queries every {} s unless a querier with a lower address does; a membership lasts {} s \
         after its last report",
        settings.query_interval().as_secs_f64(),
        settings.group_membership_interval().as_secs_f64()
    ));
    let mut printer = EventPrinter::new(arguments.json, console);
    let ended = serve(&mut queriers, arguments.timeout, &mut printer, &service, &interrupt);
    service.stopping();
    queriers.states().for_each(|(target, state, sent)| console.note(output::summary(target, state, sent)));
    ended?;
    Ok(interrupt.outcome().unwrap_or(Outcome::Yes))
}

/// Runs the queriers until the timeout or Ctrl-C. A hang-up restarts them.
fn serve(
    queriers: &mut ActiveQueriers,
    timeout: Option<Duration>,
    printer: &mut EventPrinter<'_>,
    service: &Service,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let hangup = service.hangups()?;
    queriers.follow()?;
    service.ready(STATUS);
    while !interrupt.has_arrived() {
        let left = timeout.map_or(POLL_INTERVAL, |timeout| timeout.saturating_sub(start.elapsed()));
        if left.is_zero() {
            break;
        }
        print_events(queriers, printer)?;
        if let Some(query) = queriers.receive(left.min(POLL_INTERVAL))? {
            printer.query(&query)?;
        }
        print_events(queriers, printer)?;
        service.alive();
        if hangup.as_ref().is_some_and(Hangup::has_arrived) {
            service.reloading();
            queriers.stop();
            queriers.follow()?;
            service.ready(STATUS);
        }
    }
    Ok(())
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
