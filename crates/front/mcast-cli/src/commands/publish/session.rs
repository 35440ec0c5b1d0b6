//! Publishes the messages, and waits for the subscribers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast_stream::publisher::{OutgoingMessage, PublisherEvent};
use mcast_stream::{HistoryServer, StreamError, Until};
use mcast_sys::ClassifiedError;
use mcast_terminal::Console;

use super::acknowledgements::AckReporter;
use super::feed::{Feed, Snapshots, key_of};
use super::log_hold::HoldReporter;
use super::rate::{RateReport, RateReporter, StreamRate};
use super::refusals::Refusals;
use super::report::{self, Report};
use super::{Arguments, PublishPlan};
use crate::arguments::KeyFile;
#[cfg(feature = "seal")]
use crate::arguments::SigningFile;
use crate::exit::Outcome;
use crate::interrupt::{Hangup, Interrupt, Service};
use crate::log_lines::LogLines;
use crate::metrics::StreamMetrics;
use crate::output::{count_of, seconds};
use crate::read_ahead::{ReadAhead, ReadOutcome};
use crate::sending::{MessagePacer, wait_for_address};

/// What the manager of a service shows.
const STATUS: &str = "publishing";
/// The longest wait before checking for events.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long to wait until the log is written again.
const LOG_PAUSE: Duration = Duration::from_millis(200);
/// The least time for the last messages to subscribers that have everything.
const CLOSING: Duration = Duration::from_secs(2);
/// After Ctrl-C, the longest time for what subscribers that read still lack: enough for a few repairs, and short for a person.
const INTERRUPTED: Duration = Duration::from_secs(2);
/// Messages published before checking for events.
const AT_ONCE: usize = 256;

/// The state of `mcast publish`.
pub(super) struct Session<'a> {
    arguments: &'a Arguments,
    console: &'a Console,
    lines: LogLines<'a>,
    refusals: Refusals<'a>,
    feed: Arc<Feed>,
    snapshots: Option<Snapshots>,
    history: Option<HistoryServer>,
    interrupt: Interrupt,
    /// When to end after Ctrl-C.
    interrupted_until: Option<Instant>,
    key_file: Option<KeyFile<'a>>,
    #[cfg(feature = "seal")]
    signing: Option<SigningFile<'a>>,
    acks: AckReporter,
    hold: HoldReporter,
    /// Whether the log could not take the last message.
    is_log_refused: bool,
    /// Messages that were taken from the input and not queued.
    unpublished: u64,
    /// With an automatic rate.
    rate: Option<RateReporter>,
    metrics: Option<StreamMetrics>,
    service: Service,
    /// A reload, for the manager of the service; without keys, nothing changes.
    hangup: Option<Hangup>,
}

impl<'a> Session<'a> {
    /// Opens the publisher, and starts to serve snapshots.
    pub(super) fn open(
        plan: PublishPlan<'a>,
        key_file: Option<KeyFile<'a>>,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let PublishPlan { arguments, builder, destinations, hop_limit, snapshot } = plan;
        let log = arguments.log.log();
        let log = log.as_ref().map(|(directory, options)| (directory.as_path(), options.clone()));
        let name = arguments.stream.own_name();
        let feed = Arc::new(Feed::open(builder, log, name, console)?);
        let publisher = feed.publisher();
        // The publisher has sent its first heartbeat. Without a working path there is no point in starting.
        if !publisher.is_any_path_up()
            && let Some(error) = publisher.failure()
            && !wait_for_address(&error, console, || publisher.is_any_path_up())
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
        console.note(format_args!(
            "stream {}{}, to {destinations}{}",
            publisher.stream(),
            if arguments.stream.own_name().is_some() { "" } else { ", new" },
            hop_limit.map(|hops| format!(", hop limit {hops}")).unwrap_or_default(),
        ));
        let serve = |source| Snapshots::serve(source, &feed, console);
        let snapshots = snapshot.map(serve).transpose()?;
        let history = match (&*feed, arguments.log.listen()?) {
            (Feed::Logged(publisher), Some(listener)) => Some(publisher.serve_history_on(listener)?),
            _ => None,
        };
        if let Some(server) = &history {
            console.note(format_args!("serving the history at {}", server.address()));
        }
        let interrupt = Interrupt::catch(|| {})?;
        let serve = |address| StreamMetrics::serve(address, console);
        let metrics = arguments.metrics.as_ref().map(serve).transpose()?;
        let service = Service::begin();
        Ok(Self {
            metrics,
            hangup: service.hangups()?,
            service,
            arguments,
            console,
            lines: LogLines::new(console),
            refusals: Refusals::new(console, arguments.json),
            feed,
            snapshots,
            history,
            interrupt,
            interrupted_until: None,
            key_file,
            #[cfg(feature = "seal")]
            signing: None,
            acks: AckReporter::default(),
            hold: HoldReporter::default(),
            is_log_refused: false,
            unpublished: 0,
            rate: matches!(arguments.stream.rate, Some(StreamRate::Auto(_))).then(RateReporter::new),
        })
    }

