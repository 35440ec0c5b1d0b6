//! The main loop of a bridge from a broker, which publishes messages or sends datagrams.

use std::time::Duration;

use mcast::{Destination, Sender, SenderBuilder};
use mcast_bridge::{
    BridgeError, GroupReplay, ReplayConfig, ReverseBridge, ReverseNotice, ReverseStatistics, StartAt,
    StoredKind, stored_kind,
};
use mcast_metrics::BoundExporter;
use mcast_stream::Publisher;
use mcast_stream::seal::Keys;
use mcast_stream::wire::StreamId;
use mcast_terminal::Console;

use super::text;
use super::text::{EventRecord, ReverseSummary, UnknownSubscribers};
use crate::arguments::select_destinations;
use crate::commands::bridge::figures::{Latest, PublishingState};
use crate::commands::bridge::surroundings::Surroundings;
use crate::commands::bridge::text::{connected, disconnected};
use crate::commands::bridge::{Arguments, engine};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::metrics::Pulse;

/// The state of `mcast bridge` from a broker.
pub(super) struct Session<'a> {
    bridge: Running,
    around: Surroundings<'a>,
}

impl<'a> Session<'a> {
    pub(super) const fn new(bridge: Running, around: Surroundings<'a>) -> Self {
        Self { bridge, around }
    }

    pub(super) fn run(mut self, bound: Option<BoundExporter>) -> anyhow::Result<Outcome> {
        let _exporter = self.around.serve(bound)?;
        let outcome = self.publish();
        self.around.service.stopping();
        let is_complete = outcome.is_ok() && self.bridge.finish(self.around.arguments.reverse.linger());
        self.summarize(is_complete)?;
        outcome?;
        let has_gaps = self.bridge.statistics().gaps > 0;
        Ok(self.around.interrupt.outcome().unwrap_or_else(|| Outcome::of(is_complete && !has_gaps)))
    }

    /// Publishes until the end of the stream in the broker, the end of the time, or an interrupt.
    fn publish(&mut self) -> anyhow::Result<()> {
        while !self.bridge.is_over()
            && let Some(timeout) = self.around.wait_at_most()
        {
            if let Some(notice) = self.bridge.next(timeout)? {
                self.handle(&notice)?;
            }
            self.around.handle_timeout(|keys| self.bridge.set_keys(keys))?;
            if self.around.are_figures_due() {
                self.around.figures.set(Latest::Publishing(self.bridge.state()));
            }
        }
        Ok(())
    }

    fn handle(&mut self, notice: &ReverseNotice) -> anyhow::Result<()> {
        match notice {
            ReverseNotice::Bridge(event) => {
                let report = event.report(self.bridge.unit());
                self.around.lines.event(&report, event.severity());
                self.around.print(&EventRecord::of(report))
            }
            ReverseNotice::Publisher(event) => {
                self.around.lines.event(&event.report(&UnknownSubscribers), event.severity());
                Ok(())
            }
            ReverseNotice::Connected => {
                self.around.on_connected();
                self.around.settle_problem();
                self.around.print(&EventRecord::of(connected(&self.around.engine)))
            }
            ReverseNotice::Disconnected(error) => {
                match self.around.on_disconnected(error, "nothing is published")? {
                    true => self.around.print(&EventRecord::of(disconnected(&self.around.engine, error))),
                    false => Ok(()),
                }
            }
        }
    }

    fn summarize(&mut self, is_complete: bool) -> anyhow::Result<()> {
        self.around.lines.finish();
        let (time, statistics) = (self.around.start.elapsed(), self.bridge.statistics());
        if self.around.arguments.json {
            let summary = ReverseSummary::new(
                &self.around.engine,
                self.bridge.stream(),
                &statistics,
                time,
                is_complete,
            );
            self.around.print_summary(&summary)?;
        } else if self.around.was_connected {
            self.around.console.note(text::summary(&statistics, self.bridge.unit(), time));
        }
        if !is_complete && statistics.messages > 0 {
            self.around.console.warn("not all subscribers have everything that was published");
        }
        Ok(())
    }
}

/// A running bridge from a broker.
pub(super) enum Running {
    Stream(Box<ReverseBridge>),
    Datagrams(Box<GroupReplay>),
}

impl Running {
    /// Returns its latest figures.
    fn state(&self) -> PublishingState {
        let publisher = self.publisher();
        PublishingState {
            statistics: self.statistics(),
            subscribers: publisher.map_or(0, |publisher| publisher.statistics().subscribers),
            is_publishing: self.is_publishing(),
            is_connected: self.is_connected(),
            pulse: Pulse::now(),
        }
    }

