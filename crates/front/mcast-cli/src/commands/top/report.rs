//! Prints tables or JSON at intervals.

use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime};

use mcast::interface::Interface;
use mcast_stream::wire::StreamId;
use mcast_terminal::{Console, Output};
use mcast_watch::Row;

use super::text::{self, Column, LossLevel};
use super::{Display, TopPlan, Watched, faults};
use crate::arguments::Goal;
use crate::exit::Failure;
use crate::interrupt::{Interrupt, Service};
use crate::output::{Cell, SafeText, Table, bits_per_second, count, count_of, rfc3339};
use crate::receiving::SilentInterfaces;
use crate::session::{Control, End, SessionSteps, Step};
use mcast_watch::live::{Monitor, MonitorReport};

/// The interval of checks for the end of a file.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const INTERFACE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Prints at each interval until the timeout or Ctrl-C.
pub(super) fn run(
    plan: &TopPlan<'_>,
    watched: Watched<'_>,
    interrupt: &Interrupt,
    console: &Console,
) -> anyhow::Result<()> {
    let Watched { monitor, named } = watched;
    let mut silent_interfaces = SilentInterfaces::default();
    silent_interfaces.warn_about_captured(named, console);
    let mut printer =
        TablePrinter { plan, monitor, console, out: console.output(), printed: 0, has_explained: false };
    if plan.is_file {
        while !monitor.wait_for_end(POLL_INTERVAL) && !interrupt.has_arrived() {}
        printer.print(SystemTime::now())?;
        return check_source(monitor);
    }
    let interval = plan.watch.interval;
    let end = plan.timeout.map(|timeout| monitor.begun() + timeout);
    let mut due = monitor.begun() + interval;
    loop {
        // An interval that the timeout cuts short is incomplete.
        let is_cut = end.is_some_and(|end| due > end);
        let moment = end.map_or(due, |end| due.min(end));
        let was_interrupted = sleep_until(moment, interrupt);
        let now = if was_interrupted { SystemTime::now() } else { moment };
        monitor.wait_until_seen(now);
        // An incomplete interval is printed only if nothing was printed before.
        if printer.printed == 0 || !(was_interrupted || is_cut) {
            printer.print(now)?;
        }
        silent_interfaces.warn_about_captured(named, console);
        check_source(monitor)?;
        if was_interrupted || is_cut || plan.once || end == Some(due) {
            return Ok(());
        }
        due += interval;
    }
}

/// Waits until the timeout or Ctrl-C, while the metrics server shows the streams. A hang-up resets the counters. Fails
/// if a selected interface vanishes, because nothing more would arrive on it.
pub(super) fn wait(
    timeout: Option<Duration>,
    watched: Watched<'_>,
    interrupt: &Interrupt,
    service: Service,
    console: &Console,
) -> anyhow::Result<()> {
    let Watched { monitor, named } = watched;
    let mut silent_interfaces = SilentInterfaces::default();
    silent_interfaces.warn_about_captured(named, console);
    let mut watching = Watching { monitor, named, silent_interfaces, last_check: Instant::now(), console };
    let goal = Goal::until(timeout, Instant::now());
    let hangup = service.hangups()?;
    Control::new(interrupt.clone(), goal, console).with_service(service, hangup).run(&mut watching)?;
    Ok(())
}

struct Watching<'a> {
    monitor: &'a Monitor,
    named: &'a [Interface],
    silent_interfaces: SilentInterfaces,
    last_check: Instant,
    console: &'a Console,
}

