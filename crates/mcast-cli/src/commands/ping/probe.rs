//! Probes to the group and to each responder, and their answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{Family, Sender};
use mcast_probe::Pings;
use mcast_probe::wire::{Header, Kind, Message, Probe, SessionId, UnixNanos};

use super::unicast::Unicast;
use super::{Arguments, tell};
use crate::arguments::chosen_destinations;
use crate::commands::perf::random_number;
use crate::commands::send::targets::{self, Target};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;

/// An interrupt is noticed after this time at the latest.
const LOOK: Duration = Duration::from_millis(50);
/// Streams: to the group, and to single hosts.
const TO_GROUP: u16 = 0;
const TO_ONE: u16 = 1;

/// What was asked and answered, by whichever thread.
#[derive(Debug)]
pub(super) struct Table {
    session: SessionId,
    start: Instant,
    books: Mutex<Books>,
    /// Whether each answer is shown as it comes.
    live: Option<tell::Live>,
}

#[derive(Debug)]
pub(super) struct Books {
    pub(super) pings: Pings,
    /// Where each responder's answers come from, with the scope that its address may have.
    sources: Vec<SocketAddr>,
    pub(super) foreign: u64,
}

impl Table {
    fn new(patience: Duration, live: Option<tell::Live>) -> Self {
        let books = Books { pings: Pings::new(patience), sources: Vec::new(), foreign: 0 };
        Self { session: SessionId(random_number()), start: Instant::now(), books: Mutex::new(books), live }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// A datagram came.
    pub(super) fn take(&self, message: &[u8], source: SocketAddr, by_unicast: bool) {
        let now = self.now();
        let mut books = self.books();
        let (header, answer) = match Message::decode(message) {
            Ok((header, Message::Reply(answer)))
                if header.session == self.session && answer.by_unicast == by_unicast =>
            {
                (header, answer)
            }
            _ => {
                books.foreign += 1;
                return;
            }
        };
        // The probe's own time comes back: nanoseconds since the start.
        let Some(round_trip) = now.checked_sub(Duration::from_nanos(header.time.0)) else {
            books.foreign += 1;
            return;
        };
        let address = source.ip();
        let Books { pings, sources, .. } = &mut *books;
        if let Some((responder, is_new)) = pings.record_reply(address, header.sequence, &answer, round_trip) {
            if let Some(live) = &self.live {
                live.show(responder, is_new, header.sequence, &answer, round_trip);
            }
            if is_new {
                sources.push(source);
            }
        }
    }

    fn header(&self, stream: u16, sequence: u64) -> Header {
        let time = UnixNanos(u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX));
        Header { kind: Kind::Probe, stream, session: self.session, sequence, time }
    }
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let chosen = chosen_destinations(std::slice::from_ref(&arguments.group), arguments.families, console)?;
    let [destination] = chosen.items.as_slice() else {
        return Err(Failure::usage(format!("\"{}\" is more than one group and port", arguments.group))
            .remedy("ping one at a time")
            .into());
    };
    let hop_limit = arguments.ttl.or(chosen.hop_limit).unwrap_or(1);
    let targets = targets::resolve(&chosen.items, &arguments.interfaces)?;
    let mut builder = Sender::builder().hop_limit(hop_limit);
    if let Some(dscp) = arguments.dscp {
        builder = builder.traffic_class(dscp << 2);
    }
    let sender = builder.build()?;
    let interrupt = Interrupt::catch(|| {})?;
    targets::tell(&targets, hop_limit, arguments.ttl.is_none() && chosen.hop_limit.is_none(), console);
    let live = (!arguments.json && !console.is_quiet()).then(|| tell::Live::new(console));
    let table = Arc::new(Table::new(arguments.tempo.wait, live));
    let family = destination.address.group.family();
    let unicast =
        Unicast::open(family, Arc::clone(&table)).context("cannot open a socket for unicast probes")?;
    let prober = Prober { arguments, table: &table, sender, targets, unicast, family, hop_limit, interrupt };
    prober.run()?;
    let books = table.books();
    tell::summary(&books, table.now(), arguments.json, console)?;
    let outcome = judge(arguments, &books, table.now(), console);
    Ok(prober.interrupt.outcome().unwrap_or(outcome))
}

