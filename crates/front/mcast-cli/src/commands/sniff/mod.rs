//! `mcast sniff`: shows multicast packets on the interfaces, or in a file, whether or not anything has joined the groups.

mod listen;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use listen::Sniffer;
use mcast::{Group, InterfaceIndex, InterfaceSelector, InterfaceStatus, Membership, MembershipStatus};
use mcast_capture::{Capture, CaptureFile, CaptureOptions, ErrorKind, Filter, FrameSource};
use mcast_stream::seal::Keys;
use mcast_stream::wire::MAGIC;
use mcast_terminal::Console;
use mcast_watch::live::{HeldMemberships, LiveError, TrafficMonitor, selected_interfaces};

use crate::arguments::{FilterOptions, Limits, PacketInput, Target, open_file, parse_size, read_targets};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{bytes, count_of, seconds};
use crate::sys;

/// Show multicast packets as they cross the interfaces
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("count", |option| option.help("Stop after N packets")))]
#[command(mut_arg("expect", |option| option.help("Exit status 1 if fewer than N packets arrived; 0 requires none")))]
#[command(mut_arg("max_loss", |option| option.help("Exit status 1 if this host dropped more than PERCENT of the packets, such as 0.1%")))]
pub(crate) struct Arguments {
    /// Only these: a group, a range (`239.255.1.0/24`), a name (`mdns`), or a membership as in `mcast recv`,
    /// with port, interface and sources [default: all multicast]
    #[arg(value_name = "GROUP|MEMBERSHIP")]
    targets: Vec<String>,

    /// Capture on this interface: a name, index or address, `default` or `all`; repeatable
    /// [default: all that are up and can multicast, but not loopback]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    #[command(flatten)]
    input: PacketInput,

    #[command(flatten)]
    narrowing: FilterOptions,

    /// Only multicast control messages: IGMP, MLD, router discovery and PIM, about the groups given
    #[arg(long)]
    control: bool,

    /// Only datagrams of `mcast publish` and its subscribers, including unicast ones: requests and repairs
    #[arg(long, conflicts_with = "control")]
    messages: bool,

    /// Do not put interfaces into promiscuous mode: only groups joined by this machine may be seen
    #[arg(long, conflicts_with = "read")]
    no_promiscuous: bool,

    /// Request a capture buffer of SIZE per interface [default: 32M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "read")]
    buffer: Option<usize>,

    #[command(flatten)]
    pub(super) limits: Limits,

    #[command(flatten)]
    show: SniffOutput,
}

/// What to do with the packets.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct SniffOutput {
    /// Write packets to this file: pcapng, or pcap if its name ends in .pcap; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// Print one line per packet also while writing to a file
    #[arg(long, conflicts_with = "discard")]
    print: bool,

    /// Print each packet also in hexadecimal and as text
    #[arg(long, conflicts_with_all = ["json", "discard"])]
    hexdump: bool,

    /// Print one JSON object per packet; with --discard one with the summary
    #[arg(long)]
    json: bool,

    /// Print nothing, only count
    #[arg(long)]
    discard: bool,
}

const EXAMPLES: &str = "\
Capturing needs root or CAP_NET_RAW. sniff joins nothing on its own: a snooping switch may hold back
groups that no program here has joined; --join joins them, and reports when nothing arrives. A line
has the time (UTC), the interface, the direction, the layers, TTL and length. Common payloads (RTP,
MPEG-TS, MoldUDP64, PTP, mDNS, SSDP, mcast publish, perf and ping) are decoded. -v adds Ethernet
addresses and text. Broadcasts are counted separately.

Examples:
  mcast sniff                                     all multicast, until Ctrl-C
  mcast sniff 239.255.1.3 -i eth0 --hexdump       one group, with its bytes
  mcast sniff --control                           joins, leaves, queries and routers
  mcast sniff --join 192.0.2.7@232.1.2.3:5000     behind a snooping switch
  mcast sniff --messages 239.255.1.3              a publisher and its subscribers
  mcast sniff -w all.pcapng                       for Wireshark; prints nothing
  mcast sniff -r all.pcapng mdns --json           from a file, for programs";

