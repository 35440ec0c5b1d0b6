//! Publishing through a log: a message is accepted when it is in the log, and sent after that.

mod retention;
mod stage;
mod waiting;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mcast_log::{
    Beginning, Directory, Ending, FileOperation, Files, FoundLog, LastPublisher, LogError, LogOptions,
    LogReader, LogTail, Recall, Recovery, SyncPolicy, TailItem, Unopened,
};

use super::clock;
use super::error::{StreamError, StreamStep};
use super::history::{HistoryListener, HistoryServer};
use super::publish::Publish;
use super::publisher::{Closing, Publisher, PublisherBuilder};
use super::until::Until;
use crate::driver::history::{HistoryProvider, HistorySource, HistoryUnavailable};
use crate::history::{HistoryContent, HistoryRecord, Position, RequestedStart};
use crate::publisher::{OutgoingMessage, Refusal};
use crate::seal::Keys;
use crate::wire::{FlowControl, Incarnation, MessageNumber, Origin, StreamId, VisitedEngines};
pub use mcast_log::LogStart;
pub use retention::LogHold;
use stage::{Shared, Stage, Wait};

/// Settings of a [`LoggedPublisher`].
#[derive(Debug)]
#[must_use]
pub struct LoggedPublisherBuilder {
    publisher: PublisherBuilder,
    directory: PathBuf,
    options: LogOptions,
    name: Option<String>,
}

/// A [`Publisher`] that keeps its stream in a log, across restarts and crashes.
///
/// A message is accepted when it is in the log, and sent after that. The next publisher with the same log continues the
/// stream: message numbers continue, subscribers notice no gap and no repeat, and what was accepted is sent, or
/// retained for subscribers that request it, or [served](Self::serve_history). What a power failure may take is decided by the
/// [`SyncPolicy`]; the end of the process takes nothing. If a power failure may have taken messages that subscribers have,
/// or the stream was [closed](Self::close), the next publisher does not continue the stream but starts it again, with
/// message 0, which subscribers report like any restart.
///
/// It is `Send + Sync`: threads may share it, and the messages of each thread stay in order.
///
/// ```no_run
/// use std::path::Path;
///
/// use mcast_stream::{Publish, Publisher};
/// use mcast_stream::log::LogOptions;
/// use mcast_stream::wire::StreamId;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = Publisher::builder().to("239.255.2.3%eth0:7000".parse()?).stream(StreamId::named("prices"));
/// let publisher = builder.log(Path::new("/var/lib/prices"), LogOptions::default()).build()?;
/// publisher.publish(b"EUR 1.08")?;
/// // It is on the disk now, and on its way.
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LoggedPublisher {
    shared: Arc<Shared>,
    directory: PathBuf,
    keys: Arc<Mutex<Keys>>,
    /// What is recorded in the log of this publisher.
    recorded: Mutex<LastPublisher>,
    recovery: Recovery,
    start: LogStart,
    /// The incarnation of its messages.
    incarnation: Incarnation,
    unopened: Option<Unopened>,
    threads: Vec<JoinHandle<()>>,
    /// Whether the end of the stream is recorded.
    has_ended: AtomicBool,
    /// Whether it was stopped when all subscribers had everything.
    is_delivered: AtomicBool,
    /// How long dropping it waits.
    drop_timeout: Duration,
}

impl PublisherBuilder {
    /// Publishes through a log in this directory, which is created if there is none. Call it last.
    ///
    /// The [`stream`](Self::stream) must be set. The log is sealed with the [`keys`](Self::keys) of the stream; those of
    /// the options are not used.
    pub fn log(self, directory: &Path, options: LogOptions) -> LoggedPublisherBuilder {
        LoggedPublisherBuilder { publisher: self, directory: directory.to_owned(), options, name: None }
    }
}

