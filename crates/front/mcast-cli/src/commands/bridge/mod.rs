//! `mcast bridge`: keeps a stream in a durable broker, or publishes one from there.

mod bridges;
mod config;
mod engine;
mod figures;
mod reverse;
mod session;
mod surroundings;
mod text;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mcast::InterfaceSelector;
use mcast_bridge::{BridgeConfig, EngineHistory, StreamBridge};
use mcast_metrics::ExporterAddress;
use mcast_stream::seal::Keys;
use mcast_stream::subscriber::Start;
use mcast_stream::wire::StreamId;
use mcast_stream::{HistoryListener, HistoryServer, HistoryServerStatistics, RefusedRequest, Subscriber};
use mcast_terminal::Console;

use crate::arguments::{
    Admission, BroadcastOption, KeyFile, ServedHistoryAt, parse_duration, parse_positive_size,
};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::message_layer::listen_for_history;
use crate::metrics;
use crate::receiving::{StreamPlace, locate_stream, print_hosts};
use bridges::Process;
use engine::AccessOptions;
use session::Session;
use surroundings::Surroundings;

/// Copy a stream into Redis, NATS, Kafka or RabbitMQ, and back
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("v4", |option| option.hide(true)), mut_arg("v6", |option| option.hide(true)))]
pub(crate) struct Arguments {
    /// Where the stream is published: `[SOURCE@]GROUP[%INTERFACE]:PORT`, a URL or a session description;
    /// or the name that its publisher announces; or a broker to publish from; with --datagrams, groups that carry no
    /// stream
    #[arg(value_name = "MEMBERSHIP|NAME", required_unless_present = "config")]
    place: Option<String>,

    /// The word `to`
    #[arg(value_name = "to", value_parser = parse_to, required_unless_present = "config")]
    to: Option<String>,

    /// Where to keep it: `redis://[USER@]HOST[:PORT][/DB][?key=KEY]` [default key: mcast:NAME],
    /// `nats://[USER@]HOST[:PORT][?stream=S]` or
    /// `rabbitmq-stream://[USER@]HOST[:PORT][/VHOST][?stream=S]` [default S: NAME], or
    /// `kafka://[USER@]HOST[:PORT][/TOPIC]` [default topic: NAME], each with more hosts after commas; with TLS,
    /// `rediss`, `tls` (NATS) or `BROKER+tls`; from a broker, `GROUP[%INTERFACE]:PORT` to publish to
    #[arg(value_name = "BROKER", required_unless_present = "config")]
    engine: Option<String>,

    /// Run the bridges in FILE, each `NAME: ARGUMENTS` on a line; SIGHUP rereads it
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_ONE_BRIDGE)]
    config: Option<PathBuf>,

    /// Keep each datagram of the groups, which carry no stream, with its arrival; one bridge at a time per key
    #[arg(long, conflicts_with_all = ["paths", "name", "key", "stay", "hole_wait"])]
    datagrams: bool,

    /// Also receive on this membership (redundant path) and keep the first copy; repeatable
    #[arg(long = "path", value_name = "MEMBERSHIP")]
    paths: Vec<String>,

    /// Join on this interface: a name, index or address [default: all that are up and can multicast]
    #[arg(short, long, value_name = "INTERFACE")]
    interface: Option<InterfaceSelector>,

    #[command(flatten)]
    admission: Admission,

    #[command(flatten)]
    stream: StreamOptions,

    #[command(flatten)]
    keeping: EngineOptions,

    #[command(flatten)]
    access: AccessOptions,

    #[command(flatten)]
    reverse: reverse::ReverseOptions,

    /// Show what the broker holds, and store and publish nothing; exit status 1 if it is not the stream of --name
    #[arg(long, conflicts_with_all = ["timeout", "json", "metrics"])]
    check: bool,

    /// Stop after TIME; exit status 1 if not everything that was received is stored by then
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Print one JSON object per event, and one with the summary
    #[arg(long)]
    json: bool,

    /// Serve Prometheus metrics at http://ADDRESS/metrics, and its health at /live and /ready
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<ExporterAddress>,
}

