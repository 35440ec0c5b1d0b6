//! `mcast publish`: publishes messages with repair of losses.

mod acknowledgements;
mod feed;
mod log_hold;
mod rate;
mod refusals;
mod report;
mod session;

#[cfg(feature = "schema")]
pub(super) use report::schemas;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use mcast::{Destination, HostAddr, InterfaceSelector};
use mcast_metrics::ExporterAddress;
use mcast_stream::publisher::{Congestion, PublisherConfig};
use mcast_stream::wire::{FlowControl, StreamId};
use mcast_stream::{Publisher, PublisherBuilder};
use mcast_terminal::Console;

#[cfg(feature = "seal")]
use crate::arguments::SigningFile;
use crate::arguments::{
    BroadcastOption, Families, KeyFile, hosts_on_each, parse_bits, parse_duration, parse_positive_size,
    parse_size, parse_stream_name, read_keys, select_destinations,
};
use crate::exit::{Failure, Outcome};
use crate::sending;
use acknowledgements::AckOptions;
use feed::{LogArguments, StateSource};
use rate::{CorrectionOptions, StreamRate};
use session::Session;

/// Publish a stream of messages reliably
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where to publish: `GROUP[%INTERFACE]:PORT`, or a URL (`udp://GROUP:PORT`); or without multicast a host
    /// (`10.0.0.5:7000`)
    #[arg(value_name = "GROUP:PORT")]
    destination: String,

    /// The messages [default: standard input, one message per line]
    #[arg(value_name = "MESSAGE")]
    messages: Vec<OsString>,

    /// Also publish to this group (redundant path); subscribers keep the first copy; repeatable
    #[arg(long = "path", value_name = "GROUP:PORT")]
    paths: Vec<String>,

    /// Also publish to these hosts, for networks without multicast; the port is that of the first; repeatable
    #[arg(long, value_name = "ADDRESS[:PORT]", value_delimiter = ',')]
    to: Vec<String>,

    #[command(flatten)]
    broadcast: BroadcastOption,

    /// Send on this interface: a name, index or address [default: the route to the group]
    #[arg(short, long, value_name = "INTERFACE")]
    interface: Option<InterfaceSelector>,

    /// How many networks to cross [default: 1, this network]
    #[arg(short, long, value_name = "HOPS")]
    ttl: Option<u8>,

    /// Do not deliver to subscribers on this host
    #[arg(long)]
    no_loopback: bool,

    #[command(flatten)]
    families: Families,

    #[command(flatten)]
    content: Content,

    /// The first word of a message is its key (see `subscribe --policy latest`)
    #[arg(long, help_heading = "What to publish")]
    keyed: bool,

    #[command(flatten)]
    stream: StreamOptions,

    #[command(flatten)]
    acknowledgements: AckOptions,

    #[command(flatten)]
    correction: CorrectionOptions,

    #[command(flatten)]
    log: LogArguments,

    /// Serve Prometheus metrics at http://ADDRESS/metrics, and its health at /live and /ready
    #[arg(long, value_name = "ADDRESS", help_heading = "How to publish")]
    metrics: Option<ExporterAddress>,

    /// Print who was refused, and the closing report, as JSON objects on standard output, one per line
    #[arg(long)]
    json: bool,
}

/// What the messages are.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to publish")]
#[group(multiple = false)]
struct Content {
    /// One message per line of standard input, without the line end [default]
    #[arg(long)]
    lines: bool,

    /// Records from standard input: a 4-byte big-endian length, then the message
    #[arg(long)]
    records: bool,

    /// The arguments are file names, and each file is a message
    #[arg(long)]
    files: bool,
}

/// Options of the stream.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How to publish")]
struct StreamOptions {
    /// Name of the stream; a restarted publisher with the same name continues the stream [default: a new stream]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Keep the incarnation of the stream in this file, so that subscribers follow a restart even after the clock
    /// was set back; needs --name or --announce
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Announce the stream under NAME, for `mcast subscribe NAME`; also the name of the stream, unless
    /// --name is given
    #[arg(long, value_name = "NAME", value_parser = parse_stream_name)]
    announce: Option<String>,

    /// Serve snapshots for `mcast subscribe --from snapshot`: the content of this file, or the output of this shell
    /// command, at the time of the request; it must cover all messages published before the request
    #[arg(long, value_name = "FILE|COMMAND", requires = "announce", value_parser = StateSource::parse)]
    snapshot: Option<StateSource>,

    /// Serve snapshots on this TCP port [default: any free port]
    #[arg(long, value_name = "PORT", requires = "snapshot", value_parser = clap::value_parser!(u16).range(1..))]
    snapshot_port: Option<u16>,

    /// Pace evenly: messages per second (`1000pps`), bits per second on the wire (`10Mbit`), or `auto`: what the path
    /// to the slowest subscriber carries, fair to other traffic
    #[arg(long, value_name = "RATE")]
    rate: Option<StreamRate>,

