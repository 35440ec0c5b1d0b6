//! `mcast ping --reply`: answers multicast and unicast probes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{Datagram, ErrorKind, Family, Receiver};
use mcast_measure::wire::{Message, ProbeReply};
use mcast_measure::{Limiter, Quota};

use super::Arguments;
use crate::arguments::select_memberships;
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{count, count_of};
use crate::random::random_number;

/// The maximum rate of `mcast ping`, by multicast and by unicast, with a margin.
const EACH: Quota = Quota { per_second: 250, burst: 50 };
const ALL: Quota = Quota { per_second: 2_000, burst: 400 };
const BUFFER: usize = 65_536;

/// State shared by the threads.
#[derive(Debug)]
struct Responder {
    id: u64,
    joined: Instant,
    unicast_port: u16,
    state: Mutex<ReplyState>,
}

#[derive(Debug)]
struct ReplyState {
    limiter: Limiter,
    answered: u64,
    foreign: u64,
    failed: u64,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let group = std::slice::from_ref(&arguments.group);
    let Arguments { interfaces, sources, families, .. } = arguments;
    let chosen = select_memberships(group, interfaces, sources, *families, console)?;
    let Some(family) = single_family(&chosen.items) else {
        return Err(Failure::usage(format!("\"{}\" is both IPv4 and IPv6", arguments.group))
            .remedy("choose with -4 or -6")
            .into());
    };
    let unicast = unicast_socket(family).context("cannot open a socket for unicast probes")?;
    let unicast_port = unicast.local_addr().context("cannot determine the port for unicast probes")?.port();
    let receiver = Receiver::builder().join_all(chosen.items).gro(false).build()?;
    let waker = receiver.waker();
    let interrupt = Interrupt::catch(move || {
        // Without a waker the wait ends with the next datagram.
        let _ = waker.wake();
    })?;
    let state = ReplyState { limiter: Limiter::new(EACH, ALL), answered: 0, foreign: 0, failed: 0 };
    let responder = Arc::new(Responder {
        id: random_number(),
        joined: Instant::now(),
        unicast_port,
        state: Mutex::new(state),
    });
    receiver.memberships().iter().for_each(|status| console.note(status));
    console.note(format_args!("answering pings until Ctrl-C, unicast pings at port {unicast_port}"));
    let unicast_responder = Arc::clone(&responder);
    // The thread ends with the process.
    thread::Builder::new()
        .name("unicast".into())
        .spawn(move || unicast_responder.answer_unicast(&unicast))?;
    let end = arguments.timing.timeout.and_then(|timeout| responder.joined.checked_add(timeout));
    responder.answer_group(&receiver, end, &interrupt)?;
    responder.print_summary(console);
    Ok(interrupt.outcome().unwrap_or(Outcome::Yes))
}

fn single_family(memberships: &[mcast::Membership]) -> Option<Family> {
    let mut families = memberships.iter().map(|membership| membership.address.group.family());
    let first = families.next()?;
    families.all(|family| family == first).then_some(first)
}

fn unicast_socket(family: Family) -> std::io::Result<UdpSocket> {
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind(SocketAddr::new(any, 0))
}