/// What to show, and how, resolved from the arguments.
struct SniffPlan<'a> {
    content: Content,
    is_file: bool,
    keys: Keys,
    limits: &'a Limits,
    write: Option<&'a Path>,
    format: Option<OutputFormat>,
    has_json_summary: bool,
}

/// Which packets to show.
#[derive(Clone, Copy)]
enum Content {
    All,
    /// `--control`.
    Control,
    /// `--messages`.
    Messages,
}

/// How to print each packet.
#[derive(Clone, Copy, Debug)]
enum OutputFormat {
    Line,
    Hex,
    Json,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    arguments.show.check()?;
    let targets = read_targets(&arguments.targets, arguments.input.families, console)?;
    let source = Source::open(arguments, &targets, console)?;
    let resolve = |selector: &InterfaceSelector, group| source.resolve(selector, group);
    let filter = arguments.narrowing.filter(&targets, &arguments.input, resolve)?;
    let filter = filter.interfaces(arguments.file_interfaces());
    let memberships = arguments.input.memberships(&arguments.targets, &arguments.interfaces, console)?;
    let is_joining = arguments.input.join.is_given();
    let join_monitor = is_joining.then(|| JoinMonitor::join(&memberships, console)).transpose()?;
    let plan = SniffPlan::new(arguments, console)?;
    let sniffer = Sniffer::new(&plan, filter, source, join_monitor, console)?;
    // Packets may be hostile, so they are parsed without the capabilities that the capture required.
    sys::keep_rights(&[])?;
    let interrupt = Interrupt::catch(|| {})?;
    // Printed only now: a program that waits for this note may interrupt immediately afterwards.
    sniffer.print_start();
    sniffer.run(interrupt)
}

impl<'a> SniffPlan<'a> {
    fn new(arguments: &'a Arguments, console: &Console) -> anyhow::Result<Self> {
        let Arguments { input, limits, show, .. } = arguments;
        Ok(Self {
            content: match arguments {
                Arguments { control: true, .. } => Content::Control,
                Arguments { messages: true, .. } => Content::Messages,
                _ => Content::All,
            },
            is_file: input.read.is_some(),
            keys: input.keys(console)?,
            limits,
            write: show.write.as_deref(),
            format: show.format(),
            has_json_summary: show.discard && show.json,
        })
    }
}

impl Arguments {
    /// Returns the selected interfaces of a file; an empty list means all. A live capture is opened on the selected
    /// interfaces.
    fn file_interfaces(&self) -> Vec<InterfaceSelector> {
        let is_one = |selector: &InterfaceSelector| {
            matches!(selector, InterfaceSelector::Name(_) | InterfaceSelector::Index(_))
        };
        match self.input.read.is_some() && self.interfaces.iter().all(is_one) {
            true => self.interfaces.clone(),
            false => Vec::new(),
        }
    }
}

impl SniffOutput {
    /// Checks combinations of options that clap cannot check.
    fn check(&self) -> Result<(), Failure> {
        let writes_to_output = self.write.as_ref().is_some_and(|path| path.as_os_str() == "-");
        if writes_to_output && self.prints() {
            let failure = Failure::usage("the file and the lines cannot both go to standard output");
            return Err(failure.remedy("write to a file, or print nothing"));
        }
        Ok(())
    }

    /// Returns how to print each packet; `None` if they are not printed.
    fn format(&self) -> Option<OutputFormat> {
        match self {
            _ if !self.prints() => None,
            Self { json: true, .. } => Some(OutputFormat::Json),
            Self { hexdump: true, .. } => Some(OutputFormat::Hex),
            _ => Some(OutputFormat::Line),
        }
    }

    /// Returns whether a line or an object is printed for each packet.
    fn prints(&self) -> bool {
        !self.discard && (self.print || self.hexdump || self.json || self.write.is_none())
    }

    /// Returns whether packets are only written to a file, on a system that has a cheaper way to capture them then.
    fn only_writes(&self) -> bool {
        cfg!(target_os = "linux") && self.write.is_some() && !self.prints()
    }
}

