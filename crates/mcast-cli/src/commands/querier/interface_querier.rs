//! A querier on one interface: the state machine, and its sender.

use std::time::{Duration, SystemTime};

use mcast::{Interface, InterfaceIndex};
use mcast_capture::ControlSender;
use mcast_packet::gmp::querier::{Querier, QuerierSettings, Role, RoleChange};
use mcast_packet::gmp::{Address, GmpMessage};

use super::event::{Event, EventPrinter};
use super::interfaces::QuerierInterface;

/// A querier on one interface, for one family.
pub(super) struct InterfaceQuerier<A: Address> {
    target: QuerierInterface,
    settings: QuerierSettings,
    /// Returns the source address of queries on an interface.
    source_of: fn(&Interface) -> Option<A>,
    active: Option<Active<A>>,
    queries: u64,
    /// The last warning, so that it is printed once.
    warned: Option<String>,
}

/// The state while the interface has an address for queries.
struct Active<A: Address> {
    own: A,
    interface: InterfaceIndex,
    sender: ControlSender<A>,
    querier: Box<Querier<A>>,
}

impl<A: Address> InterfaceQuerier<A> {
    pub(super) fn new(
        target: QuerierInterface,
        settings: QuerierSettings,
        source_of: fn(&Interface) -> Option<A>,
    ) -> Self {
        Self { target, settings, source_of, active: None, queries: 0, warned: None }
    }

    /// Adapts to the current state of the interface: starts, restarts or stops the querier.
    pub(super) fn follow(
        &mut self,
        interfaces: &[Interface],
        now: Duration,
        printer: &mut EventPrinter<'_>,
    ) -> anyhow::Result<()> {
        let found = interfaces.iter().find(|interface| interface.name == self.target.name && interface.up);
        let own = found.and_then(|found| Some((found.index, (self.source_of)(found)?)));
        let Some((interface, own)) = own else {
            self.active = None;
            let why = self.why_not(found);
            self.warn(why, printer);
            return Ok(());
        };
        if self.active.as_ref().is_some_and(|active| (active.interface, active.own) == (interface, own)) {
            return Ok(());
        }
        let sender = ControlSender::open(interface, own)?;
        let querier = Box::new(Querier::new(self.settings, own, now));
        self.target.interface = interface;
        self.active = Some(Active { own, interface, sender, querier });
        self.warned = None;
        let event = Event { address: Some(own.into()), ..self.event("begins") };
        let words = format!("sends queries from {own} ({}v{})", A::NAME, self.settings.version::<A>());
        printer.print(&event, SystemTime::now(), &words)
    }

    /// Stops the querier; [`Self::follow`] starts it again.
    pub(super) fn stop(&mut self) {
        self.active = None;
    }

    /// Handles a message received on an interface.
    pub(super) fn handle(
        &mut self,
        interface: InterfaceIndex,
        source: A,
        message: &GmpMessage<'_, A>,
        now: Duration,
        printer: &mut EventPrinter<'_>,
    ) -> anyhow::Result<()> {
        let active = self.active.as_mut().filter(|active| active.interface == interface);
        let Some(active) = active else { return Ok(()) };
        let change = active.querier.handle(now, source, message);
        let is_other = source.can_be_querier() && source != active.own;
        if matches!(message, GmpMessage::Query(_))
            && is_other
            && message.version() < self.settings.version::<A>()
        {
            let version = message.version();
            let why = format!(
                "{source} queries with {}v{version}; all queriers of a network should use the same version \
                 (--older)",
                A::NAME
            );
            self.warn(why, printer);
        }
        self.print_change(change, printer)
    }

    /// Sends the queries that are due.
    pub(super) fn send_due_queries(
        &mut self,
        now: Duration,
        printer: &mut EventPrinter<'_>,
    ) -> anyhow::Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let change = active.querier.check(now);
        self.print_change(change, printer)?;
        while let Some(active) = &mut self.active
            && let Some(query) = active.querier.poll(now)
        {
            let message = query.message();
            match active.sender.send(&message) {
                Ok(()) => self.queries += 1,
                Err(error) => {
                    // The interface is checked soon; until then the next query is sent when it is due.
                    self.warn(error.to_string(), printer);
                    continue;
                }
            }
            let event = Event {
                address: Some(active.own.into()),
                version: Some(message.version()),
                group: query.group().map(Into::into),
                ..self.event("asked")
            };
            printer.print(&event, SystemTime::now(), &format!("sent {message}"))?;
        }
        Ok(())
    }

    /// Returns the source address of queries.
    pub(super) fn source(&self) -> Option<A> {
        self.active.as_ref().map(|active| active.own)
    }

    /// Returns when the next query is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.active.as_ref().map(|active| active.querier.deadline())
    }

    /// Returns a summary as text.
    pub(super) fn summary(&self) -> String {
        let Self { target, queries, active, .. } = self;
        let role = match active.as_ref().map(|active| active.querier.role()) {
            Some(Role::Querier) => "was the querier".to_owned(),
            Some(Role::Listener { querier }) => format!("{querier} was the querier"),
            None => "could not send queries".to_owned(),
        };
        let unqueried = match active.as_ref().map_or(0, |active| active.querier.unqueried_groups()) {
            0 => String::new(),
            many => format!("; {many} groups were left faster than queries could be sent"),
        };
        format!("{} {}: {role}, sent {queries} queries{unqueried}", target.name, target.protocol())
    }

    fn print_change(
        &self,
        change: Option<RoleChange<A>>,
        printer: &mut EventPrinter<'_>,
    ) -> anyhow::Result<()> {
        let (event, address, words) = match change {
            None => return Ok(()),
            Some(RoleChange::YieldedTo(other)) => {
                ("yielded", other, format!("stops sending queries: {other} has a lower address"))
            }
            Some(RoleChange::TookOverFrom(other)) => {
                ("took-over", other, format!("sends queries again: {other} has gone silent"))
            }
        };
        let event = Event { address: Some(address.into()), ..self.event(event) };
        printer.print(&event, SystemTime::now(), &format!("{} {words}", A::NAME))
    }

    /// Warns, unless the last warning was the same.
    fn warn(&mut self, why: String, printer: &EventPrinter<'_>) {
        if self.warned.as_ref() != Some(&why) {
            printer.console.warn(format_args!("{}: {why}", self.target.name));
            self.warned = Some(why);
        }
    }

    fn event(&self, event: &'static str) -> Event {
        Event::new(event, &self.target)
    }

    fn why_not(&self, found: Option<&Interface>) -> String {
        let lacks = match found {
            None => "it is down or gone".to_owned(),
            Some(_) if self.target.family == mcast::Family::V4 => "it has no IPv4 address".to_owned(),
            Some(_) => "it has no usable link-local address yet".to_owned(),
        };
        format!("{lacks}: no {} queries until that has changed", A::NAME)
    }
}
