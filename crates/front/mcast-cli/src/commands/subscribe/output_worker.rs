//! Formats of printed messages, and a thread that writes them and runs commands, so that a slow reader or a slow command does
//! not keep the subscriber from talking to its publisher.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use mcast::Waker;
use mcast_metrics::EventReport;
use mcast_stream::subscriber::{Message, Position, SubscriberEvent, SubscriberStatistics};
use mcast_stream::wire::{Incarnation, StreamId};
use mcast_stream::{Snapshot, Subscriber};
use mcast_terminal::{Output, is_terminal};

use super::confirmations::{ConfirmError, Confirmations};
use super::{OutputForm, SubscribeOutput};
use crate::execute::Call;
use crate::exit::Failure;
use crate::framing;
use crate::message_layer::{MessageRecord, SnapshotRecord};
use crate::output::{SafeText, count_of, record, write_json, write_record};
use crate::receiving::{EventRecord, WireGroup, wire_groups};
use crate::worker::{JobContext, Worker};

/// The number of bytes written at once while more messages arrive.
const AT_ONCE: usize = 64 << 10;
/// The maximum number of bytes waiting to be written, not counting one message. A command fills the queue.
const MAX_BYTES: usize = 512 << 10;
/// How long to wait for a command that is stopped, including the time until it is killed.
const STOP: Duration = Duration::from_secs(2);

/// A queue of output and commands, in order.
pub(super) struct OutputWorker {
    buffer: Vec<u8>,
    /// Whether jobs were added since the last check whether the queue is full.
    has_new_jobs: bool,
    /// The last message in the buffer.
    last: Option<Position>,
    worker: JobQueue,
    counts: Arc<Counts>,
    confirmations: Option<Confirmations>,
}

/// The jobs of the thread.
type JobQueue = Worker<Job, anyhow::Error>;

/// Each with the last message that it writes, or that the command is run for.
enum Job {
    Write(Vec<u8>, Option<Position>),
    Call(Call, Option<Position>),
    /// Syncs what was written.
    Sync,
}

/// When a message that is written counts as processed.
#[derive(Debug)]
pub(super) enum Processing {
    /// At once.
    Written,
    /// When this file, which is standard output, was synced.
    Synced(File),
    /// When its reader has confirmed that on this descriptor.
    Confirmed(File),
    /// Never: it was only handed over to a pipe.
    HandedOver,
}

/// What the thread does with a message that it writes.
enum Written {
    /// It is processed.
    Processes,
    /// It is processed after a sync of the file.
    Syncs(File),
    /// Its reader is expected to confirm it.
    Gives(Confirmations),
    /// Nothing is known of it.
    HandsOver,
}

/// The jobs that are left, and the commands that failed.
#[derive(Default)]
struct Counts {
    bytes: AtomicUsize,
    commands: AtomicUsize,
    failed: AtomicUsize,
    processed: Processed,
    /// The last message that is written and not synced.
    unsynced: Mutex<Option<Position>>,
    /// Whether there is one, and no sync is waiting.
    is_sync_due: AtomicBool,
}

/// Which messages are processed.
#[derive(Default)]
struct Processed {
    /// Whether the subscriber must be woken when messages are processed.
    is_awaited: AtomicBool,
    /// The last message, until it is fetched, and whether there is one.
    last: Mutex<Option<Position>>,
    is_new: AtomicBool,
    /// The incarnation of the publisher in which a command has failed: what followed is not all processed.
    failed_in: Mutex<Option<Incarnation>>,
}

impl Processed {
    /// Notes a message for which the command failed.
    fn fail(&self, at: Position) {
        *self.failed_in.lock().unwrap_or_else(PoisonError::into_inner) = Some(at.incarnation);
    }

