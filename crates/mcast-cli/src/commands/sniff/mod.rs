//! `mcast sniff`: multicast as it crosses the interfaces, whether anybody has joined it or not.

mod beside;
mod fragments;
mod held;
mod listen;
mod object;
mod output;
mod payload;
mod source;
mod streams;
mod tally;

use std::path::PathBuf;

use mcast::InterfaceSelector;

use crate::arguments::{Families, Limits, Narrowing, Wanted, parse_size, read_targets};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::rights;
use held::Held;
use listen::Sniffer;
use source::Source;

/// Show multicast packets as they cross the interfaces
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only these: a group, a range (`239.1.2.0/24`), a name (`mdns`), or whatever `mcast recv` takes,
    /// with port, interface and sources [default: all multicast]
    #[arg(value_name = "GROUP|MEMBERSHIP")]
    targets: Vec<String>,

    /// Capture on this interface: a name, index or address, `default` or `all`; repeatable
    /// [default: all that are up and can multicast, but not loopback]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    /// Only from this source, or with a `!` before it from every other; repeatable
    #[arg(short, long = "source", value_name = "SOURCE", value_delimiter = ',')]
    sources: Vec<String>,

    #[command(flatten)]
    narrowing: Narrowing,

    #[command(flatten)]
    families: Families,

    /// Only what groups are managed with: IGMP, MLD, router discovery and PIM, about the groups named
    #[arg(long)]
    control: bool,

    /// Only datagrams of `mcast publish` and its subscribers, also those to one host: what is asked for and sent again
    #[arg(long, conflicts_with = "control")]
    streams: bool,

    /// Open what is sealed with the secrets in this file, to decode it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Also join what is named, so that switches let it through, and say when it does not come
    #[arg(long, conflicts_with = "read")]
    join: bool,

    /// Leave the interfaces' own filters as they are: only what this machine has joined may come in
    #[arg(long, conflicts_with = "read")]
    no_promiscuous: bool,

    /// Ask for this much buffer an interface [default: 32M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "read")]
    buffer: Option<usize>,

    /// Read packets from this file, pcap or pcapng, instead; `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    read: Option<PathBuf>,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    show: Show,
}

/// What becomes of the packets.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to do with them")]
struct Show {
    /// Write them to this file: pcapng, or pcap if its name ends so; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// Print a line each, also while writing to a file
    #[arg(long, conflicts_with = "discard")]
    print: bool,

    /// Print a line each, and its bytes in hexadecimal and as text
    #[arg(long, conflicts_with_all = ["json", "discard"])]
    hex: bool,

    /// Print one JSON object a packet; with --discard one with the summary
    #[arg(long)]
    json: bool,

    /// Print nothing: count
    #[arg(long)]
    discard: bool,
}

const EXAMPLES: &str = "\
It needs the right to capture: root, or CAP_NET_RAW. It joins nothing by itself, so a switch that
snoops may hold back what nobody here has joined: --join joins it. A line has the time (UTC), the
interface, in or out, the layers, TTL and length; what groups often carry (RTP, MPEG-TS, MoldUDP64,
PTP, mDNS, SSDP, mcast publish, perf and ping) is decoded. -v adds Ethernet addresses and text.
Broadcast is counted beside.

Examples:
  mcast sniff                                     all multicast, until Ctrl-C
  mcast sniff 239.1.2.3 -i eth0 --hex             one group, with its bytes
  mcast sniff --control                           who joins, leaves, asks and routes
  mcast sniff --join 192.0.2.7@232.1.2.3:5000     behind a switch that snoops
  mcast sniff --streams 239.1.2.3                 what a publisher and its subscribers say
  mcast sniff -w all.pcapng                       for Wireshark; prints nothing
  mcast sniff -r all.pcapng mdns --json           from a file, for programs";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    check(arguments)?;
    let targets = read_targets(&arguments.targets, arguments.families, console)?;
    let source = Source::open(arguments, &targets, console)?;
    let wanted = Wanted::new(
        &targets,
        &arguments.narrowing,
        &arguments.sources,
        arguments.families,
        |selector, group| source.places(selector, group),
    )?;
    let held = if arguments.join { Some(Held::join(arguments, &targets, console)?) } else { None };
    let sniffer = Sniffer::new(arguments, source, wanted, held, console)?;
    // Packets come from anybody: they are looked at without the rights that the capture took.
    rights::keep(&[])?;
    let interrupt = Interrupt::catch(|| {})?;
    // Not before: who reads it may interrupt at once, and is to have what came until then.
    sniffer.tell_start();
    sniffer.run(&interrupt)
}

/// What clap cannot say.
fn check(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.join && arguments.targets.is_empty() {
        return Err(Failure::usage("--join needs to know what to join").remedy("name groups or memberships"));
    }
    if arguments.show.writes_to_output() && arguments.show.prints() {
        let failure = Failure::usage("the file and the lines cannot both go to standard output");
        return Err(failure.remedy("write to a file, or print nothing"));
    }
    Ok(())
}

impl Show {
    /// Whether a line or an object is printed for each packet.
    fn prints(&self) -> bool {
        !self.discard && (self.print || self.hex || self.json || self.write.is_none())
    }

    /// Whether nobody sees packets before the file has them, on a system that then has a cheaper way to take them.
    fn only_writes(&self) -> bool {
        cfg!(target_os = "linux") && self.write.is_some() && !self.prints()
    }

    fn writes_to_output(&self) -> bool {
        self.write.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }
}