impl LoggedPublisherBuilder {
    /// Sets the name of the stream that the log shows. Default: the name under which it is announced, if any.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Opens the log, the sockets, and starts the threads. Nothing in the log is changed before everything else has
    /// succeeded. What subscribers may lack of the last messages in the log goes to the retransmission buffer, which is
    /// larger then if necessary: they request it, and new messages do not wait for it.
    ///
    /// # Errors
    /// If another publisher has the log, or it is that of another stream; otherwise as [`PublisherBuilder::build`].
    pub fn build(self) -> Result<LoggedPublisher, StreamError> {
        let Self { publisher: builder, directory, mut options, name } = self;
        if builder.has_random_stream() {
            return Err(StreamError::LogWithoutStream);
        }
        let (stream, sync, drop_timeout) = (builder.config.stream, options.sync, builder.drop_timeout);
        let keys = builder.config.keys.clone();
        options.keys = keys.clone();
        // The thread syncs, so that others can append meanwhile.
        options.sync = SyncPolicy::None;
        let name = name.or_else(|| builder.name.clone()).unwrap_or_default();
        let files = Directory::create(&directory).map_err(|cause| LogError::Io {
            operation: FileOperation::Create,
            path: directory.clone(),
            cause,
        })?;
        let files: Arc<dyn Files> = Arc::new(files);
        let found =
            FoundLog::examine(Arc::clone(&files), stream, &name, builder.config.incarnation, options)?;
        let beginning = Beginning::plan(&found, boot().as_deref(), sync)?;
        let (start, next) = (beginning.start, beginning.next);
        let retained = builder.config.retransmission_buffer;
        let recall = Recall {
            next,
            unconfirmed: beginning.unconfirmed,
            least: if builder.config.flow == FlowControl::OneWay { 0 } else { retained },
            // What it retained, with what headers took, and what was not sent yet.
            most: retained.saturating_add(retained / 3).saturating_add(stage::MOST_WAITING),
            unsent: beginning.unsent,
        };
        let tail = LogTail::read(Arc::clone(&files), keys.clone(), recall)?;
        let first = tail.items.front().map_or(next.number, TailItem::first);
        let needed = beginning.first_needed(first);
        let publisher = clock::seed() as u32;
        let origin = Origin::new(stream, next.incarnation, publisher, VisitedEngines::EMPTY);
        let builder = builder.incarnation(found.incarnation()).configure(|config| {
            config.first_message = first;
            config.acknowledge_from = next.number;
            config.origin = Some(origin);
            if !tail.items.is_empty() {
                // New messages have room beside it.
                config.retransmission_buffer = retained.max(tail.bytes.saturating_add(retained / 4));
            }
        });
        let unopened = tail.unopened;
        let is_one_way = builder.config.flow == FlowControl::OneWay;
        let (publisher, (writer, recovery, confirmed)) = Publisher::prepared(builder, |machine, now| {
            for item in &tail.items {
                let passed = match item {
                    // Nobody can request it.
                    TailItem::Message { key, bytes, .. } if is_one_way => machine.publish(now, (*key, bytes)),
                    TailItem::Message { key, bytes, .. } => machine.recall(now, *key, bytes),
                    TailItem::Gap { .. } => Err(Refusal::Unsent),
                };
                // What is missing, or is longer than messages may be now, is omitted.
                if passed.is_err() {
                    machine.skip_to(now, item.end())?;
                }
            }
            if start == LogStart::Continued && !is_one_way {
                machine.end_recall(now);
                machine.need_recalled_from(needed);
                if let Some(unsettled) = beginning.unsettled {
                    machine.require_acknowledgements_from(unsettled);
                }
            }
            Ok(beginning.begin(found, needed)?)
        })?;
        let longest = publisher.longest_message();
        let shared = Arc::new(Shared {
            publisher,
            longest,
            sync,
            stage: Mutex::new(Stage::new(writer, needed, confirmed)),
            files: Arc::clone(&files),
            sendable: Arc::new(AtomicU64::new(next.number.0)),
            changed: Condvar::new(),
            sync_due: Condvar::new(),
        });
        let threads = vec![
            spawn("mcast-stream-log", &shared, Shared::run)?,
            spawn("mcast-stream-sync", &shared, Shared::run_sync)?,
        ];
        let (keys, recorded) = (Arc::new(Mutex::new(keys)), Mutex::new(beginning.publisher));
        Ok(LoggedPublisher {
            shared,
            directory,
            keys,
            recorded,
            recovery,
            start,
            incarnation: next.incarnation,
            unopened,
            threads,
            has_ended: AtomicBool::new(false),
            is_delivered: AtomicBool::new(false),
            drop_timeout,
        })
    }
}

