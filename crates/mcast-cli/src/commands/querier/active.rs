//! `--become`: sends queries unless a querier with a lower address does.

use std::time::{Duration, Instant, SystemTime};

use mcast::{Family, Interface};
use mcast_capture::{Capture, ErrorKind, InterfaceQuerier, QuerierEvent};
use mcast_packet::gmp::querier::{QuerierSettings, Role};
use mcast_watch::ObservedQuery;

use super::Arguments;
use super::event::{Event, EventPrinter};
use super::interfaces::{QuerierInterface, own_address};
use super::listen;
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::{Hangup, Interrupt};
use crate::rights::{self, Capability};
use crate::service::Service;

/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The interval of checks for changed interfaces.
const INTERFACE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The status for the service manager.
const STATUS: &str = "Sends queries unless a querier with a lower address does";

/// The state of `mcast querier --become`.
struct QuerierLoop<'a> {
    queriers: Vec<TargetQuerier>,
    capture: Capture,
    printer: EventPrinter<'a>,
    start: Instant,
    service: Service,
}

/// A querier on one interface, for one family. It runs while the interface has an address for queries.
struct TargetQuerier {
    target: QuerierInterface,
    settings: QuerierSettings,
    running: Option<InterfaceQuerier>,
    queries: u64,
    /// The last warning, so that it is printed once.
    warned: Option<String>,
}

pub(super) fn run(
    arguments: &Arguments,
    settings: QuerierSettings,
    mut targets: Vec<QuerierInterface>,
    console: &Console,
) -> anyhow::Result<Outcome> {
    targets.sort_by_key(|target| target.family);
    let mut querier_loop = QuerierLoop {
        capture: listen::open(&targets)?,
        queriers: targets.into_iter().map(|target| TargetQuerier::new(target, settings)).collect(),
        printer: EventPrinter::new(arguments.json, console),
        start: Instant::now(),
        service: Service::begin(),
    };
    // Keeps only the capability to open sockets for interfaces that appear later.
    rights::keep(&[Capability::NetRaw])?;
    let interrupt = &Interrupt::catch(|| {})?;
    console.note(format_args!(
        "sending queries every {} s unless a querier with a lower address does; a membership lasts {} s \
         after its last report",
        settings.query_interval().as_secs_f64(),
        settings.group_membership_interval().as_secs_f64()
    ));
    let ended = querier_loop.run(arguments.timeout, interrupt);
    querier_loop.service.stopping();
    querier_loop.queriers.iter().for_each(|querier| console.note(querier.summary()));
    ended?;
    Ok(interrupt.outcome().unwrap_or(Outcome::Yes))
}

impl QuerierLoop<'_> {
    fn run(&mut self, timeout: Option<Duration>, interrupt: &Interrupt) -> anyhow::Result<()> {
        let end = timeout.and_then(|timeout| self.start.checked_add(timeout));
        let mut last_check = None;
        let hangup = self.service.hangups()?;
        self.follow()?;
        self.service.ready(STATUS);
        while !interrupt.has_arrived() && end.is_none_or(|end| Instant::now() < end) {
            if last_check.is_none_or(|last: Instant| last.elapsed() >= INTERFACE_CHECK_INTERVAL) {
                last_check = Some(Instant::now());
                self.follow()?;
            }
            self.print_events()?;
            self.receive(end)?;
            self.service.alive();
            if hangup.as_ref().is_some_and(Hangup::has_arrived) {
                self.restart()?;
            }
        }
        Ok(())
    }

    /// Restarts the queriers, which then send startup queries.
    fn restart(&mut self) -> anyhow::Result<()> {
        self.service.reloading();
        self.queriers.iter_mut().for_each(|querier| querier.running = None);
        self.follow()?;
        self.service.ready(STATUS);
        Ok(())
    }

    /// Adapts to the current interfaces.
    fn follow(&mut self) -> anyhow::Result<()> {
        let interfaces = mcast::interfaces()?;
        let mut is_stale = false;
        for QuerierInterface { interface, name, .. } in
            self.queriers.iter_mut().map(|querier| &mut querier.target)
        {
            let Some(found) = interfaces.iter().find(|other| other.name == *name) else { continue };
            is_stale |= found.index != std::mem::replace(interface, found.index);
        }
        if is_stale {
            self.capture = listen::open(self.targets())?;
        }
        let now = self.start.elapsed();
        self.queriers.iter_mut().try_for_each(|querier| querier.follow(&interfaces, now, &mut self.printer))
    }

    fn targets(&self) -> impl Iterator<Item = &QuerierInterface> {
        self.queriers.iter().map(|querier| &querier.target)
    }

    /// Sends the queries that are due, and prints what happened.
    fn print_events(&mut self) -> anyhow::Result<()> {
        let now = self.start.elapsed();
        self.queriers.iter_mut().try_for_each(|querier| querier.print_events(now, &mut self.printer))
    }

    /// Receives until a query is due.
    fn receive(&mut self, end: Option<Instant>) -> anyhow::Result<()> {
        let running = || self.queriers.iter().filter_map(|querier| querier.running.as_ref());
        let due = running().map(|querier| querier.state().deadline).min();
        let wait =
            due.map_or(POLL_INTERVAL, |due| due.saturating_sub(self.start.elapsed()).min(POLL_INTERVAL));
        let left = end.map_or(POLL_INTERVAL, |end| end.saturating_duration_since(Instant::now()));
        let frame = match self.capture.next(Some(wait.min(left))) {
            Ok(Some(frame)) if !frame.direction.is_outgoing() => frame,
            Ok(_) => return Ok(()),
            // The interfaces are checked soon.
            Err(error) if error.kind() == ErrorKind::InterfaceDown => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let packet = frame.packet();
        if let Some(query) = ObservedQuery::in_packet(&packet)
            && !running().any(|querier| querier.state().address == query.source)
        {
            let targets = self.queriers.iter().map(|querier| &querier.target);
            listen::print_query(targets, &frame, &query, &mut self.printer)?;
        }
        let now = self.start.elapsed();
        let running = self.queriers.iter_mut().filter_map(|querier| querier.running.as_mut());
        running.for_each(|querier| querier.handle(&frame, now));
        self.print_events()
    }
}

