//! Listens for the packets of an IP protocol other than UDP: on the wire, and with raw sockets that have joined the group.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use mcast::group::WellKnown;
use mcast::joined::{self, Holder, SocketKind};
use mcast::{Group, InterfaceIndex};
use mcast_capture::{Capture, CaptureOptions, Direction, Filter, Frame};
use mcast_packet::Packet;
use mcast_sys::RawSocket;
use mcast_sys::protocol::{ProtocolReceiver, raw_sockets};

use super::processes;
use crate::protocol::{
    IpProtocol, ProtocolCount, ProtocolFlow, ProtocolTarget, ProtocolTraffic, RawJoin, RawProgram,
};
use crate::snapshot::Link;
use crate::speakers;
use crate::wire::{Refusal, Tap, refusal};
use crate::{Options, Progress, ProgressCallback, Result};

/// The pause between two polls while nothing arrives.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The interval between two progress callbacks.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// The time allowed for the last packets to get from the wire to the socket.
const GRACE: Duration = Duration::from_millis(100);
/// How many packets are taken at once: to drain a fast interface may never end.
const MAX_AT_ONCE: usize = 4096;
/// The number of sources that are recorded, which bounds the memory.
const MAX_SOURCES: usize = 4096;

/// The packets of several protocols and groups, while they are observed.
#[derive(Default)]
pub(crate) struct ProtocolListener {
    /// A tap without a capture was refused.
    taps: Vec<(Tap, Option<Capture>)>,
    subjects: Vec<Subject>,
}

/// One protocol and group, and the doctor's sockets for it.
struct Subject {
    sockets: Vec<(InterfaceIndex, ProtocolReceiver)>,
    traffic: ProtocolTraffic,
}

impl ProtocolListener {
    /// Adds a protocol and group, and joins it on these interfaces.
    pub(crate) fn add(&mut self, target: &ProtocolTarget, program: Option<RawProgram>, joined: &[&Link]) {
        let traffic = ProtocolTraffic::new(target, program);
        let mut subject = Subject { sockets: Vec::new(), traffic };
        joined.iter().for_each(|link| subject.join(link));
        self.subjects.push(subject);
    }

    /// Captures on an interface: after all sockets have joined, so that they receive whatever is captured.
    pub(crate) fn tap(&mut self, link: &Link) {
        let options = CaptureOptions::on(link.index()).filter(Filter::Multicast).all_multicast(true);
        let mut tap = Tap::on(link);
        let capture = Capture::open(options);
        tap.refused = capture.as_ref().err().map(refusal);
        self.taps.push((tap, capture.ok()));
    }