    /// Notes that a message is processed, and all before it, unless one of them failed.
    fn note(&self, at: Position, waker: &Waker) {
        if *self.failed_in.lock().unwrap_or_else(PoisonError::into_inner) == Some(at.incarnation) {
            return;
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        self.is_new.store(true, Ordering::Release);
        self.wake(waker);
    }

    /// Wakes the subscriber, if it waits for messages to be processed.
    fn wake(&self, waker: &Waker) {
        if self.is_awaited.load(Ordering::Acquire) {
            // If the waker fails, the caller's wait times out.
            let _ = waker.wake();
        }
    }
}

/// The jobs that were not completed before the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unfinished {
    /// Bytes that were not written.
    pub(super) bytes: usize,
    /// Commands that were not run, or were stopped.
    pub(super) commands: usize,
    /// Messages that the reader was given and has not confirmed.
    pub(super) unconfirmed: usize,
}

impl OutputWorker {
    /// Starts the thread. `waker` wakes the subscriber's loop when there is room again, and when messages are processed.
    pub(super) fn new(mut out: Output, processing: Processing, waker: Waker) -> anyhow::Result<Self> {
        let counts = Arc::<Counts>::default();
        let (done, wake) = (Arc::clone(&counts), waker.clone());
        let (written, confirmations) = match processing {
            Processing::Written => (Written::Processes, None),
            Processing::Synced(file) => (Written::Syncs(file), None),
            Processing::HandedOver => (Written::HandsOver, None),
            Processing::Confirmed(file) => {
                let (counts, wake) = (Arc::clone(&counts), waker.clone());
                let note = move |position| counts.processed.note(position, &wake);
                let confirmations = Confirmations::read(file, waker.clone(), note)?;
                (Written::Gives(confirmations.clone()), Some(confirmations))
            }
        };
        let work = move |job, context: &JobContext<'_>| done.work(job, &mut out, &written, context, &wake);
        let worker = Worker::start(MAX_BYTES, waker, work)?;
        let buffer = Vec::with_capacity(AT_ONCE);
        Ok(Self { buffer, has_new_jobs: false, last: None, worker, counts, confirmations })
    }

    /// Returns the buffer for output.
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Notes that the buffer contains a message.
    pub(super) fn note(&mut self, position: Position) {
        if let Some(confirmations) = &self.confirmations {
            confirmations.expect(position);
        }
        self.last = Some(position);
    }

    /// Syncs what was written, if that is a file, and if it was not synced since.
    pub(super) fn sync(&self) {
        if self.counts.is_sync_due.swap(false, Ordering::AcqRel) {
            self.worker.push(Job::Sync, 0);
        }
    }

    /// Whether there is anything to sync.
    pub(super) fn is_sync_due(&self) -> bool {
        self.counts.is_sync_due.load(Ordering::Acquire)
    }

    /// Whether the reader confirms messages.
    pub(super) const fn is_confirmed(&self) -> bool {
        self.confirmations.is_some()
    }

    /// Returns the last message that is processed, with all before it, once.
    pub(super) fn processed(&self, is_awaited: bool) -> Option<Position> {
        let processed = &self.counts.processed;
        processed.is_awaited.store(is_awaited, Ordering::Release);
        if !processed.is_new.swap(false, Ordering::AcqRel) {
            return None;
        }
        processed.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Adds a command, to run after everything written so far. The message at `position` is processed when the command
    /// has succeeded.
    pub(super) fn call(&mut self, call: Call, position: Option<Position>) {
        self.flush();
        self.has_new_jobs = true;
        self.counts.commands.fetch_add(1, Ordering::Relaxed);
        self.worker.push(Job::Call(call, position), MAX_BYTES);
    }

    /// Passes the buffer to the thread if it is large enough; returns whether the queue may be full.
    pub(super) fn drain(&mut self) -> bool {
        let is_unconfirmed = self.confirmations.as_ref().is_some_and(Confirmations::is_full);
        if self.buffer.len() >= AT_ONCE || is_unconfirmed {
            self.flush();
        }
        std::mem::take(&mut self.has_new_jobs) || is_unconfirmed
    }

    /// Passes the buffer to the thread, without waiting.
    pub(super) fn flush(&mut self) {
        if self.buffer.is_empty() && self.last.is_none() {
            return;
        }
        self.has_new_jobs = true;
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(AT_ONCE));
        let length = full.len();
        self.counts.bytes.fetch_add(length, Ordering::Relaxed);
        self.worker.push(Job::Write(full, self.last.take()), length);
    }

