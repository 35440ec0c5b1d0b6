//! Receiving datagrams: where a stream is, what arrived, by group, interface and source, what was dropped, and where nothing
//! can arrive.

mod silent_interfaces;
mod stream_event;
mod wire;

pub(crate) use silent_interfaces::SilentInterfaces;
pub(crate) use stream_event::EventRecord;
#[cfg(feature = "schema")]
pub(crate) use stream_event::FIELDS;
pub(crate) use wire::{WireGroup, WireNotes, check_hosts, wire_groups};

use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mcast::group::Scope;
use mcast::{
    Arrival, Drops, HostAddr, InterfaceIndex, InterfaceSelector, Membership, MembershipStatus,
    ReceiverBuilder, Statistics, WireStatus,
};
#[cfg(feature = "seal")]
use mcast_stream::find_signed_stream;
use mcast_stream::seal::Keys;
#[cfg(feature = "seal")]
use mcast_stream::sign::PinnedKeys;
use mcast_stream::{AnnouncedStream, StreamError, SubscriberBuilder, find_stream};
use mcast_terminal::Console;
use mcast_watch::{FlowVolumes, TrafficVolume};

use crate::arguments::{
    Admission, BroadcastOption, hosts_on_each, is_stream_name, look_for, select_memberships,
};
use crate::exit::Failure;
use crate::output::{Cell, InterfaceNames, Palette, Table, bytes, count, count_of, record, traffic_in};

/// Prints what was joined where: all of a few memberships, and of many those that were not joined.
pub(crate) fn print_memberships(statuses: &[MembershipStatus], console: &Console) {
    const MAX_LISTED: usize = 8;

    let mut groups = statuses.iter().map(|status| status.membership.address.group);
    if let Some(group) = groups.find(|group| group.scope() == Scope::InterfaceLocal) {
        console.note(format_args!("{group} never leaves its host: only senders on this host are received"));
    }
    if statuses.len() <= MAX_LISTED || console.is_verbose() {
        return statuses.iter().for_each(|status| console.note(status));
    }
    let joined = statuses.iter().filter(|status| status.is_joined()).count();
    let all = count_of(statuses.len() as u64, "membership");
    console.note(format_args!("joined {} of {all} (-v names them)", count(joined as u64)));
    statuses.iter().filter(|status| !status.is_joined()).for_each(|status| console.warn(status));
}

/// Adds the addresses of this host, or with `--broadcast` the broadcasts, to what is received.
pub(crate) fn listen_at(
    hosts: &[HostAddr],
    broadcast: BroadcastOption,
    builder: ReceiverBuilder,
) -> ReceiverBuilder {
    hosts.iter().cloned().fold(builder, |builder, host| match broadcast.broadcast {
        true => builder.listen(all_hosts(host)),
        false => builder.listen(host),
    })
}

/// Returns the broadcast address with the port and the interface of another one.
fn all_hosts(host: HostAddr) -> HostAddr {
    host.interface.into_iter().fold(HostAddr::broadcast(host.port), HostAddr::on)
}

/// Prints the addresses of this host at which datagrams are received.
pub(crate) fn print_hosts(hosts: &[HostAddr], console: &Console) {
    hosts.iter().for_each(|host| console.note(format_args!("listening at {host}")));
}

/// Prints the size of the receive buffer, as a warning if it is smaller than requested. `of_what` follows the size.
pub(crate) fn print_buffer(granted: usize, requested: Option<usize>, of_what: &str, console: &Console) {
    match requested {
        Some(requested) if granted < requested => console.warn(format_args!(
            "the system granted {} of the {} of receive buffer (Linux: raise net.core.rmem_max)",
            count(granted as u64),
            bytes(requested as u64)
        )),
        _ => console.detail(format_args!("receive buffer: {}{of_what}", bytes(granted as u64))),
    }
}

/// Flows shown in a summary without `-v`.
const SHOWN: usize = 20;

