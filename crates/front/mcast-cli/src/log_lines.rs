//! Lines of a log about what others do, so limited that nobody can fill a disk with them.

use std::cell::RefCell;
use std::fmt::Display;
use std::net::IpAddr;
use std::panic::Location;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use mcast_metrics::{EventReport, EventSeverity, Exposition, MetricKind};
use mcast_pace::{ClockTime, ReportLimiter, ReportQuota, WithheldReport};
use mcast_terminal::Console;

/// Lines that this process did not print at once.
static WITHHELD: AtomicU64 = AtomicU64::new(0);

/// Adds the number of lines that were not printed at once.
pub(crate) fn export(out: &mut Exposition) {
    let help = "Lines and events of the log that were withheld, because there were many of the same kind: of \
                them, the latest is printed every 10 s.";
    out.family("mcast_log_withheld_total", MetricKind::Counter, help)
        .sample(&[], WITHHELD.load(Ordering::Relaxed));
    let help =
        "Lines of output and of the log that were dropped, because nobody read them or their disk was full.";
    out.family("mcast_output_dropped_lines_total", MetricKind::Counter, help)
        .sample(&[], mcast_terminal::dropped_lines());
}

/// Limits what is printed of each kind, by [`ReportQuota::LOG`].
#[derive(Debug)]
pub(crate) struct LogLimiter<K, T> {
    limiter: ReportLimiter<K, T>,
    start: Instant,
}

impl<K: Ord + Clone, T> LogLimiter<K, T> {
    pub(crate) fn new() -> Self {
        Self { limiter: ReportLimiter::new(ReportQuota::LOG), start: Instant::now() }
    }

    /// Returns what may be printed at once.
    pub(crate) fn admit(&mut self, kind: K, source: Option<IpAddr>, item: T) -> Option<T> {
        let admitted = self.limiter.handle_report(self.now(), kind, source, item);
        if admitted.is_none() {
            WITHHELD.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Returns the latest of what was withheld if it is due, with the number of others like it that are not printed.
    /// Call it in the main loop until it returns `None`.
    pub(crate) fn due(&mut self) -> Option<(T, u64)> {
        // Nearly always there is nothing, and main loops ask for each message.
        self.limiter.poll_timeout()?;
        self.poll(self.now())
    }

    /// Returns what is left at the end, in the same way.
    pub(crate) fn rest(&mut self) -> Option<(T, u64)> {
        self.poll(ClockTime::NEVER)
    }

    fn now(&self) -> ClockTime {
        ClockTime::START + self.start.elapsed()
    }

    fn poll(&mut self, now: ClockTime) -> Option<(T, u64)> {
        let WithheldReport { latest, more, .. } = self.limiter.poll_report(now)?;
        Some((latest, more))
    }
}

/// Returns the end of a line that stands for others, too.
pub(crate) fn and_more(more: u64) -> String {
    match more {
        0 => String::new(),
        more => format!(" (and {} more like this within 10 s)", crate::output::count(more)),
    }
}

/// Notes and warnings on standard error. The lines of one place in the program are of one kind, unless that is named.
#[derive(Clone, Debug)]
pub(crate) struct LogLines<'a> {
    console: &'a Console,
    limiter: Rc<RefCell<LogLimiter<Kind, Line>>>,
    name: &'static str,
    source: Option<IpAddr>,
}

/// The name of a kind, and its place in the program.
type Kind = (&'static str, &'static Location<'static>);

#[derive(Debug)]
struct Line {
    is_warning: bool,
    text: String,
    remedy: Option<String>,
}

impl<'a> LogLines<'a> {
    pub(crate) fn new(console: &'a Console) -> Self {
        Self { console, limiter: Rc::new(RefCell::new(LogLimiter::new())), name: "", source: None }
    }

    /// Returns lines about this address, which has a share of its own.
    pub(crate) fn about(&self, source: Option<IpAddr>) -> Self {
        Self { source, ..self.clone() }
    }

    /// Returns lines of the kind with this name.
    pub(crate) fn of(&self, name: &'static str) -> Self {
        Self { name, ..self.clone() }
    }

    #[track_caller]
    pub(crate) fn note(&self, line: impl Display) {
        self.print(Location::caller(), Line { is_warning: false, text: line.to_string(), remedy: None });
    }

    #[track_caller]
    pub(crate) fn warn(&self, line: impl Display) {
        self.print(Location::caller(), Line { is_warning: true, text: line.to_string(), remedy: None });
    }

    /// Prints a warning with what to do about it.
    #[track_caller]
    pub(crate) fn advise(&self, line: impl Display, remedy: Option<String>) {
        self.print(Location::caller(), Line { is_warning: true, text: line.to_string(), remedy });
    }

    /// Prints an event. Events with its name are of one kind.
    pub(crate) fn event(&self, report: &EventReport, severity: EventSeverity) {
        let lines = self.of(report.name);
        match severity {
            EventSeverity::Problem => lines.advise(&report.text, report.remedy.clone()),
            EventSeverity::Note => lines.note(&report.text),
            EventSeverity::Detail => lines.detail(&report.text),
        }
    }

    /// Prints a detail, which only `-v` shows: all of them.
    pub(crate) fn detail(&self, line: impl Display) {
        self.console.detail(line);
    }

    /// Prints what was withheld and is due. Call it in the main loop.
    pub(crate) fn poll(&self) {
        while let Some((line, more)) = { self.limiter.borrow_mut().due() } {
            self.write(&line, more);
        }
    }

    /// Prints what is left at the end.
    pub(crate) fn finish(&self) {
        while let Some((line, more)) = { self.limiter.borrow_mut().rest() } {
            self.write(&line, more);
        }
    }

    fn print(&self, place: &'static Location<'static>, line: Line) {
        let admitted = self.limiter.borrow_mut().admit((self.name, place), self.source, line);
        admitted.iter().for_each(|line| self.write(line, 0));
    }

    fn write(&self, Line { is_warning, text, remedy }: &Line, more: u64) {
        let line = format_args!("{text}{}", and_more(more));
        match is_warning {
            true => self.console.warn(line),
            false => self.console.note(line),
        }
        remedy.iter().for_each(|remedy| self.console.advise(remedy));
    }
}
