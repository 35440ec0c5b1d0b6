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
use std::str::FromStr;
use std::time::Duration;

use mcast::{Destination, HostAddr, InterfaceSelector};
use mcast_metrics::ExporterAddress;
use mcast_stream::publisher::{Congestion, Fec, PublisherConfig, Quorum};
use mcast_stream::wire::{FlowControl, StreamId};
use mcast_stream::{Publisher, PublisherBuilder};
use mcast_terminal::Console;

#[cfg(feature = "seal")]
use crate::arguments::SigningFile;
use crate::arguments::{
    BroadcastOption, Families, KeyFile, hide, hosts_on_each, parse_duration, parse_positive_size, parse_size,
    parse_stream_name, read_keys, select_destinations,
};
use crate::exit::{Failure, Outcome};
use crate::sending;
use acknowledgements::parse_quorum;
use feed::{LogArguments, StateSource};
use rate::{Correction, StreamRate};
use session::Session;

/// Publish a stream of messages reliably
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_args(|option| hide(option, HIDDEN)))]
pub(crate) struct Arguments {
    /// Where to publish: `GROUP[%INTERFACE]:PORT`, or a URL (`udp://GROUP:PORT`); or, without multicast, a host
    /// (`10.0.0.5:7000`)
    #[arg(value_name = "GROUP:PORT")]
    destination: String,

    /// The messages [default: standard input, one message per line]
    #[arg(value_name = "MESSAGE")]
    messages: Vec<OsString>,

    /// Also publish to this group (redundant path; subscribers keep the first copy) or, without multicast, to these
    /// hosts, with the port of the first one; repeatable
    #[arg(long = "path", value_name = "GROUP:PORT", value_delimiter = ',')]
    paths: Vec<String>,

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

    /// What the messages are: `lines` of standard input, without line ends; `records` from standard input, each a
    /// 4-byte big-endian length, then the message; or the `files` named as arguments [default: the arguments, or else
    /// lines]
    #[arg(long, value_name = "FORM", hide_possible_values = true, help_heading = "What to publish")]
    input: Option<InputForm>,

    /// The first word of a message is its key (see `subscribe --policy latest`)
    #[arg(long, help_heading = "What to publish")]
    keyed: bool,

    #[command(flatten)]
    stream: StreamOptions,

    /// Require that N subscribers, `all` present ones, or those with these names (`subscribe --as NAME`) acknowledge
    /// each message; exit status 1 if one is not acknowledged
    ///
    /// A subscriber acknowledges a message when it has received it, or with `:processed` when it has written it or its
    /// --exec command has succeeded. If a message cannot be acknowledged, because subscribers are absent, evicted or
    /// have lost it, nothing more is published until it can; with `:report`, it is only reported
    #[arg(long, value_name = "N|all|NAME,...[:processed][:report]", value_parser = parse_quorum, help_heading = "How to publish")]
    ack: Option<Quorum>,

    /// Send parity, from which subscribers recover lost datagrams: `off`, `crowd` (only if more than eight subscribers
    /// lose many different datagrams), `auto` (as much as the measured losses require), or K+M (M symbols after each
    /// block of K datagrams, which survives any M losses). A block waits 10 ms, or TIME, to be full: with a longer
    /// time, a slow stream needs less parity, but recovery takes longer
    #[arg(
        long,
        value_name = "off|crowd|auto|K+M[:TIME]",
        default_value = "crowd",
        help_heading = "How to publish"
    )]
    fec: Correction,

    #[command(flatten)]
    log: LogArguments,

    /// Serve Prometheus metrics at http://ADDRESS/metrics, and its health at /live and /ready
    #[arg(long, value_name = "ADDRESS", help_heading = "How to publish")]
    metrics: Option<ExporterAddress>,

    /// Print refusals, and the closing report, as JSON objects on standard output, one per line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum InputForm {
    Lines,
    Records,
    Files,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How to publish")]
struct StreamOptions {
    /// Name of the stream; a restarted publisher with the same name continues the stream [default: a new stream]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Store the stream's incarnation in this file, so that subscribers follow a restart even after the clock was set
    /// back; needs --name or --announce
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Announce the stream under NAME, for `mcast subscribe NAME`; also the name of the stream, unless
    /// --name is given
    #[arg(long, value_name = "NAME", value_parser = parse_stream_name)]
    announce: Option<String>,

