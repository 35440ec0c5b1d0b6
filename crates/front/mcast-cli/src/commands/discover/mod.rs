//! `mcast discover`: what announces itself on the networks of this machine.

mod report;
mod screen;
mod selection;
mod text;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::value_parser;
use mcast::InterfaceSelector;
use mcast_terminal::Console;
use mcast_watch::Discovery;
use mcast_watch::discovery::{DiscoveredKind, DiscoveryProtocol};
use mcast_watch::live::{DiscoveryOptions, DiscoverySources, InterfaceFollower};

use crate::arguments::{open_file, parse_positive_duration};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::screen::can_show_a_screen;
use crate::sys::{self, Capability};
use selection::Selection;

/// Show what announces itself: services, devices, clocks, switches
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only entries with this text in the name, type, host or address, or of this kind or protocol (`service`, `dds`);
    /// with --ask and --once, also in the name in a device's description; exit status 1 if there are none
    #[arg(value_name = "NAME|KIND")]
    filters: Vec<String>,

    /// Listen on this interface: a name, index or address, `default` or `all`; repeatable
    /// [default: all that are up and can multicast, but not loopback]
    #[arg(short, long = "interface", value_name = "INTERFACE", conflicts_with = "read")]
    interfaces: Vec<InterfaceSelector>,

    /// Only this kind; repeatable
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',', value_parser = kinds(), hide_possible_values = true)]
    kinds: Vec<DiscoveredKind>,

    /// Only what announces itself by this protocol; repeatable
    #[arg(long = "protocol", value_name = "PROTOCOL", value_delimiter = ',', value_parser = protocols(), hide_possible_values = true)]
    protocols: Vec<DiscoveryProtocol>,

    /// Send queries as well, in protocols that have them (mDNS, SSDP, WS-Discovery, DDS, PTP, CoAP, KNX, Art-Net; LLMNR with
    /// --resolve)
    #[arg(long, conflicts_with = "read")]
    ask: bool,

    /// Also listen to DDS domain N, as in `ROS_DOMAIN_ID`, and query it with `--ask`; repeatable
    /// [default: 0 to 9, and that of the variable ROS_DOMAIN_ID]
    #[arg(long = "domain", value_name = "N", value_delimiter = ',', conflicts_with = "read", value_parser = value_parser!(u8).range(..=232))]
    domains: Vec<u8>,

    /// Also listen to sACN universe N; repeatable [default: only the lists of universes that sources send every 10 s]
    #[arg(long = "universe", value_name = "N", value_delimiter = ',', conflicts_with = "read", value_parser = value_parser!(u16).range(1..=63_999))]
    universes: Vec<u16>,

    /// Only capture: do not join the groups of the protocols, so that no IGMP and MLD reports are sent
    #[arg(long, conflicts_with = "read")]
    no_join: bool,

    /// Read packets from this file, pcap or pcapng, also compressed (.gz); `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    read: Option<PathBuf>,

    /// Query for NAME, and print the addresses and ports at which it can be reached, one per line; exit status 1 if it
    /// is not found in time
    #[arg(long, value_name = "NAME", conflicts_with_all = ["watch", "once"])]
    resolve: Option<String>,

    /// Stop after TIME [default: 10s, with --ask 2s, 7s if only for CoAP, with --resolve 3s; the screen and --watch continue]
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_positive_duration)]
    timeout: Option<Duration>,

    #[command(flatten)]
    show: DiscoverOutput,
}

/// Options for output.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct DiscoverOutput {
    /// Print one table, and stop
    #[arg(long, conflicts_with = "watch")]
    once: bool,

    /// Keep running and report what appears, changes and departs
    #[arg(long)]
    watch: bool,

    /// Print one JSON object per entry, then a summary; with --watch, one per change
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
On a terminal this is a screen: press `?` for key bindings. Otherwise a table is printed.

By default, discover only listens. Some protocols (SAP, LLDP, queriers) announce themselves rarely, so --ask or a
longer -W finds more. As root or with CAP_NET_RAW it captures, which shows all protocols, VLANs and clocks on
Ethernet. Otherwise it receives the joined groups with ordinary sockets, and cannot see LLDP, CDP, IGMP, MLD, PIM,
VRRP, OSPF, AVTP or traffic. It joins the groups of mDNS, LLMNR, SSDP, WS-Discovery, SAP, DDS (domains 0 to 9 and
that of ROS_DOMAIN_ID), PTP, sACN, CoAP, KNX, HSRP and `mcast publish --announce`, so that switches forward them.
On a trunk, it captures all VLANs but sends queries untagged: to query a VLAN, name its interface (-i eth0.20).

Kinds: service, host, device, session, participant, endpoint, clock, universe, neighbor, querier,
router, stream, relay, group. Protocols: mdns, llmnr, ssdp, ws-discovery, sap, dds, ptp, ptpv1, sacn,
artnet, coap, knx, lldp, cdp, igmp, mld, pim, vrrp, hsrp, ospf, avtp, mcast, traffic.

Groups with traffic or members are shown only on request (`mcast discover group`), because every host has joined some.
Those that only discover itself has joined are omitted.

Any host can announce anything. Names and texts are escaped. An entry is removed when it expires or says goodbye. -v
shows everything that was announced. With --ask and --once, -v and NAME also read the descriptions of devices (UPnP,
WS-Discovery), with their friendly and computer names. They are fetched from the announcing addresses, in at most 5 s.

Examples:
  mcast discover                               a live list of everything
  mcast discover --ask --once                  one table after two seconds
  mcast discover _ipp._tcp _ipps._tcp --ask    printers
  mcast discover neighbor -v                   the switch and port of each interface (LLDP, CDP)
  mcast discover clock participant -i eth0     clocks and DDS participants on one interface
  mcast discover participant --domain 42       ROS nodes that have ROS_DOMAIN_ID=42
  mcast discover group                         groups with traffic or members
  mcast discover --watch --json                what appears, changes and departs, for programs
  mcast discover --resolve 'Office printer'    10.0.0.7:631
  mcast discover -r capture.pcapng             what announces itself in a capture file";