/// Starts a thread of a publisher.
fn spawn(name: &str, shared: &Arc<Shared>, work: fn(&Shared)) -> Result<JoinHandle<()>, StreamError> {
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || work(&shared)).map_err(StreamStep::StartThread.failed())
}

impl LoggedPublisher {
    /// Appends messages to the log with one write, and waits for room, but not for the disk; returns the number of the last
    /// one. They are sent as soon as they may be: with [`SyncPolicy::Each`], when they are on the disk. What is appended while
    /// a sync runs shares the next one: this is the fastest way to publish much that must be on the disk. A caller that must not
    /// confirm a message before it is there asks [`durable`](Self::durable) or [`wait`](Self::wait) first. With other policies,
    /// [`publish_all`](Self::publish_all) does the same.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use mcast_stream::{Publish, Until};
    /// # fn publish(publisher: &mcast_stream::LoggedPublisher) -> Result<(), mcast_stream::StreamError> {
    /// let last = publisher.append_all([b"EUR 1.08", b"CHF 0.94"])?;
    /// // Later, before it is confirmed to its sender:
    /// if let Some(last) = last {
    ///     assert!(publisher.wait(Until::MessageStored(last), Duration::from_secs(1))?);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`publish_all`](Self::publish_all).
    pub fn append_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
    ) -> Result<Option<MessageNumber>, StreamError> {
        self.accept_all(messages, Wait::ForRoom)
    }

    fn accept_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
        wait: Wait,
    ) -> Result<Option<MessageNumber>, StreamError> {
        let messages: Vec<_> = messages.into_iter().map(Into::into).collect();
        if messages.is_empty() {
            return Ok(None);
        }
        self.shared.accept(&messages, wait).map(Some)
    }

    /// Returns the number before which all messages are on the disk.
    #[must_use]
    pub fn durable(&self) -> MessageNumber {
        self.shared.durable()
    }

    /// Stops publishing without ending the stream: what was accepted is synced and sent, and until all subscribers have
    /// it, this waits for at most `timeout`. The next publisher with the same log continues.
    ///
    /// # Errors
    /// [`StreamError::Log`] if what was accepted cannot be synced.
    pub fn stop(&self, timeout: Duration) -> Result<Closing, StreamError> {
        let deadline = Instant::now().checked_add(timeout);
        let synced = self.shared.wait_stored(None);
        self.shared.wait_sent(deadline);
        let unsent_messages = self.shared.refuse_more();
        let closing = Closing { unsent_messages, ..self.shared.publisher.stop(left_until(deadline)) };
        synced?;
        // Who never joined may lack everything.
        let is_delivered = closing.is_delivered() && closing.audience.total() > 0;
        self.is_delivered.store(is_delivered, Ordering::Release);
        Ok(closing)
    }

    /// Records in the log that the stream has ended.
    fn record_end(&self) -> Result<(), StreamError> {
        if !self.has_ended.load(Ordering::Acquire) {
            self.shared.append_end()?;
            self.record(Ending::Over)?;
            self.has_ended.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Serves the log at this address over TCP, sealed like the stream, and announces it on the interfaces of the
    /// stream. Subscribers read it to start [in the past](crate::SubscriberBuilder::history_from), and to
    /// [heal](crate::SubscriberBuilder::heal) losses. With port 0, the system selects one.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn serve_history(&self, at: SocketAddr) -> Result<HistoryServer, StreamError> {
        self.serve_history_on(HistoryListener::bind(at)?)
    }

    /// Serves the log like [`serve_history`](Self::serve_history), on a listener that has settings of its own.
    ///
    /// # Errors
    /// If a thread cannot be started, or the announcements cannot be sent.
    pub fn serve_history_on(&self, listener: HistoryListener) -> Result<HistoryServer, StreamError> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = self.publisher().stream();
        let history = LogHistory {
            stream,
            directory: self.directory.clone(),
            keys: Arc::clone(&self.keys),
            incarnation: self.incarnation,
            sendable: Arc::clone(&self.shared.sendable),
        };
        let mut server = listener.serve(stream, keys, Box::new(history))?;
        if let Some(interface) = self.publisher().first_interface()? {
            server.announce(&[interface])?;
        }
        Ok(self.publisher().show_history(server))
    }

    /// Returns what was found in the log.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Returns which messages in the log cannot be opened any more, of those that subscribers may still request of this
    /// publisher, because their secret was removed from the keys. Subscribers that lack them report them as lost.
    #[must_use]
    pub const fn unopened(&self) -> Option<Unopened> {
        self.unopened
    }

    /// Returns how this publisher relates to the one before it: whether it continues the stream, or why not.
    #[must_use]
    pub const fn start(&self) -> LogStart {
        self.start
    }

    /// Returns the number of accepted messages that are not sent yet.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.shared.unsent()
    }

    /// Returns the number of messages that were accepted, and of their bytes. Those that the former publisher had
    /// accepted are not counted.
    #[must_use]
    pub fn accepted(&self) -> (u64, u64) {
        self.shared.accepted()
    }

    /// Returns how far the log exceeds its retention, now or within the last 10 s, because the publisher still needs its oldest
    /// messages: they were not sent, not acknowledged where that blocks, or not received by a subscriber that it waits for.
    #[must_use]
    pub fn hold(&self) -> Option<LogHold> {
        self.shared.hold()
    }

    /// Returns the directory of the log.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn record(&self, ending: Ending) -> Result<(), StreamError> {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(recorded.end(&*self.shared.files, ending)?)
    }
}

