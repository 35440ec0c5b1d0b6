//! Listens for the packets of an IP protocol other than UDP: on the wire, and with raw sockets that have joined the group.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::InterfaceIndex;
use mcast::joined::{self, Holder, SocketKind};
use mcast_capture::{Capture, CaptureOptions, Filter, Frame};
use mcast_sys::protocol::{ProtocolReceiver, raw_sockets};

use super::processes;
use crate::protocol::{
    IpProtocol, ProtocolCount, ProtocolFlow, ProtocolTarget, ProtocolTraffic, RawJoin, RawProgram,
};
use crate::snapshot::Link;
use crate::wire::{Refusal, Tap};
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

/// The packets of a protocol, while they are observed.
pub(crate) struct ProtocolListener {
    taps: Vec<(Tap, Capture)>,
    sockets: Vec<(InterfaceIndex, ProtocolReceiver)>,
    traffic: ProtocolTraffic,
}

impl ProtocolListener {
    /// Joins the group on the interfaces `joined`, and captures on all of `links`.
    pub(crate) fn open(
        target: &ProtocolTarget,
        program: Option<RawProgram>,
        joined: &[&Link],
        links: &[&Link],
    ) -> Self {
        let traffic = ProtocolTraffic {
            target: target.clone(),
            program,
            joins: BTreeMap::new(),
            taps: Vec::new(),
            flows: BTreeMap::new(),
            unrecorded: 0,
            received: BTreeMap::new(),
            listened: Duration::ZERO,
        };
        let mut listener = Self { taps: Vec::new(), sockets: Vec::new(), traffic };
        // The sockets come first, so that they receive whatever the taps capture.
        joined.iter().for_each(|link| listener.join(link));
        links.iter().for_each(|link| listener.tap(link));
        listener
    }

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

    fn tap(&mut self, link: &Link) {
        let options = CaptureOptions::on(link.index()).filter(Filter::Multicast).all_multicast(true);
        let mut tap = Tap::on(link);
        match Capture::open(options) {
            Ok(capture) => self.taps.push((tap, capture)),
            Err(error) => {
                tap.refused = Some(Refusal::new(&error));
                self.traffic.taps.push(tap);
            }
        }
    }

