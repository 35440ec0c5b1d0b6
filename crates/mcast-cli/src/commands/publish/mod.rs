//! `mcast publish`: messages that all must arrive.

mod audience;
mod keyed;
mod messages;
mod read_ahead;
mod report;
mod snapshot;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast::{Destination, ErrorKind, InterfaceSelector, Rate};
use mcast_stream::wire::{FlowControl, StreamId};
use mcast_stream::{Publisher, StreamError};

use crate::arguments::{
    Families, chosen_destinations, parse_duration, parse_rate, parse_size, parse_stream_name, read_keys,
    write_new_key,
};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::{Hangup, Interrupt};
use audience::Audience;
use messages::{Messages, Next};
use report::Report;
use snapshot::Snapshots;

/// Publish messages that all must arrive
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where to: `GROUP[%INTERFACE]:PORT`, or a URL (`udp://GROUP:PORT`)
    #[arg(value_name = "GROUP:PORT", required_unless_present = "new_key")]
    destination: Option<String>,

    /// The messages. Without any, standard input is published, a message a line
    #[arg(value_name = "MESSAGE")]
    messages: Vec<OsString>,

    /// Publish to this group, too: who hears several takes what comes first; repeatable
    #[arg(long = "path", value_name = "GROUP:PORT")]
    paths: Vec<String>,

    /// Leave by this interface: a name, index or address [default: the route to the group]
    #[arg(short, long, value_name = "INTERFACE")]
    interface: Option<InterfaceSelector>,

    /// How many networks to cross [default: 1, this network]
    #[arg(short, long, value_name = "HOPS")]
    ttl: Option<u8>,

    /// Keep it from receivers on this host
    #[arg(long)]
    no_loopback: bool,

    #[command(flatten)]
    families: Families,

    #[command(flatten)]
    content: Content,

    /// The first word of a message says what it is about: who wants the latest of each (`subscribe --policy
    /// latest`) goes by that
    #[arg(long, help_heading = "What to publish")]
    keyed: bool,

    #[command(flatten)]
    stream: Stream,

    /// Print the closing report as a JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What is a message.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to publish")]
#[group(multiple = false)]
struct Content {
    /// A message a line of standard input, without its line end [default]
    #[arg(long)]
    lines: bool,

    /// Records of standard input: four bytes of length, the greatest first, then the message
    #[arg(long)]
    records: bool,

    /// The words are names of files, and each file is a message
    #[arg(long)]
    files: bool,
}

/// How.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How")]
struct Stream {
    /// The stream's name: a publisher that starts again goes on with it [default: a new stream]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Tell this name every second, so that `mcast subscribe NAME` finds the stream; it is the stream's
    /// own name, too, unless --name gives another
    #[arg(long, value_name = "NAME", value_parser = parse_stream_name)]
    announce: Option<String>,

    /// For `mcast subscribe --from snapshot`: the state is the content of this file, or else what this shell
    /// command prints, at the time it is asked for; it must have all that was published until then
    #[arg(long, value_name = "FILE|COMMAND", requires = "announce", value_parser = snapshot::parse)]
    snapshot: Option<String>,

    /// Serve snapshots at this TCP port, for a firewall that must know it [default: any that is free]
    #[arg(long, value_name = "PORT", requires = "snapshot", value_parser = clap::value_parser!(u16).range(1..))]
    snapshot_port: Option<u16>,

    /// So many messages a second, evenly (`1000pps`), or so much on the wire (`10Mbit`)
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<Rate>,

    /// Keep so much for repairs and for those who come late [default: 8M]
    #[arg(long, value_name = "SIZE", value_parser = parse_history)]
    history: Option<usize>,

    /// For whom to wait: `slowest` receiver, or `none`
    #[arg(long, value_name = "WHOM", default_value = "slowest", hide_possible_values = true)]
    flow: Flow,

    /// Wait no longer for a receiver that has kept the others waiting for so long without getting on: a
    /// subscriber whose command takes its time, say [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    evict_after: Option<Duration>,

    /// Seal with the secrets of this file; a hang-up (SIGHUP) reads it again
    #[arg(long, value_name = "FILE", conflicts_with = "new_key")]
    key: Option<PathBuf>,

    /// Make this file, with a new secret, and seal with it
    #[arg(long, value_name = "FILE")]
    new_key: Option<PathBuf>,

    /// Begin when so many receivers are there; who asks for no repairs (best-effort) is not seen
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    wait_for: Option<u32>,

    /// At the end, wait for so long at most until all that listen have everything
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    linger: Duration,
}

/// A history that there may be memory for: it is taken at once.
fn parse_history(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text)?;
    match bytes <= MOST_HISTORY && Vec::<u8>::new().try_reserve_exact(bytes).is_ok() {
        true => Ok(bytes),
        false => Err("there is no memory for so much, or it is more than 16G".into()),
    }
}

