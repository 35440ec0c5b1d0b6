//! Listens on the wire and at the socket at the same time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use mcast::{InterfaceIndex, Receiver};
use mcast_capture::{Capture, CaptureOptions, Filter};

use super::rejoin::Rejoin;
use crate::observation::{ReceivedCount, RejoinOutcome};
use crate::snapshot::{Link, Snapshot};
use crate::wire::{PortTraffic, Recorder, Refusal, Tap, Wire};
use crate::{Options, Progress, ProgressCallback, Result};

/// The pause between two polls while nothing arrives.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The interval between two progress callbacks.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// The time allowed for the last datagrams to get from the wire to the socket.
const GRACE: Duration = Duration::from_millis(100);
/// The maximum number of ports of bridges that are tapped, and the size of the receive buffer of each. Both bound the
/// memory.
const MAX_PORTS: usize = 32;
const PORT_BUFFER: usize = 1 << 20;
/// The size of the largest UDP datagram.
const MAX_DATAGRAM: usize = 65_535;

/// Packet taps on interfaces, and what they have captured.
pub(crate) struct Taps {
    open: Vec<(Tap, Capture)>,
    refused: Vec<Tap>,
    pub(crate) recorder: Recorder,
    ports: Vec<(Tap, Capture)>,
    port_recorder: Recorder,
}

/// The group that the progress callback counts.
#[derive(Clone, Copy)]
pub(crate) struct GroupFilter {
    pub(crate) group: Option<IpAddr>,
    pub(crate) port: Option<u16>,
}

/// Counts what the doctor's own receiver gets.
#[derive(Default)]
pub(crate) struct SocketProbe {
    received: BTreeMap<(InterfaceIndex, SocketAddr), u64>,
    buffer: Vec<u8>,
    /// The result of rejoining after the stream stopped; `None` if the doctor did not rejoin.
    pub(crate) rejoin: Option<RejoinOutcome>,
}

impl Taps {
    /// Opens a tap on each of these interfaces, and records failures.
    pub(crate) fn open(links: &[&Link]) -> Self {
        let mut taps = Self {
            open: Vec::new(),
            refused: Vec::new(),
            recorder: Recorder::default(),
            ports: Vec::new(),
            port_recorder: Recorder::default(),
        };
        for link in links {
            taps.add(link);
        }
        taps
    }

    /// Opens a tap on each port of a bridge that has a carrier. A port that cannot be tapped is not observed.
    fn add_ports(&mut self, machine: &Snapshot) {
        let is_port = |link: &&Link| {
            let bridge = link.interface.port_of.and_then(|bridge| machine.link(bridge));
            link.interface.running && bridge.is_some_and(|bridge| bridge.bridge.is_some())
        };
        for link in machine.links.iter().filter(is_port).take(MAX_PORTS) {
            let options = CaptureOptions::on(link.index()).filter(Filter::Multicast).buffer_size(PORT_BUFFER);
            if let Ok(capture) = Capture::open(options) {
                self.ports.push((Tap::on(link), capture));
            }
        }
    }

    /// Ignores data captured before `time`.
    pub(crate) fn count_data_from(&mut self, time: SystemTime) {
        self.recorder.count_data_from(time);
        self.port_recorder.count_data_from(time);
    }

    /// Opens a tap on every interface on which groups can arrive: those of the host that are up, and `named`.
    pub(crate) fn of(machine: &Snapshot, named: &[InterfaceIndex]) -> Self {
        let is_tapped = |link: &&Link| link.is_of_the_host() || named.contains(&link.index());
        let mut taps = Self::open(&machine.links.iter().filter(is_tapped).collect::<Vec<_>>());
        taps.add_ports(machine);
        taps
    }

    fn add(&mut self, link: &Link) {
        let mut tap = Tap::on(link);
        let options = CaptureOptions::on(link.index()).filter(Filter::Multicast).all_multicast(true);
        match Capture::open(options) {
            Ok(capture) => self.open.push((tap, capture)),
            Err(error) => {
                tap.refused = Some(Refusal::new(&error));
                self.refused.push(tap);
            }
        }
    }

    /// Records all pending frames; returns whether there were any.
    pub(super) fn drain(&mut self) -> bool {
        let any = drain(&mut self.open, &mut self.recorder);
        drain(&mut self.ports, &mut self.port_recorder) | any
    }

