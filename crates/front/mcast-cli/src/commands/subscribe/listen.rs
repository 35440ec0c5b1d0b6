//! Delivers messages, whole buffers at once and the rest before it blocks.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast::Drops;
use mcast_metrics::{EventReport, EventSeverity};
use mcast_stream::subscriber::{Cause, Item, Message, SubscriberEvent};
use mcast_stream::wire::{MessageNumber, StreamId};
use mcast_stream::{Snapshot, SnapshotFetcher, StreamError, Subscriber};
use mcast_terminal::Console;

use super::SubscribePlan;
use super::output_worker::{MessagePrinter, OutputWorker, Processing, SubscribeSummary, Tally, Unfinished};
use super::policy::ResumeFile;
#[cfg(feature = "seal")]
use crate::arguments::PublicKeys;
use crate::arguments::{Goal, KeyFile, Limits};
use crate::execute::Call;
use crate::exit::{self, Failure, Outcome};
use crate::interrupt::{Interrupt, Service};
use crate::log_lines::LogLines;
use crate::metrics::StreamMetrics;
use crate::output::{bits_per_second, bytes, count, count_of, seconds};
use crate::receiving::{SilentInterfaces, WireNotes, print_hosts, print_memberships, since_first};
use crate::session::{Control, End, SessionSteps, Step};

/// What the manager of a service shows.
const STATUS: &str = "subscribed";

/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Time between looks at how groups are received.
const WIRE_INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two syncs of a file that the messages are written to, unless their acknowledgement waits for that.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// How long the reader and the command may take at the end.
const GRACE: Duration = Duration::from_secs(1);

/// How long to repeat to the publisher that everything was read.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// For a publisher that waits until messages are processed.
const HANDED_OVER: &str = "the publisher requires acknowledgements: a message that is handed over to a pipe is acknowledged as \
                           received, and never as processed (see --confirm and --exec)";

/// The state of `mcast subscribe`.
pub(super) struct Listener<'a> {
    limits: &'a Limits,
    console: &'a Console,
    subscriber: Subscriber,
    snapshots: Option<SnapshotFetcher>,
    resume: Option<ResumeFile>,
    /// When the output was synced last.
    synced_at: Instant,
    /// Whether messages are only handed over to a pipe, which is still to be said to a publisher that waits for more.
    is_handed_over: bool,
    interrupt: Interrupt,
    key_file: Option<KeyFile<'a>>,
    #[cfg(feature = "seal")]
    public_keys: Option<PublicKeys<'a>>,
    /// Whether something was delivered since the output was flushed.
    is_unflushed: bool,
    sink: Sink<'a>,
    begun: Instant,
    follows_restarts: bool,
    /// The stream that was selected, which is not heard yet while a history is read.
    selected: Option<StreamId>,
    repairs_for_others: bool,
    wire: WireNotes,
    next_wire_check: Instant,
    silent_interfaces: SilentInterfaces,
    metrics: Option<StreamMetrics>,
}

/// Where messages and events go, and what is counted of them.
struct Sink<'a> {
    /// The log. Events in JSON are complete, as they account for messages.
    lines: LogLines<'a>,
    printer: MessagePrinter,
    output: OutputWorker,
    command: Option<Arc<str>>,
    has_key_file: bool,
    tally: Tally,
    /// The note that the stream has ended, until the messages before it are written, and since when.
    ending: Option<(EventReport, Instant)>,
}