    /// Serve snapshots for `mcast subscribe --from snapshot`, on this TCP port or any free one: the content of this
    /// file, or the output of this shell command, when requested; it must cover all messages published before the
    /// request
    #[arg(long, value_name = "[PORT:]FILE|COMMAND", requires = "announce", value_parser = StateSource::parse)]
    snapshot: Option<StateSource>,

    /// Pace evenly: messages per second (`1000pps`), bits per second on the wire (`10Mbit`), or `auto`: the capacity of
    /// the path to the slowest subscriber, fair to other traffic
    ///
    /// With `auto:2Mbit`, a subscriber whose path carries less than 2 Mbit/s is evicted if other paths carry more.
    #[arg(long, value_name = "RATE")]
    rate: Option<StreamRate>,

    /// Size of the retransmission buffer, also for late joiners [default: 8M]
    #[arg(long, value_name = "SIZE", value_parser = parse_history)]
    history: Option<usize>,

    /// Longest datagram, in bytes of UDP payload, for a path with a smaller MTU than the interface [default: the MTU of
    /// the interface]
    #[arg(long, value_name = "SIZE", value_parser = parse_positive_size)]
    datagram: Option<usize>,

    /// Flow control: wait for the `slowest` subscriber, or for `none`; `slowest:keep-rate` and `none:keep-rate` do not
    /// slow down when the network is congested; with `one-way`, subscribers send nothing, and nothing is repaired
    #[arg(long, value_name = "MODE", default_value = "slowest")]
    flow: FlowMode,

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
    /// This includes what they read from the log.
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

/// The value of `--flow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FlowMode {
    control: FlowControl,
    congestion: Congestion,
}

impl FromStr for FlowMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (control, congestion) = match text.strip_suffix(":keep-rate") {
            Some(control) => (control, Congestion::Ignore),
            None => (text, Congestion::Adapt),
        };
        let control = match (control, congestion) {
            ("slowest", _) => FlowControl::Slowest,
            ("none", _) => FlowControl::None,
            // Nobody reports what the network carries.
            ("one-way", Congestion::Adapt) => FlowControl::OneWay,
            _ => return Err("write slowest, none, slowest:keep-rate, none:keep-rate or one-way"),
        };
        Ok(Self { control, congestion })
    }
}

const EXAMPLES: &str = "\
The command ends when all subscribers have received everything. Otherwise it reports those that have
not, with exit status 1: also those that left before the last message, on their own
(`subscribe -c N`) or because of an error. With --flow one-way, it ends when everything is sent, and what subscribers
received is unknown. After Ctrl-C or SIGTERM, it sends repairs for at most 2 s. With
--log, these do not end the stream: the next publisher with the same log continues it, and first sends
what the last one had accepted.

With --broadcast, IPv4 broadcasts replace the group: a PORT on this link, or ADDRESS:PORT with the last address of a subnet.
-4 and -6 select the family of a group that is given by name.

Examples:
  mcast publish 239.255.1.2:7000 hello world                two messages
  tail -f log | mcast publish 239.255.1.2:7000              one message per line
  mcast publish 239.255.1.2:7000 --input files *.json       one message per file
  mcast publish 239.255.1.2:7000 --wait-for 3 ready         start when three have joined
  mcast publish 239.255.1.2:7000 --ack 2 hello              two subscribers must acknowledge it
  mcast publish 239.255.1.2:7000 --fec 20+4 --flow one-way --rate 8Mbit --input files map    without feedback
  mcast publish 239.255.1.2:7000 --rate auto --input files *.iso   as fast as is fair
  mcast publish 239.255.1.2:7000 --announce prices          for `mcast subscribe prices`
  feed | mcast publish 239.255.1.2:7000 --announce prices --log prices-log
                      stored first; continues after a crash
  feed | mcast publish 239.255.1.2:7000 --announce prices --snapshot state.json
                      late joiners start with the state
  mcast publish 239.255.1.2:7000 --key prices.key secret    sealed (see `mcast keys`)
  mcast publish 239.255.1.2:7000 --sign signing.key hello   signed
  mcast publish 239.255.1.1%eth0:7000 --path 239.255.1.2%eth1:7000 twice    on two networks (redundant paths)
  mcast publish 10.0.0.5:7000 --path 10.0.0.6,10.0.0.7 hello   to three hosts, without multicast
  mcast publish --broadcast 7000 -i eth0 hello              to all hosts on the link";