    /// Listens for as long as the options say, or until the callback stops it.
    ///
    /// # Errors
    /// Fails if a socket cannot be read.
    pub(crate) fn listen(
        mut self,
        options: &Options,
        report_progress: ProgressCallback<'_>,
    ) -> Result<Vec<ProtocolTraffic>> {
        let (begin, of) = (Instant::now(), options.duration());
        let (mut last_progress, mut last_arrival) = (begin, (begin, 0));
        while begin.elapsed() < of {
            let any = self.drain_taps() | self.drain_sockets()?;
            if last_progress.elapsed() >= PROGRESS_INTERVAL {
                last_progress = Instant::now();
                let (on_wire, at_socket) = self.counts();
                if on_wire + at_socket > last_arrival.1 {
                    last_arrival = (last_progress, on_wire + at_socket);
                }
                let progress = Progress {
                    elapsed: begin.elapsed(),
                    of,
                    on_wire,
                    at_socket,
                    silence: last_arrival.0.elapsed(),
                    has_socket: self.subjects.iter().any(|subject| !subject.sockets.is_empty()),
                };
                if report_progress(progress).is_break() {
                    break;
                }
            }
            if !any {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        self.finish(begin.elapsed())
    }

    /// Counts what waits at the taps, then what the sockets receive of it.
    fn finish(mut self, listened: Duration) -> Result<Vec<ProtocolTraffic>> {
        self.drain_taps();
        let until = SystemTime::now();
        let last = Instant::now() + GRACE;
        loop {
            let is_last = Instant::now() >= last;
            if !self.drain_sockets()? {
                if is_last {
                    break;
                }
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        let taps: Vec<_> = self.taps.into_iter().map(|(tap, capture)| closed(tap, capture)).collect();
        let traffic = self.subjects.into_iter().map(|subject| ProtocolTraffic {
            taps: taps.clone(),
            listened,
            until: Some(until),
            ..subject.traffic
        });
        Ok(traffic.collect())
    }

    /// Returns how many packets were captured, and how many the sockets have received.
    fn counts(&self) -> (u64, u64) {
        let all = || self.subjects.iter().map(|subject| &subject.traffic);
        let on_wire = all().flat_map(|traffic| traffic.flows.values()).map(|count| count.packets).sum();
        (on_wire, all().flat_map(|traffic| traffic.received.values()).sum())
    }

    /// Records all pending frames; returns whether there were any.
    fn drain_taps(&mut self) -> bool {
        let mut any = false;
        for (tap, capture) in &mut self.taps {
            let Some(capture) = capture else { continue };
            for _ in 0..MAX_AT_ONCE {
                match capture.next(Some(Duration::ZERO)) {
                    Ok(Some(frame)) => {
                        self.subjects
                            .iter_mut()
                            .for_each(|subject| record_frame(&mut subject.traffic, &frame));
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tap.refused.get_or_insert_with(|| refusal(&error));
                        break;
                    }
                }
                any = true;
            }
        }
        any
    }

    /// Counts all pending packets; returns whether there were any.
    fn drain_sockets(&mut self) -> Result<bool> {
        let mut any = false;
        for subject in &mut self.subjects {
            any |= subject.drain()?;
        }
        Ok(any)
    }
}

impl Subject {
    fn join(&mut self, link: &Link) {
        let ProtocolTarget { group, protocol, .. } = self.traffic.target;
        let join = match ProtocolReceiver::join(group, protocol.number(), &link.interface) {
            Ok(socket) => {
                self.sockets.push((link.index(), socket));
                RawJoin::Joined
            }
            Err(error) => RawJoin::Refused(Refusal {
                needs_rights: error.kind() == io::ErrorKind::PermissionDenied,
                why: format!("cannot receive {protocol} on {}: {error}", link.name()),
            }),
        };
        self.traffic.joins.insert(link.index(), join);
    }

    /// Counts the pending packets; returns whether there were any.
    fn drain(&mut self) -> Result<bool> {
        let mut any = false;
        for (interface, socket) in &self.sockets {
            for _ in 0..MAX_AT_ONCE {
                let received = socket.try_receive();
                let system = |source| crate::Error::System { what: "a raw socket".to_owned(), source };
                let Some(source) = received.map_err(system)? else { break };
                any = true;
                let received = &mut self.traffic.received;
                if received.len() < MAX_SOURCES || received.contains_key(&(*interface, source)) {
                    *received.entry((*interface, source)).or_default() += 1;
                }
            }
        }
        Ok(any)
    }
}

/// Returns a tap with the frames that its capture has missed.
fn closed(mut tap: Tap, capture: Option<Capture>) -> Tap {
    match capture.map(|mut capture| capture.statistics()) {
        Some(Ok(statistics)) => tap.dropped = statistics.dropped,
        Some(Err(error)) => tap.refused = Some(refusal(&error)),
        None => {}
    }
    tap
}

/// Counts a frame that was captured here.
fn record_frame(traffic: &mut ProtocolTraffic, frame: &Frame<'_>) {
    let packet = frame.packet();
    // Tagged frames belong to an interface of their VLAN.
    if packet.vlans().next().is_none() {
        record(traffic, &packet, (frame.interface, frame.direction), frame.time);
    }
}

/// Counts a packet, if it is one of the protocol to the group.
pub(crate) fn record(
    traffic: &mut ProtocolTraffic,
    packet: &Packet<'_>,
    (interface, direction): (InterfaceIndex, Direction),
    time: SystemTime,
) {
    let Some(ip) = packet.ip_layer() else { return };
    let ProtocolTarget { group, protocol, .. } = traffic.target;
    // A datagram in pieces counts once.
    let is_counted = (ip.destination, ip.protocol) == (group.addr(), protocol.number())
        && ip.fragment.is_none_or(|fragment| fragment.offset == 0);
    if !is_counted {
        return;
    }
    let flow = ProtocolFlow { interface, outgoing: direction.is_outgoing(), source: ip.source };
    if traffic.flows.len() >= MAX_SOURCES && !traffic.flows.contains_key(&flow) {
        traffic.unrecorded += 1;
        return;
    }
    let first = ProtocolCount { packets: 0, hop_limits: (ip.hop_limit, ip.hop_limit) };
    let count = traffic.flows.entry(flow).or_insert(first);
    count.packets += 1;
    count.hop_limits = (count.hop_limits.0.min(ip.hop_limit), count.hop_limits.1.max(ip.hop_limit));
    speakers::record(&mut traffic.instances, interface, ip, time);
}

/// Returns the packets that the raw sockets of a process and its children are for.
///
/// # Errors
/// Like [`expected`].
pub(crate) fn of_process(pid: u32) -> Result<Vec<(ProtocolTarget, RawProgram)>> {
    let family = processes::family(pid);
    let owners = processes::owners();
    let name = processes::name(pid);
    expected(|inode| {
        let is_own = owners.get(&inode)?.iter().any(|owner| family.contains(&owner.pid));
        is_own.then(|| name.clone())
    })
}

/// Returns the packets that the raw sockets of all visible programs are for.
///
/// # Errors
/// Like [`expected`].
pub(crate) fn of_all() -> Result<Vec<(ProtocolTarget, RawProgram)>> {
    let owners = processes::owners();
    expected(|inode| owners.get(&inode)?.first().map(|owner| processes::name(owner.pid)))
}

/// Returns the packets that the raw sockets of programs are for: those of the groups that they have joined. For a protocol of which
/// a program has joined nothing, the groups are those that it is known to use.
///
/// # Errors
/// Fails if the memberships of this machine cannot be listed.
fn expected(program_of: impl Fn(u64) -> Option<String>) -> Result<Vec<(ProtocolTarget, RawProgram)>> {
    let mut joined: BTreeMap<(String, Group, IpProtocol), Vec<InterfaceIndex>> = BTreeMap::new();
    for holding in joined::memberships()?.holdings {
        let Holder::Socket(held) = &holding.holder else { continue };
        let SocketKind::Raw { protocol } = held.socket.kind else { continue };
        if let (Some(protocol), Some(program)) = (IpProtocol::new(protocol), program_of(held.socket.inode)) {
            let interfaces = joined.entry((program, holding.group, protocol)).or_default();
            if !interfaces.contains(&holding.interface) {
                interfaces.push(holding.interface);
            }
        }
    }
    // Where the system does not list them, only those that have joined are known.
    for socket in raw_sockets().unwrap_or_default() {
        let Some(program) = program_of(socket.inode) else { continue };
        let has_joined = |(other, group, protocol): &(String, Group, IpProtocol)| {
            *other == program && group.family() == socket.family && protocol.number() == socket.protocol
        };
        if !joined.keys().any(has_joined) {
            let groups = groups_of(&socket);
            groups.for_each(|(group, protocol)| {
                joined.entry((program.clone(), group, protocol)).or_default();
            });
        }
    }
    let expected = joined.into_iter().map(|((name, group, protocol), joined)| {
        (ProtocolTarget::new(group, protocol), RawProgram { name, joined })
    });
    Ok(expected.collect())
}

/// Returns the groups that the protocol of a socket is known to use, if its sockets are for groups.
fn groups_of(socket: &RawSocket) -> impl Iterator<Item = (Group, IpProtocol)> {
    let RawSocket { family, protocol, .. } = *socket;
    let known = WellKnown::all().iter().filter(move |known| known.protocol == Some(protocol));
    let groups = known.map(|known| known.group).filter(move |group| group.family() == family);
    let protocol = IpProtocol::new(protocol).filter(|protocol| protocol.is_for_groups());
    groups.filter_map(move |group| Some((group, protocol?)))
}

/// Returns whether a raw socket for groups is among those that are chosen by their inodes.
pub(crate) fn has_sockets(is_chosen: impl Fn(u64) -> bool) -> bool {
    let sockets = raw_sockets().unwrap_or_default();
    sockets.iter().any(|socket| is_chosen(socket.inode) && groups_of(socket).next().is_some())
}

/// Returns the interface towards each source of what arrived.
pub(crate) fn routes_of(traffic: &[ProtocolTraffic]) -> BTreeMap<IpAddr, Option<InterfaceIndex>> {
    let flows = traffic.iter().flat_map(|traffic| traffic.flows.keys());
    super::source_routes(flows.filter(|flow| !flow.outgoing).map(|flow| flow.source))
}