/// Returns the busiest flows as a table. `unit` is what is counted, such as "packet"; `name` returns the group,
/// interface and source of a flow.
pub(crate) fn flow_table<F: Copy + Eq + Hash + Ord>(
    flows: &FlowVolumes<F>,
    unit: &str,
    console: &Console,
    mut name: impl FnMut(&F) -> [String; 3],
) -> String {
    let Palette { heading, group, interface, address, .. } = *console.palette_for_notes();
    let units = format!("{unit}s");
    let mut table = Table::new(&["  group", "interface", "source", &units, "bytes"], heading);
    let busiest = flows.busiest_first();
    let shown = if console.is_verbose() { busiest.len() } else { SHOWN };
    for (flow, volume) in busiest.iter().take(shown) {
        let [group_text, interface_text, source] = name(flow);
        table.row([
            Cell::new(format!("  {group_text}")).style(group),
            Cell::new(interface_text).style(interface),
            Cell::new(source).style(address),
            Cell::new(count(volume.count)).right(),
            Cell::new(count(volume.bytes)).right(),
        ]);
    }
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = table.write(&mut text);
    let mut text = String::from_utf8_lossy(&text).trim_end().to_owned();
    if busiest.len() > shown {
        text += &format!("\n  and {} more (-v shows them)", count((busiest.len() - shown) as u64));
    }
    if flows.others().count > 0 {
        text += &format!("\n  and {} from further sources", count_of(flows.others().count, unit));
    }
    text
}

/// The default timeout, long enough for several announcements, because some may be lost.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a stream is published, as arguments name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamPlace<'a> {
    /// A membership, a host, or the name that its publisher announces.
    pub(crate) place: &'a str,
    /// Redundant paths.
    pub(crate) paths: &'a [String],
    pub(crate) interface: Option<&'a InterfaceSelector>,
    pub(crate) broadcast: BroadcastOption,
    pub(crate) admission: &'a Admission,
    /// How long to look for a name.
    pub(crate) timeout: Option<Duration>,
    /// The public keys of the publisher: another announcement of the name is ignored.
    #[cfg(feature = "seal")]
    pub(crate) signed_by: Option<&'a PinnedKeys>,
}

/// How a stream is received.
#[derive(Debug)]
pub(crate) struct StreamWays {
    memberships: Vec<Membership>,
    /// Addresses of this host.
    pub(crate) hosts: Vec<HostAddr>,
    broadcast: bool,
}

impl StreamWays {
    pub(crate) fn add_to(&self, builder: SubscriberBuilder) -> SubscriberBuilder {
        let builder = self.memberships.iter().cloned().fold(builder, SubscriberBuilder::join);
        self.hosts.iter().cloned().fold(builder, |builder, host| match self.broadcast {
            true => builder.listen(all_hosts(host)),
            false => builder.listen(host),
        })
    }
}

/// Returns how a stream is received, and what its publisher announces if it is named.
pub(crate) fn locate_stream(
    place: StreamPlace<'_>,
    keys: &Keys,
    console: &Console,
) -> anyhow::Result<(Option<AnnouncedStream>, StreamWays)> {
    if is_stream_name(place.place) {
        return find(place, keys, console).map(|(found, ways)| (Some(found), ways));
    }
    let StreamPlace { place, paths, interface, broadcast, admission, .. } = place;
    let texts: Vec<String> =
        std::iter::once(place).chain(paths.iter().map(String::as_str)).map(str::to_owned).collect();
    let (hosts, texts) = broadcast.split(&texts, admission.families)?;
    if !hosts.is_empty() && !admission.sources.is_empty() {
        return Err(Failure::usage("--source selects the senders to a group, not to a host").into());
    }
    let interfaces = interface.map(std::slice::from_ref).unwrap_or_default();
    let chosen = select_memberships(&texts, interfaces, &admission.sources, admission.families, console)?;
    if chosen.items.len() > 4 {
        return Err(Failure::usage(format!("a stream has at most four paths, not {}", chosen.items.len()))
            .remedy("name single groups, each on one interface")
            .into());
    }
    let hosts = hosts_on_each(hosts, interfaces);
    Ok((None, StreamWays { memberships: chosen.items, hosts, broadcast: broadcast.broadcast }))
}