    /// Listens for as long as the options say, or until the callback stops it.
    ///
    /// # Errors
    /// Fails if a socket cannot be read.
    pub(crate) fn listen(
        mut self,
        options: &Options,
        report_progress: ProgressCallback<'_>,
    ) -> Result<ProtocolTraffic> {
        let (begin, of) = (Instant::now(), options.duration());
        let (mut last_progress, mut last_arrival) = (begin, (begin, 0));
        while begin.elapsed() < of {
            let any = self.drain_taps() | self.drain_sockets()?;
            if last_progress.elapsed() >= PROGRESS_INTERVAL {
                last_progress = Instant::now();
                let on_wire = self.traffic.flows.values().map(|count| count.packets).sum::<u64>();
                let at_socket = self.traffic.received.values().sum::<u64>();
                if on_wire + at_socket > last_arrival.1 {
                    last_arrival = (last_progress, on_wire + at_socket);
                }
                let progress = Progress {
                    elapsed: begin.elapsed(),
                    of,
                    on_wire,
                    at_socket,
                    silence: last_arrival.0.elapsed(),
                    has_socket: !self.sockets.is_empty(),
                };
                if report_progress(progress).is_break() {
                    break;
                }
            }
            if !any {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        self.traffic.listened = begin.elapsed();
        self.finish()
    }

    /// Counts what waits at the taps, then what the sockets receive of it.
    fn finish(mut self) -> Result<ProtocolTraffic> {
        self.drain_taps();
        let until = Instant::now() + GRACE;
        loop {
            let is_last = Instant::now() >= until;
            if !self.drain_sockets()? {
                if is_last {
                    break;
                }
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        for (mut tap, mut capture) in self.taps {
            match capture.statistics() {
                Ok(statistics) => tap.dropped = statistics.dropped,
                Err(error) => tap.refused = Some(Refusal::new(&error)),
            }
            self.traffic.taps.push(tap);
        }
        Ok(self.traffic)
    }

    /// Records all pending frames; returns whether there were any.
    fn drain_taps(&mut self) -> bool {
        let mut any = false;
        for (tap, capture) in &mut self.taps {
            for _ in 0..MAX_AT_ONCE {
                match capture.next(Some(Duration::ZERO)) {
                    Ok(Some(frame)) => record(&mut self.traffic, &frame),
                    Ok(None) => break,
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

    /// Counts all pending packets; returns whether there were any.
    fn drain_sockets(&mut self) -> Result<bool> {
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

/// Counts a frame, if it carries a packet of the protocol to the group.
fn record(traffic: &mut ProtocolTraffic, frame: &Frame<'_>) {
    let packet = frame.packet();
    let Some(ip) = packet.ip_layer() else { return };
    let ProtocolTarget { group, protocol, .. } = traffic.target;
    // Tagged frames belong to an interface of their VLAN; a datagram in pieces counts once.
    let is_counted = (ip.destination, ip.protocol) == (group.addr(), protocol.number())
        && packet.vlans().next().is_none()
        && ip.fragment.is_none_or(|fragment| fragment.offset == 0);
    if !is_counted {
        return;
    }
    let outgoing = frame.direction.is_outgoing();
    let flow = ProtocolFlow { interface: frame.interface, outgoing, source: ip.source };
    if traffic.flows.len() >= MAX_SOURCES && !traffic.flows.contains_key(&flow) {
        traffic.unrecorded += 1;
        return;
    }
    let first = ProtocolCount { packets: 0, hop_limits: (ip.hop_limit, ip.hop_limit) };
    let count = traffic.flows.entry(flow).or_insert(first);
    count.packets += 1;
    count.hop_limits = (count.hop_limits.0.min(ip.hop_limit), count.hop_limits.1.max(ip.hop_limit));
}

/// Returns the packets that the raw sockets of a process and its children are for: those of the groups that they have joined. For
/// a protocol of which they have joined nothing, the groups are those that it is known to use.
///
/// # Errors
/// Fails if the memberships of this machine cannot be listed.
pub(crate) fn of_process(pid: u32) -> Result<Vec<(ProtocolTarget, RawProgram)>> {
    let family = processes::family(pid);
    let owners = processes::owners();
    let is_own = |inode: u64| {
        owners.get(&inode).is_some_and(|all| all.iter().any(|owner| family.contains(&owner.pid)))
    };
    let name = processes::name(pid);
    let mut joined: BTreeMap<(mcast::Group, IpProtocol), Vec<InterfaceIndex>> = BTreeMap::new();
    for holding in joined::memberships()?.holdings {
        let Holder::Socket(held) = &holding.holder else { continue };
        let SocketKind::Raw { protocol } = held.socket.kind else { continue };
        if let Some(protocol) = IpProtocol::new(protocol).filter(|_| is_own(held.socket.inode)) {
            let interfaces = joined.entry((holding.group, protocol)).or_default();
            if !interfaces.contains(&holding.interface) {
                interfaces.push(holding.interface);
            }
        }
    }
    // Where the system does not list them, only those that have joined are known.
    for socket in raw_sockets().unwrap_or_default().into_iter().filter(|socket| is_own(socket.inode)) {
        let Some(protocol) = IpProtocol::new(socket.protocol) else { continue };
        let is_of_family = |group: &mcast::Group| group.family() == socket.family;
        if joined.keys().any(|(group, other)| *other == protocol && is_of_family(group)) {
            continue;
        }
        let known = mcast::group::WellKnown::all().iter();
        let groups = known.filter(|known| known.protocol == Some(socket.protocol)).map(|known| known.group);
        // Many programs send and receive ICMPv6 that have nothing to do with groups.
        let groups = groups.filter(|group| is_of_family(group) && protocol.is_for_groups());
        for group in groups {
            joined.entry((group, protocol)).or_default();
        }
    }
    let target = |((group, protocol), joined): ((mcast::Group, IpProtocol), Vec<InterfaceIndex>)| {
        (ProtocolTarget::new(group, protocol), RawProgram { name: name.clone(), joined })
    };
    Ok(joined.into_iter().map(target).collect())
}

/// Returns the interface towards each source of what arrived.
pub(crate) fn routes_of(traffic: &ProtocolTraffic) -> BTreeMap<IpAddr, Option<InterfaceIndex>> {
    super::source_routes(traffic.flows.keys().filter(|flow| !flow.outgoing).map(|flow| flow.source))
}