    pub(super) fn interrupt(&self) -> anyhow::Result<Interrupt> {
        match self {
            Self::Stream(bridge) => Interrupt::waking(bridge.waker()),
            // It never waits for long.
            Self::Datagrams(_) => Interrupt::catch(|| {}),
        }
    }

    pub(super) fn next(&mut self, timeout: Duration) -> Result<Option<ReverseNotice>, BridgeError> {
        match self {
            Self::Stream(bridge) => bridge.next(timeout),
            Self::Datagrams(replay) => replay.next(timeout),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Stream(bridge) => bridge.is_over(),
            Self::Datagrams(replay) => replay.is_over(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        match self {
            Self::Stream(bridge) => bridge.is_connected(),
            Self::Datagrams(replay) => replay.is_connected(),
        }
    }

    pub(super) fn statistics(&self) -> ReverseStatistics {
        match self {
            Self::Stream(bridge) => bridge.statistics(),
            Self::Datagrams(replay) => replay.statistics(),
        }
    }

    /// Waits until subscribers have everything, for at most `timeout`; returns whether they have. Nobody confirms
    /// datagrams.
    pub(super) fn finish(&mut self, timeout: Duration) -> bool {
        match self {
            Self::Stream(bridge) => bridge.finish(timeout),
            Self::Datagrams(_) => true,
        }
    }

    pub(super) fn set_keys(&mut self, keys: Keys) {
        if let Self::Stream(bridge) = self {
            bridge.set_keys(keys);
        }
    }

    fn bridge(&self) -> Option<&ReverseBridge> {
        match self {
            Self::Stream(bridge) => Some(bridge),
            Self::Datagrams(_) => None,
        }
    }

    pub(super) fn stream(&self) -> Option<StreamId> {
        self.bridge().map(ReverseBridge::stream)
    }

    pub(super) fn publisher(&self) -> Option<&Publisher> {
        self.bridge()?.publisher()
    }

    /// Whether it publishes.
    pub(super) fn is_publishing(&self) -> bool {
        self.bridge().is_none_or(|bridge| bridge.publisher().is_some())
    }

    /// Returns what it publishes.
    pub(super) const fn unit(&self) -> &'static str {
        match self {
            Self::Stream(_) => "message",
            Self::Datagrams(_) => "datagram",
        }
    }
}

/// Returns whether a broker holds datagrams of a plain group. One that holds nothing yet is taken for that of a stream.
pub(super) fn are_stored(target: &engine::Target) -> anyhow::Result<bool> {
    let kind = || stored_kind(&mut *target.engine().source()?);
    Ok(kind().map_err(BridgeError::Engine)? == Some(StoredKind::Datagrams))
}

/// Starts to send the datagrams.
pub(super) fn start(
    arguments: &Arguments,
    target: &engine::Target,
    console: &Console,
) -> anyhow::Result<Running> {
    if let Some(option) = option_of_streams(arguments) {
        let problem =
            format!("{option} applies to a stream, and the broker holds datagrams of a plain group");
        return Err(Failure::usage(problem).remedy("remove the option").into());
    }
    let options = &arguments.reverse;
    let texts = arguments.engine.as_slice();
    let chosen = select_destinations(texts, arguments.admission.families, console)?;
    let on_interface = |destination: Destination| Destination {
        interface: destination.interface.clone().or_else(|| arguments.interface.clone()),
        ..destination
    };
    let builder = chosen.items.into_iter().map(on_interface).fold(Sender::builder(), SenderBuilder::to);
    let sender = options.ttl.into_iter().fold(builder, SenderBuilder::hop_limit).build()?;
    let config = ReplayConfig {
        start: options.from.as_ref().map_or(Ok(StartAt::Oldest), |from| from.resolve(target))?,
        speed: Some(options.speed.unwrap_or(1.0)),
        stay: arguments.stream.stay,
    };
    console.note(format_args!("datagrams from {} to {}", target.description(), arguments.engine()));
    Ok(Running::Datagrams(Box::new(GroupReplay::start(sender, target.engine(), config)?)))
}

/// Returns the name of an option that was given, and that applies only to streams.
fn option_of_streams(arguments: &Arguments) -> Option<&'static str> {
    let (stream, options) = (&arguments.stream, &arguments.reverse);
    let given = [
        (!arguments.paths.is_empty(), "--path"),
        (stream.name.is_some(), "--name"),
        (stream.key.is_some(), "--key"),
        (options.announce.is_some(), "--announce"),
        (arguments.keeping.buffer.is_some(), "--buffer"),
        (options.evict_after.is_some(), "--evict-after"),
        (options.wait_for.is_some(), "--wait-for"),
        (options.linger.is_some(), "--linger"),
    ];
    given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
}
