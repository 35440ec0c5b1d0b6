//! `mcast top`: shows live streams, their members, and routers.

mod faults;
mod report;
mod screen;
mod text;
mod web;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mcast::interface::Interface;
use mcast::{Group, GroupAddr, InterfaceSelector, Membership};
use mcast_capture::{ErrorKind, PacketFilter};
use mcast_metrics::{Exporter, ExporterAddress};
use mcast_packet::sequence::SequenceField;
use mcast_stream::{DISCOVERY_V4, DISCOVERY_V6};
use mcast_terminal::Console;
use mcast_watch::WatchOptions;
use mcast_watch::live::{
    HeldMemberships, InterfaceFollower, LiveError, LiveFrames, LocalMembersWatcher, Monitor, MonitorOptions,
};

use crate::arguments::{
    FilterOptions, PacketInput, on_each, open_file, parse_host, parse_percent, parse_positive_duration,
    read_targets, read_token,
};
use crate::exit::{Failure, Outcome};
use crate::interrupt::{Interrupt, Service};
use crate::metrics;
use crate::output::count_of;
use crate::screen::can_show_a_screen;
use crate::sys::{self, Capability};
use text::Column;
use web::{ServedPage, WebAddress};

/// Watch live streams: rates, loss, jitter, who joined
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only these streams: a group, a range (`239.255.1.0/24`), a name (`mdns`), or a membership as in
    /// `mcast recv` (`[SOURCE@]GROUP[%INTERFACE]:PORT`) [default: all]
    #[arg(value_name = "MEMBERSHIP")]
    memberships: Vec<String>,

    /// Watch this interface: a name, index or address, `default` or `all`; repeatable
    /// [default: all that are up and can multicast, but not loopback]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    #[command(flatten)]
    input: PacketInput,

    /// Count loss by the sequence number at this offset in each payload, with its size in bytes: 0:4, or 12:2le
    /// (little-endian)
    #[arg(long, value_name = "OFFSET:SIZE")]
    seq: Option<SequenceField>,

    /// Also join the groups on which `mcast publish --announce` announces streams
    #[arg(long, conflicts_with = "read")]
    announced: bool,

    /// How often to update, and the time over which rates are measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,

    /// Stop after TIME; exit status 1 if a MEMBERSHIP was given and nothing arrived for it
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_interval)]
    timeout: Option<Duration>,

    /// Track at most N streams and N members; each takes about 2 KiB
    #[arg(long, value_name = "N", default_value = "4096", value_parser = clap::value_parser!(u32).range(4..=1_000_000))]
    max_streams: u32,

    /// Forget a stream that has been silent for TIME; all streams of a file are shown
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_interval)]
    forget_after: Duration,

    #[command(flatten)]
    show: TopOutput,
}

/// Options for output.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct TopOutput {
    /// Print one table after the time of --timeout or --interval, and stop
    #[arg(long)]
    once: bool,

    /// Print JSON objects at each interval: streams, queriers, routers, members and a summary
    #[arg(long)]
    json: bool,

    /// Serve Prometheus metrics at http://ADDRESS/metrics; without a terminal, print nothing
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["once", "read"])]
    metrics: Option<ExporterAddress>,

    /// Serve a page that shows the network live [default ADDRESS: localhost:9476]
    ///
    /// Its URL is printed; without a terminal, no streams are. At an address that other machines can reach, browsers need the
    /// token in that URL.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = web::DEFAULT_ADDRESS,
        conflicts_with_all = ["once", "read"]
    )]
    web: Option<WebAddress>,

    /// Require the token in the first line of FILE, instead of another one after each start
    #[arg(long, value_name = "FILE", requires = "web")]
    web_token_file: Option<PathBuf>,

    /// Also serve requests for this host name, with the token: that of a reverse proxy in front of the page; repeatable
    #[arg(long, value_name = "NAME", requires = "web", value_parser = parse_host)]
    web_host: Vec<String>,

    /// Sort by this column
    #[arg(long, value_name = "COLUMN", default_value = "bits")]
    sort: Column,

    /// Show these columns (those of --sort), in this order, separated by commas
    /// [default: all that fit; trends only on the screen]
    #[arg(
        long,
        value_name = "COLUMN",
        value_delimiter = ',',
        hide_possible_values = true,
        conflicts_with = "json"
    )]
    columns: Vec<Column>,

    /// Show loss of PERCENT or more in red, less in yellow
    #[arg(long, value_name = "PERCENT", default_value = "1%", value_parser = parse_percent)]
    bad_loss: f64,
}