fn find(
    place: StreamPlace<'_>,
    keys: &Keys,
    console: &Console,
) -> anyhow::Result<(AnnouncedStream, StreamWays)> {
    let StreamPlace { place: name, paths, interface, admission, timeout, broadcast, .. } = place;
    if !paths.is_empty() || !admission.sources.is_empty() {
        return Err(Failure::usage("an announcement already names the groups and sources to join")
            .remedy("remove --path and --source, or give the groups instead of the name")
            .into());
    }
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    look_for(name, console)?;
    let family = admission.families.only();
    if let Some(interface) = interface {
        SilentInterfaces::warn_about_selected(interface, family, console);
    }
    let interface = interface.cloned();
    #[cfg(feature = "seal")]
    let found = match place.signed_by {
        None => find_stream(name, family, interface, keys, timeout),
        Some(signed_by) => find_signed_stream(name, family, interface, keys, signed_by, timeout),
    };
    #[cfg(not(feature = "seal"))]
    let found = find_stream(name, family, interface, keys, timeout);
    let found = match found {
        Err(StreamError::NoSuchStream(_)) => return Err(not_announced(name, keys, timeout).into()),
        found => found?,
    };
    let hosts = found.hosts.clone();
    let memberships = found.memberships().unwrap_or_default();
    if memberships.is_empty() && hosts.is_empty() {
        return Err(Failure::no(format!("\"{name}\" is announced by {} without a group", found.source.ip()))
            .remedy("give the group, GROUP:PORT, instead of the name")
            .into());
    }
    console.note(format_args!("\"{name}\" is announced by {}: stream {}", found.source.ip(), found.stream));
    let memberships = memberships.into_iter().map(by_name).collect();
    Ok((found, StreamWays { memberships, hosts, broadcast: broadcast.broadcast }))
}

/// Replaces the index of the interface with its name.
fn by_name(membership: Membership) -> Membership {
    match membership.interface.as_ref().map(mcast::interface::find) {
        Some(Ok(interface)) => membership.on(InterfaceSelector::Name(interface.name)),
        _ => membership,
    }
}

fn not_announced(name: &str, keys: &Keys, timeout: Duration) -> Failure {
    let remedy = match keys.is_empty() {
        true => {
            "check that `mcast publish --announce` runs, and add its --key if the stream is sealed; -i \
             selects the interface"
        }
        false => "check that `mcast publish --announce` runs with the same --key; -i selects the interface",
    };
    let seconds = timeout.as_secs_f64();
    Failure::no(format!("no publisher announced a stream \"{name}\" within {seconds} s")).remedy(remedy)
}

/// The destination, interface and source of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Flow {
    destination: SocketAddr,
    interface: InterfaceIndex,
    source: IpAddr,
}

/// Counts delivered datagrams.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    flows: FlowVolumes<Flow>,
    /// When the first datagram was counted.
    begun: Option<Instant>,
    truncated: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, arrival: &Arrival) {
        self.begun.get_or_insert_with(Instant::now);
        self.truncated += u64::from(arrival.truncated);
        let flow = Flow {
            destination: arrival.destination,
            interface: arrival.interface,
            source: arrival.source.ip(),
        };
        self.flows.add(flow, arrival.length);
    }

    pub(crate) fn datagrams(&self) -> u64 {
        self.flows.total().count
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.flows.total().bytes
    }

    /// Returns the datagrams of flows beyond the maximum.
    pub(crate) fn other_datagrams(&self) -> u64 {
        self.flows.others().count
    }

    /// Prints the summary. Rates exclude the wait for the first datagram, which depends on when the sender began.
    pub(crate) fn print(
        &self,
        statistics: &Statistics,
        time: Duration,
        names: &mut InterfaceNames,
        console: &Console,
    ) {
        if console.is_quiet() {
            return;
        }
        let TrafficVolume { count: datagrams, bytes: volume } = self.flows.total();
        let received = traffic_in(datagrams, "datagram", volume, since_first(self.begun, time), 2);
        console.note(format_args!("received {received}; {}", self.losses(statistics)));
        if !self.flows.is_empty() {
            console.note(self.table(names, console));
        }
    }

    /// Returns the counts of dropped, filtered and truncated datagrams as text.
    fn losses(&self, statistics: &Statistics) -> String {
        let mut text = format!("dropped by this machine: {}", drops_text(statistics.dropped));
        if statistics.refused > 0 {
            text += &format!("; filtered out (not joined here): {}", count(statistics.refused));
        }
        if statistics.damaged > 0 {
            text += &format!("; damaged (wrong checksum or length): {}", count(statistics.damaged));
        }
        if self.truncated > 0 {
            text += &format!("; truncated: {}", count(self.truncated));
        }
        text
    }

    /// Returns the busiest flows, one line each.
    pub(crate) fn table(&self, names: &mut InterfaceNames, console: &Console) -> String {
        flow_table(&self.flows, "datagram", console, |flow| {
            [flow.destination.to_string(), names.of(flow.interface).to_string(), flow.source.to_string()]
        })
    }

    /// Returns all flows for JSON.
    pub(crate) fn flows(&self, names: &mut InterfaceNames) -> Vec<FlowSummary> {
        let flows = self.flows.busiest_first().into_iter();
        flows.map(|(flow, volume)| FlowSummary::new(&flow, volume, names)).collect()
    }

    pub(crate) fn summary(
        &self,
        statistics: &Statistics,
        time: Duration,
        wire: &[WireStatus],
        names: &mut InterfaceNames,
    ) -> ReceiveSummary {
        ReceiveSummary::new(self, statistics, time, wire, names)
    }
}

