//! Progress of an examination: a line that is updated on a terminal, otherwise a note.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

use mcast_doctor::{Options, Progress as Step};
use mcast_terminal::Console;

use super::Doctor;
use crate::interrupt::Interrupt;
use crate::output::{count, seconds};
use crate::service::Service;

/// Shows the progress of listening, and ends it at an interrupt, or once enough has arrived.
pub(super) struct Progress<'a> {
    console: &'a Console,
    service: &'a Service,
    interrupt: Interrupt,
    is_repeating: bool,
    is_live: bool,
    ends_early: bool,
    shown: String,
    /// What was announced last. In another network namespace, the same subject is examined again.
    announced: Option<String>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(doctor: &'a Doctor<'_>) -> Self {
        Self {
            console: doctor.console,
            service: &doctor.service,
            interrupt: doctor.interrupt.clone(),
            is_repeating: doctor.is_repeating.get(),
            is_live: io::stderr().is_terminal() && !doctor.console.is_quiet(),
            ends_early: doctor.ends_early,
            shown: String::new(),
            announced: None,
        }
    }

    /// Announces that listening begins, except for repeated examinations.
    pub(super) fn begin(&mut self, what: impl Display, options: &Options) {
        let limit = if self.ends_early { "up to " } else { "" };
        let line = format!("examining {what}: listening for {limit}{}", seconds(options.duration()));
        if self.announced.as_ref() == Some(&line) {
            return;
        }
        if self.is_repeating {
            self.console.detail(&line);
        } else {
            self.console.note(&line);
        }
        self.announced = Some(line);
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.has_arrived()
    }

    /// Updates the progress.
    pub(super) fn show(&mut self, step: Step) -> ControlFlow<()> {
        if self.interrupt.has_arrived() {
            return ControlFlow::Break(());
        }
        self.service.alive();
        let line = line(&step);
        if self.is_live && line != self.shown {
            write(&format!("\r\x1b[K{line}"));
            self.shown = line;
        }
        match self.ends_early && step.is_enough() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Clears the line.
impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if !self.shown.is_empty() {
            write("\r\x1b[K");
        }
    }
}

fn line(step: &Step) -> String {
    let (elapsed, of) = (step.elapsed.as_secs(), step.of.as_secs());
    let (wire, socket) = (count(step.on_wire), count(step.at_socket));
    format!("{elapsed} of {of} s: {wire} on the wire, {socket} at the socket")
}

fn write(text: &str) {
    let mut stderr = io::stderr();
    // If standard error is closed, progress cannot be shown.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