impl Responder {
    fn answer_group(
        &self,
        receiver: &Receiver,
        end: Option<Instant>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        /// The longest wait without a deadline.
        const LONG: Duration = Duration::from_secs(3_600);

        let mut buffer = vec![0; BUFFER];
        while !interrupt.has_arrived() {
            let left = end.map_or(LONG, |end| end.saturating_duration_since(Instant::now()));
            match receiver.recv_timeout(&mut buffer, left) {
                Ok(Some(datagram)) => self.answer(receiver, &datagram),
                Ok(None) if end.is_some_and(|end| Instant::now() >= end) => return Ok(()),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Woken => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn answer(&self, receiver: &Receiver, datagram: &Datagram<'_>) {
        let source = datagram.arrival().source;
        if let Some(answer) = self.answer_to(datagram.payload(), source.ip(), datagram.hop_limit, false) {
            let sent = receiver.reply(datagram.arrival(), &answer).is_ok();
            self.record(sent);
        }
    }

    fn answer_unicast(&self, socket: &UdpSocket) {
        let mut buffer = vec![0; BUFFER];
        loop {
            // The error belongs to an earlier answer to a host that has gone.
            let Ok((length, source)) = socket.recv_from(&mut buffer) else { continue };
            if let Some(answer) = self.answer_to(&buffer[..length], source.ip(), None, true) {
                let sent = socket.send_to(&answer, source).is_ok();
                self.record(sent);
            }
        }
    }

    /// Returns the answer to a message, if it is a probe and the rate limit allows one. The answer has the length of
    /// the probe.
    fn answer_to(
        &self,
        message: &[u8],
        source: IpAddr,
        arrival_hop_limit: Option<u8>,
        by_unicast: bool,
    ) -> Option<Vec<u8>> {
        let joined = self.joined.elapsed();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match Message::decode(message) {
            Ok((header, Message::Probe(probe))) if probe.by_unicast == by_unicast => {
                let answer = ProbeReply {
                    responder: self.id,
                    hop_limit: probe.hop_limit,
                    arrival_hop_limit,
                    by_unicast,
                    unicast_port: self.unicast_port,
                    joined,
                };
                state.limiter.allows(source, joined).then(|| answer.encode(header, message.len()))
            }
            _ => {
                state.foreign += 1;
                None
            }
        }
    }

    fn record(&self, sent: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answered += u64::from(sent);
        state.failed += u64::from(!sent);
    }

    fn print_summary(&self, console: &Console) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let others = [
            (state.limiter.refused(), "not answered (rate limit)"),
            (state.foreign, "not from mcast ping"),
            (state.failed, "could not be answered"),
        ];
        let others = others.iter().filter(|(number, _)| *number > 0);
        let others: String = others.map(|(number, what)| format!("; {} {what}", count(*number))).collect();
        console.note(format_args!("answered {}{others}", count_of(state.answered, "probe")));
    }
}

#[cfg(test)]
mod tests {
    use mcast_measure::wire::{Header, Kind, Probe, SessionId, UnixNanos};

    use super::*;

    fn responder() -> Responder {
        let state = ReplyState { limiter: Limiter::new(EACH, ALL), answered: 0, foreign: 0, failed: 0 };
        Responder { id: 1, joined: Instant::now(), unicast_port: 9, state: Mutex::new(state) }
    }

    fn probe(length: usize, by_unicast: bool) -> Vec<u8> {
        let header =
            Header { kind: Kind::Probe, stream: 0, session: SessionId(1), sequence: 5, time: UnixNanos(6) };
        Probe { hop_limit: 4, by_unicast }.encode(header, length)
    }

    fn answer(responder: &Responder, message: &[u8]) -> Option<Vec<u8>> {
        responder.answer_to(message, IpAddr::from([10, 0, 0, 1]), Some(3), false)
    }

    #[test]
    fn an_answer_is_as_long_as_its_probe() {
        for length in [0, 56, 64, 1_400] {
            let probe = probe(length, false);
            assert_eq!(answer(&responder(), &probe).map(|answer| answer.len()), Some(probe.len()));
        }
    }

    #[test]
    fn only_probes_are_answered() {
        let responder = responder();
        assert_eq!(answer(&responder, b"hello"), None);
        assert_eq!(answer(&responder, &probe(64, false)[..50]), None);
        let itself = answer(&responder, &probe(64, false)).unwrap();
        assert_eq!(answer(&responder, &itself), None);
        assert_eq!(answer(&responder, &probe(64, true)), None);
        assert_eq!(responder.state.lock().unwrap().foreign, 4);
    }

    #[test]
    fn answers_are_limited_in_rate() {
        let responder = responder();
        let answers = (0..1_000).filter(|_| answer(&responder, &probe(64, false)).is_some()).count();
        assert!((50..300).contains(&answers), "{answers}");
    }
}