impl Publish for LoggedPublisher {
    /// Publishes a message, and returns its number. When this returns, the message is in the log, with
    /// [`SyncPolicy::Each`] on the disk: threads that publish at the same time share a sync. While more than 4 MiB of
    /// what is in the log cannot be sent yet, this blocks; also while the log is larger than its retention says, because what was
    /// not sent, or not acknowledged where that blocks, is not removed ([`hold`](Self::hold)).
    ///
    /// # Errors
    /// [`StreamError::Refused`] if the message can never be accepted, and [`StreamError::Log`] if it cannot be stored:
    /// then it is not accepted, and is not sent. If [that is temporary](mcast_log::LogError::is_temporary), the message
    /// can be published again later.
    fn publish<'m>(&self, message: impl Into<OutgoingMessage<'m>>) -> Result<MessageNumber, StreamError> {
        self.shared.accept(&[message.into()], Wait::UntilStored(None))
    }

    /// Publishes a message like [`publish`](Self::publish), but waits for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`StreamError::Refused`] if there was no room in time.
    fn publish_timeout<'m>(
        &self,
        message: impl Into<OutgoingMessage<'m>>,
        timeout: Duration,
    ) -> Result<MessageNumber, StreamError> {
        self.shared.accept(&[message.into()], Wait::UntilStored(Some(timeout)))
    }

    /// Publishes a message like [`publish`](Self::publish), without waiting for room or the disk. It is sent as soon as it may
    /// be: with [`SyncPolicy::Each`], when it is on the disk.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`StreamError::Refused`] if there is no room.
    fn try_publish<'m>(&self, message: impl Into<OutgoingMessage<'m>>) -> Result<MessageNumber, StreamError> {
        self.shared.accept(&[message.into()], Wait::Never)
    }

    /// Appends messages to the log with one write, and sends them; returns the number of the last one. With
    /// [`SyncPolicy::Each`], they are on the disk when this returns, after one sync.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); then none of them is accepted.
    fn publish_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
    ) -> Result<Option<MessageNumber>, StreamError> {
        self.accept_all(messages, Wait::UntilStored(None))
    }

    /// Appends messages to the log with one write, without waiting; returns the number of the last one. They are sent as
    /// soon as they may be: with [`SyncPolicy::Each`], when they are on the disk.
    ///
    /// # Errors
    /// As [`publish_all`](Self::publish_all), and [`StreamError::Refused`] if there is no room.
    fn try_publish_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
    ) -> Result<Option<MessageNumber>, StreamError> {
        self.accept_all(messages, Wait::Never)
    }

    /// Waits for at most `timeout`; returns whether what is waited for is so, like [`Publisher::wait`]. Everything but
    /// [`Until::MessageStored`] and [`Until::MessageAcknowledged`] is about all that was accepted: it is sent first.
    ///
    /// # Errors
    /// [`StreamError::Log`] if messages cannot be synced. Then nothing can be published any more. Otherwise as
    /// [`Publisher::wait`].
    fn wait(&self, until: Until, timeout: Duration) -> Result<bool, StreamError> {
        let deadline = Instant::now().checked_add(timeout);
        match until {
            Until::Stored => self.shared.wait_stored(deadline),
            Until::MessageStored(message) => {
                self.shared.wait_synced(MessageNumber(message.0.saturating_add(1)), deadline)
            }
            Until::MessageAcknowledged(_) => self.publisher().wait(until, timeout),
            Until::Sent | Until::Received | Until::Read | Until::Acknowledged => {
                let is_sent = self.shared.wait_sent(deadline);
                // That nothing is required is reported at once.
                let is_so = self.publisher().wait(until, left_until(deadline))?;
                Ok(is_sent && is_so)
            }
        }
    }

    /// Ends the stream without waiting for subscribers, like [`Publisher::end`]. Call it when everything
    /// [was sent](Self::wait).
    ///
    /// # Errors
    /// [`StreamError::Log`] if the end cannot be recorded in the log.
    fn end(&self) -> Result<(), StreamError> {
        self.shared.refuse_more();
        self.shared.publisher.end();
        self.record_end()
    }

    /// Ends the stream like [`Publisher::close`], after everything that was accepted was synced and sent. If something
    /// could not be sent in time, the stream does not end: this is then like [`stop`](Self::stop), and the next publisher
    /// with the log sends it.
    ///
    /// # Errors
    /// [`StreamError::Log`] if what was accepted cannot be synced.
    fn close(&self, timeout: Duration) -> Result<Closing, StreamError> {
        let deadline = Instant::now().checked_add(timeout);
        let synced = self.shared.wait_stored(None);
        if !self.shared.wait_sent(deadline) {
            return self.stop(Duration::ZERO);
        }
        self.shared.refuse_more();
        let closing = self.shared.publisher.close(left_until(deadline));
        synced?;
        self.record_end()?;
        Ok(closing)
    }

    /// Seals with the greatest epoch of these from now on, in the log as well.
    ///
    /// # Errors
    /// [`StreamError::Log`] if the segment of the log cannot be closed.
    fn set_keys(&self, keys: Keys) -> Result<(), StreamError> {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys.clone();
        self.shared.set_keys(keys)
    }

    /// Returns the number of the next message.
    fn next_message(&self) -> MessageNumber {
        self.shared.next_message()
    }

    /// Returns the publisher, for its events, statistics and subscribers. Messages that are published with it directly
    /// are not in the log: after that, this one refuses everything ([`StreamError::LogBypassed`]).
    fn publisher(&self) -> &Publisher {
        &self.shared.publisher
    }
}