    /// Waits until a datagram to this address arrives, and returns its source.
    pub(crate) fn wait_for_source(&mut self, group: IpAddr, port: u16, timeout: Duration) -> Option<IpAddr> {
        let begin = Instant::now();
        loop {
            let any = self.drain();
            let source = self.recorder.source_of(group, port);
            if source.is_some() || begin.elapsed() >= timeout {
                return source;
            }
            if !any {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
    }

    fn finish(self, until: SystemTime) -> Wire {
        let closed = |(mut tap, mut capture): (Tap, Capture)| {
            tap.dropped = capture.statistics().map_or(0, |statistics| statistics.dropped);
            // An interface that went down once was still tapped.
            tap.refused = None;
            tap
        };
        let taps = self.open.into_iter().map(closed).chain(self.refused).collect();
        let ports = self.port_recorder.finish(self.ports.into_iter().map(closed).collect(), Some(until));
        let ports = PortTraffic { taps: ports.taps, flows: ports.flows, control: ports.control };
        Wire { ports, ..self.recorder.finish(taps, Some(until)) }
    }
}

/// Records all pending frames of these taps; returns whether there were any.
fn drain(taps: &mut [(Tap, Capture)], recorder: &mut Recorder) -> bool {
    let mut any = false;
    for (tap, capture) in taps {
        // Bounded, because draining a fast interface may never end.
        for _ in 0..4096 {
            match capture.next(Some(Duration::ZERO)) {
                Ok(Some(frame)) => recorder.record(&frame),
                Ok(None) => break,
                // The snapshots show an interface that went down.
                Err(error) => {
                    tap.refused.get_or_insert_with(|| Refusal::new(&error));
                    break;
                }
            }
            any = true;
        }
    }
    any
}

impl SocketProbe {
    /// Counts all pending datagrams; returns whether there were any. Datagrams that arrived after `until` are
    /// not counted, because the taps have not captured them.
    fn drain(&mut self, receiver: &Receiver, until: Option<SystemTime>) -> Result<bool> {
        self.buffer.resize(MAX_DATAGRAM, 0);
        let mut any = false;
        for _ in 0..4096 {
            let Some(datagram) = receiver.try_recv(&mut self.buffer)? else { break };
            let arrival = datagram.arrival();
            any = true;
            if until.is_none_or(|until| arrival.time.is_none_or(|time| time <= until)) {
                let key = (arrival.interface, as_on_wire(arrival.source));
                *self.received.entry(key).or_default() += 1;
            }
        }
        Ok(any)
    }

    fn count(&self) -> u64 {
        self.received.values().sum()
    }

    pub(crate) fn counts(self) -> Vec<ReceivedCount> {
        let count = |((interface, source), datagrams)| ReceivedCount { interface, source, datagrams };
        self.received.into_iter().map(count).collect()
    }
}

/// Removes the scope id: a socket reports it for link-local sources, a packet does not carry it.
fn as_on_wire(source: SocketAddr) -> SocketAddr {
    SocketAddr::new(source.ip(), source.port())
}

/// Listens for as long as the options say, or until the callback stops it. With a membership in `rejoin`, finds out
/// why its stream has stopped or is silent.
pub(crate) fn listen(
    mut taps: Taps,
    receiver: Option<&Receiver>,
    rejoin: Option<&Rejoin<'_>>,
    filter: GroupFilter,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<(Wire, SocketProbe)> {
    let (begin, of) = (Instant::now(), options.duration());
    let mut probe = SocketProbe::default();
    let mut last_progress = begin;
    while begin.elapsed() < of {
        let any = taps.drain() | receiver.map_or(Ok(false), |receiver| probe.drain(receiver, None))?;
        if last_progress.elapsed() >= PROGRESS_INTERVAL {
            last_progress = Instant::now();
            let on_wire = filter.group.map_or(0, |group| taps.recorder.count(group, filter.port));
            let progress = Progress { elapsed: begin.elapsed(), of, on_wire, at_socket: probe.count() };
            if report_progress(progress).is_break() {
                break;
            }
        }
        if !any {
            std::thread::sleep(POLL_INTERVAL);
        }
    }
    let until = SystemTime::now();
    taps.drain();
    let is_conclusive = begin.elapsed() >= options.querier_timeout();
    if let Some(rejoin) = rejoin {
        // Count what has arrived so far: datagrams of the rejoin are not part of the examination.
        if let Some(receiver) = receiver {
            probe.drain(receiver, Some(until))?;
        }
        probe.rejoin = rejoin.perform(&mut taps, until, is_conclusive)?;
    }
    let wire = taps.finish(until);
    if let Some(receiver) = receiver {
        let last = Instant::now();
        while last.elapsed() < GRACE {
            if !probe.drain(receiver, Some(until))? {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
    }
    Ok((wire, probe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_source_is_equal_on_the_wire_and_at_the_socket() {
        let at_socket: SocketAddr = "[fe80::1%2]:6000".parse().unwrap();
        let on_wire: SocketAddr = "[fe80::1]:6000".parse().unwrap();
        assert_ne!(at_socket, on_wire);
        assert_eq!(as_on_wire(at_socket), on_wire);
    }
}