impl Stream {
    /// What the stream's identity is made of.
    fn own_name(&self) -> Option<&str> {
        self.name.as_deref().or(self.announce.as_deref())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Flow {
    /// For the slowest receiver, as long as it gets on
    Slowest,
    /// For nobody
    None,
}

const EXAMPLES: &str = "\
It ends when all that listen have everything, or says who has not: status 1.

Examples:
  mcast publish 239.255.1.2:7000 hello world                two messages
  tail -f log | mcast publish 239.255.1.2:7000              a message a line
  mcast publish 239.255.1.2:7000 --files *.json             a message a file
  mcast publish 239.255.1.2:7000 --wait-for 3 ready         begin when three listen
  mcast publish 239.255.1.2:7000 --announce prices          for `mcast subscribe prices`
  feed | mcast publish 239.255.1.2:7000 --announce prices --snapshot state.json
                                                            those who come late begin with the state
  mcast publish --new-key prices.key                        a secret, for --key on both sides
  mcast publish 239.255.1.2:7000 --key prices.key secret    sealed
  mcast publish 239.1.1.1%eth0:7000 --path 239.1.1.2%eth1:7000 twice    on two networks";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if let Some(path) = &arguments.stream.new_key {
        write_new_key(path)?;
        console.note(format_args!("{}: a new secret; give it to those who may listen", path.display()));
    }
    let Some(destination) = &arguments.destination else { return Ok(Outcome::Yes) };
    let messages = Messages::choose(&arguments.messages, &arguments.content)?;
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
    let hangup = Hangup::catch()?;
    let audience = Audience::default();
    Publishing { arguments, console, publisher, snapshots, interrupt, hangup, audience }.run(messages)
}