/// Room for 0.2 s of a fully used gigabit link, because a writer may have to wait for the disk.
const BUFFER: usize = 32 << 20;

/// The source of packets.
#[derive(Debug)]
enum Source {
    Live(Capture),
    File(Box<CaptureFile>),
}

impl Source {
    fn open(arguments: &Arguments, targets: &[Target], console: &Console) -> anyhow::Result<Self> {
        match &arguments.input.read {
            Some(path) => {
                arguments.interfaces.iter().try_for_each(refuse_address)?;
                Ok(Self::File(Box::new(open_file(path)?)))
            }
            None => open_interfaces(arguments, targets, console).map(Self::Live),
        }
    }

    fn frames(&mut self) -> &mut dyn FrameSource {
        match self {
            Self::Live(capture) => capture,
            Self::File(file) => &mut **file,
        }
    }

    /// Notes the skipped frames of a file.
    fn print_note(&self, console: &Console) {
        if let Self::File(file) = self
            && file.statistics().skipped > 0
        {
            let frames = count_of(file.statistics().skipped, "frame");
            console.warn(format_args!("skipped {frames}: cannot decode their link layer"));
        }
    }

    /// Notes that the capture has started.
    fn print_start(&self, console: &Console) {
        if let Self::Live(capture) = self {
            let names: Vec<&str> = capture.interfaces().map(|interface| interface.name).collect();
            console.note(format_args!("capturing on {}", names.join(", ")));
        }
    }

    /// Returns how long a packet may wait in the kernel before it is delivered; `None` if packets do not wait.
    fn longest_wait(&self) -> Option<Duration> {
        match self {
            Self::Live(capture) => capture.is_in_blocks().then_some(CaptureOptions::MAX_BLOCK_DELAY),
            Self::File(_) => None,
        }
    }

    /// Returns the interfaces, by name or index, that a selector means for a group; an empty list means all.
    fn resolve(&self, selector: &InterfaceSelector, group: Group) -> anyhow::Result<Vec<InterfaceSelector>> {
        match self {
            Self::File(_) => {
                refuse_address(selector)?;
                let is_one = matches!(selector, InterfaceSelector::Name(_) | InterfaceSelector::Index(_));
                Ok(if is_one { vec![selector.clone()] } else { Vec::new() })
            }
            Self::Live(_) => {
                let indexes = resolve_selector(selector, Some(group))?;
                Ok(indexes.into_keys().map(InterfaceSelector::Index).collect())
            }
        }
    }
}

/// Opens the capture on the interfaces that options and memberships name, by default on all that can multicast.
fn open_interfaces(arguments: &Arguments, targets: &[Target], console: &Console) -> anyhow::Result<Capture> {
    let mut named = BTreeMap::new();
    for selector in &arguments.interfaces {
        named.extend(resolve_selector(selector, None)?);
    }
    for target in targets {
        if let Target::Membership(membership) = target
            && let Some(selector) = &membership.interface
        {
            named.extend(resolve_selector(selector, Some(membership.address.group))?);
        }
    }
    let is_default = named.is_empty();
    if is_default {
        named = resolve_selector(&InterfaceSelector::All, None)?;
    }
    let capture = open_on(named, is_default, arguments, console)?;
    let granted = capture.buffer_size()?;
    if arguments.buffer.is_some_and(|requested| granted < requested) {
        console.warn(format_args!("the system granted {} of buffer per interface", bytes(granted as u64)));
    }
    if let Some(refusal) = capture.block_error() {
        console.note(format_args!("{refusal}; using a system call per packet instead"));
    }
    Ok(capture)
}