/// Options of the stream.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which messages")]
struct StreamOptions {
    /// Only the stream with this name [default: the first that is received]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Open sealed streams with the secrets in this file; SIGHUP rereads it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// When the stream has ended, wait for its publisher to start again
    #[arg(long)]
    stay: bool,
}

/// Options of the broker.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Broker")]
struct EngineOptions {
    /// Wait TIME for another bridge before recording that messages are missing
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    hole_wait: Duration,

    /// Use a buffer of SIZE for messages that are not stored yet, and for the latest stored ones, which a broker may lose [default:
    /// 64M]; from a broker, for retransmission, also to late joiners [default: 8M]
    #[arg(long, value_name = "SIZE", value_parser = parse_positive_size)]
    buffer: Option<usize>,

    /// When the broker can never take a message, for instance because it is too large: record a gap and continue, or stop
    #[arg(long, value_name = "ACTION", default_value = "gap")]
    oversize: Oversize,

    /// Store an incarnation of the publisher that is more than an hour ahead of the clock; nothing of an earlier one can be
    /// stored after it
    #[arg(long, hide = true)]
    accept_ahead: bool,

    /// Serve what is stored to subscribers at this TCP address, and announce it, for `mcast subscribe` with `--from` or
    /// `--heal`; port 0 selects a free one. All readers share RATE (at least 8Mbit), so that they do not disturb the
    /// stream [default rate: 512Mbit]
    #[arg(long, value_name = "ADDRESS:PORT[:RATE]")]
    serve_history: Option<ServedHistoryAt>,
}

/// The default size of the buffer into a broker.
const BUFFER: usize = 64 << 20;

impl EngineOptions {
    fn buffer(&self) -> usize {
        self.buffer.unwrap_or(BUFFER)
    }
}

/// What a bridge does about a message that a broker can never take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Oversize {
    /// It records a gap, and continues.
    Gap,
    /// It stores everything before the message, and stops.
    Stop,
}

/// What belongs to one bridge, and is in the file if there is one.
const OF_ONE_BRIDGE: [&str; 10] = [
    "place",
    "datagrams",
    "paths",
    "interface",
    "Admission",
    "StreamOptions",
    "EngineOptions",
    "AccessOptions",
    "ReverseOptions",
    "to",
];

const EXAMPLES: &str = "\
The broker holds each message once and in order, and a record for each gap. Any number of bridges
may keep the same stream at the same time, and each may be killed at any moment: the last record in
the broker is the only state. A bridge starts with the oldest message that the publisher retains,
and continues after what is stored.

From a broker, messages are published with their numbers, and subscribers report a gap in the broker. Of several bridges of one stream, one publishes and the others stand by: after 2 s of
silence one of them takes over, and subscribers miss nothing and deliver nothing twice. The stream
needs a name other than that of the stream in the broker [default: the key].

The command ends when the publisher closes the stream; exit status 1 if it had to record a gap.
While the broker cannot be reached, messages are buffered; when the buffer is full, the publisher
waits for this bridge or evicts it (see `publish --flow`). An incarnation of the publisher that is
more than an hour ahead of the clock is stored only with --accept-ahead, because nothing of an
earlier one can be stored after it. -4 and -6 select the group of a name, as in `mcast recv`.

With --config, each line of the file is a bridge: a name, a colon, and its arguments and options,
quoted as in a shell. Each bridge runs independently; one that fails is restarted after 1 s, later after up to
10 s. Notes, JSON records (`bridge`) and metrics (label `bridge`) contain its name. SIGHUP rereads
the file: bridges with an unchanged line continue; those whose line was removed or changed end once
they have stored their buffer, or after 2 s; new and changed ones start. If a line is invalid, nothing
changes. --check, --timeout, --json and --metrics belong on the command line, not in the file.

Redis: a stream with the entry INCARNATION-(NUMBER + 1) for each message, with the fields `s`
(stream), `t` (when it was received, in milliseconds since 1970), `k` (key, if there is one) and `d`
(the message). Gaps and ends have `kind`, and `first`, `end` and `cause`.

