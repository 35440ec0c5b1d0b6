//! `mcast publish`: publishes messages with repair of losses.

mod audience;
mod messages;
mod read_ahead;
mod report;
mod snapshot;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast::{Destination, InterfaceSelector, Rate};
use mcast_stream::publisher::Congestion;
use mcast_stream::wire::{FlowControl, StreamId};
use mcast_stream::{Publisher, StreamError};

use crate::arguments::{
    Families, KeyFile, add_next_key, parse_duration, parse_rate, parse_size, parse_stream_name, read_keys,
    select_destinations, write_new_key,
};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{count_of, seconds};
use crate::sending::MessagePacer;
use audience::Audience;
use messages::{Messages, Next};
use report::Report;
use snapshot::Snapshots;

/// Publish messages that all must arrive
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where to publish: `GROUP[%INTERFACE]:PORT`, or a URL (`udp://GROUP:PORT`)
    #[arg(value_name = "GROUP:PORT", required_unless_present_any = ["new_key", "next_key"])]
    destination: Option<String>,

    /// The messages [default: standard input, one message per line]
    #[arg(value_name = "MESSAGE")]
    messages: Vec<OsString>,

    /// Also publish to this group (redundant path); subscribers keep the first copy; repeatable
    #[arg(long = "path", value_name = "GROUP:PORT")]
    paths: Vec<String>,

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

    /// Print the closing report as a JSON object on standard output
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
#[command(next_help_heading = "How")]
struct StreamOptions {
    /// Name of the stream, which a restarted publisher continues [default: a new stream]
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

    /// Serve snapshots for `mcast subscribe --from snapshot`: the content of this file, or the output of
    /// this shell command, at the time of the request; it must include all that was published until then
    #[arg(long, value_name = "FILE|COMMAND", requires = "announce", value_parser = snapshot::parse)]
    snapshot: Option<String>,

    /// Serve snapshots on this TCP port [default: any free port]
    #[arg(long, value_name = "PORT", requires = "snapshot", value_parser = clap::value_parser!(u16).range(1..))]
    snapshot_port: Option<u16>,

    /// Pace evenly: messages per second (`1000pps`), or bits per second on the wire (`10Mbit`)
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<Rate>,

    /// Size of the retransmission buffer, also for late joiners [default: 8M]
    #[arg(long, value_name = "SIZE", value_parser = parse_history)]
    history: Option<usize>,

    /// When the network cannot carry what is sent: slow down (`on`), or keep the rate (`off`)
    #[arg(long, value_name = "ON|OFF", default_value = "on", hide_possible_values = true)]
    congestion: CongestionControl,

    /// Flow control: wait for the `slowest` subscriber, or for `none`
    #[arg(long, value_name = "MODE", default_value = "slowest", hide_possible_values = true)]
    flow: Flow,

    /// Evict a subscriber that makes no progress for TIME [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    evict_after: Option<Duration>,

    /// Seal with the secrets of this file; SIGHUP reads it again
    #[arg(long, value_name = "FILE", conflicts_with = "new_key")]
    key: Option<PathBuf>,

    /// Create this file with a new secret, and seal with it
    #[arg(long, value_name = "FILE")]
    new_key: Option<PathBuf>,

    /// Add a new secret for the next epoch to this file, and do nothing else
    #[arg(long, value_name = "FILE", exclusive = true)]
    next_key: Option<PathBuf>,

    /// Wait until N subscribers have joined; best-effort subscribers are not counted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    wait_for: Option<u32>,

    /// At the end, wait at most TIME until all subscribers have everything
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    linger: Duration,
}

/// Parses a buffer size. The memory is allocated at once, so it checks that there is enough.
fn parse_history(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text)?;
    match bytes <= MAX_HISTORY && Vec::<u8>::new().try_reserve_exact(bytes).is_ok() {
        true => Ok(bytes),
        false => Err("must be at most 16G and fit into memory".into()),
    }
}