    /// With --rate auto: evict a subscriber whose path carries less than RATE (`2Mbit`), if those of others carry
    /// more [default: slow down for it]
    #[arg(long, value_name = "RATE", requires = "rate", value_parser = parse_bits)]
    evict_below: Option<u64>,

    /// Size of the retransmission buffer, also for late joiners [default: 8M]
    #[arg(long, value_name = "SIZE", value_parser = parse_history)]
    history: Option<usize>,

    /// Length of the longest datagram in bytes of UDP payload, where a link on the way has a smaller MTU than the interface
    /// [default: what the MTU of the interface admits]
    #[arg(long, value_name = "SIZE", value_parser = parse_positive_size)]
    datagram: Option<usize>,

    /// When the network cannot carry the stream: slow down (`on`), or keep the rate (`off`)
    #[arg(long, value_name = "ON|OFF", default_value = "on", hide_possible_values = true)]
    congestion: CongestionControl,

    /// Flow control: wait for the `slowest` subscriber, or for `none`
    #[arg(long, value_name = "MODE", default_value = "slowest", hide_possible_values = true)]
    flow: Flow,

    /// Evict a subscriber that makes no progress for TIME [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    evict_after: Option<Duration>,

    /// Seal with the secrets in this file, which `mcast keys make` creates; SIGHUP rereads it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Sign with the last signing key in this file, which `mcast keys make --signing` creates; SIGHUP rereads it
    #[cfg(feature = "seal")]
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,

    /// Wait until N subscribers have joined; best-effort subscribers are not counted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=PublisherConfig::MOST_SUBSCRIBERS as i64))]
    wait_for: Option<u32>,

    /// At the end, wait at most TIME until all subscribers have everything
    ///
    /// What they read from the log is included.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    linger: Duration,
}

/// Larger buffers would not hold more datagrams.
const MAX_HISTORY: usize = 1 << 34;

/// Parses a buffer size. The memory is allocated at once, so it checks that there is enough.
fn parse_history(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text)?;
    match bytes <= MAX_HISTORY && Vec::<u8>::new().try_reserve_exact(bytes).is_ok() {
        true => Ok(bytes),
        false => Err("must be at most 16G and fit into memory".into()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CongestionControl {
    /// Slow down
    On,
    /// Send at the rate that was chosen
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Flow {
    /// Wait for the slowest subscriber, as long as it makes progress
    Slowest,
    /// Wait for no subscriber
    None,
}

const EXAMPLES: &str = "\
The command ends when all subscribers have received everything. Otherwise it reports those that have
not, with exit status 1: also those that left before the last message, on their own
(`subscribe -c N`) or because of an error. With --one-way, it ends when everything is sent, and what subscribers
received is unknown. After Ctrl-C or SIGTERM, subscribers get what they still lack, for at most 2 s. With
--log, these do not end the stream: the next publisher with the same log continues it, and first sends
what the last one had accepted.

Examples:
  mcast publish 239.255.1.2:7000 hello world                two messages
  tail -f log | mcast publish 239.255.1.2:7000              one message per line
  mcast publish 239.255.1.2:7000 --files *.json             one message per file
  mcast publish 239.255.1.2:7000 --wait-for 3 ready         start when three have joined
  mcast publish 239.255.1.2:7000 --ack 2 hello              two subscribers must acknowledge it
  mcast publish 239.255.1.2:7000 --fec 20+4 --one-way --rate 8Mbit --files map    without feedback
  mcast publish 239.255.1.2:7000 --rate auto --files *.iso  as fast as is fair
  mcast publish 239.255.1.2:7000 --announce prices          for `mcast subscribe prices`
  feed | mcast publish 239.255.1.2:7000 --announce prices --log prices-log --serve-history 0.0.0.0:0
                      stored first; for `subscribe prices --from oldest`, and after a crash
  feed | mcast publish 239.255.1.2:7000 --announce prices --snapshot state.json
                      late joiners start with the state
  mcast publish 239.255.1.2:7000 --key prices.key secret    sealed (see `mcast keys`)
  mcast publish 239.255.1.2:7000 --sign signing.key hello   signed
  mcast publish 239.1.1.1%eth0:7000 --path 239.1.1.2%eth1:7000 twice    on two networks (redundant paths)
  mcast publish 10.0.0.5:7000 --to 10.0.0.6,10.0.0.7 hello  to three hosts, without multicast
  mcast publish --broadcast 7000 -i eth0 hello              to all hosts on the link";

/// Where and how to publish.
#[derive(Debug)]
struct PublishPlan<'a> {
    arguments: &'a Arguments,
    builder: PublisherBuilder,
    /// The groups, as they were named.
    destinations: String,
    hop_limit: Option<u8>,
    /// The source of snapshots, and the port to serve them on.
    snapshot: Option<(StateSource, u16)>,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let messages = feed::read(arguments.messages.clone(), &arguments.content)?;
    // Before anything that takes time, so that SIGHUP does not end the process meanwhile.
    let key_file = arguments.stream.key.as_deref().map(KeyFile::watch).transpose()?;
    #[cfg(feature = "seal")]
    let signing = arguments.stream.sign.as_deref().map(SigningFile::watch).transpose()?;
    let plan = arguments.plan(&arguments.destination, console)?;
    let session = Session::open(plan, key_file, console)?;
    #[cfg(feature = "seal")]
    let session = session.rereading(signing);
    session.run(&messages)
}

impl Arguments {
    fn plan(&self, destination: &str, console: &Console) -> anyhow::Result<PublishPlan<'_>> {
        let texts: Vec<String> = std::iter::once(destination)
            .chain(self.paths.iter().map(String::as_str))
            .map(Into::into)
            .collect();
        let (hosts, groups) = self.broadcast.split(&texts, self.families)?;
        let chosen = select_destinations(&groups, self.families, console)?;
        if chosen.items.len() > groups.len() {
            return Err(Failure::usage("a stream is published to single groups, not to ranges")
                .remedy("name each group with --path, at most four in total")
                .into());
        }
        let mut names: Vec<&String> = groups.iter().collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::usage(format!("{} is given twice", twice[0]))
                .remedy("name another group or interface for each --path")
                .into());
        }
        let port = hosts
            .first()
            .map(|host| host.port)
            .or_else(|| chosen.items.first().map(|group| group.address.port));
        let more = self.to.iter().map(|text| parse_host(text, port));
        let hosts = hosts.into_iter().map(Ok).chain(more).collect::<Result<Vec<_>, _>>()?;
        sending::print_scope(chosen.items.iter().map(|to| to.address.group), console);
        let has_groups = !chosen.items.is_empty();
        let hop_limit = self.ttl.or(chosen.hop_limit);
        let mut builder =
            Publisher::builder().loopback(!self.no_loopback).broadcast(self.broadcast.broadcast);
        builder = hop_limit.into_iter().fold(builder, PublisherBuilder::hop_limit);
        for destination in chosen.items {
            let interface = destination.interface.clone().or_else(|| self.interface.clone());
            builder = builder.to(Destination { interface, ..destination });
        }
        let destinations: Vec<String> =
            groups.into_iter().chain(hosts.iter().map(HostAddr::to_string)).collect();
        builder = hosts_on_each(hosts, self.interface.as_slice())
            .into_iter()
            .fold(builder, PublisherBuilder::to_host);
        if let Some(quorum) = self.acknowledgements.quorum() {
            builder = builder.acknowledge(quorum);
        }
        let stream = &self.stream;
        Ok(PublishPlan {
            arguments: self,
            builder: self.correction.apply_to(stream.apply_to(builder, console)?)?,
            destinations: destinations.join(" and "),
            hop_limit: hop_limit.or_else(|| has_groups.then_some(1)),
            snapshot: stream.snapshot.clone().map(|source| (source, stream.snapshot_port.unwrap_or(0))),
        })
    }
}

