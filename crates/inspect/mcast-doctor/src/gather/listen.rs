//! Listens on the wire and at the socket at the same time, and reports a membership again when nothing arrives: the only way to
//! distinguish a network that has forgotten it from a sender that is silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use mcast::{Family, GroupAddr, InterfaceIndex, Membership, Receiver, SourceFilter};
use mcast_capture::{Capture, CaptureOptions, ControlSender, ErrorKind, Filter};
use mcast_packet::gmp::{Address, GmpMessage, Record, RecordKind};

use super::{accepted_packets, refused_frames};
use crate::observation::{ReceivedCount, RejoinOutcome};
use crate::snapshot::{Link, Snapshot};
use crate::wire::{PortTraffic, Recorder, Tap, UnicastRecorder, Wire, refusal};
use crate::{Options, Progress, ProgressCallback, Result};

/// The pause between two polls while nothing arrives.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The interval between two progress callbacks.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// The time allowed for the last datagrams to get from the wire to the socket.
const GRACE: Duration = Duration::from_millis(100);
/// The longest time in which a socket is drained to which datagrams arrive without a pause.
const MAX_GRACE: Duration = Duration::from_secs(2);
/// The maximum number of ports that are tapped, and the size of the receive buffer of each. Both bound the memory.
const MAX_PORTS: usize = 32;
const PORT_BUFFER: usize = 1 << 20;
/// The number of ports for which unicast is captured.
const MAX_UNICAST_PORTS: usize = 4;
/// How many frames or datagrams are taken at once: to drain a fast interface may never end.
const MAX_AT_ONCE: usize = 4096;
/// The number of sources that the doctor's socket counts: far more than of flows that the taps record.
const MAX_SOURCES: usize = 10_000;
/// The size of the largest UDP datagram.
const MAX_DATAGRAM: usize = 65_535;

/// Packet taps on interfaces, and what they have captured.
pub(crate) struct Taps {
    open: Vec<(Tap, Capture)>,
    refused: Vec<Tap>,
    /// Taps on the ports of bridges and bonds that are tapped, and what they captured.
    ports: Vec<(Tap, Capture)>,
    port_recorder: Recorder,
    /// Taps without a filter on interfaces with an XDP program, each with the frames and bytes that arrived.
    unfiltered: Vec<(InterfaceIndex, Capture, (u64, u64))>,
    /// Taps for frames of other protocols than IP and ARP, each with the number that arrived.
    other_protocols: Vec<(InterfaceIndex, Capture, u64)>,
    /// Taps for the examined ports, on the interfaces of `open`.
    by_port: Vec<Capture>,
    unicast: UnicastRecorder,
    pub(crate) recorder: Recorder,
    /// How many packets to groups the IP layer had accepted when counting began; then, how many it accepted until it ended.
    accepted: BTreeMap<Family, u64>,
    /// How many frames each interface had refused when counting began, and when it ended.
    refused_frames: BTreeMap<InterfaceIndex, (u64, u64)>,
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
    /// Earlier datagrams are not counted, because the taps have not counted them.
    from: Option<SystemTime>,
    received: BTreeMap<(InterfaceIndex, SocketAddr), u64>,
    buffer: Vec<u8>,
    /// The result of rejoining after the stream stopped; `None` if the doctor did not rejoin.
    pub(crate) rejoin: Option<RejoinOutcome>,
    /// What was done to rejoin, for the report.
    pub(crate) experiment: Option<String>,
}

impl Taps {
    /// Opens a tap on each of these interfaces, and records failures.
    pub(crate) fn open(links: &[&Link]) -> Self {
        let mut taps = Self {
            open: Vec::new(),
            refused: Vec::new(),
            ports: Vec::new(),
            port_recorder: Recorder::default(),
            unfiltered: Vec::new(),
            other_protocols: Vec::new(),
            by_port: Vec::new(),
            unicast: UnicastRecorder::default(),
            recorder: Recorder::default(),
            accepted: BTreeMap::new(),
            refused_frames: BTreeMap::new(),
        };
        for link in links {
            taps.add(link);
        }
        taps
    }