impl SessionSteps for Watching<'_> {
    fn step(&mut self, control: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step> {
        Ok(if control.interrupt.sleep(wait) { Step::Over(End::Interrupted) } else { Step::Idle })
    }

    fn longest_wait(&mut self) -> Duration {
        POLL_INTERVAL
    }

    fn maintain(&mut self) -> anyhow::Result<()> {
        check_source(self.monitor)?;
        if self.last_check.elapsed() >= INTERFACE_CHECK_INTERVAL {
            self.last_check = Instant::now();
            check_interfaces(self.named)?;
            self.silent_interfaces.warn_about_captured(self.named, self.console);
        }
        Ok(())
    }

    fn reload(&mut self) -> anyhow::Result<()> {
        self.monitor.clear();
        Ok(())
    }

    fn status(&self) -> String {
        format!("Watching {}", self.monitor.interfaces().unwrap_or_default())
    }
}

fn check_interfaces(named: &[Interface]) -> anyhow::Result<()> {
    let there = mcast::interface::list()?;
    match named.iter().find(|each| there.iter().all(|interface| interface.index != each.index)) {
        None => Ok(()),
        Some(gone) => Err(Failure::environment(format!("{} has gone or was replaced", gone.name))
            .remedy("start it again when the interface is back; a service manager does so automatically")
            .into()),
    }
}

fn check_source(monitor: &Monitor) -> anyhow::Result<()> {
    monitor.failure().map_or(Ok(()), |error| Err(error.into()))
}

/// Sleeps until this moment; returns whether Ctrl-C arrived before.
fn sleep_until(moment: SystemTime, interrupt: &Interrupt) -> bool {
    interrupt.sleep(moment.duration_since(SystemTime::now()).unwrap_or_default())
}

struct TablePrinter<'a> {
    plan: &'a TopPlan<'a>,
    monitor: &'a Monitor,
    console: &'a Console,
    out: Output,
    /// The number of tables printed.
    printed: u64,
    /// Whether the note about missing datagrams of repaired streams was printed.
    has_explained: bool,
}