/// The options that the notes describe; scripts and tests use them.
const HIDDEN: &[&str] = &["broadcast", "v4", "v6"];

#[derive(Debug)]
struct PublishPlan<'a> {
    arguments: &'a Arguments,
    builder: PublisherBuilder,
    /// The groups, as they were named.
    destinations: String,
    hop_limit: Option<u8>,
    snapshot: Option<StateSource>,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let messages = feed::read(arguments.messages.clone(), arguments.input)?;
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
        let (more, paths): (Vec<_>, Vec<_>) = self.paths.iter().partition(|text| is_address_of_host(text));
        let texts: Vec<String> = std::iter::once(destination)
            .chain(paths.into_iter().map(String::as_str))
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
        let more = more.into_iter().map(|text| at_port(text, port));
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
        if let Some(quorum) = &self.ack {
            builder = builder.acknowledge(quorum.clone());
        }
        let stream = &self.stream;
        self.check_one_way()?;
        Ok(PublishPlan {
            arguments: self,
            builder: self.fec.apply_to(stream.apply_to(builder, console)?),
            destinations: destinations.join(" and "),
            hop_limit: hop_limit.or_else(|| has_groups.then_some(1)),
            snapshot: stream.snapshot.clone(),
        })
    }

    /// Refuses what needs subscribers that answer.
    fn check_one_way(&self) -> Result<(), Failure> {
        if self.stream.flow.control != FlowControl::OneWay {
            return Ok(());
        }
        if self.fec.fec == Fec::Auto {
            return Err(Failure::usage("--fec auto measures losses, which --flow one-way cannot")
                .remedy("choose the parity, for instance --fec 20+4"));
        }
        let unused = [
            (self.stream.evict_after.is_some(), "--evict-after"),
            (self.stream.wait_for.is_some(), "--wait-for"),
            (self.ack.is_some(), "--ack"),
        ];
        match unused.into_iter().find(|(is_given, _)| *is_given) {
            Some((_, option)) => Err(Failure::usage("with --flow one-way, subscribers send nothing")
                .remedy(format!("remove {option}, or --flow one-way"))),
            None => Ok(()),
        }
    }
}

/// Returns whether it is the address of a host, without a port.
fn is_address_of_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok_and(|address| !address.is_multicast())
}

/// Parses the address of a host, whose port is that of the first destination.
fn at_port(text: &str, port: Option<u16>) -> Result<HostAddr, Failure> {
    let address = text.parse().map_err(|error| Failure::usage(format!("{text}: {error}")))?;
    HostAddr::new(address, port.unwrap_or(0)).map_err(|error| Failure::usage(error.to_string()))
}

impl StreamOptions {
    /// Returns the name from which the stream id is derived. A restarted publisher continues a stream with a name.
    fn own_name(&self) -> Option<&str> {
        self.name.as_deref().or(self.announce.as_deref())
    }

    fn apply_to(&self, builder: PublisherBuilder, console: &Console) -> anyhow::Result<PublisherBuilder> {
        let mut builder = builder.flow(self.flow.control).congestion(self.flow.congestion);
        builder = self.evict_after.into_iter().fold(builder, PublisherBuilder::eviction);
        if let Some(name) = self.own_name() {
            builder = builder.stream(StreamId::named(name));
        }
        builder = self.state.as_ref().into_iter().fold(builder, PublisherBuilder::state_file);
        builder = self.announce.as_ref().into_iter().fold(builder, PublisherBuilder::announce);
        builder = self.history.into_iter().fold(builder, PublisherBuilder::retransmission_buffer);
        builder = self.datagram.into_iter().fold(builder, PublisherBuilder::datagram);
        if let Some(rate) = self.rate {
            builder = rate.apply_to(builder);
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