    /// Ignores data captured before this moment.
    pub(crate) fn begin_counting(&mut self) {
        // The kernel begins to note arrivals some time after a tap is opened; until then, a frame has the time at which it is
        // read. An early one that is read later would count, and all numbers between it and the next would be missing.
        self.drain();
        let now = SystemTime::now();
        self.recorder.count_data_from(now);
        self.port_recorder.count_data_from(now);
        self.accepted = accepted_packets();
        let at_begin = refused_frames().into_iter();
        self.refused_frames = at_begin.map(|(interface, count)| (interface, (count, count))).collect();
    }

    /// Ignores data captured after this moment, and returns it.
    fn end_counting(&mut self) -> SystemTime {
        let earlier = std::mem::replace(&mut self.accepted, accepted_packets());
        for (family, count) in &mut self.accepted {
            *count = count.saturating_sub(earlier.get(family).copied().unwrap_or_default());
        }
        for (interface, count) in refused_frames() {
            self.refused_frames.entry(interface).or_insert((count, count)).1 = count;
        }
        let now = SystemTime::now();
        self.recorder.count_data_until(now);
        self.port_recorder.count_data_until(now);
        now
    }

    /// Opens a tap on every interface on which groups can arrive: those of the host that are up, and `named`. On the
    /// loopback interface, programs may send by mistake.
    pub(crate) fn of(machine: &Snapshot, named: &[InterfaceIndex]) -> Self {
        let is_tapped = |link: &&Link| {
            let is_loopback = link.interface.loopback && link.interface.up;
            link.is_of_the_host() || is_loopback || named.contains(&link.index())
        };
        let mut taps = Self::open(&machine.links.iter().filter(is_tapped).collect::<Vec<_>>());
        let is_port = |link: &&Link| {
            let above = link.interface.port_of.and_then(|index| machine.link(index));
            link.interface.up && !is_tapped(link) && above.is_some_and(|above| is_tapped(&above))
        };
        // A port that cannot be tapped is not observed.
        let ports = machine.links.iter().filter(is_port).take(MAX_PORTS);
        let open = |link| Some((Tap::on(link), Capture::open(options(link).buffer_size(PORT_BUFFER)).ok()?));
        let ports: Vec<_> = ports.collect();
        taps.ports = ports.iter().copied().filter_map(open).collect();
        for port in ports {
            taps.count_behind_program(port);
        }
        taps
    }