impl<'a> Listener<'a> {
    pub(super) fn open(
        plan: SubscribePlan<'a>,
        key_file: Option<KeyFile<'a>>,
        begun: Instant,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let SubscribePlan {
            builder,
            snapshots,
            resume,
            processing,
            limits,
            show,
            follows_restarts,
            selected,
            repairs_for_others,
            hosts,
        } = plan;
        let subscriber = builder.build()?;
        // Before the notes: a program that waits for them may interrupt immediately afterwards.
        let interrupt = Interrupt::waking(subscriber.waker())?;
        print_memberships(&subscriber.receiver().memberships(), console);
        print_hosts(&hosts, console);
        let mut silent_interfaces = SilentInterfaces::default();
        silent_interfaces.warn(&subscriber.receiver().memberships(), console);
        let wire = WireNotes::print(subscriber.receiver().wire_status(), console);
        let is_handed_over = show.exec.is_none() && matches!(processing, Processing::HandedOver);
        let sink = Sink {
            lines: LogLines::new(console),
            printer: MessagePrinter::new(show),
            output: OutputWorker::new(console.output(), processing, subscriber.waker())?,
            command: show.exec.as_deref().map(Arc::from),
            has_key_file: key_file.is_some(),
            tally: Tally::default(),
            ending: None,
        };
        let serve = |address| StreamMetrics::serve(address, console);
        let metrics = show.metrics.as_ref().map(serve).transpose()?;
        Ok(Self {
            metrics,
            limits,
            console,
            subscriber,
            snapshots,
            resume,
            synced_at: begun,
            is_handed_over,
            interrupt,
            key_file,
            #[cfg(feature = "seal")]
            public_keys: None,
            is_unflushed: true,
            sink,
            begun,
            follows_restarts,
            selected,
            repairs_for_others,
            wire,
            next_wire_check: begun,
            silent_interfaces,
        })
    }

    pub(super) fn run(mut self) -> anyhow::Result<Outcome> {
        let service = Service::begin();
        // Without keys, a reload changes nothing.
        let hangup = service.hangups()?;
        let goal = Goal::new(self.limits, self.begun);
        let mut control =
            Control::new(self.interrupt.clone(), goal, self.console).with_service(service, hangup);
        let outcome = self.receive(&mut control);
        match &outcome {
            Ok(_) => {}
            // The reader of the output has enough, which is not an error: the subscriber leaves as with `--count`.
            Err(error) if exit::judge(error).is_none() => {
                self.sink.lines.finish();
                self.summarize();
            }
            Err(_) => self.subscriber.fail(),
        }
        outcome
    }

    fn receive(&mut self, control: &mut Control<'_>) -> anyhow::Result<Outcome> {
        let end = control.run(self).and_then(|end| self.account_for_remaining(end, control).map(|()| end));
        // Even after a failure, so that earlier data is printed.
        let unfinished = self.finish_output(control);
        self.sink.release_ending();
        self.acknowledge()?;
        if let Some(resume) = &mut self.resume {
            resume.write(self.subscriber.stream().or(self.selected))?;
        }
        let unfinished = unfinished?;
        if matches!(end, Ok(End::SourceEnded)) {
            self.confirm_the_end(control)?;
        }
        self.sink.tally.failed = self.sink.output.failed();
        self.sink.lines.finish();
        let end = end?;
        self.wire.update(self.subscriber.receiver().wire_status(), self.console);
        self.summarize();
        self.print_summary(unfinished, control)?;
        self.report_unfinished(unfinished);
        if let Some(outcome) = control.interrupt.outcome() {
            return Ok(outcome);
        }
        Ok(Outcome::of(self.is_success(end, unfinished, control)))
    }

    /// Checks the conditions of success, and prints those that are not met.
    fn is_success(&self, end: End, unfinished: Unfinished, control: &Control<'_>) -> bool {
        let Limits { expect, count, max_loss, .. } = self.limits;
        let tally = &self.sink.tally;
        let mut misses = control.goal.misses(tally.messages, Drops::Exactly(tally.lost));
        // An empty stream that was closed was received completely.
        let is_empty = tally.messages == 0 && tally.lost == 0;
        if end == End::SourceEnded && expect.is_none() && count.is_none() && is_empty {
            misses.clear();
        }
        misses.iter().for_each(|miss| self.console.note(miss));
        let may_lose = max_loss.is_some();
        misses.is_empty()
            && tally.unknown_losses == 0
            && (tally.lost == 0 || may_lose)
            && tally.failed == 0
            && unfinished == Unfinished::default()
    }

    /// Reports regularly which groups have returned to the socket.
    fn note_wire(&mut self) {
        let now = Instant::now();
        if now >= self.next_wire_check {
            self.next_wire_check = now + WIRE_INTERVAL;
            self.wire.update(self.subscriber.receiver().wire_status(), self.console);
        }
    }

