//! `mcast sniff`: shows multicast packets on the interfaces, whether or not anything has joined the groups.

mod listen;
mod source;
mod text;

use std::path::{Path, PathBuf};

use mcast::InterfaceSelector;
use mcast_stream::seal::Keys;
use mcast_terminal::Console;

use crate::arguments::{FilterOptions, Limits, PacketInput, parse_size, read_targets};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::rights;
use listen::Sniffer;
use source::{JoinMonitor, Source};

/// Show multicast packets as they cross the interfaces
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("count", |option| option.help("Stop after N packets")))]
#[command(mut_arg("expect", |option| option.help("Exit status 1 if fewer than N packets arrived; with 0, none need to arrive")))]
#[command(mut_arg("max_loss", |option| option.help("Exit status 1 if this host dropped more than PERCENT of the packets, such as 0.1%")))]
pub(crate) struct Arguments {
    /// Only these: a group, a range (`239.1.2.0/24`), a name (`mdns`), or a membership as in `mcast recv`,
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
    limits: Limits,

    #[command(flatten)]
    show: OutputOptions,
}

/// What to do with the packets.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct OutputOptions {
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
  mcast sniff 239.1.2.3 -i eth0 --hexdump         one group, with its bytes
  mcast sniff --control                           joins, leaves, queries and routers
  mcast sniff --join 192.0.2.7@232.1.2.3:5000     behind a snooping switch
  mcast sniff --messages 239.1.2.3                a publisher and its subscribers
  mcast sniff -w all.pcapng                       for Wireshark; prints nothing
  mcast sniff -r all.pcapng mdns --json           from a file, for programs";

/// What to show, and how, resolved from the arguments.
struct Plan<'a> {
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
    let plan = Plan::new(arguments, console)?;
    let sniffer = Sniffer::new(&plan, filter, source, join_monitor, console)?;
    // Packets may be hostile, so they are parsed without the capabilities that the capture required.
    rights::keep(&[])?;
    let interrupt = Interrupt::catch(|| {})?;
    // Printed only now: a program that waits for this note may interrupt immediately afterwards.
    sniffer.print_start();
    sniffer.run(&interrupt)
}

impl<'a> Plan<'a> {
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

impl OutputOptions {
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