const EXAMPLES: &str = "\
On a terminal this is a screen: press `?` for key bindings. Otherwise a table is printed at each
interval. top joins nothing on its own. Behind a snooping switch, only joined groups are visible: --join joins them. Unless -i
is given, new interfaces are watched as well.

A fragmented datagram counts once all its fragments have arrived; incomplete ones are counted separately. In a file,
groups inside tunnels and behind labels are shown, too (GRE, ERSPAN, VXLAN, GENEVE, IP in IP, MPLS, PPPoE, SNAP, AMT,
TZSP); frames that cannot be decoded, such as encrypted ones, are counted.

Loss is known for streams that number their datagrams: RTP, MPEG-TS, MoldUDP64, `mcast perf` and
`mcast publish` (with its repairs); for others --seq gives the position of the number. RTP with a
dynamic payload type is recognized on even ports. Jitter is that of RFC 3550 where the payload has a
timestamp, otherwise (marked ~) it is the variation of the intervals between datagrams. Bit rates
count the payload only.

Capturing needs root or CAP_NET_RAW.

Examples:
  mcast top                                    all streams of all interfaces
  mcast top 239.255.0.0/16 -i 127.0.0.1          these groups on the loopback interface
  mcast top --once -W 5                        one table, measured over 5 s
  mcast top --once --json 239.255.1.3:5000     one stream, for a script; exit status 1 if there is none
  mcast top --announced                        also streams that announce themselves
  mcast top --seq 0:4                          count loss by the first 4 bytes of payloads
  mcast top --columns group,bits,loss,loss-trend --bad-loss 0.1%
  mcast top -r capture.pcapng --once           the streams of a capture file
  mcast top --metrics :9477                    for Prometheus
  mcast top --web                              a page at http://localhost:9476/
  mcast top --web=:9476                        the same for other machines, with a token";

/// The capability to create files in folders of other users, which root expects.
const RIGHTS_TO_RECORD: [Capability; 1] = [Capability::DacOverride];

/// What to do, resolved from the arguments.
#[derive(Clone, Copy, Debug)]
struct TopPlan<'a> {
    watch: WatchOptions,
    display: Display,
    /// Whether to stop after one table.
    once: bool,
    timeout: Option<Duration>,
    sort: Column,
    /// The columns to show; none for the default ones.
    columns: &'a [Column],
    /// The loss that is shown as bad, in percent.
    bad_loss: f64,
    /// Whether the frames are read from a file.
    is_file: bool,
}

#[derive(Clone, Copy, Debug)]
struct Watched<'a> {
    monitor: &'a Monitor,
    /// The interfaces of `-i`. By default, interfaces come and go.
    named: &'a [Interface],
}

/// What is served beside the display.
#[derive(Clone, Copy, Debug)]
struct Served<'a> {
    exporter: Option<&'a Exporter>,
    page: Option<&'a ServedPage>,
}

impl Served<'_> {
    /// Returns where it is.
    fn places(&self) -> Vec<String> {
        let metrics =
            self.exporter.map(|exporter| format!("metrics at http://{}/metrics", exporter.address()));
        let page = self.page.map(|page| format!("page at {page}"));
        metrics.into_iter().chain(page).collect()
    }
}