NATS JetStream: a stream with one NATS message per message, with the id (`Nats-Msg-Id`) INCARNATION-NUMBER
and the headers `Mcast-Stream`, `Mcast-Time` and `Mcast-Key`, which have the meaning of the Redis fields. Gaps and ends have `Mcast-Kind`, and `Mcast-First`, `Mcast-End` and
`Mcast-Cause`. If the stream does not exist in NATS, it is created with the subject mcast.STREAM.

RabbitMQ: a stream (plugin rabbitmq_stream) with one AMQP 1.0 message per message, with the
application properties `mcast-stream`, `mcast-incarnation`, `mcast-number`, `mcast-time` and
`mcast-key`. Gaps and ends have `mcast-kind`, and `mcast-first`, `mcast-end` and `mcast-cause`. A
reader skips each record whose `mcast-after` is not the position of the last one that it did not
skip. If the stream does not exist in RabbitMQ, it is created, as is STREAM.bridges for the bridges.

Kafka (in builds with the feature `kafka`; TLS and SCRAM with `kafka-tls`): a topic with one partition and one record per message, with the key INCARNATION-NUMBER and the
headers of NATS in lower case, such as `mcast-stream`. One bridge appends, each batch in a transaction, and the others
stand by. One of them takes over if for 3 s the first one has appended no message that the other holds, or at once if
it has messages that the first one lacks. If the topic does not exist, it is created, as is TOPIC-bridges, in which
bridges record which messages they lack.

With --datagrams, each datagram of a group that carries no stream is a record, numbered from 0 under
an incarnation of this bridge, with the fields `source`, `group`, `interface`, `kernel` (when the
kernel received it, in nanoseconds since 1970), `ttl` and `dscp`, in NATS with the headers
`Mcast-Source`, `Mcast-Group`, `Mcast-Interface`, `Mcast-Kernel-Time`, `Mcast-TTL` and `Mcast-DSCP`.
Datagrams that the kernel dropped are recorded as a gap. The records of two bridges cannot be merged, because
datagrams have no numbers: a key in which another bridge keeps datagrams is refused. From the broker, such records
are sent again as datagrams, at the recorded speed unless --speed is given, and the command ends after the last
one unless --stay is given.

Examples:
  mcast bridge prices to redis://10.0.0.9
  mcast bridge prices to nats://10.0.0.9
  mcast bridge prices to rabbitmq-stream://10.0.0.9
  mcast bridge prices to kafka://10.0.0.9,10.0.0.10/prices
  mcast bridge 239.255.1.2:7000 --name prices to redis://10.0.0.9/2?key=prices --stay
  mcast bridge prices to redis://feeds@10.0.0.9 --password-file /etc/mcast/redis.password
  mcast bridge prices to rediss://10.0.0.9 --tls ca=/etc/mcast/ca.pem
  mcast bridge 239.255.1.1%eth0:7000 to redis://10.0.0.9?key=prices --path 239.255.1.2%eth1:7000
  mcast bridge prices to redis://10.0.0.9 --serve-history 0.0.0.0:7768
  mcast bridge prices to redis://10.0.0.9 --metrics 127.0.0.1:9480 --json
  mcast bridge --config /etc/mcast/bridge-feeds.bridges --check
  mcast bridge redis://10.0.0.9?key=mcast:prices to 239.255.1.3:7000 --announce again --stay
  mcast bridge nats://10.0.0.9?stream=prices to 239.255.1.3:7000 --name again --from 24h --speed 10
  mcast bridge 239.255.1.3:5000 to redis://10.0.0.9?key=sensors --datagrams -i eth0
  mcast bridge redis://10.0.0.9?key=sensors to 239.255.1.4:5000 --from 1h --speed 2";

fn parse_to(word: &str) -> Result<String, String> {
    match word {
        "to" => Ok(word.to_owned()),
        _ => Err(format!("the word `to` is missing before it: mcast bridge STREAM to {word}")),
    }
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match &arguments.config {
        Some(path) => bridges::run(path, arguments, console),
        None if arguments.check => arguments.check().and_then(|()| engine::check(arguments, console)),
        None => run_one(arguments, &Process::default(), console),
    }
}

impl Arguments {
    /// Returns whether it only looks at the broker.
    pub(crate) const fn only_checks(&self) -> bool {
        self.check
    }