impl StreamOptions {
    /// Returns the name from which the stream id is derived.
    fn own_name(&self) -> Option<&str> {
        self.name.as_deref().or(self.announce.as_deref())
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
It ends when all subscribers have everything, or reports which of them do not: exit status 1.

Examples:
  mcast publish 239.255.1.2:7000 hello world                two messages
  tail -f log | mcast publish 239.255.1.2:7000              one message per line
  mcast publish 239.255.1.2:7000 --files *.json             one message per file
  mcast publish 239.255.1.2:7000 --wait-for 3 ready         start when three have joined
  mcast publish 239.255.1.2:7000 --announce prices          for `mcast subscribe prices`
  feed | mcast publish 239.255.1.2:7000 --announce prices --snapshot state.json
                      late joiners start with the state
  mcast publish --new-key prices.key                        create a secret, for --key on both sides
  mcast publish 239.255.1.2:7000 --key prices.key secret    sealed
  mcast publish 239.1.1.1%eth0:7000 --path 239.1.1.2%eth1:7000 twice    on two networks (redundant paths)";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if let Some(path) = &arguments.stream.new_key {
        write_new_key(path)?;
        console
            .note(format_args!("created {} with a new secret; copy it to all subscribers", path.display()));
    }
    if let Some(path) = &arguments.stream.next_key {
        let epoch = add_next_key(path, console)?;
        console
            .note(format_args!("{}: added epoch {epoch}; give it to all subscribers first", path.display()));
    }
    let Some(destination) = &arguments.destination else { return Ok(Outcome::Yes) };
    let messages = Messages::choose(&arguments.messages, &arguments.content)?;
    let key_file = arguments.stream.key.as_deref().map(KeyFile::watch).transpose()?;
    let (publisher, first) = open(arguments, destination, console)?;
    let publisher = Arc::new(publisher);
    let snapshots = match (&arguments.stream.snapshot, first) {
        (Some(text), Some(first)) => {
            let port = arguments.stream.snapshot_port.unwrap_or(0);
            Some(Snapshots::serve(text, &publisher, &first, port, console)?)
        }
        _ => None,
    };
    let interrupt = Interrupt::catch(|| {})?;
    let audience = Audience::default();
    PublishLoop { arguments, console, publisher, snapshots, interrupt, key_file, audience }.run(messages)
}

/// Opens a publisher; returns also the first of its destinations.
fn open(
    arguments: &Arguments,
    destination: &str,
    console: &Console,
) -> anyhow::Result<(Publisher, Option<Destination>)> {
    let texts: Vec<String> = std::iter::once(destination)
        .chain(arguments.paths.iter().map(String::as_str))
        .map(Into::into)
        .collect();
    let chosen = select_destinations(&texts, arguments.families, console)?;
    if chosen.items.len() > texts.len() {
        return Err(Failure::usage("a stream is published to single groups, not to ranges")
            .remedy("name each group with --path, at most four in total")
            .into());
    }
    let hops = arguments.ttl.or(chosen.hop_limit).unwrap_or(1);
    let mut builder = Publisher::builder().hop_limit(hops).loopback(!arguments.no_loopback);
    let mut first = None;
    for destination in chosen.items {
        let interface = destination.interface.clone().or_else(|| arguments.interface.clone());
        let destination = Destination { interface, ..destination };
        first.get_or_insert_with(|| destination.clone());
        builder = builder.to(destination);
    }
    let stream = &arguments.stream;
    if stream.flow == Flow::None && stream.evict_after.is_some() {
        return Err(Failure::usage("--flow none evicts nobody, so --evict-after has no effect")
            .remedy("remove one of the two options")
            .into());
    }
    builder = builder.flow(match stream.flow {
        Flow::Slowest => FlowControl::Slowest,
        Flow::None => FlowControl::None,
    });
    builder = builder.congestion(match stream.congestion {
        CongestionControl::On => Congestion::Adapt,
        CongestionControl::Off => Congestion::Ignore,
    });
    if let Some(time) = stream.evict_after {
        builder = builder.eviction(time);
    }
    if let Some(name) = stream.own_name() {
        builder = builder.stream(StreamId::named(name));
    }
    if let Some(path) = &stream.state {
        if stream.own_name().is_none() {
            return Err(Failure::usage("--state needs a stream with a name")
                .remedy("add --name NAME or --announce NAME")
                .into());
        }
        builder = builder.state_file(path);
    }
    if let Some(name) = &stream.announce {
        builder = builder.announce(name);
    }
    if let Some(bytes) = stream.history {
        builder = builder.history(bytes);
    }
    if let Some(Rate::Bits(bits)) = stream.rate {
        builder = builder.rate((bits / 8.0).ceil() as u64);
    }
    if let Some(path) = stream.key.as_ref().or(stream.new_key.as_ref()) {
        builder = builder.keys(read_keys(path, console)?);
    }
    let publisher = builder.build()?;
    // The publisher has sent its first heartbeat. Without a working path there is no point in starting.
    if !publisher.is_any_path_up()
        && let Some(error) = publisher.failure()
    {
        return Err(error.into());
    }
    if let Some(behind) = publisher.clock_behind() {
        console.warn(format_args!(
            "the clock of this machine is {} behind the last start of this stream: continuing with incarnation {}, \
             which --state makes greater than the last; set the clock",
            seconds(behind),
            publisher.incarnation()
        ));
    }
    let from = if stream.own_name().is_some() { "" } else { ", new" };
    console.note(format_args!(
        "stream {}{from}, to {}, hop limit {hops}",
        publisher.stream(),
        texts.join(" and ")
    ));
    Ok((publisher, first))
}

struct PublishLoop<'a> {
    arguments: &'a Arguments,
    console: &'a Console,
    publisher: Arc<Publisher>,
    snapshots: Option<Snapshots>,
    interrupt: Interrupt,
    key_file: Option<KeyFile<'a>>,
    audience: Audience,
}

/// Larger buffers would not hold more datagrams.
const MAX_HISTORY: usize = 1 << 34;
/// The longest wait before checking for events.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Messages published before checking for events.
const AT_ONCE: usize = 256;

