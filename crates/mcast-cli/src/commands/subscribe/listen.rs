//! The loop: hands on what comes, whole buffers at once and the rest whenever it would wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast::Drops;
use mcast_stream::receiver::{Event, Item, Message};
use mcast_stream::wire::Incarnation;
use mcast_stream::wire::StreamId;
use mcast_stream::{Snapshot, Subscriber};

use super::Arguments;
use super::execute::Call;
use super::format::Printer;
use super::outlet::Outlet;
use super::snapshot::Snapshots;
use super::story::{Weight, words};
use crate::arguments::Goal;
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{bits_per_second, bytes, count_of, seconds};

/// How long a wait may be before it is looked whether it is to end.
const GLANCE: Duration = Duration::from_millis(200);

/// Everything that a run of `mcast subscribe` holds.
pub(super) struct Listener<'a> {
    arguments: &'a Arguments,
    console: &'a Console,
    subscriber: Subscriber,
    snapshots: Option<Snapshots>,
    interrupt: Interrupt,
    goal: Goal<'a>,
    printer: Printer,
    outlet: Outlet,
    command: Option<Arc<str>>,
    tally: Tally,
    begun: Instant,
}

#[derive(Debug, Default)]
struct Tally {
    messages: u64,
    bytes: u64,
    lost: u64,
    failed: u64,
    incarnation: Option<u32>,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Enough,
    StreamEnded,
    /// By a loss, as was asked for.
    Stopped,
    TimeOver,
    Interrupted,
}

