//! What is due when, and what each layer does about it.

use super::SubscriberMachine;
use super::context::Context;
use super::event::{Cause, SubscriberEvent};
use crate::ClockTime;
use crate::outbox::Target;
use crate::times::subscriber::{MAX_CHECK_DELAY, PUBLISHER_GONE};

impl SubscriberMachine {
    /// Returns the latest time to call [`poll_transmit`](Self::poll_transmit) and [`poll_item`](Self::poll_item) again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        let Self { context, sequencer, reporter, .. } = self;
        let Context { publisher, delivery, .. } = context;
        // While buffering, events wait for the application: to wake it for them would be in vain.
        if !context.outbox.is_empty() || !context.events.is_empty() && !delivery.is_buffering {
            return Some(ClockTime(0));
        }
        let is_silent = publisher.liveness.is_silent();
        let silence = match is_silent {
            // A stream of which nothing more can come may be silent.
            _ if reporter.has_everything(context, sequencer) => ClockTime::NEVER,
            true => self.gone_at(),
            false => publisher.liveness.after(context.config.publisher_silence),
        };
        let mut deadline = silence.min(context.paths.next_silence_check(context.config.path_silence));
        if delivery.has_stopped() {
            // After a stop, all that is left to do is to leave, once.
            let is_due = !reporter.has_left && !context.sends_nothing();
            return if is_due { Some(ClockTime(0)) } else { deadline.unless_never() };
        }
        if publisher.incarnations.current().is_some() && !context.sends_nothing() {
            // A silent publisher is not probed: that is due once it is heard again.
            if !is_silent {
                deadline = deadline.min(publisher.peer.probe_at());
            }
            deadline = deadline.min(self.repairers_at());
            if publisher.peer.is_proven() {
                deadline = deadline.min(reporter.deadline(context));
            }
        }
        if sequencer.needs_naks(context) {
            deadline = deadline.min(sequencer.naks_at());
        }
        if delivery.is_active() {
            deadline = deadline.min(sequencer.gap_deadline(context));
        }
        deadline.unless_never()
    }

    /// Does everything that is due by now.
    pub(super) fn run_timers(&mut self, now: ClockTime) {
        self.context.now = now;
        self.check_silence(now);
        let Self { context, sequencer, reporter, .. } = self;
        if context.delivery.is_active() {
            sequencer.check_stall(context);
        }
        let publisher = &context.publisher;
        let (Some(to), Some(incarnation)) = (publisher.peer.get(), publisher.incarnations.current()) else {
            return;
        };
        if context.sends_nothing() {
            return;
        }
        if context.delivery.has_stopped() {
            if !reporter.has_left {
                reporter.leave(context, sequencer, 0);
            }
            return;
        }
        if now >= publisher.peer.probe_at() && !publisher.liveness.is_silent() {
            context.send_probe(Target::Address(to), incarnation);
            context.publisher.peer.record_probe(now);
        }
        sequencer.probe_repairer(context);
        if sequencer.needs_naks(context) {
            sequencer.run(context);
        }
        // The publisher ignores statuses from an address that is not proven.
        if context.publisher.peer.is_proven() {
            reporter.run(context, sequencer);
        }
    }

    /// Reports paths and publishers that are silent.
    fn check_silence(&mut self, now: ClockTime) {
        let Self { context, sequencer, reporter, .. } = self;
        if let Some(event) = context.paths.take_silent(now, context.config.path_silence) {
            context.emit(event);
        }
        let silence = context.config.publisher_silence;
        let silent_at = context.publisher.liveness.after(silence);
        if now >= silent_at && !context.publisher.liveness.is_silent() {
            // If this process did not run, the publisher has more time: what it sent meanwhile is not read yet. A publisher that is
            // called silent could lose its subscriber to a rival. What was due first was delayed by that long.
            let is_followed = context.publisher.incarnations.current().is_some();
            let sends = is_followed && context.publisher.peer.is_proven() && !context.sends_nothing();
            let status_at = if sends { reporter.deadline(context) } else { ClockTime::NEVER };
            let pause = now.since(silent_at.min(status_at));
            if pause >= MAX_CHECK_DELAY {
                context.publisher.liveness.extend(now, pause, silence, now + MAX_CHECK_DELAY);
            }
        }
        let is_silent = now >= context.publisher.liveness.after(silence);
        if !is_silent && !context.publisher.liveness.is_silent()
            || reporter.has_everything(context, sequencer)
        {
            return;
        }
        let has_fallen_silent = is_silent && context.publisher.liveness.record_silence();
        if has_fallen_silent && context.publisher.incarnations.current().is_some() {
            context.emit(SubscriberEvent::PublisherSilent);
        }
        // After a close and a long silence, no publisher is left that could repair anything.
        if now >= self.gone_at() {
            self.gate.abandoned.get_or_insert(Cause::PublisherGone);
        }
    }

    /// When a publisher that has closed its stream, and has been silent since, counts as gone.
    fn gone_at(&self) -> ClockTime {
        let publisher = &self.context.publisher;
        match publisher.end.is_some() && self.gate.abandoned.is_none() {
            true => publisher.liveness.after(PUBLISHER_GONE.max(self.context.config.publisher_silence)),
            false => ClockTime::NEVER,
        }
    }
}
