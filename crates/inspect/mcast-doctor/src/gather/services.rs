//! Looks for what has a name, and connects to where it is announced.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mcast::joined::Visibility;
use mcast::{InterfaceIndex, InterfaceSelector};
use mcast_watch::Discovery;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use mcast_watch::live::{DiscoveryOptions, add_descriptions};

use crate::observation::{Interest, ProgramSocket};
use crate::service::{Connection, ServiceSearch, ServiceTarget, dds_port};
use crate::snapshot::Snapshot;
use crate::{Options, Progress, ProgressCallback, Result};

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// How long to listen after the name was found, for the addresses and for the same name on other networks. Responders delay their
/// answers by up to 0.5 s (RFC 6762 section 6).
const SETTLING: Duration = Duration::from_millis(1_500);
/// A host that does not answer a connection within this time drops it: the first repetition is after 1 s (RFC 6298 section 2). A
/// host that is not there is known after 3 s: three requests for its hardware address, one each second (arp(7)).
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3_500);
/// The most connections: announced addresses can be forged.
const MAX_CONNECTIONS: usize = 4;

/// Listens and asks, until the name is found or the time is over. What is announced may come from anybody: it is looked at, and
/// nothing is sent to it but the request for a connection and, if nothing else has the name, for the description of a device.
pub(crate) fn search(
    target: &ServiceTarget,
    machine: &Snapshot,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<ServiceSearch> {
    let begin = Instant::now();
    let domains = own_domains(machine)?;
    let discovery = open(target, &domains, true)?;
    let mut found_at: Option<Instant> = None;
    loop {
        while discovery.next_event(Some(Duration::ZERO)).is_some() {}
        let (found, others) = by_name(discovery.entries(), target);
        let own = |entry: &&Discovered| is_own(machine, entry);
        // What this machine announces, others look for.
        if !found.iter().all(|entry| own(&entry)) {
            found_at.get_or_insert_with(Instant::now);
        }
        // Participants of other domains do not answer, and announce themselves only every few seconds: Cyclone DDS every 8 s. The
        // same holds for those of this machine whose packet filter drops the question.
        let is_of_dds = target.is_of_dds() || found.iter().any(is_dds);
        let lacks_own = || !domains.is_empty() && !found.iter().chain(&others).filter(own).any(is_dds);
        let waits = is_of_dds && (found_at.is_none() || lacks_own());
        let of = options.duration() * if waits { 2 } else { 1 };
        let is_settled = !waits && found_at.is_some_and(|since| since.elapsed() >= SETTLING);
        let progress = Progress {
            elapsed: begin.elapsed(),
            of,
            on_wire: u64::try_from(found.len() + others.len()).unwrap_or(u64::MAX),
            ..Progress::default()
        };
        let is_over = is_settled || begin.elapsed() >= of;
        if report_progress(progress).is_break() || is_over {
            let listened = begin.elapsed();
            let (mut found, mut others, mut undescribed) = (found, others, Vec::new());
            if found.is_empty() && !is_of_dds {
                undescribed = add_descriptions(&mut others);
                (found, others) = by_name(others, target);
            }
            let search = finish(target, machine, &discovery, (found, others), listened)
                .map(|search| ServiceSearch { undescribed, ..search });
            // What is examined next would take its sockets for those of programs.
            discovery.close();
            return search;
        }
        drop(discovery.next_event(Some(PROGRESS_INTERVAL)));
    }
}

/// Separates what has the name from the rest: what is called exactly so, otherwise all that contains it.
fn by_name(entries: Vec<Discovered>, target: &ServiceTarget) -> (Vec<Discovered>, Vec<Discovered>) {
    let name = &target.name;
    let is_named = |entry: &Discovered| entry.is_named(name) || entry.ros_topic() == Some(name.as_bytes());
    let is_exact = entries.iter().any(is_named);
    entries.into_iter().partition(|entry| match is_exact {
        true => is_named(entry),
        false => entry.matches(name) || (target.is_dds() && is_dds(entry)),
    })
}

fn is_dds(entry: &Discovered) -> bool {
    entry.key.protocol == DiscoveryProtocol::Rtps
}

/// Returns whether this machine has announced an entry.
fn is_own(machine: &Snapshot, entry: &Discovered) -> bool {
    entry.source.ip().is_some_and(|source| machine.is_own(source))
}

/// Asks for a name, also in the DDS domains of the programs of this machine. Without a capture, it receives what their sockets do.
pub(crate) fn open(target: &ServiceTarget, domains: &[u8], capture: bool) -> Result<Discovery> {
    let mut options = DiscoveryOptions {
        interfaces: all_and(&target.interfaces),
        ask: true,
        capture,
        ..DiscoveryOptions::default()
    };
    options.domains.extend(domains);
    Ok(Discovery::open(&options)?)
}

/// Returns the DDS domains whose announcements programs of this machine receive.
pub(crate) fn own_domains(machine: &Snapshot) -> Result<Vec<u8>> {
    let sockets = super::program::all_owned(machine)?;
    let joined =
        || sockets.iter().flat_map(|socket| &socket.memberships).map(|membership| membership.address);
    let is_joined = |domain: &u8| {
        let port = dds_port((*domain).into());
        joined().any(|address| address.group.addr() == ServiceTarget::DDS_GROUP && Some(address.port) == port)
    };
    Ok((0..=u8::MAX).filter(is_joined).collect())
}

/// The name may be announced on other interfaces than those that are asked about.
fn all_and(chosen: &[InterfaceSelector]) -> Vec<InterfaceSelector> {
    match chosen {
        [] => Vec::new(),
        chosen => std::iter::once(&InterfaceSelector::All).chain(chosen).cloned().collect(),
    }
}

fn finish(
    target: &ServiceTarget,
    machine: &Snapshot,
    discovery: &Discovery,
    (found, others): (Vec<Discovered>, Vec<Discovered>),
    listened: Duration,
) -> Result<ServiceSearch> {
    let coverage = discovery.coverage();
    let is_listened_on = |link: &&crate::snapshot::Link| coverage.interfaces.contains(&link.interface.name);
    let listened_on: Vec<_> =
        machine.links.iter().filter(is_listened_on).map(crate::snapshot::Link::index).collect();
    let mut wanted: BTreeSet<InterfaceIndex> = BTreeSet::new();
    for selector in &target.interfaces {
        match selector {
            InterfaceSelector::All => wanted.extend(&listened_on),
            selector => wanted.extend([mcast::interface::find(selector)?.index]),
        }
    }
    if target.interfaces.is_empty() {
        wanted.extend(&listened_on);
    }
    let is_foreign =
        |entry: &Discovered| !is_own(machine, entry) && entry.key.protocol != DiscoveryProtocol::Traffic;
    let is_own_dds = |entry: &&Discovered| is_dds(entry) && is_own(machine, entry);
    let own = found.iter().chain(&others).filter(is_own_dds).cloned().collect();
    let (own_programs, is_own_restricted) =
        match found.iter().filter(|entry| is_foreign(entry)).find_map(|entry| entry.dds()?.domain) {
            Some(domain) => programs_of_domain(machine, domain)?,
            None => Default::default(),
        };
    let unseen: Vec<_> = coverage.unseen().iter().map(ToString::to_string).collect();
    let refusal = coverage.capture_refusal.iter();
    let gap = refusal.map(|why| format!("{why}, so {} cannot be seen", unseen.join(", ")));
    Ok(ServiceSearch {
        target: target.clone(),
        wanted,
        connections: connect(machine, &found),
        others: others.into_iter().filter(is_foreign).collect(),
        found,
        own,
        own_programs,
        is_own_restricted,
        listened_on,
        listened,
        wrong_ports: discovery.counts().wrong_ports,
        undescribed: Vec::new(),
        gaps: gap.collect(),
    })
}

/// Returns the programs that had ports of a DDS domain open before the search, and whether they are known to have joined no group
/// on a network.
fn programs_of_domain(machine: &Snapshot, domain: u32) -> Result<(BTreeSet<String>, bool)> {
    let Some(first) = dds_port(domain) else { return Ok(Default::default()) };
    let is_of_domain = |socket: &ProgramSocket| {
        socket.local.is_some_and(|local| local.port() > first && local.port() - first < 250)
    };
    let mut sockets = super::program::all_owned(machine)?;
    sockets.retain(is_of_domain);
    let programs: BTreeSet<_> = sockets.iter().map(|socket| socket.owner.clone()).collect();
    let (joined, visibility) = super::program::all_joined(machine)?;
    let is_known = match visibility {
        Visibility::Full => true,
        Visibility::Partial { closed } => {
            !sockets.iter().flat_map(|socket| &socket.processes).any(|process| closed.contains(&process.pid))
        }
        _ => false,
    };
    let is_on_network = |interest: Interest<'_>| {
        machine.link(interest.interface).is_some_and(|link| !link.interface.loopback)
    };
    let joined = joined.iter().flat_map(|program| &program.sockets);
    let mut own = joined.filter(|socket| programs.contains(&socket.owner));
    let is_restricted = is_known && !own.any(|socket| socket.interests().any(is_on_network));
    Ok((programs, is_restricted))
}

