//! A querier on one interface: the state machine, and its sender.

use std::time::{Duration, SystemTime};

use mcast::{Interface, InterfaceIndex};
use mcast_capture::ControlSender;
use mcast_packet::gmp::querier::{Change, Querier, Role, Settings};
use mcast_packet::gmp::{Address, Message};

use super::event::{Event, Teller};
use super::interfaces::QuerierInterface;

/// A querier at one place.
pub(super) struct Asker<A: Address> {
    place: QuerierInterface,
    settings: Settings,
    /// The address of an interface that queries come from.
    own_of: fn(&Interface) -> Option<A>,
    active: Option<Active<A>>,
    asked: u64,
    /// What was last warned of, so that it is said once.
    warned: Option<String>,
}

/// What is there as long as the interface has an address to ask from.
struct Active<A: Address> {
    own: A,
    interface: InterfaceIndex,
    sender: ControlSender<A>,
    querier: Box<Querier<A>>,
}

impl<A: Address> Asker<A> {
    pub(super) fn new(
        place: QuerierInterface,
        settings: Settings,
        own_of: fn(&Interface) -> Option<A>,
    ) -> Self {
        Self { place, settings, own_of, active: None, asked: 0, warned: None }
    }

    /// Adapts to the current state of the interface: starts, restarts or stops the querier.
    pub(super) fn follow(
        &mut self,
        interfaces: &[Interface],
        now: Duration,
        teller: &mut Teller<'_>,
    ) -> anyhow::Result<()> {
        let found = interfaces.iter().find(|interface| interface.name == self.place.name && interface.up);
        let own = found.and_then(|found| Some((found.index, (self.own_of)(found)?)));
        let Some((interface, own)) = own else {
            self.active = None;
            let why = self.why_not(found);
            self.warn(why, teller);
            return Ok(());
        };
        if self.active.as_ref().is_some_and(|active| (active.interface, active.own) == (interface, own)) {
            return Ok(());
        }
        let sender = ControlSender::open(interface, own)?;
        let querier = Box::new(Querier::new(self.settings, own, now));
        self.place.interface = interface;
        self.active = Some(Active { own, interface, sender, querier });
        self.warned = None;
        let event = Event { address: Some(own.into()), ..self.event("begins") };
        let words = format!("sends queries from {own} ({}v{})", A::NAME, self.settings.version::<A>());
        teller.tell(&event, SystemTime::now(), &words)
    }

    /// Forgets what was heard; [`Self::follow`] begins again.
    pub(super) fn begin_anew(&mut self) {
        self.active = None;
    }

    /// Hears a message that came by an interface.
    pub(super) fn hear(
        &mut self,
        interface: InterfaceIndex,
        source: A,
        message: &Message<'_, A>,
        now: Duration,
        teller: &mut Teller<'_>,
    ) -> anyhow::Result<()> {
        let active = self.active.as_mut().filter(|active| active.interface == interface);
        let Some(active) = active else { return Ok(()) };
        let change = active.querier.handle(now, source, message);
        let is_other = source.can_be_querier() && source != active.own;
        if matches!(message, Message::Query(_))
            && is_other
            && message.version() < self.settings.version::<A>()
        {
            let version = message.version();
            let why = format!(
                "{source} queries with {}v{version}; all queriers of a network should use the same version \
                 (--older)",
                A::NAME
            );
            self.warn(why, teller);
        }
        self.tell_change(change, teller)
    }

    /// Asks what is due.
    pub(super) fn ask(&mut self, now: Duration, teller: &mut Teller<'_>) -> anyhow::Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let change = active.querier.check(now);
        self.tell_change(change, teller)?;
        while let Some(active) = &mut self.active
            && let Some(asked) = active.querier.poll(now)
        {
            let message = asked.message();
            match active.sender.send(&message) {
                Ok(()) => self.asked += 1,
                Err(error) => {
                    // It is looked at the interface soon; until then it is asked when the next is due.
                    self.warn(error.to_string(), teller);
                    continue;
                }
            }
            let event = Event {
                address: Some(active.own.into()),
                version: Some(message.version()),
                group: asked.group().map(Into::into),
                ..self.event("asked")
            };
            teller.tell(&event, SystemTime::now(), &format!("sent {message}"))?;
        }
        Ok(())
    }

    /// The address that it asks from.
    pub(super) fn own(&self) -> Option<A> {
        self.active.as_ref().map(|active| active.own)
    }

    /// When something is due next.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.active.as_ref().map(|active| active.querier.deadline())
    }

    /// What it did, in words.
    pub(super) fn words(&self) -> String {
        let Self { place, asked, active, .. } = self;
        let role = match active.as_ref().map(|active| active.querier.role()) {
            Some(Role::Querier) => "was the querier".to_owned(),
            Some(Role::Listener { querier }) => format!("{querier} was the querier"),
            None => "could not send queries".to_owned(),
        };
        let unasked = match active.as_ref().map_or(0, |active| active.querier.unqueried_groups()) {
            0 => String::new(),
            many => format!("; {many} groups were left faster than queries could be sent"),
        };
        format!("{} {}: {role}, sent {asked} queries{unasked}", place.name, place.protocol())
    }

    fn tell_change(&self, change: Option<Change<A>>, teller: &mut Teller<'_>) -> anyhow::Result<()> {
        let (event, address, words) = match change {
            None => return Ok(()),
            Some(Change::YieldedTo(other)) => {
                ("yielded", other, format!("stops sending queries: {other} has a lower address"))
            }
            Some(Change::TookOverFrom(other)) => {
                ("took-over", other, format!("sends queries again: {other} has gone silent"))
            }
        };
        let event = Event { address: Some(address.into()), ..self.event(event) };
        teller.tell(&event, SystemTime::now(), &format!("{} {words}", A::NAME))
    }

    /// Says once what is wrong, until something else is.
    fn warn(&mut self, why: String, teller: &Teller<'_>) {
        if self.warned.as_ref() != Some(&why) {
            teller.console.warn(format_args!("{}: {why}", self.place.name));
            self.warned = Some(why);
        }
    }

    fn event(&self, event: &'static str) -> Event {
        Event::new(event, &self.place)
    }

    fn why_not(&self, found: Option<&Interface>) -> String {
        let lacks = match found {
            None => "it is down or gone".to_owned(),
            Some(_) if self.place.family == mcast::Family::V4 => "it has no IPv4 address".to_owned(),
            Some(_) => "it has no usable link-local address yet".to_owned(),
        };
        format!("{lacks}: no {} queries until that has changed", A::NAME)
    }
}