    fn handle_event(&mut self, event: &SubscriberEvent) -> anyhow::Result<()> {
        let is_failure =
            matches!(event, SubscriberEvent::HistoryWaiting { .. } | SubscriberEvent::HistoryFailed { .. });
        let problem = self.subscriber.history_problem().filter(|_| is_failure);
        let elsewhere = "if it is behind a relay or elsewhere, name its address with --history-server";
        let remedy = problem.map(|problem| format!("{problem}; {elsewhere}"));
        self.sink.event(event, remedy)?;
        self.resume.iter_mut().for_each(|resume| resume.record_event(event));
        match event {
            SubscriberEvent::Joined { .. } if self.selected.is_none() => self.report_stream(),
            SubscriberEvent::Stalled { .. } => self.explain_stall(),
            _ => {}
        }
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.handle(event, &self.subscriber)?;
        }
        Ok(())
    }

    /// Delivers a snapshot, and continues with the messages after it.
    fn deliver_snapshot(&mut self, snapshot: Snapshot) -> anyhow::Result<()> {
        self.sink.printer.snapshot(self.sink.output.buffer(), &snapshot)?;
        self.console.note(format_args!(
            "received a snapshot of {}; continuing with message {}",
            bytes(snapshot.bytes.len() as u64),
            snapshot.message
        ));
        self.subscriber.resume(snapshot.message);
        if let Some(command) = &self.sink.command {
            let stream = self.subscriber.stream().unwrap_or(StreamId(0));
            let mut call = call_with(command, stream, snapshot.message, snapshot.bytes);
            // It includes all messages before its number.
            call.variables.push(("MCAST_SNAPSHOT", "1".into()));
            self.sink.output.call(call, None);
        }
        Ok(())
    }

    /// Keeps the stream alive while the reader or the command is slower than the messages, until the deadline or an
    /// interrupt.
    fn wait_while(
        &mut self,
        control: &Control<'_>,
        is_busy: impl Fn(&OutputWorker) -> bool,
    ) -> anyhow::Result<()> {
        while !must_end(control) && is_busy(&self.sink.output) {
            let left =
                control.goal.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let glance = left.map_or(POLL_INTERVAL, |left| left.min(POLL_INTERVAL));
            match self.subscriber.is_over() {
                true => self.sink.output.wait(glance),
                false => self.subscriber.keep_alive(glance)?,
            }
            self.acknowledge()?;
            control.maintain(self)?;
        }
        self.sink.output.error().map_or(Ok(()), Err)
    }

    /// Reports to the publisher which messages are processed, if it requests that, and stores it for `--resume`.
    fn acknowledge(&mut self) -> anyhow::Result<()> {
        let acks_requested = self.subscriber.acks_requested();
        let is_awaited = acks_requested || self.resume.is_some() || self.sink.output.is_confirmed();
        if acks_requested && std::mem::take(&mut self.is_handed_over) {
            self.console.note(HANDED_OVER);
        }
        if is_awaited && self.sink.output.is_sync_due() {
            self.sync_output(acks_requested);
        }
        if let Some(position) = self.sink.output.processed(is_awaited) {
            // A history may give everything before the heartbeat of the publisher requests it.
            self.subscriber.ack(position);
            self.resume.iter_mut().for_each(|resume| resume.processed(position));
        }
        let stream = self.subscriber.stream().or(self.selected);
        self.resume.as_mut().map_or(Ok(()), |resume| resume.write_in_time(stream))
    }

    /// Syncs the file that the messages are written to, if that was not done just before.
    fn sync_output(&mut self, at_once: bool) {
        if at_once || self.synced_at.elapsed() >= SYNC_INTERVAL {
            self.synced_at = Instant::now();
            self.sink.output.sync();
        }
    }

    /// Rereads the public keys after SIGHUP as well.
    #[cfg(feature = "seal")]
    pub(super) fn rereading(self, public_keys: Option<PublicKeys<'a>>) -> Self {
        Self { public_keys, ..self }
    }

    #[cfg(feature = "seal")]
    fn update_public_keys(&mut self) {
        if let Some(keys) = self.public_keys.as_ref().and_then(|file| file.reread(self.console)) {
            self.console.note("read the public keys again");
            self.subscriber.set_signed_by(keys);
        }
    }

    fn reread_keys(&mut self) {
        #[cfg(feature = "seal")]
        self.update_public_keys();
        let Some(keys) = self.key_file.as_ref().and_then(|file| file.reread(self.console)) else { return };
        self.console.note(format_args!("read the key file again: its latest epoch is {}", keys.latest()));
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.set_keys(keys.clone());
        }
        self.subscriber.set_keys(keys);
    }

    /// Writes the remaining output and waits for the command, for a limited time if it must end. Returns what is
    /// unfinished.
    fn finish_output(&mut self, control: &Control<'_>) -> anyhow::Result<Unfinished> {
        self.sink.output.flush();
        self.wait_while(control, OutputWorker::is_busy)?;
        if self.resume.is_some() || self.subscriber.acks_requested() {
            self.sink.output.sync();
            self.wait_while(control, OutputWorker::is_busy)?;
        }
        if self.sink.output.is_busy() {
            self.sink.output.stop(GRACE);
        }
        match self.sink.output.confirm_error(true) {
            Some(failure) => Err(failure.into()),
            None => Ok(self.sink.output.unfinished()),
        }
    }

    /// Accounts for all known messages at the end: delivers those that were received while there is time, and reports
    /// the others, and missing ones, as lost.
    fn account_for_remaining(&mut self, end: End, control: &Control<'_>) -> anyhow::Result<()> {
        if !matches!(end, End::TimeOver | End::Interrupted) {
            return Ok(());
        }
        if self.subscriber.has_gaps() {
            self.explain_stall();
        }
        // What waits behind a gap is delivered now, with the gap reported as lost, instead of vanishing with the process.
        self.subscriber.abandon();
        let until = Instant::now() + GRACE;
        let mut undelivered: Option<Range<MessageNumber>> = None;
        loop {
            let stream = self.subscriber.stream();
            let has_time = Instant::now() < until;
            let item = match self.subscriber.next_timeout(Duration::ZERO) {
                Err(StreamError::Woken) => continue,
                item => item?,
            };
            match item {
                None => break,
                Some(Item::Message(message)) if !has_time || self.sink.output.is_full() => {
                    let (number, position) = (message.number, message.position());
                    // An acknowledgement says that the message was processed, and this one was not.
                    self.subscriber.withdraw_before(position.following());
                    match &mut undelivered {
                        Some(range) if range.end == number => range.end += 1,
                        _ => {
                            let before = undelivered.replace(number..number + 1);
                            self.report_undelivered(before)?;
                        }
                    }
                }
                Some(Item::Message(message)) => self.sink.message(stream, &message)?,
                Some(Item::Event(event)) => {
                    self.report_undelivered(undelivered.take())?;
                    self.sink.event(&event, None)?;
                }
            }
            if self.sink.output.drain() {
                self.wait_while(control, OutputWorker::is_full)?;
            }
        }
        self.report_undelivered(undelivered)
    }

    /// Reports messages that were received too late to be delivered.
    fn report_undelivered(&mut self, messages: Option<Range<MessageNumber>>) -> anyhow::Result<()> {
        let Some(Range { start: first, end }) = messages else { return Ok(()) };
        self.sink.event(&SubscriberEvent::Lost { first, end, cause: Cause::Abandoned }, None)
    }

    /// Repeats to the publisher that everything was read until it confirms that: a single status may be lost.
    fn confirm_the_end(&mut self, control: &Control<'_>) -> anyhow::Result<()> {
        let until = Instant::now() + CONFIRMATION;
        while !self.subscriber.is_over() && !control.interrupt.has_arrived() && Instant::now() < until {
            self.subscriber.keep_alive(POLL_INTERVAL)?;
        }
        Ok(())
    }

    /// Prints the summary as JSON, unless earlier output is not even written.
    fn print_summary(&mut self, unfinished: Unfinished, control: &Control<'_>) -> anyhow::Result<()> {
        if unfinished.bytes > 0 {
            return Ok(());
        }
        let time = self.begun.elapsed();
        let summary =
            SubscribeSummary::new(&self.subscriber, &self.sink.tally, self.repairs_for_others, time);
        self.sink.printer.summary(self.sink.output.buffer(), &summary)?;
        self.finish_output(control).map(drop)
    }

    /// Reports once why missing datagrams do not arrive, where the cause is known.
    fn explain_stall(&mut self) {
        if !self.sink.tally.is_stall_explained
            && let Some(cause) = self.subscriber.stall_cause()
        {
            self.sink.tally.is_stall_explained = true;
            self.console.warn(cause);
        }
    }

    /// Reports which stream is followed if none was selected.
    fn report_stream(&self) {
        if let Some(stream) = self.subscriber.stream() {
            self.console.note(format_args!("following stream {stream}, the first that was received"));
        }
    }

    fn report_unfinished(&self, Unfinished { bytes: left, commands, unconfirmed }: Unfinished) {
        if left > 0 {
            self.console.warn(format_args!(
                "{} were received and not written: the reader is too slow",
                bytes(left as u64)
            ));
        }
        if commands > 0 {
            self.console.warn(format_args!(
                "{} did not finish in time: stopped, or not started",
                count_of(commands as u64, "command")
            ));
        }
        if unconfirmed > 0 {
            self.console.warn(format_args!(
                "{} handed over and not confirmed: with --resume, they are delivered again",
                count_of(unconfirmed as u64, "message")
            ));
        }
    }

    /// Reports why no stream was found, although datagrams arrived.
    fn explain_silence(&self) {
        let received = self.subscriber.receiver().statistics().received;
        if received == 0 {
            return;
        }
        let why = match self.key_file {
            _ if self.subscriber.is_verifying() => {
                "none was signed with a trusted key: check --sign of the publisher, and --signed-by"
            }
            _ if self.sink.tally.stale => {
                "the clocks of its publisher and of this machine differ by more than 2 minutes: set both"
            }
            Some(_) => "none was sealed with these secrets: check that the publisher has the same --key",
            None => {
                "none belonged to a stream that can be followed: check --name, and --key if the stream \
                is sealed"
            }
        };
        self.console.warn(format_args!("received {}, but {why}", count_of(received, "datagram")));
    }

    fn summarize(&self) {
        let Tally { messages, bytes: length, lost, failed, .. } = self.sink.tally;
        // The wait for the first message depends on when the publisher began.
        let time = since_first(self.sink.tally.begun, self.begun.elapsed());
        let rate = bits_per_second(length, time).filter(|_| messages > 1);
        let rate = rate.map(|rate| format!(" ({rate})")).unwrap_or_default();
        let statistics = self.subscriber.statistics();
        let history = match statistics.from_history {
            0 => String::new(),
            messages => format!("; {} came from the history", count_of(messages, "message")),
        };
        let recovered = match statistics.recovered {
            0 => String::new(),
            datagrams => format!(", {} of them from parity", count(datagrams)),
        };
        let locally = match statistics.repaired_locally {
            0 => String::new(),
            datagrams => format!(", {} of them by other subscribers", count(datagrams)),
        };
        self.console.note(format_args!(
            "received {}, {} in {}{rate}; lost {}; repaired {}{recovered}{locally}{history}",
            count_of(messages, "message"),
            bytes(length),
            seconds(time),
            match self.sink.tally.unknown_losses {
                0 => count_of(lost, "message"),
                _ => format!("{} and an unknown number", count_of(lost, "message")),
            },
            count_of(statistics.repaired, "datagram"),
        ));
        if statistics.local_repairs > 0 {
            self.console.note(format_args!(
                "repaired {}, {}, for other subscribers",
                count_of(statistics.local_repairs, "datagram"),
                bytes(statistics.local_repair_bytes)
            ));
        }
        if self.sink.tally.incarnation.is_none() {
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
                count(path.first)
            ));
        }
    }
}