    /// Whether nothing more must be added at present.
    pub(super) fn is_full(&self) -> bool {
        self.worker.is_full() || self.confirmations.as_ref().is_some_and(Confirmations::is_full)
    }

    /// Whether something is left to do, or to confirm.
    pub(super) fn is_busy(&self) -> bool {
        self.worker.is_busy() || self.confirmations.as_ref().is_some_and(Confirmations::is_awaited)
    }

    /// Waits until something is done, or confirmed, for at most `timeout`.
    pub(super) fn wait(&self, timeout: Duration) {
        match &self.confirmations {
            Some(confirmations) if !self.worker.is_busy() => confirmations.wait(timeout),
            _ => self.worker.wait(timeout),
        }
    }

    /// Returns, once, the error after which nothing more is done.
    pub(super) fn error(&self) -> Option<anyhow::Error> {
        let error = self.worker.error()?;
        // A reader that has gone may have had enough, but not if it was to confirm what it has.
        let unconfirmed = self.confirmations.as_ref().map_or(0, Confirmations::unconfirmed);
        match unconfirmed {
            0 => Some(error),
            _ => Some(not_confirmed(&ConfirmError::Closed, unconfirmed).into()),
        }
    }

    /// Returns why the reader cannot confirm anything any more. If that is all that is wrong, it may have done so before the end.
    pub(super) fn confirm_error(&self, is_at_end: bool) -> Option<Failure> {
        let confirmations = self.confirmations.as_ref()?;
        let error = confirmations.error().filter(|error| !is_at_end || *error != ConfirmError::Closed)?;
        Some(not_confirmed(&error, confirmations.unconfirmed()))
    }

    /// Waits at most `grace` for the jobs, then stops the running command and starts no other.
    pub(super) fn stop(&self, grace: Duration) {
        let until = Instant::now() + grace;
        let is_idle = self.worker.wait_idle(grace);
        while is_idle && self.is_busy() && Instant::now() < until {
            self.wait(until.saturating_duration_since(Instant::now()));
        }
        if !is_idle {
            // A write cannot be stopped.
            let has_commands = self.counts.commands.load(Ordering::Relaxed) > 0;
            self.worker.cancel(if has_commands { STOP } else { Duration::ZERO });
        }
    }

    pub(super) fn unfinished(&self) -> Unfinished {
        let Counts { bytes, commands, .. } = &*self.counts;
        Unfinished {
            bytes: bytes.load(Ordering::Relaxed),
            commands: commands.load(Ordering::Relaxed),
            unconfirmed: self.confirmations.as_ref().map_or(0, Confirmations::unconfirmed),
        }
    }

    /// Returns the number of failed commands.
    pub(super) fn failed(&self) -> u64 {
        self.counts.failed.load(Ordering::Relaxed) as u64
    }
}

fn not_confirmed(error: &ConfirmError, unconfirmed: usize) -> Failure {
    let messages = count_of(unconfirmed as u64, "message");
    Failure::no(format!("{error}; {messages} given to it, or still waiting for it, are not confirmed"))
        .remedy("start both again: with --resume, these messages are delivered again")
}

impl Counts {
    fn work(
        &self,
        job: Job,
        out: &mut Output,
        written: &Written,
        context: &JobContext<'_>,
        waker: &Waker,
    ) -> anyhow::Result<()> {
        match job {
            Job::Write(bytes, last) => {
                // It may be confirmed before the write returns.
                if let (Written::Gives(confirmations), Some(last)) = (written, last) {
                    confirmations.give(last);
                }
                out.write_all(&bytes)?;
                if context.is_last() || last.is_some() {
                    out.flush()?;
                }
                self.bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
                match (written, last) {
                    (Written::Processes, Some(last)) => self.processed.note(last, waker),
                    (Written::Syncs(_), Some(last)) => {
                        *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
                        self.is_sync_due.store(true, Ordering::Release);
                        self.processed.wake(waker);
                    }
                    (Written::Gives(_) | Written::HandsOver, Some(_)) | (_, None) => {}
                }
            }
            Job::Sync => {
                let Written::Syncs(file) = written else { return Ok(()) };
                out.flush()?;
                file.sync_data().context("cannot sync standard output")?;
                let synced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).take();
                synced.inspect(|last| self.processed.note(*last, waker));
            }
            Job::Call(call, position) => {
                // The command may print as well.
                out.flush()?;
                let succeeded = call.run(|| context.is_cancelled()).context("cannot run the command")?;
                // One that was stopped has not failed: it is among those that are left.
                if succeeded || !context.is_cancelled() {
                    self.failed.fetch_add(usize::from(!succeeded), Ordering::Relaxed);
                    self.commands.fetch_sub(1, Ordering::Relaxed);
                }
                match position {
                    Some(position) if succeeded => self.processed.note(position, waker),
                    Some(position) => self.processed.fail(position),
                    None => {}
                }
            }
        }
        Ok(())
    }
}