/// Connects to the first announced addresses, all at once.
fn connect(machine: &Snapshot, found: &[Discovered]) -> BTreeMap<SocketAddr, Connection> {
    let at = |entry: &Discovered| {
        // RFC 6763 section 8: the name of a protocol that this device does not speak has port 0.
        let port = entry.port.filter(|port| *port != 0 && takes_connections(entry));
        let addresses = entry.addresses.clone();
        port.into_iter().flat_map(move |port| {
            addresses.clone().into_iter().map(move |address| SocketAddr::new(address, port))
        })
    };
    let is_elsewhere = |address: &SocketAddr| {
        let ip = address.ip();
        let is_link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        !(is_link_local || ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || machine.is_own(ip))
    };
    let addresses: BTreeSet<_> = found.iter().flat_map(at).filter(is_elsewhere).collect();
    thread::scope(|scope| {
        let tries = addresses.into_iter().take(MAX_CONNECTIONS).map(|address| {
            let trial = scope.spawn(move || outcome(TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)));
            (address, trial)
        });
        // All start before the first is waited for.
        let tries: Vec<_> = tries.collect();
        tries.into_iter().filter_map(|(address, trial)| Some((address, trial.join().ok()?))).collect()
    })
}

fn outcome(result: std::io::Result<TcpStream>) -> Connection {
    match result {
        Ok(_) => Connection::Accepted,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Connection::Refused,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Connection::Silent,
            _ => Connection::Unreachable(error.to_string()),
        },
    }
}

/// Returns whether its port is one of TCP.
fn takes_connections(entry: &Discovered) -> bool {
    match entry.key.protocol {
        DiscoveryProtocol::Mdns => entry.service.as_bytes().windows(5).any(|part| part == b"._tcp"),
        DiscoveryProtocol::Ssdp | DiscoveryProtocol::WsDiscovery => !entry.url.is_empty(),
        _ => false,
    }
}
