//! `--become`: sends queries unless a querier with a lower address does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_capture::{Capture, ErrorKind, Frame};
use mcast_packet::Transport;
use mcast_packet::gmp::querier::QuerierSettings;
use mcast_watch::ObservedQuery;

use super::Arguments;
use super::event::EventPrinter;
use super::interface_querier::InterfaceQuerier;
use super::interfaces::{QuerierInterface, own_v4, own_v6};
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
    targets: Vec<QuerierInterface>,
    v4: Vec<InterfaceQuerier<Ipv4Addr>>,
    v6: Vec<InterfaceQuerier<Ipv6Addr>>,
    capture: Capture,
    printer: EventPrinter<'a>,
    start: Instant,
    service: Service,
}

pub(super) fn run(
    arguments: &Arguments,
    settings: QuerierSettings,
    targets: Vec<QuerierInterface>,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let of = |family: Family| targets.iter().filter(move |target| target.family == family).cloned();
    let mut querier_loop = QuerierLoop {
        v4: of(Family::V4).map(|target| InterfaceQuerier::new(target, settings, own_v4)).collect(),
        v6: of(Family::V6).map(|target| InterfaceQuerier::new(target, settings, own_v6)).collect(),
        capture: listen::open(&targets)?,
        printer: EventPrinter::new(arguments.json, console),
        start: Instant::now(),
        service: Service::begin(),
        targets,
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
    querier_loop.v4.iter().for_each(|querier| console.note(querier.summary()));
    querier_loop.v6.iter().for_each(|querier| console.note(querier.summary()));
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
            self.send_due_queries()?;
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
        self.v4.iter_mut().for_each(InterfaceQuerier::stop);
        self.v6.iter_mut().for_each(InterfaceQuerier::stop);
        self.follow()?;
        self.service.ready(STATUS);
        Ok(())
    }

    /// Adapts to the current interfaces.
    fn follow(&mut self) -> anyhow::Result<()> {
        let interfaces = mcast::interfaces()?;
        let now = self.start.elapsed();
        let is_other = |target: &QuerierInterface| {
            let found = interfaces.iter().find(|interface| interface.name == target.name);
            found.is_some_and(|found| found.index != target.interface)
        };
        if self.targets.iter().any(is_other) {
            for target in &mut self.targets {
                if let Some(found) = interfaces.iter().find(|interface| interface.name == target.name) {
                    target.interface = found.index;
                }
            }
            self.capture = listen::open(&self.targets)?;
        }
        self.v4.iter_mut().try_for_each(|querier| querier.follow(&interfaces, now, &mut self.printer))?;
        self.v6.iter_mut().try_for_each(|querier| querier.follow(&interfaces, now, &mut self.printer))
    }

    fn send_due_queries(&mut self) -> anyhow::Result<()> {
        let now = self.start.elapsed();
        self.v4.iter_mut().try_for_each(|querier| querier.send_due_queries(now, &mut self.printer))?;
        self.v6.iter_mut().try_for_each(|querier| querier.send_due_queries(now, &mut self.printer))
    }

    /// Receives until a query is due.
    fn receive(&mut self, end: Option<Instant>) -> anyhow::Result<()> {
        let v4 = self.v4.iter().filter_map(InterfaceQuerier::deadline);
        let due = v4.chain(self.v6.iter().filter_map(InterfaceQuerier::deadline)).min();
        let wait =
            due.map_or(POLL_INTERVAL, |due| due.saturating_sub(self.start.elapsed()).min(POLL_INTERVAL));
        let left = end.map_or(POLL_INTERVAL, |end| end.saturating_duration_since(Instant::now()));
        let Self { capture, v4, v6, printer, targets, start, .. } = self;
        let frame = match capture.next(Some(wait.min(left))) {
            Ok(Some(frame)) if !frame.direction.is_outgoing() => frame,
            Ok(_) => return Ok(()),
            // The interfaces are checked soon.
            Err(error) if error.kind() == ErrorKind::InterfaceDown => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let packet = frame.packet();
        if let Some(query) = ObservedQuery::in_packet(&packet) {
            let is_own = targets.iter().any(|target| target.interface == frame.interface)
                && own_queries(v4, v6, query.source);
            if !is_own {
                listen::print_query(targets, frame.interface, &query, &packet, frame.time, printer)?;
            }
        }
        handle_frame(&frame, v4, v6, start.elapsed(), printer)
    }
}

/// Returns whether one of these queriers sent a query.
fn own_queries(v4: &[InterfaceQuerier<Ipv4Addr>], v6: &[InterfaceQuerier<Ipv6Addr>], source: IpAddr) -> bool {
    v4.iter().filter_map(InterfaceQuerier::source).any(|own| IpAddr::V4(own) == source)
        || v6.iter().filter_map(InterfaceQuerier::source).any(|own| IpAddr::V6(own) == source)
}

/// Passes a message to the queriers of its interface. Ignores messages that a router would not accept: those with a
/// wrong checksum, and MLD messages without hop limit 1 or a link-local source (RFC 3810 section 5).
fn handle_frame(
    frame: &Frame<'_>,
    v4: &mut [InterfaceQuerier<Ipv4Addr>],
    v6: &mut [InterfaceQuerier<Ipv6Addr>],
    now: Duration,
    printer: &mut EventPrinter<'_>,
) -> anyhow::Result<()> {
    let packet = frame.packet();
    let Some(ip) = packet.ip_layer() else { return Ok(()) };
    match (packet.transport, ip.source) {
        (Some(Transport::Igmp(control)), IpAddr::V4(source)) if !control.checksum.is_invalid() => v4
            .iter_mut()
            .try_for_each(|querier| querier.handle(frame.interface, source, &control.message, now, printer)),
        (Some(Transport::Mld(control)), IpAddr::V6(source))
            if !control.checksum.is_invalid()
                && ip.hop_limit == 1
                && (source.is_unicast_link_local() || source.is_unspecified()) =>
        {
            v6.iter_mut().try_for_each(|querier| {
                querier.handle(frame.interface, source, &control.message, now, printer)
            })
        }
        _ => Ok(()),
    }
}