/// Prints messages and, as JSON, events.
#[derive(Debug)]
pub(super) struct MessagePrinter {
    format: OutputFormat,
    is_terminal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputFormat {
    Lines,
    Raw,
    Records,
    Json,
    Nothing,
}

impl MessagePrinter {
    pub(super) fn new(show: &SubscribeOutput) -> Self {
        let format = match show.output {
            _ if show.json => OutputFormat::Json,
            // With --exec, only the output of the command is printed.
            _ if show.exec.is_some() => OutputFormat::Nothing,
            Some(OutputForm::Raw) => OutputFormat::Raw,
            Some(OutputForm::Records) => OutputFormat::Records,
            Some(OutputForm::Lines) | None => OutputFormat::Lines,
        };
        Self { format, is_terminal: is_terminal() }
    }

    pub(super) fn message(
        &self,
        out: &mut impl Write,
        stream: StreamId,
        incarnation: Option<Incarnation>,
        message: &Message<'_>,
    ) -> io::Result<()> {
        let bytes = message.bytes;
        match self.format {
            OutputFormat::Nothing | OutputFormat::Raw | OutputFormat::Records => self.bytes(out, bytes),
            OutputFormat::Lines if self.is_terminal => writeln!(out, "{}", SafeText::new(bytes)),
            OutputFormat::Lines => {
                out.write_all(bytes)?;
                out.write_all(b"\n")
            }
            OutputFormat::Json => write_record(
                out,
                "message",
                &MessageRecord::new(
                    (stream, incarnation),
                    message.number,
                    message.key,
                    SystemTime::now(),
                    bytes,
                ),
            ),
        }
    }

    /// Prints a snapshot, on lines of its own.
    pub(super) fn snapshot(&self, out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
        let bytes = &snapshot.bytes[..];
        match self.format {
            OutputFormat::Nothing | OutputFormat::Raw | OutputFormat::Records => self.bytes(out, bytes),
            OutputFormat::Lines if bytes.is_empty() => Ok(()),
            OutputFormat::Lines if self.is_terminal => {
                let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                whole
                    .split(|byte| *byte == b'\n')
                    .try_for_each(|line| writeln!(out, "{}", SafeText::new(line)))
            }
            OutputFormat::Lines => {
                out.write_all(bytes)?;
                if bytes.ends_with(b"\n") { Ok(()) } else { out.write_all(b"\n") }
            }
            OutputFormat::Json => write_record(
                out,
                "snapshot",
                &SnapshotRecord::new(snapshot.message, SystemTime::now(), bytes),
            ),
        }
    }

    /// Prints the bytes of a message or a snapshot, as a record with their length if that is the format.
    fn bytes(&self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        match self.format {
            OutputFormat::Nothing => Ok(()),
            OutputFormat::Records => framing::write_record(out, bytes),
            _ => out.write_all(bytes),
        }
    }

    /// Prints the closing summary, as JSON only.
    pub(super) fn summary(&self, out: &mut impl Write, summary: &SubscribeSummary) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => write_record(out, "summary", summary),
            _ => Ok(()),
        }
    }

    pub(super) fn event(&self, out: &mut impl Write, report: &EventReport) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => write_json(out, &EventRecord::new(report.clone())),
            _ => Ok(()),
        }
    }
}