impl Drop for LoggedPublisher {
    fn drop(&mut self) {
        // After it was closed or stopped, the caller knows what was not sent.
        if self.shared.is_open() {
            self.shared.wait_sent(Instant::now().checked_add(self.drop_timeout));
        }
        let has_ended = self.has_ended.load(Ordering::Acquire);
        let ended = self.shared.end();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // If it cannot be recorded, the next publisher knows less about what subscribers have, and says so.
        match ended {
            Ok(next) if !has_ended => {
                let is_delivered = self.is_delivered.load(Ordering::Acquire);
                let ending =
                    if is_delivered { Ending::Delivered { next } } else { Ending::Continues { next } };
                drop(self.record(ending));
            }
            Err(_) if self.shared.sync != SyncPolicy::Each => drop(self.record(Ending::Unsynced)),
            Ok(_) | Err(_) => {}
        }
    }
}

fn left_until(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()))
}

/// Returns a message as the log stores it.
const fn content<'a>(message: &OutgoingMessage<'a>) -> HistoryContent<&'a [u8]> {
    HistoryContent::Message { key: message.key, bytes: message.bytes }
}

/// Returns what identifies this boot of the system, on systems that distinguish boots.
fn boot() -> Option<String> {
    // Other systems are treated as if each process had a boot of its own.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot = boot.trim();
    (!boot.is_empty() && !boot.contains(char::is_whitespace)).then(|| boot.to_owned())
}