/// How to show the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Display {
    Screen,
    Table,
    Json,
    /// Only as metrics.
    Headless,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let plan = TopPlan::new(arguments)?;
    let filter = arguments.filter(console)?;
    let names_streams = filter.names_groups();
    let mut frames = match &arguments.input.read {
        Some(path) => open_file(path)?.into(),
        None => LiveFrames::capture(&arguments.interfaces).map_err(refused)?,
    };
    let is_headless = plan.display == Display::Headless;
    let named = if arguments.interfaces.is_empty() { Vec::new() } else { frames.interfaces().to_vec() };
    let bound = arguments.show.metrics.as_ref().map(metrics::bind).transpose()?;
    // It examines this machine with the rights of the doctor.
    let token = arguments.show.web_token_file.as_deref().map(|path| read_token(path, console)).transpose()?;
    let TopOutput { web, web_host, .. } = &arguments.show;
    let page = web.as_ref().map(|address| address.bind(web_host, token)).transpose()?;
    let keys = arguments.input.keys(console)?;
    let memberships = arguments.join(console)?;
    // A service with selected interfaces ends when they vanish; the service manager restarts it.
    let follows = !plan.is_file && (!is_headless || named.is_empty());
    let follower = follows.then(|| frames.follower(arguments.interfaces.clone())).transpose();
    if let Err(error) = follower.map_err(Into::into).and_then(|follower| follow(follower, &memberships)) {
        console.warn(format_args!("interfaces that appear later will not be watched: {error}"));
    }
    // Frames may be hostile, so they are parsed without the capabilities that the capture required, and on another
    // thread than the one that inspects processes.
    let kept: &[Capability] = if plan.display == Display::Screen { &RIGHTS_TO_RECORD } else { &[] };
    sys::keep_rights(&[&sys::INSPECT_PROCESSES, kept].concat())?;
    let local_members = (!plan.is_file).then(LocalMembersWatcher::start);
    sys::keep_rights(kept)?;
    let interrupt = Interrupt::catch(|| {})?;
    let service = Service::begin();
    let options =
        MonitorOptions { watch: plan.watch, filter, keys, local_members, discovers: page.is_some() };
    let monitor = Monitor::start(frames, options).context("cannot start the thread that captures")?;
    let exporter = bound
        .map(|bound| {
            let monitor = monitor.clone();
            metrics::start(bound, move || monitor.report(SystemTime::now()).exposition())
        })
        .transpose()?;
    let page = page.map(|page| page.serve(monitor.clone())).transpose()?;
    let served = Served { exporter: exporter.as_ref(), page: page.as_ref() };
    if plan.display != Display::Screen {
        print_start(&monitor, served, console);
    }
    let watched = Watched { monitor: &monitor, named: &named };
    let ran = match plan.display {
        Display::Screen => screen::run(&plan, watched, &interrupt, served, console),
        Display::Headless => report::wait(plan.timeout, watched, &interrupt, service, console).map(|()| None),
        Display::Table | Display::Json => report::run(&plan, watched, &interrupt, console).map(|()| None),
    };
    monitor.stop();
    if monitor.skipped() > 0 {
        let frames = count_of(monitor.skipped(), "frame");
        console.warn(format_args!("skipped {frames}: cannot decode their link layer"));
    }
    if let Some(outcome) = ran?.or_else(|| interrupt.outcome()) {
        return Ok(outcome);
    }
    let is_missing = names_streams && !monitor.has_seen_streams();
    if is_missing {
        console.note("nothing arrived for the selected streams");
    }
    Ok(Outcome::of(!is_missing))
}

impl<'a> TopPlan<'a> {
    fn new(arguments: &'a Arguments) -> Result<Self, Failure> {
        let Arguments { timeout, ref show, .. } = *arguments;
        if arguments.interval < Duration::from_millis(10) {
            return Err(Failure::usage("--interval must be at least 10ms"));
        }
        let is_file = arguments.input.read.is_some();
        let watch = WatchOptions {
            interval: match timeout {
                // A single table shows the rates over the whole time.
                Some(timeout) if show.once => timeout,
                _ => arguments.interval,
            },
            capacity: usize::try_from(arguments.max_streams).unwrap_or(usize::MAX),
            sequence: arguments.seq,
            keep: match is_file {
                // A file is shown as a whole, also what ended early in it.
                true => Duration::MAX,
                false => arguments.forget_after,
            },
            keep_announced: match is_file {
                // An announcement in a file does not expire.
                true => Duration::MAX,
                false => WatchOptions::default().keep_announced,
            },
        };
        let display = match show {
            TopOutput { json: true, .. } => Display::Json,
            TopOutput { once: false, .. } if can_show_a_screen() => Display::Screen,
            TopOutput { metrics: Some(_), .. } | TopOutput { web: Some(_), .. } => Display::Headless,
            _ => Display::Table,
        };
        let TopOutput { once, sort, ref columns, bad_loss, .. } = *show;
        Ok(Self { watch, display, once, timeout, sort, columns, bad_loss, is_file })
    }
}

/// Notes what is watched.
fn print_start(monitor: &Monitor, served: Served<'_>, console: &Console) {
    if let Some(interfaces) = monitor.interfaces() {
        console.note(format_args!("watching {interfaces}"));
    }
    served.places().iter().for_each(|place| console.note(place));
}