record! {
    pub(super) fn new(subscriber: &Subscriber, tally: &Tally, repairs_for_others: bool, time: Duration) {
        let counted = subscriber.statistics();
    }

    /// One object at the end.
    pub(super) struct SubscribeSummary {
        /// Stream ID, 16 hexadecimal digits; absent if none was received
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<String> = subscriber.stream().map(|stream| stream.to_string()),
        /// Messages printed
        messages: u64 = tally.messages,
        /// Bytes in the messages
        bytes: u64 = tally.bytes,
        /// Running time, in seconds
        seconds: f64 = time.as_secs_f64(),
        /// Messages reported as lost
        lost_messages: u64 = tally.lost,
        /// Number of losses of an unknown number of messages
        unknown_losses: u64 = tally.unknown_losses,
        /// Messages that came from a history
        messages_from_history: u64 = counted.from_history,
        /// Data datagrams received, including repairs, excluding duplicates
        datagrams: u64 = counted.received,
        /// Missing datagrams that were repaired
        repaired: Repaired = Repaired::new(&counted),
        /// Repair requests (NAKs) sent
        naks: Naks = Naks::new(&counted),
        /// With `--repair-for-others`: what was done for other subscribers
        #[serde(skip_serializing_if = "Option::is_none")]
        for_others: Option<ForOthers> = repairs_for_others.then(|| ForOthers::new(&counted)),
        /// With `--wire`: how each group was received at the end
        #[serde(skip_serializing_if = "Vec::is_empty")]
        wire: Vec<WireGroup> = wire_groups(&subscriber.receiver().wire_status()),
    }
}

record! {
    fn new(counted: &SubscriberStatistics) {}

    /// The missing datagrams that arrived after all.
    struct Repaired {
        /// Repaired by the publisher, including with parity that it was asked for
        by_publisher: u64 = counted.repaired.saturating_sub(counted.repaired_locally),
        /// Repaired by other subscribers (`--repair-for-others`)
        by_subscribers: u64 = counted.repaired_locally,
        /// Recovered from parity, including parity that the publisher sent without a request
        recovered: u64 = counted.recovered,
    }
}

record! {
    fn new(counted: &SubscriberStatistics) {}

    /// The NAKs that were sent.
    struct Naks {
        /// To the publisher
        to_publisher: u64 = counted.naks.saturating_sub(counted.naks_to_repairers),
        /// To other subscribers
        to_subscribers: u64 = counted.naks_to_repairers,
    }
}

record! {
    fn new(counted: &SubscriberStatistics) {}

    /// What it did for other subscribers.
    struct ForOthers {
        /// Repair requests answered
        naks: u64 = counted.local_naks,
        /// Repairs sent
        datagrams: u64 = counted.local_repairs,
        /// Bytes of these repairs
        bytes: u64 = counted.local_repair_bytes,
        /// Repairs refused because of a limit, and requests that were not valid
        refused: u64 = counted.local_refused,
    }
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// When the first message was delivered.
    pub(super) begun: Option<Instant>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    /// The number of losses of an unknown number of messages.
    pub(super) unknown_losses: u64,
    pub(super) failed: u64,
    pub(super) incarnation: Option<Incarnation>,
    pub(super) is_stall_explained: bool,
    /// Whether a publisher was ignored because of its clock.
    pub(super) stale: bool,
}

impl Tally {
    pub(super) fn note(&mut self, event: &SubscriberEvent) {
        match *event {
            SubscriberEvent::Joined { incarnation, .. } => self.incarnation = Some(incarnation),
            SubscriberEvent::Stale => self.stale = true,
            SubscriberEvent::LostUnknown { .. } => self.unknown_losses += 1,
            SubscriberEvent::Lost { first, end, .. } => self.lost += end.ahead_of(first),
            _ => {}
        }
    }
}

mcast_json::schemas! { pub(crate),
    RecordSchema::new::<SubscribeSummary>("subscribe-summary", "Summary (`mcast subscribe --json`)")
        .event("summary"),
}