    pub(super) fn run(mut self, messages: &ReadAhead<anyhow::Error>) -> anyhow::Result<Outcome> {
        self.service.ready(STATUS);
        self.wait_for_receivers();
        let begun = Instant::now();
        let failed = self.publish(messages).err();
        self.service.stopping();
        // Later, the ports of subscribers that have ended are closed.
        let hosts = self.feed.publisher().hosts();
        self.acks.end();
        // With a log, the stream continues after an interrupt, and after an error of the input.
        let has_failed = failed.is_some();
        let complete = self.linger(begun, has_failed);
        self.handle_events();
        self.lines.finish();
        self.refusals.finish();
        let statistics_time = begun.elapsed();
        let automatic = self.rate.as_ref().and_then(|_| RateReport::of(&self.feed.publisher().statistics()));
        drop(self.snapshots);
        // All subscribers have everything, so the closing messages need little time, unless one has joined since; or the
        // time is over.
        let rest = match complete {
            true if self.interrupt.has_arrived() => CLOSING,
            true => self.feed.publisher().left_at_end().max(CLOSING),
            false => Duration::ZERO,
        };
        let closing = self.feed.close(rest, has_failed || self.interrupt.has_arrived())?;
        let published = self.feed.published(&closing);
        let (stream, history) = (self.feed.publisher().stream(), self.history.as_ref());
        let report =
            Report::new(stream, published, &closing, &hosts, history, statistics_time).with_rate(automatic);
        let report = report.with_unpublished(self.unpublished + messages.pending() as u64);
        report.print(self.arguments.json, self.console)?;
        if let Some(error) = failed {
            return Err(error);
        }
        // With --ack, it only matters whether the messages were acknowledged as required.
        let is_complete = match report.is_acknowledged() {
            Some(is_acknowledged) => is_acknowledged && closing.unsent == 0,
            // It is not known what subscribers received.
            None if closing.is_one_way => closing.unsent == 0 && closing.unsent_messages == 0,
            None => closing.is_complete(),
        };
        Ok(self.interrupt.outcome().unwrap_or_else(|| Outcome::of(is_complete)))
    }

    fn wait_for_receivers(&mut self) {
        let Some(wanted) = self.arguments.stream.wait_for else { return };
        self.console.note(format_args!("waiting for {} to join", count_of(u64::from(wanted), "subscriber")));
        while !self.interrupt.has_arrived() && !self.feed.publisher().wait_for(wanted as usize, POLL_INTERVAL)
        {
            self.handle_events();
        }
    }

    fn publish(&mut self, messages: &ReadAhead<anyhow::Error>) -> anyhow::Result<()> {
        let mut waiting = Vec::new();
        let interrupt = self.interrupt.clone();
        let mut due = MessagePacer::new(self.arguments.stream.rate.and_then(StreamRate::fixed));
        loop {
            self.handle_events();
            if self.interrupt.has_arrived() {
                return Ok(());
            }
            match messages.take(POLL_INTERVAL, AT_ONCE, &mut waiting)? {
                ReadOutcome::Some => {}
                ReadOutcome::NoneYet => continue,
                ReadOutcome::End => return Ok(()),
            }
            let mut batch = waiting.drain(..);
            while let Some(message) = batch.next() {
                let meanwhile = || {
                    self.feed.publisher().flush();
                    self.handle_events();
                };
                let queued = if due.wait(&interrupt, meanwhile) { self.queue(&message) } else { Ok(false) };
                if !matches!(queued, Ok(true)) {
                    self.unpublished = 1 + batch.len() as u64;
                    return queued.map(drop);
                }
            }
            drop(batch);
            self.feed.publisher().flush();
        }
    }