impl SessionSteps for Listener<'_> {
    fn step(&mut self, control: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step> {
        if let Some(error) = self.sink.output.error() {
            return Err(error);
        }
        if let Some(failure) = self.sink.output.confirm_error(false) {
            return Err(failure.into());
        }
        self.acknowledge()?;
        if let Some(fetched) = self.snapshots.as_mut().and_then(SnapshotFetcher::fetched) {
            control.goal.record_arrival();
            self.deliver_snapshot(fetched.map_err(without_snapshot)?)?;
            self.wait_while(control, OutputWorker::is_full)?;
        }
        let stream = self.subscriber.stream();
        let selected = stream.or(self.selected);
        if let Some(metrics) = &mut self.metrics {
            metrics.poll(!wait.is_zero(), |metrics| {
                self.subscriber.add_metrics(metrics);
                stream.is_none().then(|| "no publisher is there".into())
            });
        }
        let item = match self.subscriber.next_timeout(wait) {
            Err(StreamError::Woken) => None,
            item => item?,
        };
        let Some(item) = item else {
            return Ok(match self.subscriber.has_stopped() {
                true => Step::Over(End::Stopped),
                false if self.subscriber.has_ended() && !self.follows_restarts => {
                    Step::Over(End::SourceEnded)
                }
                false => Step::Idle,
            });
        };
        match item {
            Item::Message(message) => {
                control.goal.record_arrival();
                if let Some(resume) = &mut self.resume {
                    resume.given(selected, message.position())?;
                }
                self.sink.message(selected, &message)?;
            }
            Item::Event(event) => self.handle_event(&event)?,
        }
        self.is_unflushed = true;
        if control.goal.is_reached(self.sink.tally.messages) {
            return Ok(Step::Over(End::Enough));
        }
        if self.sink.output.drain() {
            self.wait_while(control, OutputWorker::is_full)?;
        }
        Ok(Step::Handled)
    }

    fn longest_wait(&mut self) -> Duration {
        POLL_INTERVAL
    }

    /// Available messages are delivered before anything is flushed.
    fn is_unflushed(&self) -> bool {
        self.is_unflushed
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.is_unflushed = false;
        self.sink.output.flush();
        Ok(())
    }

    fn maintain(&mut self) -> anyhow::Result<()> {
        self.sink.note_ending();
        self.sink.lines.poll();
        self.reread_keys();
        self.note_wire();
        let memberships = || self.subscriber.receiver().memberships();
        self.silent_interfaces.warn_regularly(memberships, self.console);
        Ok(())
    }

    fn reload(&mut self) -> anyhow::Result<()> {
        self.reread_keys();
        Ok(())
    }

    fn status(&self) -> String {
        STATUS.to_owned()
    }
}