    /// Also captures what is sent from and to these ports and not to groups.
    pub(crate) fn with_ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        let ports: BTreeSet<_> =
            ports.into_iter().filter(|port| *port != 0).take(MAX_UNICAST_PORTS).collect();
        let open = |interface, port| {
            let options = CaptureOptions::on(interface).filter(Filter::UnicastUdpPort(port));
            Capture::open(options.buffer_size(PORT_BUFFER)).ok()
        };
        // What cannot be captured here was refused for groups as well, and is reported there.
        self.by_port = self
            .open
            .iter()
            .flat_map(|(tap, _)| ports.iter().filter_map(move |port| open(tap.interface, *port)))
            .collect();
        self
    }

    fn add(&mut self, link: &Link) {
        let mut tap = Tap::on(link);
        match Capture::open(options(link)) {
            Ok(capture) => self.open.push((tap, capture)),
            Err(error) => {
                tap.refused = Some(refusal(&error));
                self.refused.push(tap);
            }
        }
        let others = CaptureOptions::on(link.index()).filter(Filter::OtherProtocols).outgoing(false);
        if let Ok(capture) = Capture::open(others.buffer_size(PORT_BUFFER)) {
            self.other_protocols.push((link.index(), capture, 0));
        }
        self.count_behind_program(link);
    }

    /// Counts all frames that arrive on an interface with an XDP program.
    fn count_behind_program(&mut self, link: &Link) {
        if link.xdp_program.is_some()
            && let Ok(capture) = Capture::open(CaptureOptions::on(link.index()))
        {
            self.unfiltered.push((link.index(), capture, (0, 0)));
        }
    }

    /// Records all pending frames; returns whether there were any.
    pub(super) fn drain(&mut self) -> bool {
        let any = drain(&mut self.open, &mut self.recorder);
        let any = drain(&mut self.ports, &mut self.port_recorder) | any;
        for capture in &mut self.by_port {
            for _ in 0..MAX_AT_ONCE {
                let Ok(Some(frame)) = capture.next(Some(Duration::ZERO)) else { break };
                self.unicast.record(&frame);
            }
        }
        for (_, capture, frames) in &mut self.other_protocols {
            for _ in 0..MAX_AT_ONCE {
                let Ok(Some(frame)) = capture.next(Some(Duration::ZERO)) else { break };
                *frames += 1;
                self.recorder.record_ptp(&frame);
            }
        }
        for (_, capture, (frames, bytes)) in &mut self.unfiltered {
            for _ in 0..MAX_AT_ONCE {
                let Ok(Some(frame)) = capture.next(Some(Duration::ZERO)) else { break };
                if !frame.direction.is_outgoing() {
                    *frames += 1;
                    *bytes += frame.original_length as u64;
                }
            }
        }
        any
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
            match capture.statistics() {
                Ok(statistics) => tap.dropped = statistics.dropped,
                Err(error) => record_failure(&mut tap, &error),
            }
            tap
        };
        let taps = self.open.into_iter().map(closed).chain(self.refused).collect();
        let ports = self.port_recorder.finish(self.ports.into_iter().map(closed).collect(), Some(until));
        let ports =
            PortTraffic { taps: ports.taps, flows: ports.flows, control: ports.control, unexamined: 0 };
        // Frames that the capture dropped would appear to be dropped by the program.
        let is_complete =
            |capture: &mut Capture| capture.statistics().is_ok_and(|counts| counts.dropped == 0);
        let unfiltered = self.unfiltered.into_iter().filter_map(|(interface, mut capture, count)| {
            is_complete(&mut capture).then_some((interface, count))
        });
        let unfiltered = unfiltered.collect();
        let other_protocols =
            self.other_protocols.into_iter().filter_map(|(interface, mut capture, count)| {
                is_complete(&mut capture).then_some((interface, count))
            });
        let other_protocols = other_protocols.collect();
        let unicast = self.unicast.finish();
        let (accepted, refused) = (self.accepted, self.refused_frames);
        Wire {
            ports,
            unfiltered,
            other_protocols,
            unicast,
            accepted,
            refused,
            ..self.recorder.finish(taps, Some(until))
        }
    }
}

/// Records all pending frames of these taps; returns whether there were any.
fn drain(taps: &mut [(Tap, Capture)], recorder: &mut Recorder) -> bool {
    let mut any = false;
    for (tap, capture) in taps {
        for _ in 0..MAX_AT_ONCE {
            match capture.next(Some(Duration::ZERO)) {
                Ok(Some(frame)) => recorder.record(&frame),
                Ok(None) => break,
                Err(error) => {
                    record_failure(tap, &error);
                    break;
                }
            }
            any = true;
        }
    }
    any
}

/// Records why a tap failed while listening. The snapshots show an interface that went down or was deleted; until then, it
/// was tapped.
fn record_failure(tap: &mut Tap, error: &mcast_capture::Error) {
    if !matches!(error.kind(), ErrorKind::InterfaceDown | ErrorKind::NoSuchInterface) {
        tap.refused.get_or_insert_with(|| refusal(error));
    }
}

/// Returns the options of a tap for groups.
fn options(link: &Link) -> CaptureOptions {
    CaptureOptions::on(link.index()).filter(Filter::Multicast).all_multicast(true)
}

impl SocketProbe {
    /// Counts all pending datagrams; returns whether there were any. Datagrams that arrived after `until` are
    /// not counted either.
    fn drain(&mut self, receiver: &Receiver, until: Option<SystemTime>) -> Result<bool> {
        self.buffer.resize(MAX_DATAGRAM, 0);
        let mut any = false;
        for _ in 0..MAX_AT_ONCE {
            let begin = SystemTime::now();
            let Some(datagram) = receiver.recv_timeout(&mut self.buffer, Duration::ZERO)? else { break };
            let arrival = datagram.arrival();
            any = true;
            // The kernel begins to note arrivals some time after a socket asks for it; until then, it returns the time
            // at which a datagram is read.
            let time = arrival.time.filter(|time| *time < begin);
            let is_within =
                |time| self.from.is_none_or(|from| time >= from) && until.is_none_or(|until| time <= until);
            if time.is_none_or(is_within) {
                let key = (arrival.interface, as_on_wire(arrival.source));
                if self.received.len() < MAX_SOURCES || self.received.contains_key(&key) {
                    *self.received.entry(key).or_default() += 1;
                }
            }
        }
        Ok(any)
    }