    /// Queues a message, and returns whether it did. An interrupt ends a wait for subscribers, or for space on the disk.
    fn queue(&mut self, message: &[u8]) -> anyhow::Result<bool> {
        let key = self.arguments.keyed.then(|| key_of(message));
        let message = OutgoingMessage { bytes: message, key };
        loop {
            let progress = self.feed.publisher().progress();
            match self.feed.try_publish(message) {
                Err(StreamError::Refused(refusal)) if refusal.is_temporary() => {
                    self.feed.publisher().wait_for_room(progress, POLL_INTERVAL);
                }
                Err(StreamError::Log(error)) if error.is_temporary() => {
                    if !std::mem::replace(&mut self.is_log_refused, true) {
                        let remedy = error.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default();
                        let failure = anyhow::Error::from(error);
                        self.console.warn(format_args!(
                            "{failure:#}; nothing is published until it can be written{remedy}"
                        ));
                    }
                    self.interrupt.sleep(LOG_PAUSE);
                }
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    if std::mem::take(&mut self.is_log_refused) {
                        self.console.note("the log can be written again");
                    }
                    return Ok(true);
                }
            }
            self.handle_events();
            if self.interrupt.has_arrived() {
                return Ok(false);
            }
        }
    }

    /// Waits until the next incarnation has another number: incarnations are numbered by the quarter of a second in
    /// which they start.
    fn outlast_incarnation_number(&self, begun: Instant) {
        if self.arguments.stream.own_name().is_some() && self.arguments.log.directory.is_none() {
            self.interrupt.sleep(Duration::from_millis(250).saturating_sub(begun.elapsed()));
        }
    }

    /// Waits until all subscribers have received and read everything, at most for `--linger` after the last datagram
    /// was sent; returns whether they have received it.
    fn linger(&mut self, begun: Instant, has_failed: bool) -> bool {
        self.feed.publisher().set_time_at_end(self.arguments.stream.linger);
        let is_sent = self.wait_until(|session| {
            session.feed.unsent() == 0 && session.feed.wait(Until::Sent, POLL_INTERVAL)
        });
        self.outlast_incarnation_number(begun);
        let continues =
            self.arguments.log.directory.is_some() && (has_failed || self.interrupt.has_arrived());
        let ends = is_sent && !continues;
        if ends {
            // Subscribers that have everything need not wait for the others. Closing reports an error, too.
            let _ = self.feed.end();
        }
        is_sent
            && self.wait_until(|session| {
                let publisher = session.feed.publisher();
                // What was given up is settled, too.
                let is_settled = publisher.ack_progress().is_none_or(|_| {
                    session.feed.wait(Until::Acknowledged, POLL_INTERVAL)
                        || publisher.ack_progress().is_none_or(|progress| progress.is_settled())
                });
                is_settled
                    && session.feed.wait(if ends { Until::Read } else { Until::Received }, POLL_INTERVAL)
            })
    }

    /// Waits until `check` succeeds or `--linger` is over; after Ctrl-C, at most for [`INTERRUPTED`].
    fn wait_until(&mut self, mut check: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if check(self) {
                return true;
            }
            // The first Ctrl-C ends publishing and long waits; a second one ends the process.
            self.handle_events();
            if self.feed.publisher().left_at_end().is_zero() || self.is_interrupt_over() {
                return false;
            }
        }
    }

    fn is_interrupt_over(&mut self) -> bool {
        let now = Instant::now();
        self.interrupt.has_arrived() && now >= *self.interrupted_until.get_or_insert(now + INTERRUPTED)
    }

    /// Rereads the signing key after SIGHUP as well.
    #[cfg(feature = "seal")]
    pub(super) fn rereading(self, signing: Option<SigningFile<'a>>) -> Self {
        Self { signing, ..self }
    }

    #[cfg(feature = "seal")]
    fn update_signing_key(&self) {
        if let Some(key) = self.signing.as_ref().and_then(|file| file.reread(self.console)) {
            self.console.note(format_args!("signing with {} from now on", key.public_key()));
            self.feed.publisher().set_signing_key(key);
        }
    }

    /// Reports events, and rereads the keys after SIGHUP.
    fn handle_events(&mut self) {
        self.service.alive();
        let is_reloading = self.hangup.as_ref().is_some_and(Hangup::has_arrived);
        if is_reloading {
            self.service.reloading();
        }
        #[cfg(feature = "seal")]
        self.update_signing_key();
        let publisher = self.feed.publisher();
        while let Some(event) = publisher.event() {
            match event {
                PublisherEvent::SubscriberRefused(subscriber, address) => {
                    self.refusals.subscriber(subscriber, address);
                }
                // The report of acknowledgements names the subscribers that are missing.
                PublisherEvent::QuorumLost | PublisherEvent::QuorumPresent => {}
                _ => report::event(&event, publisher, &self.lines),
            }
        }
        self.acks.report(publisher, &self.lines);
        if let Some(event) = self.hold.report(self.feed.hold(), &self.lines) {
            self.refusals.write_event(&event);
        }
        if let Some(rate) = &mut self.rate {
            rate.report(publisher, &self.lines);
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.poll(true, |metrics| {
                self.feed.add_metrics(metrics);
                self.history.iter().for_each(|history| history.add_metrics(metrics));
                self.snapshots.iter().for_each(|snapshots| snapshots.add_metrics(metrics));
                match (publisher.is_any_path_up(), self.is_log_refused) {
                    (false, _) => Some("no interface can send".into()),
                    (true, true) => Some("the log cannot be written".into()),
                    (true, false) => None,
                }
            });
        }
        while let Some(change) = publisher.path_change() {
            report::path_change(&change, &self.lines);
        }
        while let Some(refused) = self.history.as_ref().and_then(HistoryServer::take_refused) {
            self.refusals.history(refused);
        }
        if let Some(snapshots) = &self.snapshots {
            snapshots.report_failures(&self.lines);
        }
        while let Some(refused) = self.snapshots.as_ref().and_then(Snapshots::take_refused) {
            self.refusals.snapshot(refused);
        }
        self.refusals.poll();
        self.lines.poll();
        if let Some(keys) = self.key_file.as_ref().and_then(|file| file.reread(self.console)) {
            self.console.note(format_args!("sealing with epoch {} from now on", keys.latest()));
            if let Some(history) = &self.history {
                history.set_keys(keys.clone());
            }
            if let Err(error) = self.feed.set_keys(keys) {
                self.console.warn(format_args!("{:#}", anyhow::Error::from(error)));
            }
        }
        if is_reloading {
            self.service.ready(STATUS);
        }
    }
}