/// A publisher, and the first of its destinations.
fn open(
    arguments: &Arguments,
    destination: &str,
    console: &Console,
) -> anyhow::Result<(Publisher, Option<Destination>)> {
    let texts: Vec<String> = std::iter::once(destination)
        .chain(arguments.paths.iter().map(String::as_str))
        .map(Into::into)
        .collect();
    let chosen = chosen_destinations(&texts, arguments.families, console)?;
    if chosen.items.len() > texts.len() {
        return Err(Failure::usage("a stream goes to single groups, not to ranges")
            .remedy("name each group with --path, four in all at most")
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
        return Err(Failure::usage(
            "--flow none waits for nobody, so that there is nothing to --evict-after",
        )
        .remedy("leave one of them out")
        .into());
    }
    builder = builder.flow(match stream.flow {
        Flow::Slowest => FlowControl::Slowest,
        Flow::None => FlowControl::None,
    });
    if let Some(time) = stream.evict_after {
        builder = builder.eviction(time);
    }
    if let Some(name) = stream.own_name() {
        builder = builder.stream(StreamId::named(name));
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
    // It has spoken already: who has no way out need not begin.
    if let Some(error) = publisher.failure().filter(|error| error.kind() != ErrorKind::QueueFull) {
        return Err(error.into());
    }
    let from = if stream.own_name().is_some() { "" } else { ", new" };
    console.note(format_args!(
        "stream {}{from}, to {}, hop limit {hops}",
        publisher.stream(),
        texts.join(" and ")
    ));
    Ok((publisher, first))
}

struct Publishing<'a> {
    arguments: &'a Arguments,
    console: &'a Console,
    publisher: Arc<Publisher>,
    snapshots: Option<Snapshots>,
    interrupt: Interrupt,
    hangup: Hangup,
    audience: Audience,
}

/// Longer ones hold no more datagrams.
const MOST_HISTORY: usize = 1 << 34;
/// How long to wait before looking around.
const GLANCE: Duration = Duration::from_millis(50);
/// No two messages are farther apart: no clock would tell when the next is due.
const SLOWEST: Duration = Duration::from_secs(365 * 86_400);
/// Messages that are published before looking around.
const AT_ONCE: usize = 256;

impl Publishing<'_> {
    fn run(mut self, messages: Messages) -> anyhow::Result<Outcome> {
        self.wait_for_receivers();
        let begun = Instant::now();
        let failed = self.publish(messages).err();
        let complete = self.wait_until_complete();
        self.look_around()?;
        let statistics_time = begun.elapsed();
        self.outlive_its_number(begun);
        let Self { arguments, console, publisher, snapshots, interrupt, mut audience, .. } = self;
        drop(snapshots);
        let stream = publisher.stream();
        // All who listen have everything, or the time is over: the last word needs little.
        let rest = if complete { Duration::from_secs(2) } else { Duration::ZERO };
        let closing = publisher.close(rest);
        audience.close(&closing);
        let report = Report::new(stream, &closing, &audience, statistics_time);
        report.tell(arguments.json, console)?;
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(audience.all_have_everything())))
    }

    fn wait_for_receivers(&mut self) {
        let Some(wanted) = self.arguments.stream.wait_for else { return };
        self.console.note(format_args!("waiting for {wanted} to listen"));
        while !self.interrupt.has_come() && !self.publisher.wait_for(wanted as usize, GLANCE) {}
    }

    fn publish(&mut self, mut messages: Messages) -> anyhow::Result<()> {
        let mut waiting = VecDeque::new();
        let mut due = Due::new(self.arguments.stream.rate);
        loop {
            self.look_around()?;
            if self.interrupt.has_come() {
                return Ok(());
            }
            match messages.next(GLANCE, AT_ONCE, &mut waiting)? {
                Next::Some => {}
                Next::NoneYet => continue,
                Next::End => return Ok(()),
            }
            while let Some(message) = waiting.pop_front() {
                if !due.wait(&self.interrupt, || self.publisher.flush()) {
                    return Ok(());
                }
                self.queue(&message)?;
            }
            self.publisher.flush();
        }
    }

    /// Queues a message; a wait for receivers ends by an interrupt, too.
    fn queue(&mut self, message: &[u8]) -> anyhow::Result<()> {
        loop {
            let queued = match self.arguments.keyed {
                true => self.publisher.try_queue_keyed(keyed::key_of(message), message),
                false => self.publisher.try_queue(message),
            };
            match queued {
                Err(StreamError::Refused(refusal)) if refusal.is_temporary() => {
                    self.look_around()?;
                    if self.interrupt.has_come() {
                        return Ok(());
                    }
                    self.publisher.wait_for_room(GLANCE);
                }
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// A life is numbered by the quarter of a second that it began in: the next one of the same name must
    /// not begin in the same.
    fn outlive_its_number(&self, begun: Instant) {
        if self.arguments.stream.own_name().is_some() {
            self.interrupt.sleep(Duration::from_millis(250).saturating_sub(begun.elapsed()));
        }
    }

    fn wait_until_complete(&mut self) -> bool {
        let deadline = Instant::now().checked_add(self.arguments.stream.linger);
        loop {
            let left = deadline.map_or(GLANCE, |deadline| deadline.saturating_duration_since(Instant::now()));
            if self.publisher.wait_complete(GLANCE.min(left)) {
                return true;
            }
            // A second Ctrl-C ends the process; the first ends the publishing, and the waiting.
            if left.is_zero() || self.interrupt.has_come() || self.look_around().is_err() {
                return false;
            }
        }
    }

    /// Tells what has happened, and takes new secrets.
    fn look_around(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.publisher.event() {
            self.audience.note(&event, self.console);
        }
        if let Some(error) = self.publisher.failure() {
            self.console.warn(format_args!("{error}: repaired as soon as it can be sent"));
        }
        while let Some(failure) = self.snapshots.as_ref().and_then(Snapshots::failure) {
            self.console.warn(failure);
        }
        if let Some(path) = self.arguments.stream.key.as_ref().filter(|_| self.hangup.has_come()) {
            match read_keys(path, self.console) {
                Ok(keys) => {
                    self.console.note(format_args!("sealing with epoch {} from now on", keys.latest()));
                    self.publisher.set_keys(keys);
                }
                Err(error) => self.console.warn(format_args!("the secrets stay as they were: {error:#}")),
            }
        }
        Ok(())
    }
}

/// When the next message is due, where messages are paced.
pub(super) struct Due {
    each: Option<Duration>,
    next: Instant,
}

impl Due {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        let each = match rate {
            Some(Rate::Datagrams(rate)) => {
                Some(Duration::try_from_secs_f64(1.0 / rate).unwrap_or(SLOWEST).min(SLOWEST))
            }
            _ => None,
        };
        Self { each, next: Instant::now() }
    }

    /// Waits until then, once what is queued was sent; `false` after an interrupt.
    pub(super) fn wait(&mut self, interrupt: &Interrupt, flush: impl FnOnce()) -> bool {
        let Some(each) = self.each else { return true };
        let now = Instant::now();
        if self.next > now {
            flush();
            if interrupt.sleep(self.next - now) {
                return false;
            }
        }
        // Who was held up does not make up for it in a burst.
        self.next = self.next.max(now.checked_sub(Duration::from_millis(100)).unwrap_or(now)) + each;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_next_to_nothing_is_no_rate_that_clocks_cannot_tell() {
        for rate in [f64::MIN_POSITIVE, 1e-30, 1e-10] {
            let mut due = Due::new(Some(Rate::Datagrams(rate)));
            let interrupt = Interrupt::catch(|| {}).unwrap();
            assert!(due.wait(&interrupt, || {}));
            assert!(due.next > Instant::now());
        }
    }
}
