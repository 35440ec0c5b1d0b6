//! Both ends of `mcast ping` and `mcast doctor`: the responder, the wait for its replies, and their description.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{Datagram, ErrorKind, Family, Membership, Receiver, Sender};
use mcast_measure::{ProbeArrival, ProbeResponder};

use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{count, count_of};
use crate::random::random_number;
use crate::rights;

const BUFFER: usize = 65_536;
/// The longest wait before a prober checks for an interrupt.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The longest wait of a responder without a deadline.
const LONG: Duration = Duration::from_secs(3_600);
/// The maximum number of probers that are reported by name.
const MOST_NAMED: usize = 64;

/// `same network`, `1 hop`, `2 to 3 hops`, or `?` if the distance is unknown.
pub(crate) fn distance(hops: Option<(u8, u8)>) -> String {
    match hops {
        None => "?".into(),
        Some((0, 0)) => "same network".into(),
        Some((fewest, most)) if fewest == most => count_of(fewest.into(), "hop"),
        Some((fewest, most)) => format!("{fewest} to {most} hops"),
    }
}

/// `0.123 ms`, or `-` without a reply.
pub(crate) fn round_trip(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".into(), |time| format!("{:.3} ms", millis(time)))
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}

/// Opens a socket for unicast probes or their replies.
pub(crate) fn unicast_socket(family: Family) -> anyhow::Result<UdpSocket> {
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind(SocketAddr::new(any, 0)).context("cannot open a socket for unicast probes")
}

/// Passes replies to `record` until `deadline`, an interrupt, or until `is_complete`.
pub(crate) fn receive_replies(
    sender: &Sender,
    family: Family,
    deadline: Option<Instant>,
    interrupt: &Interrupt,
    is_complete: impl Fn() -> bool,
    mut record: impl FnMut(&[u8], SocketAddr),
) -> anyhow::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let left = deadline.map_or(LONG, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() || interrupt.has_arrived() || is_complete() {
            return Ok(());
        }
        if let Some(reply) = sender.recv_answer(family, &mut buffer, left.min(POLL_INTERVAL))? {
            record(reply.payload, reply.source);
        }
    }
}

/// Answers probes to these groups until Ctrl-C or for `timeout`; with `unicast`, also those that are sent to this
/// host by unicast.
pub(crate) fn respond(
    memberships: Vec<Membership>,
    unicast: Option<Family>,
    timeout: Option<Duration>,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let unicast = unicast.map(unicast_socket).transpose()?;
    let unicast_port = match &unicast {
        Some(socket) => socket.local_addr().context("cannot determine the port for unicast probes")?.port(),
        None => 0,
    };
    let receiver = Receiver::builder().join_all(memberships).gro(false).build()?;
    rights::keep(&[])?;
    let interrupt = Interrupt::waking(receiver.waker())?;
    let service = Arc::new(Service::new(unicast_port));
    receiver.memberships().iter().for_each(|status| console.note(status));
    let at_port =
        if unicast_port == 0 { String::new() } else { format!(", unicast pings at port {unicast_port}") };
    console.note(format_args!("answering pings and `mcast doctor --probe` until Ctrl-C{at_port}"));
    if let Some(socket) = unicast {
        let service = Arc::clone(&service);
        // The thread ends with the process.
        thread::Builder::new().name("unicast".into()).spawn(move || service.answer_unicast(&socket))?;
    }
    let end = timeout.and_then(|timeout| service.joined.checked_add(timeout));
    service.answer_groups(&receiver, end, &interrupt, console)?;
    service.print_summary(console);
    Ok(interrupt.outcome().unwrap_or(Outcome::Yes))
}

/// A responder, shared by the threads that receive from groups and by unicast.
#[derive(Debug)]
struct Service {
    joined: Instant,
    state: Mutex<ServiceState>,
}

#[derive(Debug)]
struct ServiceState {
    responder: ProbeResponder,
    named: BTreeSet<IpAddr>,
    answered: u64,
    failed: u64,
}

impl Service {
    fn new(unicast_port: u16) -> Self {
        let responder = ProbeResponder::new(random_number(), unicast_port);
        let state = ServiceState { responder, named: BTreeSet::new(), answered: 0, failed: 0 };
        Self { joined: Instant::now(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, ServiceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_groups(
        &self,
        receiver: &Receiver,
        end: Option<Instant>,
        interrupt: &Interrupt,
        console: &Console,
    ) -> anyhow::Result<()> {
        let mut buffer = vec![0; BUFFER];
        while !interrupt.has_arrived() {
            let left = end.map_or(LONG, |end| end.saturating_duration_since(Instant::now()));
            match receiver.recv_timeout(&mut buffer, left) {
                Ok(Some(datagram)) => self.answer(receiver, &datagram, console),
                Ok(None) if end.is_some_and(|end| Instant::now() >= end) => return Ok(()),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Woken => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn answer(&self, receiver: &Receiver, datagram: &Datagram<'_>, console: &Console) {
        let arrival = datagram.arrival();
        let source = arrival.source.ip();
        let probe = ProbeArrival {
            source,
            interface: arrival.interface.number(),
            hop_limit: arrival.hop_limit,
            by_unicast: false,
        };
        let reply = self.state().responder.reply_to(datagram.payload(), &probe, self.joined.elapsed());
        let Some(reply) = reply else { return };
        let is_sent = receiver.reply(arrival, &reply).is_ok();
        let mut state = self.state();
        state.count(is_sent);
        if state.named.len() < MOST_NAMED && state.named.insert(source) {
            console.note(format_args!("probes from {source}"));
        }
    }

    fn answer_unicast(&self, socket: &UdpSocket) {
        let mut buffer = vec![0; BUFFER];
        loop {
            // The error belongs to an earlier reply to a host that has gone.
            let Ok((length, source)) = socket.recv_from(&mut buffer) else { continue };
            let probe = ProbeArrival { source: source.ip(), interface: 0, hop_limit: None, by_unicast: true };
            let reply = self.state().responder.reply_to(&buffer[..length], &probe, self.joined.elapsed());
            if let Some(reply) = reply {
                let is_sent = socket.send_to(&reply, source).is_ok();
                self.state().count(is_sent);
            }
        }
    }

    fn print_summary(&self, console: &Console) {
        let state = self.state();
        let others = [
            (state.responder.refused(), "not answered (rate limit)"),
            (state.responder.foreign(), "not from mcast ping or doctor"),
            (state.failed, "could not be answered"),
        ];
        let others = others.iter().filter(|(number, _)| *number > 0);
        let others: String = others.map(|(number, what)| format!("; {} {what}", count(*number))).collect();
        console.note(format_args!("answered {}{others}", count_of(state.answered, "probe")));
    }
}

impl ServiceState {
    fn count(&mut self, is_sent: bool) {
        self.answered += u64::from(is_sent);
        self.failed += u64::from(!is_sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_as_text() {
        let distances = [None, Some((0, 0)), Some((1, 1)), Some((2, 3))].map(distance);
        assert_eq!(distances, ["?", "same network", "1 hop", "2 to 3 hops"]);
    }
}