    /// Counts what arrived until `until` and still waits in the queue. However long this thread waits for a processor, the
    /// queue was empty once after the last datagrams have got from the wire to the socket.
    fn finish(&mut self, receiver: &Receiver, until: SystemTime) -> Result<()> {
        let begin = Instant::now();
        loop {
            let is_last = begin.elapsed() >= GRACE;
            let any = self.drain(receiver, Some(until))?;
            if (is_last && !any) || begin.elapsed() >= MAX_GRACE {
                return Ok(());
            }
            if !any {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
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
/// why its stream has stopped or is silent, unless the options forbid experiments.
pub(crate) fn listen(
    mut taps: Taps,
    receiver: Option<&Receiver>,
    rejoin: Option<&Rejoin<'_>>,
    filter: GroupFilter,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<(Wire, SocketProbe)> {
    let (begin, of) = (Instant::now(), options.duration());
    let mut probe = SocketProbe { from: taps.recorder.data_from, ..SocketProbe::default() };
    let (mut last_progress, mut last_arrival) = (begin, (begin, 0));
    while begin.elapsed() < of {
        let any = taps.drain() | receiver.map_or(Ok(false), |receiver| probe.drain(receiver, None))?;
        if last_progress.elapsed() >= PROGRESS_INTERVAL {
            last_progress = Instant::now();
            let on_wire = filter.group.map_or(0, |group| taps.recorder.count(group, filter.port));
            let at_socket = probe.count();
            if on_wire + at_socket > last_arrival.1 {
                last_arrival = (last_progress, on_wire + at_socket);
            }
            let silence = last_arrival.0.elapsed();
            let progress = Progress {
                elapsed: begin.elapsed(),
                of,
                on_wire,
                at_socket,
                silence,
                has_socket: receiver.is_some(),
            };
            if report_progress(progress).is_break() {
                break;
            }
        }
        if !any {
            std::thread::sleep(POLL_INTERVAL);
        }
    }
    let until = taps.end_counting();
    taps.drain();
    let is_conclusive = begin.elapsed() >= options.querier_timeout();
    if let Some(rejoin) = rejoin.filter(|_| options.experiments) {
        // Count what has arrived so far: datagrams of the rejoin are not part of the examination.
        if let Some(receiver) = receiver {
            probe.drain(receiver, Some(until))?;
        }
        if let Some((outcome, experiment)) = rejoin.perform(&mut taps, until, is_conclusive)? {
            (probe.rejoin, probe.experiment) = (outcome, Some(experiment));
        }
    }
    let wire = taps.finish(until);
    if let Some(receiver) = receiver {
        probe.finish(receiver, until)?;
    }
    Ok((wire, probe))
}

/// The time allowed for a stream to come back.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The same for a stream of which nothing has arrived so far: a sender may start at any time.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// A membership that can be reported again.
pub(crate) struct Rejoin<'a> {
    pub(crate) address: GroupAddr,
    pub(crate) method: RejoinMethod<'a>,
}

/// How to report it.
pub(crate) enum RejoinMethod<'a> {
    /// Leave and join: this process is the only member on this machine.
    Join(&'a Receiver, &'a Membership),
    /// Send a report: as another program is a member, the system would send none. Contains the interfaces with the IGMP
    /// version in use.
    Report(Vec<(&'a Link, Option<u8>)>, &'a SourceFilter),
}

impl Rejoin<'_> {
    /// Reports the membership if its stream has stopped or if nothing of it has arrived, and waits for the stream. Returns
    /// the outcome, which is `None` if no report could be sent, and what was done, for the report.
    fn perform(
        &self,
        taps: &mut Taps,
        until: SystemTime,
        is_conclusive: bool,
    ) -> Result<Option<(Option<RejoinOutcome>, String)>> {
        let (group, port) = (self.address.group.addr(), self.address.port);
        let count = |taps: &Taps| taps.recorder.count(group, Some(port));
        let was_silent = matches!(self.method, RejoinMethod::Report(..)) && count(taps) == 0;
        let has_stopped = is_conclusive && taps.recorder.has_stopped(group, port, until);
        if !(was_silent || has_stopped) {
            return Ok(None);
        }
        if !self.report()? {
            return Ok(Some((None, format!("not possible: {}", self.description()))));
        }
        let timeout = if was_silent { FIRST_TIMEOUT } else { TIMEOUT };
        // What the experiment provokes must not count as traffic that was there without it.
        let before = std::mem::take(&mut taps.recorder);
        let begin = Instant::now();
        while begin.elapsed() < timeout && count(taps) == 0 {
            if !taps.drain() {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        let (outcome, result) = match count(taps) {
            0 if was_silent => (RejoinOutcome::NothingCame, "nothing arrived"),
            0 => (RejoinOutcome::StayedSilent, "nothing arrived"),
            _ => (RejoinOutcome::CameBack, "datagrams arrived"),
        };
        taps.recorder = before;
        Ok(Some((Some(outcome), format!("{}: {result}", self.description()))))
    }

    /// Returns what it does, in words.
    fn description(&self) -> String {
        let to = self.address;
        match &self.method {
            RejoinMethod::Join(..) => format!("leave {to} and join it again"),
            RejoinMethod::Report(links, _) => {
                let names: Vec<_> = links.iter().map(|(link, _)| link.name()).collect();
                format!("send another report for {to} on {}", names.join(", "))
            }
        }
    }

    /// Returns whether a report was sent.
    fn report(&self) -> Result<bool> {
        match &self.method {
            RejoinMethod::Join(receiver, membership) => {
                receiver.leave(membership)?;
                receiver.join((*membership).clone())?;
                Ok(true)
            }
            // Without the right to send it, the question stays open.
            RejoinMethod::Report(links, sources) => Ok(links
                .iter()
                .filter(|(link, version)| send_report(link, *version, self.address, sources).is_some())
                .count()
                > 0),
        }
    }
}

/// Sends a report for a group on an interface; `None` if that is not possible.
fn send_report(
    link: &Link,
    igmp_version: Option<u8>,
    address: GroupAddr,
    sources: &SourceFilter,
) -> Option<()> {
    let own =
        |is_right: fn(&IpAddr) -> bool| link.interface.addresses.iter().map(|own| own.address).find(is_right);
    match address.group.addr() {
        IpAddr::V4(group) => {
            let Some(IpAddr::V4(own)) = own(IpAddr::is_ipv4) else { return None };
            let sources = of_family(sources, |source| match source {
                IpAddr::V4(source) => Some(source),
                IpAddr::V6(_) => None,
            });
            let is_old = igmp_version.is_some_and(|version| version < 3);
            send(link, own, &record(group, &sources), is_old)
        }
        IpAddr::V6(group) => {
            let is_link_local = |own: &IpAddr| matches!(own, IpAddr::V6(own) if own.is_unicast_link_local());
            let Some(IpAddr::V6(own)) = own(is_link_local) else { return None };
            let sources = of_family(sources, |source| match source {
                IpAddr::V6(source) => Some(source),
                IpAddr::V4(_) => None,
            });
            send(link, own, &record(group, &sources), false)
        }
    }
}

/// Returns the sources that the membership includes.
fn of_family<A>(sources: &SourceFilter, select: fn(IpAddr) -> Option<A>) -> Vec<A> {
    match sources {
        SourceFilter::Include(sources) => sources.iter().copied().filter_map(select).collect(),
        _ => Vec::new(),
    }
}

fn record<'a, A: Address>(group: A, sources: &'a [A]) -> Record<'a, A>
where
    &'a [A]: Into<mcast_packet::gmp::Sources<'a, A>>,
{
    let kind = if sources.is_empty() { RecordKind::ModeIsExclude } else { RecordKind::ModeIsInclude };
    Record { kind, group, sources: sources.into() }
}

fn send<A: Address>(link: &Link, own: A, record: &Record<'_, A>, is_old: bool) -> Option<()> {
    let sender = ControlSender::open(link.index(), own).ok()?;
    let records = [*record];
    let message = match is_old {
        true => GmpMessage::Report { group: record.group },
        false => GmpMessage::V3Report((&records).into()),
    };
    sender.send(&message).ok()
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