/// Returns the part of `time`, which ends now, since the first arrival; all of it if nothing arrived.
pub(crate) fn since_first(begun: Option<Instant>, time: Duration) -> Duration {
    begun.map_or(time, |begun| begun.elapsed().min(time))
}

/// Returns the number of dropped datagrams as text.
pub(crate) fn drops_text(dropped: Drops) -> String {
    match (dropped.count(), dropped.certainty()) {
        (None, _) => "unknown".into(),
        (Some(number), "exactly") | (Some(number @ 0), _) => count(number),
        (Some(number), certainty) => format!("{certainty} {}", count(number)),
    }
}

record! {
    fn new(
        tally: &Tally,
        statistics: &Statistics,
        time: Duration,
        wire: &[WireStatus],
        names: &mut InterfaceNames,
    ) {}

    /// One object at the end.
    pub(crate) struct ReceiveSummary {
        /// Datagrams received
        datagrams: u64 = tally.datagrams(),
        /// Payload bytes received
        bytes: u64 = tally.bytes(),
        /// Running time, in seconds
        seconds: f64 = time.as_secs_f64(),
        /// Datagrams that this machine dropped because the receive buffer was full; null if the system does not
        /// count them
        dropped: Option<u64> = statistics.dropped.count(),
        /// Accuracy of `dropped`: coalesced buffers hide some drops, and a socket may also count datagrams of
        /// groups that other sockets joined
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["unknown", "exactly", "at least", "at most", "about"])))]
        dropped_certainty: &'static str = statistics.dropped.certainty(),
        /// Datagrams filtered out: of groups that were not joined here, or from sources that are not accepted; not
        /// counted as loss
        filtered_out: u64 = statistics.refused,
        /// With `--wire`: damaged datagrams of joined groups, which the system discards and counts itself without `--wire`
        damaged: u64 = statistics.damaged,
        /// Truncated datagrams
        truncated: u64 = tally.truncated,
        /// Datagrams by group, interface and source, busiest first
        flows: Vec<FlowSummary> = tally.flows(names),
        /// Datagrams of flows that are not listed
        other_datagrams: u64 = tally.other_datagrams(),
        /// With `--wire`: how each group was received at the end
        #[serde(skip_serializing_if = "Vec::is_empty")]
        wire: Vec<WireGroup> = wire_groups(wire),
    }
}

record! {
    fn new(flow: &Flow, volume: TrafficVolume, names: &mut InterfaceNames) {}

    /// Flow
    pub(crate) struct FlowSummary {
        /// Group; with unicast or broadcast, the destination address
        group: IpAddr = flow.destination.ip(),
        /// UDP destination port
        port: u16 = flow.destination.port(),
        /// Name of the interface
        interface: String = names.of(flow.interface).to_string(),
        /// Source address
        source: IpAddr = flow.source,
        /// Datagrams received
        datagrams: u64 = volume.count,
        /// Payload bytes received
        bytes: u64 = volume.bytes,
    }
}

mcast_json::schemas! { pub(crate),
    RecordSchema::new::<ReceiveSummary>("recv-summary", "Summary (`mcast recv --discard --json`)")
        .event("summary"),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_shown_with_their_certainty() {
        let texts = [Drops::Unknown, Drops::Exactly(44_448), Drops::AtLeast(0), Drops::AtLeast(1_200)]
            .map(drops_text);
        assert_eq!(texts, ["unknown", "44,448", "0", "at least 1,200"]);
    }
}