/// Opens the capture. If `may_omit`, interfaces with an unsupported link type are omitted with a note.
fn open_on(
    mut interfaces: BTreeMap<InterfaceIndex, String>,
    may_omit: bool,
    arguments: &Arguments,
    console: &Console,
) -> anyhow::Result<Capture> {
    let filter = match arguments {
        Arguments { control: true, .. } => Filter::Control,
        Arguments { messages: true, .. } => Filter::UdpBeginsWith(MAGIC),
        _ => Filter::GroupAddressed,
    };
    loop {
        // In blocks, frames of several interfaces would not be in order.
        let is_one = interfaces.len() == 1;
        // By name, so that errors contain names.
        let options = CaptureOptions::on_names(interfaces.values())
            .filter(filter)
            .loopback_once(true)
            .promiscuous(!arguments.no_promiscuous)
            .all_multicast(!arguments.no_promiscuous)
            .buffer_size(arguments.buffer.unwrap_or(BUFFER))
            .in_blocks(is_one && arguments.show.only_writes());
        match Capture::open(options) {
            Err(error) if may_omit && !is_one && matches!(error.kind(), ErrorKind::LinkType(_)) => {
                console.warn(format_args!("omitted: {error}"));
                interfaces.retain(|_, name| *name != error.interface());
            }
            opened => return Ok(opened?),
        }
    }
}

/// Returns the interfaces that a selector means, with their names.
fn resolve_selector(
    selector: &InterfaceSelector,
    group: Option<Group>,
) -> Result<BTreeMap<InterfaceIndex, String>, LiveError> {
    let found = selected_interfaces(selector, group)?;
    Ok(found.into_iter().map(|interface| (interface.index, interface.name)).collect())
}

fn refuse_address(selector: &InterfaceSelector) -> Result<(), Failure> {
    match selector {
        InterfaceSelector::Address(_) => {
            let failure = Failure::usage(format!(
                "a capture file does not record which interface had \
                {selector}"
            ));
            Err(failure.remedy("name the interface as the file does, or by its number in it"))
        }
        _ => Ok(()),
    }
}

/// How long to wait for traffic before warning; routers and switches need less.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// The maximum number of groups in a warning.
const MAX_LISTED: usize = 8;

/// Memberships, and whether their traffic has arrived.
#[derive(Debug)]
struct JoinMonitor {
    _held: HeldMemberships,
    since: Instant,
    traffic: TrafficMonitor,
    has_warned: bool,
}

impl JoinMonitor {
    fn join(memberships: &[Membership], console: &Console) -> Result<Self, LiveError> {
        // Routers may ignore the report of a source-specific group without a source, but a switch in between does not.
        let held = HeldMemberships::join(memberships, true, false)?;
        let statuses = held.statuses();
        statuses.iter().take(MAX_LISTED).for_each(|status| console.note(describe(status)));
        let traffic = TrafficMonitor::new(&statuses);
        Ok(Self { _held: held, since: Instant::now(), traffic, has_warned: false })
    }

    /// Returns the time until the warning is due; `None` if none is due.
    fn time_to_warning(&self) -> Option<Duration> {
        let is_due = !self.has_warned && !self.traffic.is_complete();
        is_due.then(|| WARN_AFTER.saturating_sub(self.since.elapsed()))
    }

    /// Warns about joined groups without traffic: once when the warning is due, and at the end.
    fn warn(&mut self, is_end: bool, console: &Console) {
        if self.traffic.is_complete() || (self.has_warned && !is_end) {
            return;
        }
        self.has_warned = true;
        let time = seconds(self.since.elapsed());
        let missing = self.traffic.missing();
        for (group, interface) in missing.iter().take(MAX_LISTED) {
            console.warn(format_args!(
                "{group} is joined on {interface}, but nothing has arrived for it in {time}"
            ));
        }
        if missing.len() > MAX_LISTED {
            console.warn(format_args!("and {} more without traffic", missing.len() - MAX_LISTED));
        }
        console.advise(
            "check that a sender is active with a sufficient TTL, and that a switch on the path has a \
             querier: `mcast doctor` finds the cause",
        );
    }
}

/// Describes a membership without its port, which does not matter.
fn describe(status: &MembershipStatus) -> String {
    let joined = |each: &&InterfaceStatus| each.failure.is_none();
    let names: Vec<&str> = status.interfaces.iter().filter(joined).map(|each| &*each.name).collect();
    match names.as_slice() {
        [] => status.to_string(),
        names => format!("{}: joined on {}", status.membership.address.group, names.join(", ")),
    }
}