/// What to do, resolved from the arguments.
#[derive(Debug)]
struct DiscoverPlan<'a> {
    selection: Selection,
    resolve: Option<&'a str>,
    display: Display,
    timeout: Option<Duration>,
    asks: bool,
    is_file: bool,
}

/// How to show the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Display {
    Screen,
    /// A table or objects, at the end.
    Once {
        json: bool,
    },
    /// The changes.
    Watch {
        json: bool,
    },
}

/// How long answers may take: most responders wait at most half a second, and SSDP as long as the question allows.
const ANSWERS: Duration = Duration::from_secs(2);
/// Servers of CoAP may wait for 5 s (RFC 7252 section 8.2), and the question is repeated after a second.
const LEISURE: Duration = Duration::from_secs(7);
/// How long to wait for one name; its question is repeated after a second.
const ONE_ANSWER: Duration = Duration::from_secs(3);
/// How long to listen: protocols that announce every second or every few seconds are seen.
const LISTENING: Duration = Duration::from_secs(10);

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let plan = DiscoverPlan::new(arguments);
    if let Some(domain) =
        std::env::var_os("ROS_DOMAIN_ID").filter(|domain| !domain.is_empty() && !plan.is_file)
        && !domain.to_str().is_some_and(|domain| domain.trim().parse().is_ok_and(|domain: u8| domain <= 232))
    {
        console.warn("ROS_DOMAIN_ID is ignored: it is not a DDS domain, 0 to 232");
    }
    let mut sources = match &arguments.read {
        Some(path) => open_file(path)?.into(),
        None => DiscoverySources::open(&plan.options(arguments))?,
    };
    let follower = sources.follower(arguments.interfaces.clone());
    if let Err(error) = follower.map_err(Into::into).and_then(follow) {
        console.warn(format_args!("interfaces that appear later will not be watched: {error}"));
    }
    // What announces itself may be hostile, so it is read without the capabilities that the capture required.
    sys::keep_rights(&[])?;
    let interrupt = Interrupt::catch(|| {})?;
    let start = Instant::now();
    let discovery = Discovery::start(sources)?;
    match plan.display {
        Display::Screen => screen::run(&plan, &discovery, &interrupt, console),
        _ => report::run(&plan, &discovery, interrupt, start, console),
    }
}

impl<'a> DiscoverPlan<'a> {
    fn new(arguments: &'a Arguments) -> Self {
        let Arguments { filters, kinds, protocols, show, .. } = arguments;
        let resolve = arguments.resolve.as_deref();
        let is_file = arguments.read.is_some();
        let DiscoverOutput { once, watch, json } = *show;
        let display = match () {
            () if watch => Display::Watch { json },
            () if once || json || is_file || resolve.is_some() || !can_show_a_screen() => {
                Display::Once { json }
            }
            () => Display::Screen,
        };
        let asks = (arguments.ask || resolve.is_some()) && !is_file;
        let selection = Selection::new(filters, kinds, protocols);
        let waits = match display {
            _ if is_file => None,
            Display::Once { .. } if resolve.is_some() => Some(ONE_ANSWER),
            Display::Once { .. } if asks && selection.is_only_of(&[DiscoveryProtocol::Coap]) => Some(LEISURE),
            Display::Once { .. } if asks => Some(ANSWERS),
            Display::Once { .. } => Some(LISTENING),
            Display::Screen | Display::Watch { .. } => None,
        };
        Self { selection, resolve, display, timeout: arguments.timeout.or(waits), asks, is_file }
    }

    fn options(&self, arguments: &Arguments) -> DiscoveryOptions {
        let mut options = DiscoveryOptions {
            interfaces: arguments.interfaces.clone(),
            ask: self.asks,
            name: self.resolve.map(str::to_owned).or_else(|| self.selection.service_type()),
            join: !arguments.no_join,
            protocols: self.selection.protocols().to_vec(),
            universes: arguments.universes.clone(),
            ..DiscoveryOptions::default()
        };
        options.domains.extend(&arguments.domains);
        options
    }
}

impl Arguments {
    /// Returns whether it reports changes while it runs.
    pub(crate) const fn reports_live(&self) -> bool {
        self.show.watch && self.read.is_none()
    }
}

/// Follows interfaces that appear and vanish, on a thread that keeps the capability to capture.
fn follow(follower: Option<InterfaceFollower>) -> anyhow::Result<()> {
    let Some(follower) = follower else { return Ok(()) };
    let work = move || {
        if sys::keep_rights(&[Capability::NetRaw]).is_ok() {
            follower.run(|| {});
        }
    };
    thread::Builder::new().name("interfaces".into()).spawn(work).context("cannot start a thread")?;
    Ok(())
}

fn kinds() -> impl TypedValueParser<Value = DiscoveredKind> {
    let names = PossibleValuesParser::new(DiscoveredKind::ALL.map(DiscoveredKind::name));
    names.try_map(|name| Selection::kind(&name).ok_or("is not a kind"))
}

fn protocols() -> impl TypedValueParser<Value = DiscoveryProtocol> {
    let names = PossibleValuesParser::new(DiscoveryProtocol::ALL.map(DiscoveryProtocol::name));
    names.try_map(|name| Selection::protocol(&name).ok_or("is not a protocol"))
}

/// The schemas of its records.
#[cfg(feature = "schema")]
pub(super) fn schemas() -> Vec<mcast_json::RecordSchema> {
    mcast_watch::live::discovery_schemas()
}