/// Parses an interval. Zero would make rates undefined, and very long ones would exceed the range of the clock.
fn parse_interval(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
    match parse_positive_duration(text)? {
        time if time > LONGEST => Err("must be at most a hundred years".into()),
        time => Ok(time),
    }
}

impl Arguments {
    /// Returns whether it prints tables or objects while it watches interfaces.
    pub(crate) fn reports_live(&self) -> bool {
        self.input.read.is_none() && !self.show.once && (self.show.json || !can_show_a_screen())
    }

    /// Joins the groups of `--join` and `--announced`.
    fn join(&self, console: &Console) -> anyhow::Result<Option<Arc<HeldMemberships>>> {
        let Self { input, interfaces, .. } = self;
        let mut memberships = input.memberships(&self.memberships, interfaces, console)?;
        if self.announced {
            let groups = [DISCOVERY_V4, DISCOVERY_V6].into_iter();
            let groups = groups.filter_map(|at| Some(GroupAddr::new(Group::new(at.ip()).ok()?, at.port())));
            let only = input.families.only();
            let groups = groups.filter(|at| only.is_none_or(|family| family == at.group.family()));
            memberships.extend(groups.flat_map(|at| on_each(Membership::new(at), interfaces)));
        }
        if memberships.is_empty() {
            return Ok(None);
        }
        let held = HeldMemberships::join(&memberships, true, true)?;
        held.statuses().iter().for_each(|status| console.detail(status));
        Ok(Some(Arc::new(held)))
    }

    /// Returns the filter of the selected streams.
    fn filter(&self, console: &Console) -> anyhow::Result<PacketFilter> {
        let Self { memberships, interfaces, input, .. } = self;
        let is_file = input.read.is_some();
        let resolve = if is_file { in_file } else { by_name };
        let targets = read_targets(memberships, input.families, console)?;
        let filter =
            FilterOptions::default().filter(&targets, input, |selector, _| Ok(vec![resolve(selector)?]))?;
        if !is_file {
            // A live capture is opened on the selected interfaces.
            return Ok(filter);
        }
        Ok(filter.interfaces(interfaces.iter().map(resolve).collect::<Result<_, _>>()?))
    }
}

/// Returns the name of an interface of this machine: one that is created again has another index.
fn by_name(selector: &InterfaceSelector) -> anyhow::Result<InterfaceSelector> {
    Ok(InterfaceSelector::Name(mcast::interface::find(selector)?.name))
}

/// Returns a selector of an interface in a file.
fn in_file(selector: &InterfaceSelector) -> anyhow::Result<InterfaceSelector> {
    match selector {
        InterfaceSelector::Name(_) | InterfaceSelector::Index(_) => Ok(selector.clone()),
        _ => Err(Failure::usage(format!("\"{selector}\" is not an interface of the capture file"))
            .remedy("name it as the file does, or by its number there, from 1")
            .into()),
    }
}

/// Follows interfaces that appear and vanish, with the memberships, on a thread in the network namespace of this one. It
/// keeps the capability to capture.
fn follow(
    follower: Option<InterfaceFollower>,
    memberships: &Option<Arc<HeldMemberships>>,
) -> anyhow::Result<()> {
    let (Some(follower), memberships) = (follower, memberships.clone()) else { return Ok(()) };
    // A join that fails now may succeed after the next change.
    let refresh = move || drop(memberships.as_ref().map(|memberships| memberships.refresh()));
    let work = move || {
        if sys::keep_rights(&[Capability::NetRaw]).is_ok() {
            follower.run(refresh);
        }
    };
    thread::Builder::new().name("interfaces".into()).spawn(work).context("cannot start a thread")?;
    Ok(())
}

/// Adds a remedy for users who may not capture.
fn refused(error: LiveError) -> anyhow::Error {
    match error {
        LiveError::Capture(denied) if denied.kind() == ErrorKind::Permission => {
            Failure::permission(denied.to_string())
                .remedy(format!(
                    "{}\nWithout it, `mcast recv --discard GROUP:PORT` counts the datagrams of a group, `mcast \
                     groups` shows which processes have joined groups, and `mcast top -r FILE` reads a capture",
                    denied.remedy().unwrap_or_default()
                ))
                .into()
        }
        error => error.into(),
    }
}