/// Parses `ADDRESS:PORT`, or `ADDRESS` with the port of the first destination.
fn parse_host(text: &str, port: Option<u16>) -> Result<HostAddr, Failure> {
    let with_port = |port: u16| match text.parse::<IpAddr>() {
        Ok(address) => HostAddr::new(address, port).map_err(|error| Failure::usage(error.to_string())),
        Err(_) => text.parse().map_err(|error| Failure::usage(format!("{error}"))),
    };
    with_port(port.unwrap_or(0))
}

impl StreamOptions {
    /// Returns the name from which the stream id is derived. A restarted publisher continues a stream with a name.
    fn own_name(&self) -> Option<&str> {
        self.name.as_deref().or(self.announce.as_deref())
    }

    fn apply_to(&self, builder: PublisherBuilder, console: &Console) -> anyhow::Result<PublisherBuilder> {
        let mut builder = builder
            .flow(match self.flow {
                Flow::Slowest => FlowControl::Slowest,
                Flow::None => FlowControl::None,
            })
            .congestion(match self.congestion {
                CongestionControl::On => Congestion::Adapt,
                CongestionControl::Off => Congestion::Ignore,
            });
        if let Some(time) = self.evict_after {
            builder = builder.eviction(time);
        }
        if let Some(name) = self.own_name() {
            builder = builder.stream(StreamId::named(name));
        }
        if let Some(path) = &self.state {
            builder = builder.state_file(path);
        }
        if let Some(name) = &self.announce {
            builder = builder.announce(name);
        }
        if let Some(bytes) = self.history {
            builder = builder.retransmission_buffer(bytes);
        }
        if let Some(bytes) = self.datagram {
            builder = builder.datagram(bytes);
        }
        if let Some(rate) = self.rate {
            builder = rate.apply_to(builder, self.evict_below)?;
        }
        if let Some(path) = &self.key {
            builder = builder.keys(read_keys(path, console)?);
        }
        #[cfg(feature = "seal")]
        if let Some(path) = &self.sign {
            builder = builder.signing_key(SigningFile::read(path, console)?);
        }
        Ok(builder)
    }
}
