//! `--become`: sends queries unless a querier with a lower address does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_capture::{Capture, ErrorKind, Frame};
use mcast_packet::Transport;
use mcast_packet::gmp::querier::Settings;

use super::Arguments;
use super::asking::Asker;
use super::event::Teller;
use super::interfaces::{QuerierInterface, own_v4, own_v6};
use super::listening;
use super::queriers::question;
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::{Hangup, Interrupt};
use crate::rights::{self, Capability};
use crate::service::Service;

/// How often a wait looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);
/// How often it is looked whether interfaces have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The status for the service manager.
const STATUS: &str = "Sends queries unless a querier with a lower address does";

/// Everything that a run of `mcast querier --become` holds.
struct Becoming<'a> {
    places: Vec<QuerierInterface>,
    v4: Vec<Asker<Ipv4Addr>>,
    v6: Vec<Asker<Ipv6Addr>>,
    capture: Capture,
    teller: Teller<'a>,
    start: Instant,
    service: Service,
}

pub(super) fn run(
    arguments: &Arguments,
    settings: Settings,
    places: Vec<QuerierInterface>,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let of = |family: Family| places.iter().filter(move |place| place.family == family).cloned();
    let mut becoming = Becoming {
        v4: of(Family::V4).map(|place| Asker::new(place, settings, own_v4)).collect(),
        v6: of(Family::V6).map(|place| Asker::new(place, settings, own_v6)).collect(),
        capture: listening::open(&places)?,
        teller: Teller::new(arguments.json, console),
        start: Instant::now(),
        service: Service::begin(),
        places,
    };
    // Interfaces come and go, and sockets for them are opened then: that right is kept, no other.
    rights::keep(&[Capability::NetRaw])?;
    let interrupt = &Interrupt::catch(|| {})?;
    console.note(format_args!(
        "sending queries every {} s unless a querier with a lower address does; a membership lasts {} s \
         after its last report",
        settings.query_interval().as_secs_f64(),
        settings.group_membership_interval().as_secs_f64()
    ));
    let ended = becoming.ask_until_the_end(arguments.timeout, interrupt);
    becoming.service.stopping();
    becoming.v4.iter().for_each(|asker| console.note(asker.words()));
    becoming.v6.iter().for_each(|asker| console.note(asker.words()));
    ended?;
    Ok(interrupt.outcome().unwrap_or(Outcome::Yes))
}

impl Becoming<'_> {
    fn ask_until_the_end(&mut self, timeout: Option<Duration>, interrupt: &Interrupt) -> anyhow::Result<()> {
        let end = timeout.and_then(|timeout| self.start.checked_add(timeout));
        let mut last_look = None;
        let hangup = self.service.hangups()?;
        self.follow()?;
        self.service.ready(STATUS);
        while !interrupt.has_come() && end.is_none_or(|end| Instant::now() < end) {
            if last_look.is_none_or(|last: Instant| last.elapsed() >= LOOK_AGAIN) {
                last_look = Some(Instant::now());
                self.follow()?;
            }
            self.ask()?;
            self.hear(end)?;
            self.service.alive();
            if hangup.as_ref().is_some_and(Hangup::has_come) {
                self.begin_anew()?;
            }
        }
        Ok(())
    }

    /// Asks as it did when it started: at once, and a few times.
    fn begin_anew(&mut self) -> anyhow::Result<()> {
        self.service.reloading();
        self.v4.iter_mut().for_each(Asker::begin_anew);
        self.v6.iter_mut().for_each(Asker::begin_anew);
        self.follow()?;
        self.service.ready(STATUS);
        Ok(())
    }

    /// Goes by the interfaces as they are now.
    fn follow(&mut self) -> anyhow::Result<()> {
        let interfaces = mcast::interfaces()?;
        let now = self.start.elapsed();
        let is_other = |place: &QuerierInterface| {
            let found = interfaces.iter().find(|interface| interface.name == place.name);
            found.is_some_and(|found| found.index != place.interface)
        };
        if self.places.iter().any(is_other) {
            for place in &mut self.places {
                if let Some(found) = interfaces.iter().find(|interface| interface.name == place.name) {
                    place.interface = found.index;
                }
            }
            self.capture = listening::open(&self.places)?;
        }
        self.v4.iter_mut().try_for_each(|asker| asker.follow(&interfaces, now, &mut self.teller))?;
        self.v6.iter_mut().try_for_each(|asker| asker.follow(&interfaces, now, &mut self.teller))
    }

    fn ask(&mut self) -> anyhow::Result<()> {
        let now = self.start.elapsed();
        self.v4.iter_mut().try_for_each(|asker| asker.ask(now, &mut self.teller))?;
        self.v6.iter_mut().try_for_each(|asker| asker.ask(now, &mut self.teller))
    }

    /// Receives until something is due.
    fn hear(&mut self, end: Option<Instant>) -> anyhow::Result<()> {
        let v4 = self.v4.iter().filter_map(Asker::deadline);
        let due = v4.chain(self.v6.iter().filter_map(Asker::deadline)).min();
        let wait = due.map_or(GLANCE, |due| due.saturating_sub(self.start.elapsed()).min(GLANCE));
        let left = end.map_or(GLANCE, |end| end.saturating_duration_since(Instant::now()));
        let Self { capture, v4, v6, teller, places, start, .. } = self;
        let frame = match capture.next(Some(wait.min(left))) {
            Ok(Some(frame)) if !frame.direction.is_outgoing() => frame,
            Ok(_) => return Ok(()),
            // It is looked at the interfaces soon.
            Err(error) if error.kind() == ErrorKind::InterfaceDown => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if let Some(question) = question(&frame.packet()) {
            let is_own = places.iter().any(|place| place.interface == frame.interface)
                && own_queries(v4, v6, question.source);
            if !is_own {
                listening::tell_heard(places, frame.interface, &question, frame.time, teller)?;
            }
        }
        hear_frame(&frame, v4, v6, start.elapsed(), teller)
    }
}

/// Whether a query came from one of these.
fn own_queries(v4: &[Asker<Ipv4Addr>], v6: &[Asker<Ipv6Addr>], source: IpAddr) -> bool {
    v4.iter().filter_map(Asker::own).any(|own| IpAddr::V4(own) == source)
        || v6.iter().filter_map(Asker::own).any(|own| IpAddr::V6(own) == source)
}

/// Hands a message to those who ask where it came. What a router would not believe is left out: a wrong
/// checksum, and in MLD what has come from farther away or says no link-local source (RFC 3810 section 5).
fn hear_frame(
    frame: &Frame<'_>,
    v4: &mut [Asker<Ipv4Addr>],
    v6: &mut [Asker<Ipv6Addr>],
    now: Duration,
    teller: &mut Teller<'_>,
) -> anyhow::Result<()> {
    let packet = frame.packet();
    let Some(ip) = packet.ip_layer() else { return Ok(()) };
    match (packet.transport, ip.source) {
        (Some(Transport::Igmp(control)), IpAddr::V4(source)) if !control.checksum.is_invalid() => v4
            .iter_mut()
            .try_for_each(|asker| asker.hear(frame.interface, source, &control.message, now, teller)),
        (Some(Transport::Mld(control)), IpAddr::V6(source))
            if !control.checksum.is_invalid()
                && ip.hop_limit == 1
                && (source.is_unicast_link_local() || source.is_unspecified()) =>
        {
            v6.iter_mut()
                .try_for_each(|asker| asker.hear(frame.interface, source, &control.message, now, teller))
        }
        _ => Ok(()),
    }
}