impl TargetQuerier {
    const fn new(target: QuerierInterface, settings: QuerierSettings) -> Self {
        Self { target, settings, running: None, queries: 0, warned: None }
    }

    /// Adapts to the current state of the interface: starts, restarts or stops the querier.
    fn follow(
        &mut self,
        interfaces: &[Interface],
        now: Duration,
        printer: &mut EventPrinter<'_>,
    ) -> anyhow::Result<()> {
        let found = interfaces.iter().find(|interface| interface.name == self.target.name && interface.up);
        let own = found.and_then(|found| Some((found.index, own_address(found, self.target.family)?)));
        let Some((interface, own)) = own else {
            self.running = None;
            self.warn(self.why_not(found), printer);
            return Ok(());
        };
        let running = self.running.as_ref().map(|querier| (querier.interface(), querier.state().address));
        if running == Some((interface, own)) {
            return Ok(());
        }
        self.running = Some(InterfaceQuerier::open(interface, own, self.settings, now)?);
        self.warned = None;
        let event = Event { address: Some(own), ..Event::new("started", &self.target) };
        let version = match self.target.family {
            Family::V4 => self.settings.version::<std::net::Ipv4Addr>(),
            Family::V6 => self.settings.version::<std::net::Ipv6Addr>(),
        };
        let words = format!("sends queries from {own} ({}v{version})", self.target.protocol());
        printer.print(&event, SystemTime::now(), &words)
    }

    fn print_events(&mut self, now: Duration, printer: &mut EventPrinter<'_>) -> anyhow::Result<()> {
        while let Some(event) = self.running.as_mut().and_then(|querier| querier.next_event(now)) {
            match event {
                Ok(event) => self.print(event, printer)?,
                // The interface is checked soon; until then the next query is sent when it is due.
                Err(error) => self.warn(error.to_string(), printer),
            }
        }
        Ok(())
    }

    fn print(&mut self, event: QuerierEvent, printer: &mut EventPrinter<'_>) -> anyhow::Result<()> {
        let protocol = self.target.protocol();
        let (event, words) = match event {
            QuerierEvent::Sent { version, group, text } => {
                self.queries += 1;
                let address = self.running.as_ref().map(|querier| querier.state().address);
                let sent = Event::new("query-sent", &self.target);
                (Event { address, version: Some(version), group, ..sent }, format!("sent {text}"))
            }
            QuerierEvent::YieldedTo(other) => {
                let words = format!("{protocol} stops sending queries: {other} has a lower address");
                (Event { address: Some(other), ..Event::new("yielded", &self.target) }, words)
            }
            QuerierEvent::TookOverFrom(other) => {
                let words = format!("{protocol} sends queries again: {other} has gone silent");
                (Event { address: Some(other), ..Event::new("took-over", &self.target) }, words)
            }
            QuerierEvent::OlderVersion { querier, version } => {
                let why = format!(
                    "{querier} queries with {protocol}v{version}; all queriers of a network should use the same \
                     version (--older)"
                );
                self.warn(why, printer);
                return Ok(());
            }
            _ => return Ok(()),
        };
        printer.print(&event, SystemTime::now(), &words)
    }

    /// Returns a summary as text.
    fn summary(&self) -> String {
        let Self { target, queries, .. } = self;
        let state = self.running.as_ref().map(InterfaceQuerier::state);
        let role = match state.map(|state| state.role) {
            Some(Role::Querier) => "was the querier".to_owned(),
            Some(Role::Listener { querier }) => format!("{querier} was the querier"),
            None => "could not send queries".to_owned(),
        };
        let unqueried = match state.map_or(0, |state| state.unqueried_groups) {
            0 => String::new(),
            many => format!("; {many} groups were left faster than queries could be sent"),
        };
        format!("{} {}: {role}, sent {queries} queries{unqueried}", target.name, target.protocol())
    }

    /// Warns, unless the last warning was the same.
    fn warn(&mut self, why: String, printer: &EventPrinter<'_>) {
        if self.warned.as_ref() != Some(&why) {
            printer.console.warn(format_args!("{}: {why}", self.target.name));
            self.warned = Some(why);
        }
    }

    fn why_not(&self, found: Option<&Interface>) -> String {
        let lacks = match found {
            None => "it is down or gone",
            Some(_) if self.target.family == Family::V4 => "it has no IPv4 address",
            Some(_) => "it has no usable link-local address yet",
        };
        format!("{lacks}: no {} queries until that has changed", self.target.protocol())
    }
}