impl TablePrinter<'_> {
    fn print(&mut self, now: SystemTime) -> io::Result<()> {
        let picture = self.monitor.report(now);
        let mut rows: Vec<&Row> = picture.watch.streams.iter().collect();
        text::sort(&mut rows, |row| row, self.plan.sort, false, &picture);
        if self.plan.display == Display::Json {
            picture.write_json(&mut self.out, &rows, now)?;
        } else {
            self.table(&picture, &rows, now)?;
        }
        self.out.flush()?;
        self.printed += 1;
        self.print_notes(&picture);
        Ok(())
    }

    fn table(&mut self, picture: &MonitorReport, rows: &[&Row], now: SystemTime) -> io::Result<()> {
        let palette = self.console.palette();
        if !self.plan.once && !picture.is_file {
            if self.printed > 0 {
                writeln!(self.out)?;
            }
            writeln!(self.out, "{}{}{:#}", palette.dim, rfc3339(now), palette.dim)?;
        }
        if rows.is_empty() {
            return self.announced(picture);
        }
        let mut columns = self.plan.columns.to_vec();
        if columns.is_empty() {
            let is_trend = |column: &Column| matches!(column, Column::Trend | Column::LossTrend);
            let has_text = |column: &Column| rows.iter().any(|row| !column.text(row, picture).is_empty());
            columns.extend(Column::SHOWN.iter().filter(|column| !is_trend(column) && has_text(column)));
        }
        let titles: Vec<_> = columns.iter().map(|column| column.title()).collect();
        let mut table = Table::new(&titles, palette.heading);
        for row in rows {
            table.row(columns.iter().map(|column| self.cell(*column, row, picture)));
        }
        table.write(&mut self.out)?;
        self.announced(picture)
    }

    fn announced(&mut self, picture: &MonitorReport) -> io::Result<()> {
        if picture.watch.announced.is_empty() {
            return Ok(());
        }
        let palette = self.console.palette();
        let titles = ["announced", "group", "source", "interface", "stream", "sealed", "snapshots", "rate"];
        let mut table = Table::new(&titles, palette.heading);
        for announced in &picture.watch.announced {
            let content = announced.content.as_ref();
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
            let memberships = content.map(|content| content.memberships().join(" "));
            let second = Duration::from_secs(1);
            let rate =
                content.and_then(|content| content.rate).and_then(|rate| bits_per_second(rate, second));
            table.row([
                Cell::new(or_dash(announced.name().map(|name| SafeText::new(name.as_bytes()).to_string()))),
                Cell::new(or_dash(memberships)).style(palette.group),
                Cell::new(announced.source.ip().to_string()).style(palette.address),
                Cell::new(picture.interface(announced.interface)).style(palette.interface),
                Cell::new(StreamId(announced.identity.stream).to_string()),
                Cell::new(if announced.identity.sealed { "yes" } else { "no" }),
                Cell::new(or_dash(
                    content.and_then(|content| content.snapshot).map(|snapshot| snapshot.to_string()),
                )),
                Cell::new(or_dash(rate)),
            ]);
        }
        writeln!(self.out)?;
        table.write(&mut self.out)
    }

    fn cell(&self, column: Column, row: &Row, picture: &MonitorReport) -> Cell {
        let palette = self.console.palette();
        let cell = Cell::new(column.text(row, picture));
        let cell = if column.is_right() { cell.right() } else { cell };
        match column {
            Column::Group => cell.style(palette.group),
            Column::Source => cell.style(palette.address),
            Column::Interface => cell.style(palette.interface),
            Column::Loss | Column::LossTrend => match text::loss_level(row, self.plan.bad_loss) {
                LossLevel::None => cell,
                LossLevel::Some => cell.style(palette.warning),
                LossLevel::Bad => cell.style(palette.bad),
            },
            _ => cell,
        }
    }

    /// Prints notes after the table: sums, and what could not be observed.
    fn print_notes(&mut self, picture: &MonitorReport) {
        let report = &picture.watch;
        let rate = picture.total_rate();
        let second = Duration::from_secs(1);
        let bits = bits_per_second((rate.bits_per_second / 8.0) as u64, second).unwrap_or_default();
        if self.printed == 1 || self.console.is_verbose() {
            self.console.note(format_args!(
                "{}, {} datagrams/s, {bits}; {} of IGMP, MLD and PIM",
                count_of(report.streams.len() as u64, "stream"),
                count(rate.datagrams_per_second as u64),
                count_of(report.totals.control, "message"),
            ));
        }
        if !self.has_explained && report.streams.iter().any(text::may_be_repaired_unseen) {
            self.has_explained = true;
            self.console.note(format_args!("the loss of an mcast stream {}", text::MISSING_IN_THE_GROUP));
        }
        // With a table at each interval, the notes would be as long as the table.
        if picture.is_file || self.plan.once || self.console.is_verbose() {
            self.print_faults(picture);
        }
        let left_out = report.totals.streams_evicted;
        if left_out > 0 {
            self.console.warn(format_args!(
                "{} omitted: the table is full (--max-streams enlarges it)",
                count_of(left_out, "stream")
            ));
        }
        if report.totals.announcements_omitted > 0 {
            let announcements = count_of(report.totals.announcements_omitted, "announcement");
            self.console.warn(format_args!("{announcements} omitted: too many streams are announced"));
        }
        if let Some(lost) = picture.lost.filter(|lost| *lost > 0) {
            self.console
                .warn(format_args!("{} not captured: they arrived too fast", count_of(lost, "packet")));
        }
        if let Some(failure) = self.monitor.local_members_failure() {
            self.console.detail(format_args!("cannot determine which processes have joined: {failure}"));
        }
    }

    /// Prints what the table has no column for.
    fn print_faults(&self, picture: &MonitorReport) {
        let (notes, more) = faults::of_streams(picture);
        notes.iter().for_each(|note| self.console.note(note));
        if more > 0 {
            self.console.note(format_args!("and {} about other streams", count_of(more as u64, "note")));
        }
        let others = [faults::without_stream(picture), faults::unexamined(picture)];
        others.iter().flatten().for_each(|note| self.console.note(note));
    }
}