/// What asks.
struct Prober<'a> {
    arguments: &'a Arguments,
    table: &'a Table,
    sender: Sender,
    targets: Vec<Target>,
    unicast: Unicast,
    family: Family,
    hop_limit: u8,
    interrupt: Interrupt,
}

impl Prober<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let tempo = &self.arguments.tempo;
        let end = tempo.timeout.unwrap_or(Duration::MAX);
        let mut next = Duration::ZERO;
        let mut asked = 0;
        while tempo.count.is_none_or(|count| asked < count) {
            if self.listen_until(next.min(end), false)? || self.table.now() >= end {
                return Ok(());
            }
            self.ask()?;
            asked += 1;
            // Who was held up asks on from now, not several at once.
            next = (next + tempo.every).max(self.table.now());
        }
        let last = self.table.now().saturating_add(tempo.wait);
        self.listen_until(last.min(end), true)?;
        Ok(())
    }

    /// A probe to the group by each interface, and one to each responder alone.
    fn ask(&self) -> anyhow::Result<()> {
        let length = self.arguments.size;
        let number = self.table.books().pings.record_probe(self.table.now());
        for target in &self.targets {
            let probe = Probe { hop_limit: self.hop_limit, by_unicast: false };
            let message = probe.encode(self.table.header(TO_GROUP, number), length);
            self.sender.send_one(&target.outgoing(&message))?;
        }
        for (place, to) in self.unicast_addresses() {
            let now = self.table.now();
            let Some(number) = self
                .table
                .books()
                .pings
                .responders_mut()
                .get_mut(place)
                .map(|responder| responder.record_probe(now))
            else {
                continue;
            };
            let probe = Probe { hop_limit: 0, by_unicast: true };
            self.unicast.send(&probe.encode(self.table.header(TO_ONE, number), length), to);
        }
        Ok(())
    }

    /// Which responders answer probes to them alone, and where.
    fn unicast_addresses(&self) -> Vec<(usize, SocketAddr)> {
        let books = self.table.books();
        let responders = books.pings.responders().iter().zip(&books.sources).enumerate();
        let with_port = responders.filter(|(_, (responder, _))| responder.unicast_port != 0);
        with_port
            .map(|(place, (responder, source))| {
                let mut to = *source;
                to.set_port(responder.unicast_port);
                (place, to)
            })
            .collect()
    }

    /// Takes in answers until then, or, at the end, until everything is answered; says whether an
    /// interrupt came.
    fn listen_until(&self, until: Duration, is_end: bool) -> anyhow::Result<bool> {
        let mut buffer = vec![0; 65_536];
        loop {
            if self.interrupt.has_come() {
                return Ok(true);
            }
            let left = until.saturating_sub(self.table.now());
            if left.is_zero() || (is_end && self.is_enough()) {
                return Ok(false);
            }
            if let Some(answer) = self.sender.recv_answer(self.family, &mut buffer, left.min(LOOK))? {
                self.table.take(answer.payload, answer.source, false);
            }
        }
    }

    /// Whether nothing is waited for any more: everybody has answered, and as many as are expected.
    fn is_enough(&self) -> bool {
        let books = self.table.books();
        let expected =
            self.arguments.demand.expect.is_some_and(|expect| books.pings.responders().len() >= expect);
        expected && books.pings.all_answered()
    }
}

fn judge(arguments: &Arguments, books: &Books, now: Duration, console: &Console) -> Outcome {
    let (answering, wanted) = (books.pings.responders().len(), arguments.demand.expect.unwrap_or(1));
    if answering < wanted {
        console.note(format_args!("{answering} answered, expected at least {wanted}"));
        return Outcome::No;
    }
    let Some(most) = arguments.demand.max_loss else { return Outcome::Yes };
    let worst = books.pings.responders().iter().map(|responder| {
        let sent = books.pings.sent_to_group(responder, now);
        tell::lost_percent(sent, responder.multicast().received())
    });
    let worst = worst.fold(0.0, f64::max);
    if worst > most {
        console.note(format_args!("lost {worst:.3}%, more than the allowed {most}%"));
    }
    Outcome::of(worst <= most)
}