impl<'a> Listener<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        subscriber: Subscriber,
        snapshots: Option<Snapshots>,
        interrupt: Interrupt,
        begun: Instant,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            goal: Goal::new(&arguments.limits, begun),
            printer: Printer::new(&arguments.show),
            outlet: Outlet::new(console.output(), subscriber.waker())?,
            command: arguments.show.exec.as_deref().map(Arc::from),
            tally: Tally::default(),
            arguments,
            console,
            subscriber,
            snapshots,
            interrupt,
            begun,
        })
    }

    pub(super) fn run(mut self) -> anyhow::Result<Outcome> {
        let end = self.listen();
        // Also when it failed: what came before is printed.
        self.outlet.flush();
        self.wait_while(Outlet::is_busy)?;
        self.tally.failed = self.outlet.failed();
        let end = end?;
        self.summarize();
        if end == End::Interrupted {
            return Ok(self.interrupt.outcome().unwrap_or(Outcome::Yes));
        }
        let mut misses = self.goal.misses(self.tally.messages, Drops::Exactly(0));
        if end == End::StreamEnded
            && self.arguments.limits.expect.is_none()
            && self.arguments.limits.count.is_none()
        {
            // An empty stream that was closed was received whole.
            misses.clear();
        }
        misses.iter().for_each(|miss| self.console.note(miss));
        Ok(Outcome::of(misses.is_empty() && self.tally.lost == 0 && self.tally.failed == 0))
    }

    fn listen(&mut self) -> anyhow::Result<End> {
        let mut wait = Duration::ZERO;
        loop {
            if self.interrupt.has_come() {
                return Ok(End::Interrupted);
            }
            if let Some(error) = self.outlet.error() {
                return Err(error);
            }
            if let Some(snapshot) = self.snapshots.as_mut().and_then(Snapshots::arrived) {
                self.begin_with(snapshot?)?;
                self.wait_while(Outlet::is_full)?;
            }
            // What is there already is taken before anything is flushed.
            let was_waiting = !wait.is_zero();
            let stream = self.subscriber.stream();
            let Some(item) = self.subscriber.next_timeout(wait)? else {
                if self.subscriber.has_stopped() {
                    return Ok(End::Stopped);
                }
                if self.subscriber.has_ended() && !self.arguments.stream.stay {
                    return Ok(End::StreamEnded);
                }
                let left = self.goal.time_left();
                if was_waiting && left.is_some_and(|left| left.is_zero()) {
                    return Ok(End::TimeOver);
                }
                self.outlet.flush();
                wait = left.map_or(GLANCE, |left| left.min(GLANCE)).max(Duration::from_millis(1));
                continue;
            };
            wait = Duration::ZERO;
            match item {
                Item::Message(message) => {
                    self.goal.heard();
                    let stream = stream.unwrap_or(StreamId(0));
                    let out = self.outlet.buffer();
                    self.printer.message(out, stream, self.tally.incarnation, &message)?;
                    self.tally.take(&message);
                    if let Some(command) = &self.command {
                        self.outlet.call(Call::with_message(command, stream, &message));
                    }
                }
                Item::Event(event) => {
                    self.printer.event(self.outlet.buffer(), &event)?;
                    self.tally.note(&event);
                    tell(&event, self.console);
                    if let Event::SnapshotWanted { message } = event {
                        self.want_snapshot(message)?;
                    }
                }
            }
            if self.goal.is_reached(self.tally.messages) {
                return Ok(End::Enough);
            }
            if self.outlet.settle() {
                self.wait_while(Outlet::is_full)?;
            }
            // There may always be another one.
            if self.goal.deadline().is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(End::TimeOver);
            }
        }
    }

    /// Asks for the state as it is behind the messages before this one.
    fn want_snapshot(&mut self, message: u64) -> anyhow::Result<()> {
        let (Some(snapshots), Some(incarnation)) = (&mut self.snapshots, self.tally.incarnation) else {
            return Ok(());
        };
        snapshots.fetch(Incarnation(incarnation), message, self.subscriber.waker())
    }

    /// Hands out the state, and goes on behind it.
    fn begin_with(&mut self, snapshot: Snapshot) -> anyhow::Result<()> {
        self.goal.heard();
        self.printer.snapshot(self.outlet.buffer(), &snapshot)?;
        self.console.note(format_args!(
            "a snapshot of {}, and what follows from message {} on",
            bytes(snapshot.bytes.len() as u64),
            snapshot.message
        ));
        self.subscriber.resume(snapshot.message);
        if let Some(command) = &self.command {
            let stream = self.subscriber.stream().unwrap_or(StreamId(0));
            self.outlet.call(Call::with_snapshot(command, stream, snapshot.message, snapshot.bytes));
        }
        Ok(())
    }

    /// Goes on speaking with the publisher while who reads, or the command, is slower than messages come.
    fn wait_while(&mut self, is_so: impl Fn(&Outlet) -> bool) -> anyhow::Result<()> {
        while is_so(&self.outlet) {
            match self.subscriber.is_over() {
                true => self.outlet.wait(GLANCE),
                false => self.subscriber.attend(GLANCE)?,
            }
        }
        self.outlet.error().map_or(Ok(()), Err)
    }

    /// Why nothing was heard of any stream, although something came.
    fn explain_silence(&self) {
        let came = self.subscriber.receiver().statistics().received;
        if came == 0 {
            return;
        }
        let why = match self.arguments.stream.key {
            Some(_) => "none was sealed with these secrets: see that the publisher has the same --key",
            None => "none belonged to a stream that can be followed: see --key, if it is sealed, and --name",
        };
        self.console.warn(format_args!("{} came, and {why}", count_of(came, "datagram")));
    }

    fn summarize(&self) {
        let Tally { messages, bytes: length, lost, failed, first, last, .. } = self.tally;
        let time = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
        let rate = bits_per_second(length, time).map(|rate| format!(" ({rate})")).unwrap_or_default();
        let statistics = self.subscriber.statistics();
        self.console.note(format_args!(
            "received {}, {} in {}{rate}; lost {}; repaired {}",
            count_of(messages, "message"),
            bytes(length),
            seconds(self.begun.elapsed()),
            count_of(lost, "message"),
            count_of(statistics.repaired, "datagram"),
        ));
        if self.tally.incarnation.is_none() {
            self.explain_silence();
        }
        if failed > 0 {
            self.console.warn(format_args!("{} failed", count_of(failed, "command")));
        }
        let paths = self.subscriber.paths();
        for (number, path) in paths.iter().enumerate().filter(|_| paths.len() > 1) {
            self.console.note(format_args!(
                "  path {}: {}, {} of them first",
                number + 1,
                count_of(path.received, "datagram"),
                path.first
            ));
        }
    }
}

impl Tally {
    fn take(&mut self, message: &Message<'_>) {
        let now = Instant::now();
        self.messages += 1;
        self.bytes += message.bytes.len() as u64;
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    fn note(&mut self, event: &Event) {
        match *event {
            Event::Joined { incarnation, .. } => self.incarnation = Some(incarnation.0),
            Event::Lost { first, end, .. } => self.lost += end.saturating_sub(first),
            _ => {}
        }
    }
}

fn tell(event: &Event, console: &Console) {
    let (weight, text) = words(event);
    match weight {
        Weight::Warning => console.warn(text),
        Weight::Note => console.note(text),
        Weight::Detail => console.detail(text),
    }
}