    /// Returns what to read from; nothing if that is in a file.
    fn place(&self) -> &str {
        self.place.as_deref().unwrap_or_default()
    }

    /// Returns what to write to; nothing if that is in a file.
    fn engine(&self) -> &str {
        self.engine.as_deref().unwrap_or_default()
    }

    /// Whether a stream is published from a broker.
    fn is_reverse(&self) -> bool {
        mcast_bridge::is_engine_url(self.place())
    }

    /// Refuses options that do not apply to what is bridged.
    fn check(&self) -> anyhow::Result<()> {
        let keeps_a_stream = !self.is_reverse() && !self.datagrams;
        if self.keeping.serve_history.is_some() && !keeps_a_stream {
            return Err(Failure::usage("--serve-history applies only to a stream that is kept in a broker")
                .remedy("remove the option")
                .into());
        }
        if self.is_reverse() && self.datagrams {
            return Err(Failure::usage("--datagrams applies only when storing in a broker")
                .remedy("remove the option: the records in the broker show whether they are datagrams")
                .into());
        }
        match self.reverse.given().filter(|_| !self.is_reverse()) {
            None => Ok(()),
            Some(option) => {
                Err(Failure::usage(format!("{option} applies only when publishing from a broker"))
                    .remedy("remove the option, or name the broker first: mcast bridge BROKER to GROUP:PORT")
                    .into())
            }
        }
    }
}

/// Runs a bridge to its end.
fn run_one(arguments: &Arguments, process: &Process, console: &Console) -> anyhow::Result<Outcome> {
    arguments.check()?;
    if arguments.is_reverse() {
        return reverse::run(arguments, process, console);
    }
    if arguments.datagrams {
        return session::run(arguments, process, console);
    }
    // Before anything that takes time, so that SIGHUP does not end the process meanwhile.
    let key_file = arguments.stream.key.as_deref().map(KeyFile::watch).transpose()?;
    let keys = key_file.as_ref().map(|file| file.read(console)).transpose()?.unwrap_or_default();
    let target = engine::Target::parse(arguments)?;
    let history = arguments.keeping.serve_history;
    let history = history.map(|at| History::bind(at, &target, keys.clone())).transpose()?;
    let bound = arguments.metrics.as_ref().map(metrics::bind).transpose()?;
    let place = StreamPlace {
        place: arguments.place(),
        paths: &arguments.paths,
        interface: arguments.interface.as_ref(),
        broadcast: BroadcastOption { broadcast: false },
        admission: &arguments.admission,
        timeout: arguments.timeout,
        #[cfg(feature = "seal")]
        signed_by: None,
    };
    let (found, ways) = locate_stream(place, &keys, console)?;
    let id =
        arguments.stream.name.as_deref().map(StreamId::named).or_else(|| found.map(|found| found.stream));
    let builder =
        Subscriber::builder().start(Start::Oldest).follow_restarts(arguments.stream.stay).keys(keys);
    let mut builder = ways.add_to(builder);
    if let Some(id) = id {
        builder = builder.stream(id);
    }
    let subscriber = builder.build()?;
    subscriber.receiver().memberships().iter().for_each(|status| console.note(status));
    print_hosts(&ways.hosts, console);
    let waker = subscriber.waker();
    let (description, engine) = (target.description(), target.engine());
    // The machine takes the stream from the subscriber.
    let config = BridgeConfig {
        hole_wait: arguments.keeping.hole_wait,
        buffer: arguments.keeping.buffer(),
        accepts_ahead: arguments.keeping.accept_ahead,
        stops_at_unstorable: arguments.keeping.oversize == Oversize::Stop,
        batch_records: engine.batch_records(),
        ..BridgeConfig::new(StreamId(0), random())
    };
    let bridge = StreamBridge::start(subscriber, engine, config)?;
    let interrupt = || Interrupt::waking(waker);
    let around = Surroundings::new(description, key_file, interrupt, arguments, process, console)?;
    Session::new(bridge, around).serving(history).run(bound)
}

/// Returns a random number.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// The history server of a bridge.
enum History {
    /// The address is taken, and the stream is not known yet.
    Waiting(HistoryListener, EngineHistory, Keys),
    Serving(HistoryServer),
}

