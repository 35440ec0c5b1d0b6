//! The main loop of commands that run until something ends them: what ends, reloads and watches them stands here once.
//!
//! Three commands have a loop of their own, because this one would have to know more than it saves them. `publish` waits in
//! phases (for subscribers, for acknowledgements, for the end), and Ctrl-C shortens each to 2 s instead of ending it. `perf`
//! prints its last interval at the very deadline, which the engine that measures keeps. `bridge` is ready once its engine
//! is, and stores for 2 s after Ctrl-C what it has received.

use std::time::Duration;

use mcast::Drops;
use mcast_terminal::Console;

use crate::arguments::Goal;
use crate::exit::Outcome;
use crate::interrupt::{Hangup, Interrupt, Service};

/// Steps between two looks at what is due regularly, as long as each finds something.
const STEPS_AT_ONCE: u32 = 64;

/// By how much `--idle` may be exceeded by what is not counted.
const IDLE_MARGIN: Duration = Duration::from_secs(1);

/// What a command does in its main loop.
pub(crate) trait SessionSteps {
    /// The silence after which the output is flushed.
    const FLUSH_AFTER: Duration = Duration::ZERO;

    /// Handles what is there, or waits for it for at most this time.
    fn step(&mut self, control: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step>;

    /// Returns how long to wait for the next step, before looking at signals again.
    fn longest_wait(&mut self) -> Duration;

    /// Returns whether there is output to flush before the loop waits.
    fn is_unflushed(&self) -> bool {
        false
    }

    /// Flushes the output, before the loop waits for longer than [`Self::FLUSH_AFTER`].
    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Does what is due regularly: after each wait, and from time to time while there is always something to do.
    fn maintain(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Does what SIGHUP requests.
    fn reload(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Returns what the manager of a service shows; nothing for a command that is not run as a service.
    fn status(&self) -> String {
        String::new()
    }
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Handled,
    /// Something arrived that is not counted, from which `--idle` does not begin again.
    Ignored,
    /// Nothing was there.
    Idle,
    Over(End),
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As much has arrived as `--count` states.
    Enough,
    TimeOver,
    Interrupted,
    /// There is nothing more, such as after the end of a file or a stream.
    SourceEnded,
    /// After a loss, because it was requested so.
    Stopped,
    /// The reader closed the pipe, which is not an error.
    ReaderGone,
}

/// What ends, reloads and watches a session.
pub(crate) struct Control<'a> {
    pub(crate) interrupt: Interrupt,
    pub(crate) goal: Goal<'a>,
    console: &'a Console,
    service: Service,
    hangup: Option<Hangup>,
}

impl<'a> Control<'a> {
    /// Creates the control of a command that is not run as a service.
    pub(crate) const fn new(interrupt: Interrupt, goal: Goal<'a>, console: &'a Console) -> Self {
        Self { interrupt, goal, console, service: Service::none(), hangup: None }
    }

    /// Reports to the manager of a service. SIGHUP reloads, if it is handled.
    pub(crate) fn with_service(self, service: Service, hangup: Option<Hangup>) -> Self {
        Self { service, hangup, ..self }
    }

    pub(crate) fn run(&mut self, session: &mut impl SessionSteps) -> anyhow::Result<End> {
        self.service.ready(&session.status());
        let end = self.repeat(session);
        self.service.stopping();
        end
    }

    /// Returns the outcome of a session, of which everything was handled or not. Prints which conditions of success are not
    /// met.
    pub(crate) fn judge(&self, end: End, is_complete: bool, counted: u64, dropped: Drops) -> Outcome {
        match end {
            End::Interrupted => self.interrupt.outcome().unwrap_or(Outcome::Yes),
            End::ReaderGone => Outcome::Yes,
            End::Enough | End::TimeOver | End::SourceEnded | End::Stopped => {
                let misses = self.goal.misses(counted, dropped);
                misses.iter().for_each(|miss| self.console.note(miss));
                Outcome::of(misses.is_empty() && is_complete)
            }
        }
    }

    fn repeat(&mut self, session: &mut impl SessionSteps) -> anyhow::Result<End> {
        loop {
            for _ in 0..STEPS_AT_ONCE {
                if let Some(end) = self.end() {
                    return Ok(end);
                }
                match self.next(session)? {
                    Step::Over(end) => return Ok(end),
                    // What is not counted must not prevent `--idle` from ending the session.
                    Step::Ignored if self.goal.is_overdue(IDLE_MARGIN) => return Ok(End::TimeOver),
                    Step::Handled | Step::Ignored => {}
                    Step::Idle => break,
                }
            }
            self.maintain(session)?;
        }
    }

    /// Takes a step. If nothing is there, what was printed has to be visible before it waits.
    fn next<S: SessionSteps>(&mut self, session: &mut S) -> anyhow::Result<Step> {
        let left = self.goal.time_left();
        let at_most = |wait: Duration| left.map_or(wait, |left| left.min(wait));
        if session.is_unflushed() {
            let step = session.step(self, at_most(S::FLUSH_AFTER))?;
            if step != Step::Idle {
                return Ok(step);
            }
            session.flush()?;
        }
        let wait = at_most(session.longest_wait());
        let step = session.step(self, wait)?;
        // A process that was busy for longer than `--idle` has looked for what is there before it ends.
        let is_over = step == Step::Idle && left == Some(Duration::ZERO);
        Ok(if is_over { Step::Over(self.end().unwrap_or(End::TimeOver)) } else { step })
    }

    fn end(&self) -> Option<End> {
        match (self.interrupt.has_arrived(), self.goal.is_past_deadline()) {
            (true, _) => Some(End::Interrupted),
            (false, true) => Some(End::TimeOver),
            (false, false) => None,
        }
    }

    /// Does what is due regularly. For a step that takes long.
    pub(crate) fn maintain(&self, session: &mut impl SessionSteps) -> anyhow::Result<()> {
        if self.hangup.as_ref().is_some_and(Hangup::has_arrived) {
            self.service.reloading();
            session.reload()?;
            self.service.ready(&session.status());
        }
        self.service.alive();
        session.maintain()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::arguments::Limits;

    /// A session of these steps, which notes what the loop calls.
    #[derive(Default)]
    struct Scripted {
        found: Vec<Step>,
        counted: u64,
        calls: Vec<&'static str>,
        is_unflushed: bool,
    }

    impl SessionSteps for Scripted {
        fn step(&mut self, control: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step> {
            self.calls.push(if wait.is_zero() { "look" } else { "wait" });
            if self.found.is_empty() {
                control.interrupt.set();
                return Ok(Step::Idle);
            }
            let step = self.found.remove(0);
            if step == Step::Handled {
                self.is_unflushed = true;
                self.counted += 1;
                control.goal.record_arrival();
                if control.goal.is_reached(self.counted) {
                    return Ok(Step::Over(End::Enough));
                }
            }
            Ok(step)
        }

        fn longest_wait(&mut self) -> Duration {
            Duration::from_secs(3_600)
        }

        fn is_unflushed(&self) -> bool {
            self.is_unflushed
        }

        fn flush(&mut self) -> anyhow::Result<()> {
            self.calls.push("flush");
            self.is_unflushed = false;
            Ok(())
        }

        fn maintain(&mut self) -> anyhow::Result<()> {
            self.calls.push("maintain");
            Ok(())
        }
    }

    fn run(limits: &Limits, session: &mut Scripted) -> End {
        let console = Console::new(true, false);
        let mut control = Control::new(Interrupt::default(), Goal::new(limits, Instant::now()), &console);
        control.run(session).unwrap()
    }

    #[test]
    fn output_is_flushed_before_a_wait_and_not_between_arrivals() {
        let mut session =
            Scripted { found: vec![Step::Handled, Step::Handled, Step::Idle], ..Scripted::default() };
        assert_eq!(run(&Limits::default(), &mut session), End::Interrupted);
        assert_eq!(session.calls, ["wait", "look", "look", "flush", "wait", "maintain"]);
    }

    #[test]
    fn a_session_ends_when_as_much_has_arrived_as_was_requested() {
        let limits = Limits { count: Some(2), ..Limits::default() };
        let mut session = Scripted { found: vec![Step::Handled; 5], ..Scripted::default() };
        assert_eq!(run(&limits, &mut session), End::Enough);
        assert_eq!((session.counted, session.found.len()), (2, 3));
    }

    #[test]
    fn a_session_that_was_busy_for_longer_than_the_silence_looks_once_for_what_is_there() {
        let limits = Limits { idle: Some(Duration::ZERO), ..Limits::default() };
        let mut session =
            Scripted { found: vec![Step::Handled, Step::Idle, Step::Idle], ..Scripted::default() };
        assert_eq!(run(&limits, &mut session), End::TimeOver);
        assert_eq!(session.calls, ["look", "look", "flush", "look"]);
    }

    #[test]
    fn what_is_due_regularly_is_done_although_there_is_always_something_to_do() {
        let mut session = Scripted { found: vec![Step::Handled; 200], ..Scripted::default() };
        run(&Limits::default(), &mut session);
        let maintained = session.calls.iter().filter(|call| **call == "maintain").count();
        assert!((3..=4).contains(&maintained), "{maintained}");
    }
}
