//! `mcast doctor --listen`: receives probes, and replies how they arrived.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::{Datagram, ErrorKind, Receiver};
use mcast_measure::wire::{Message, PathProbe, PathReply};
use mcast_measure::{Limiter, Quota};

use super::super::Arguments;
use crate::arguments::select_memberships;
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{count, count_of};
use crate::random::random_number;
use crate::rights;

/// The maximum rate of `--probe` for both families, with a margin.
const EACH: Quota = Quota { per_second: 250, burst: 50 };
const ALL: Quota = Quota { per_second: 2_000, burst: 400 };
const BUFFER: usize = 65_536;
/// The maximum number of probers that are reported by name.
const MOST_NAMED: usize = 64;

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let Arguments { interfaces, admission, .. } = arguments;
    let chosen = select_memberships(
        &super::groups(arguments)?,
        interfaces,
        &admission.sources,
        admission.families,
        console,
    )?;
    let receiver = Receiver::builder().join_all(chosen.items).gro(false).build()?;
    rights::keep(&[])?;
    let waker = receiver.waker();
    let interrupt = Interrupt::catch(move || {
        // Without a waker the wait ends with the next datagram.
        let _ = waker.wake();
    })?;
    receiver.memberships().iter().for_each(|status| console.note(status));
    console.note("answering `mcast doctor --probe` until Ctrl-C");
    let mut listener = Listener::new(console);
    let end = arguments.timing.timeout.and_then(|timeout| listener.start.checked_add(timeout));
    listener.answer_until(end, &receiver, &interrupt)?;
    listener.print_summary();
    Ok(interrupt.outcome().unwrap_or(Outcome::Yes))
}

struct Listener<'a> {
    id: u64,
    start: Instant,
    limiter: Limiter,
    named: BTreeSet<IpAddr>,
    answered: u64,
    foreign: u64,
    failed: u64,
    console: &'a Console,
}

impl<'a> Listener<'a> {
    fn new(console: &'a Console) -> Self {
        Self {
            id: random_number(),
            start: Instant::now(),
            limiter: Limiter::new(EACH, ALL),
            named: BTreeSet::new(),
            answered: 0,
            foreign: 0,
            failed: 0,
            console,
        }
    }

    fn answer_until(
        &mut self,
        end: Option<Instant>,
        receiver: &Receiver,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        /// The longest wait without a deadline.
        const LONG: Duration = Duration::from_secs(3_600);

        let mut buffer = vec![0; BUFFER];
        while !interrupt.has_arrived() {
            let left = end.map_or(LONG, |end| end.saturating_duration_since(Instant::now()));
            match receiver.recv_timeout(&mut buffer, left) {
                Ok(Some(datagram)) => self.answer(&datagram, receiver),
                Ok(None) if end.is_some_and(|end| Instant::now() >= end) => return Ok(()),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Woken => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn answer(&mut self, datagram: &Datagram<'_>, receiver: &Receiver) {
        let arrival = datagram.arrival();
        let Some(answer) = self.answer_to(datagram.payload(), arrival) else { return };
        match receiver.reply(arrival, &answer) {
            Ok(()) => self.answered += 1,
            Err(_) => self.failed += 1,
        }
    }

    /// Returns the reply to a message, if it is a probe and the rate limit allows one.
    fn answer_to(&mut self, message: &[u8], arrival: &mcast::Arrival) -> Option<Vec<u8>> {
        let Ok((header, Message::PathProbe(PathProbe { hop_limit }))) = Message::decode(message) else {
            self.foreign += 1;
            return None;
        };
        let source = arrival.source.ip();
        if self.named.len() < MOST_NAMED && self.named.insert(source) {
            self.console.note(format_args!("probes from {source}"));
        }
        let answer = PathReply {
            responder: self.id,
            interface: arrival.interface.number(),
            length: u32::try_from(message.len()).unwrap_or(u32::MAX),
            hop_limit,
            arrival_hop_limit: arrival.hop_limit,
        };
        self.limiter.allows(source, self.start.elapsed()).then(|| answer.encode(header))
    }

    fn print_summary(&self) {
        let others = [
            (self.limiter.refused(), "not answered (rate limit)"),
            (self.foreign, "not from mcast doctor"),
            (self.failed, "could not be answered"),
        ];
        let others = others.iter().filter(|(number, _)| *number > 0);
        let others: String = others.map(|(number, what)| format!("; {} {what}", count(*number))).collect();
        self.console.note(format_args!("answered {}{others}", count_of(self.answered, "probe")));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use mcast::{Arrival, InterfaceIndex};
    use mcast_measure::wire::{Header, Kind, SessionId, UnixNanos};

    use super::*;

    fn arrival() -> Arrival {
        let source: SocketAddr = "10.0.0.1:9".parse().unwrap();
        let interface = InterfaceIndex::new(3).unwrap();
        Arrival::new("239.1.2.3:5000".parse().unwrap(), interface, source)
    }

    fn probe(length: usize) -> Vec<u8> {
        let header = Header {
            kind: Kind::PathProbe,
            stream: 0,
            session: SessionId(1),
            sequence: 5,
            time: UnixNanos(6),
        };
        PathProbe { hop_limit: 4 }.encode(header, length)
    }

    #[test]
    fn a_reply_is_never_longer_than_its_probe_and_describes_its_arrival() {
        let console = Console::new(true, false);
        for length in [0, 64, 1_400, 60_000] {
            let probe = probe(length);
            let answer = Listener::new(&console).answer_to(&probe, &arrival()).unwrap();
            assert!(answer.len() <= probe.len());
            let Ok((_, Message::PathReply(answer))) = Message::decode(&answer) else { panic!("no answer") };
            assert_eq!((answer.length as usize, answer.interface), (probe.len(), 3));
        }
    }

    #[test]
    fn only_probes_are_answered_at_a_limited_rate() {
        let console = Console::new(true, false);
        let mut listener = Listener::new(&console);
        let answer = listener.answer_to(&probe(64), &arrival()).unwrap();
        assert_eq!(listener.answer_to(&answer, &arrival()), None);
        assert_eq!(listener.answer_to(b"hello", &arrival()), None);
        assert_eq!(listener.answer_to(&probe(64)[..50], &arrival()), None);
        assert_eq!(listener.foreign, 3);
        let answers = (0..1_000).filter(|_| listener.answer_to(&probe(64), &arrival()).is_some()).count();
        assert!((49..300).contains(&answers), "{answers}");
    }
}