impl History {
    /// Listens at this address.
    fn bind(at: ServedHistoryAt, target: &engine::Target, keys: Keys) -> anyhow::Result<Self> {
        let listener = listen_for_history(at)?;
        Ok(Self::Waiting(listener, EngineHistory::new(target.engine()), keys))
    }

    /// Serves and announces the history once the stream is known.
    fn poll(self, bridge: &StreamBridge, console: &Console) -> anyhow::Result<Self> {
        let (listener, history, keys, stream) = match (self, bridge.stream()) {
            (Self::Waiting(listener, history, keys), Some(stream)) => (listener, history, keys, stream),
            (other, _) => return Ok(other),
        };
        let mut server = listener.serve(stream, keys, Box::new(history))?;
        let statuses = bridge.subscriber().map(|subscriber| subscriber.receiver().memberships());
        let statuses = statuses.unwrap_or_default();
        let mut interfaces: Vec<_> =
            statuses.iter().flat_map(|status| &status.interfaces).map(|on| on.index).collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        console.note(format_args!("serving the history at {}", server.address()));
        match interfaces.is_empty() {
            // The stream is sent to hosts.
            true => console.note("the history is not announced: subscribers name it with --history-server"),
            false => server.announce(&interfaces)?,
        }
        Ok(Self::Serving(server))
    }

    /// Returns the address and what the server has done, if it serves.
    fn statistics(&self) -> Option<(SocketAddr, HistoryServerStatistics)> {
        match self {
            Self::Waiting(..) => None,
            Self::Serving(server) => Some((server.address(), server.statistics())),
        }
    }

    /// Whether a subscriber reads it.
    fn is_in_use(&self) -> bool {
        match self {
            Self::Waiting(..) => false,
            Self::Serving(server) => server.is_in_use(),
        }
    }

    /// Returns the next request that was refused and not returned yet.
    fn take_refused(&self) -> Option<RefusedRequest> {
        match self {
            Self::Waiting(..) => None,
            Self::Serving(server) => server.take_refused(),
        }
    }

    fn set_keys(&mut self, new: &Keys) {
        match self {
            Self::Waiting(_, _, keys) => *keys = new.clone(),
            Self::Serving(server) => server.set_keys(new.clone()),
        }
    }
}

/// The schemas of its records, and of the events of the stream, some of which are those of a bridge.
#[cfg(feature = "schema")]
pub(super) fn schemas() -> Vec<mcast_json::RecordSchema> {
    use crate::message_layer::SnapshotRecord;
    use crate::receiving::{EventRecord, FIELDS};
    use bridges::Labelled;
    use mcast_json::RecordSchema;
    use mcast_stream::subscriber::SubscriberEvent;
    use text::{BridgeRecord, KeepingSummary};

    let own = vec![
        RecordSchema::new::<Labelled<'_, BridgeRecord>>(
            "bridge-event",
            "Bridge event (`mcast bridge --json`)",
        )
        .events([
            "connected",
            "disconnected",
            "waiting",
            "other-bridge",
            "gap",
            "superseded",
            "ahead-of-clock",
            "engine-lost",
            "engine-healed",
            "retention",
            "unstorable",
            "serving-history",
            "history-refused",
            "failed",
            "reloaded",
            "not-reloaded",
        ]),
        RecordSchema::new::<Labelled<'_, KeepingSummary>>(
            "bridge-summary",
            "Bridge summary (`mcast bridge --json`)",
        )
        .event("summary")
        .describe("event", "Type of the object"),
        RecordSchema::new::<Labelled<'_, EventRecord>>(
            "stream-event",
            "Stream event (`mcast subscribe --json`)",
        )
        .or::<SnapshotRecord<'_>>()
        .event("snapshot")
        .events(SubscriberEvent::declared().iter().map(|event| event.name).chain(["snapshot"]))
        .fields(&FIELDS)
        .describe("event", "Event")
        .describe("text", "Snapshot: state, if it is valid UTF-8")
        .describe("base64", "Snapshot: state in base64 (RFC 4648, section 4), if it is not valid UTF-8"),
    ];
    [own, reverse::schemas()].concat()
}