impl PublishLoop<'_> {
    fn run(mut self, messages: Messages) -> anyhow::Result<Outcome> {
        self.wait_for_receivers();
        let begun = Instant::now();
        let failed = self.publish(messages).err();
        let complete = self.linger(begun);
        self.handle_events();
        let statistics_time = begun.elapsed();
        let Self { arguments, console, publisher, snapshots, interrupt, .. } = self;
        drop(snapshots);
        let stream = publisher.stream();
        // All subscribers have everything, so the closing messages need little time; or the time is over.
        let rest = if complete { Duration::from_secs(2) } else { Duration::ZERO };
        let closing = publisher.close(rest);
        let report = Report::new(stream, &closing, statistics_time);
        report.print(arguments.json, console)?;
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(report.is_complete())))
    }

    fn wait_for_receivers(&mut self) {
        let Some(wanted) = self.arguments.stream.wait_for else { return };
        self.console.note(format_args!("waiting for {} to join", count_of(u64::from(wanted), "subscriber")));
        while !self.interrupt.has_arrived() && !self.publisher.wait_for(wanted as usize, POLL_INTERVAL) {
            self.handle_events();
        }
    }

    fn publish(&mut self, mut messages: Messages) -> anyhow::Result<()> {
        let mut waiting = VecDeque::new();
        let interrupt = self.interrupt.clone();
        let mut due = MessagePacer::new(self.arguments.stream.rate);
        loop {
            self.handle_events();
            if self.interrupt.has_arrived() {
                return Ok(());
            }
            match messages.next(POLL_INTERVAL, AT_ONCE, &mut waiting)? {
                Next::Some => {}
                Next::NoneYet => continue,
                Next::End => return Ok(()),
            }
            while let Some(message) = waiting.pop_front() {
                let meanwhile = || {
                    self.publisher.flush();
                    self.handle_events();
                };
                if !due.wait(&interrupt, meanwhile) {
                    return Ok(());
                }
                self.queue(&message)?;
            }
            self.publisher.flush();
        }
    }

    /// Queues a message. An interrupt ends a wait for subscribers.
    fn queue(&mut self, message: &[u8]) -> anyhow::Result<()> {
        loop {
            let queued = match self.arguments.keyed {
                true => self.publisher.try_queue_keyed(messages::key_of(message), message),
                false => self.publisher.try_queue(message),
            };
            match queued {
                Err(StreamError::Refused(refusal)) if refusal.is_temporary() => {
                    self.handle_events();
                    if self.interrupt.has_arrived() {
                        return Ok(());
                    }
                    self.publisher.wait_for_room(POLL_INTERVAL);
                }
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Waits until the next incarnation has another number: incarnations are numbered by the quarter of a second in
    /// which they start.
    fn outlast_incarnation_number(&self, begun: Instant) {
        if self.arguments.stream.own_name().is_some() {
            self.interrupt.sleep(Duration::from_millis(250).saturating_sub(begun.elapsed()));
        }
    }

    /// Waits until all subscribers have received and read everything, at most for `--linger` after the last datagram
    /// was sent; returns whether they have received it.
    fn linger(&mut self, begun: Instant) -> bool {
        let mut sent = 0;
        let mut deadline = None;
        let is_complete = self.wait_until(|publishing| {
            // The deadline starts after the last datagram, because at a low rate sending may take longer than
            // `--linger`.
            let datagrams = publishing.publisher.statistics().datagrams;
            if deadline.is_none() || datagrams != sent {
                sent = datagrams;
                deadline = Some(Instant::now().checked_add(publishing.arguments.stream.linger));
            }
            (deadline.flatten(), publishing.publisher.wait_complete(POLL_INTERVAL))
        });
        self.outlast_incarnation_number(begun);
        if is_complete {
            self.publisher.end();
            self.wait_until(|publishing| (deadline.flatten(), publishing.publisher.wait_read(POLL_INTERVAL)));
        }
        is_complete
    }

    /// Waits until `check` succeeds or the deadline that it returns has passed.
    fn wait_until(&mut self, mut check: impl FnMut(&Self) -> (Option<Instant>, bool)) -> bool {
        loop {
            let (deadline, is_done) = check(self);
            if is_done {
                return true;
            }
            // The first Ctrl-C ends publishing and waiting; a second one ends the process.
            self.handle_events();
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if is_over || self.interrupt.has_arrived() {
                return false;
            }
        }
    }

    /// Reports events, and rereads the keys after SIGHUP.
    fn handle_events(&mut self) {
        while let Some(event) = self.publisher.event() {
            self.audience.note(&event, self.console);
        }
        while let Some(change) = self.publisher.path_change() {
            report::path_change(&change, self.console);
        }
        while let Some(failure) = self.snapshots.as_ref().and_then(Snapshots::failure) {
            self.console.warn(failure);
        }
        if let Some(keys) = self.key_file.as_ref().and_then(|file| file.reread(self.console)) {
            self.console.note(format_args!("sealing with epoch {} from now on", keys.latest()));
            self.publisher.set_keys(keys);
        }
    }
}