/// Returns whether a session must end, even with work left to do.
fn must_end(control: &Control<'_>) -> bool {
    control.interrupt.has_arrived() || control.goal.is_past_deadline()
}

impl Sink<'_> {
    /// Prints a message, and runs the command for it.
    fn message(&mut self, stream: Option<StreamId>, message: &Message<'_>) -> anyhow::Result<()> {
        let stream = stream.unwrap_or(StreamId(0));
        self.printer.message(self.output.buffer(), stream, self.tally.incarnation, message)?;
        self.tally.begun.get_or_insert_with(Instant::now);
        self.tally.messages += 1;
        self.tally.bytes += message.bytes.len() as u64;
        match &self.command {
            Some(command) => {
                let call = call_with(command, stream, message.number, message.bytes.to_vec());
                self.output.call(call, Some(message.position()));
            }
            None => self.output.note(message.position()),
        }
        Ok(())
    }

    fn event(&mut self, event: &SubscriberEvent, remedy: Option<String>) -> anyhow::Result<()> {
        let report = event.report(self.has_key_file);
        self.printer.event(self.output.buffer(), &report)?;
        self.tally.note(event);
        self.release_ending();
        if matches!(event, SubscriberEvent::Ended { .. }) {
            self.output.flush();
            self.ending = Some((report, Instant::now()));
            self.note_ending();
            return Ok(());
        }
        self.lines.event(&report.with_remedy(remedy), event.severity());
        Ok(())
    }

    /// Notes that the stream has ended once its messages are written, or if their reader is slow.
    fn note_ending(&mut self) {
        if self.ending.as_ref().is_some_and(|(_, since)| !self.output.is_busy() || since.elapsed() >= GRACE) {
            self.release_ending();
        }
    }

    fn release_ending(&mut self) {
        if let Some((report, _)) = self.ending.take() {
            self.lines.event(&report, EventSeverity::Note);
        }
    }
}

fn call_with(command: &Arc<str>, stream: StreamId, number: MessageNumber, input: Vec<u8>) -> Call {
    let variables = vec![
        ("MCAST_STREAM", stream.to_string()),
        ("MCAST_SEQUENCE", number.to_string()),
        ("MCAST_LENGTH", input.len().to_string()),
    ];
    Call { command: Arc::clone(command), input, variables }
}

/// Returns the failure of a subscriber that cannot start without a snapshot.
fn without_snapshot(error: StreamError) -> Failure {
    let remedy = match error {
        StreamError::SnapshotTooLarge { .. } => {
            "if the publisher can be trusted, raise the limit: --from snapshot:SIZE"
        }
        _ => {
            "check that its publisher was started with --snapshot and can make one, and that TCP connections to it are allowed"
        }
    };
    Failure::no(error.to_string()).remedy(remedy)
}