/// The number before which everything may be sent.
fn load(sendable: &AtomicU64) -> MessageNumber {
    MessageNumber(sendable.load(Ordering::Acquire))
}

/// The log of a publisher, for the clients of a history server.
struct LogHistory {
    stream: StreamId,
    directory: PathBuf,
    keys: Arc<Mutex<Keys>>,
    /// The incarnation that is published.
    incarnation: Incarnation,
    /// The number in it before which everything may be sent.
    sendable: Arc<AtomicU64>,
}

impl HistoryProvider for LogHistory {
    fn open(&self, stream: StreamId) -> Result<Box<dyn HistorySource>, HistoryUnavailable> {
        if stream != self.stream {
            return Err(HistoryUnavailable::OtherStream);
        }
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reader = LogReader::open(&self.directory, keys).map_err(|error| unreadable(&error))?;
        let (incarnation, sendable) = (self.incarnation, Arc::clone(&self.sendable));
        Ok(Box::new(LogSource { reader, incarnation, sendable }))
    }
}

struct LogSource {
    reader: LogReader,
    incarnation: Incarnation,
    sendable: Arc<AtomicU64>,
}

impl HistorySource for LogSource {
    fn locate(&mut self, start: RequestedStart) -> Result<Option<Position>, HistoryUnavailable> {
        match start {
            RequestedStart::At(position) => Ok(Some(position)),
            RequestedStart::Latest(number) => Ok(Some(Position::new(self.incarnation, number))),
            RequestedStart::Oldest | RequestedStart::Time(_) => {
                self.reader.seek(start).map_err(|error| unreadable(&error))
            }
        }
    }

    fn read(
        &mut self,
        from: Position,
        count: usize,
    ) -> Result<Vec<HistoryRecord<Arc<[u8]>>>, HistoryUnavailable> {
        let mut records = self.reader.read(from, count).map_err(|error| unreadable(&error))?;
        let sendable = Position::new(self.incarnation, load(&self.sendable));
        let is_unsent = |record: &HistoryRecord<Arc<[u8]>>| match record.content {
            HistoryContent::Message { .. } => record.first >= sendable,
            _ => record.first > sendable,
        };
        records.truncate(records.iter().position(is_unsent).unwrap_or(records.len()));
        Ok(records)
    }
}

fn unreadable(error: &LogError) -> HistoryUnavailable {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    HistoryUnavailable::Unreadable(text)
}
