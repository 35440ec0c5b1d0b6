//! Group members, as reported by IGMP and MLD, and a bounded log of the latest messages of IGMP, MLD and PIM.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast_group::{Group, InterfaceIndex, SourceFilter};
use mcast_packet::gmp::querier::QuerierSettings;
use mcast_packet::gmp::{Address, GmpMessage, Record, RecordKind};

use crate::clock::Time;
use crate::discovery::DiscoveryPlace;
use crate::lru::Lru;
use crate::origin::PacketOrigin;
use crate::queriers::ObservedQuery;

/// A host that has reported membership of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The group.
    pub group: Group,
    /// The interface on which the report arrived.
    pub interface: InterfaceIndex,
    /// The VLAN that the report was tagged with.
    pub vlan: Option<u16>,
    /// The host; 0.0.0.0 or `::` for a switch that reports on behalf of others (proxy reporting).
    pub host: IpAddr,
    /// The version of IGMP or MLD of its latest report.
    pub version: u8,
    /// The sources that it accepts, according to its reports so far.
    pub filter: SourceFilter,
    /// Whether it listed more sources than are retained.
    pub more_sources: bool,
    /// Whether the report was sent by this machine.
    pub is_this_machine: bool,
    /// Time since its latest report.
    pub quiet: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct MemberKey {
    group: Group,
    interface: InterfaceIndex,
    vlan: Option<u16>,
    host: IpAddr,
}

#[derive(Debug)]
struct MemberState {
    last: Time,
    version: u8,
    interest: Interest,
    is_this_machine: bool,
}

/// The sources that a host has requested for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interest {
    filter: SourceFilter,
    truncated: bool,
}

/// All known members.
#[derive(Debug)]
pub(crate) struct Members {
    members: Lru<MemberKey, MemberState>,
    lifetimes: Lifetimes,
    evicted: u64,
}

/// How long routers keep memberships that are not reported again, by network, and whether it is one of IPv4.
#[derive(Debug)]
pub(crate) struct Lifetimes(Lru<(InterfaceIndex, Option<u16>, bool), Lifetime>);

/// The group membership interval (RFC 3376 section 8.4) of the latest querier, and that before it.
#[derive(Debug)]
struct Lifetime {
    current: Duration,
    since: Time,
    before: Duration,
}

impl Lifetimes {
    pub(crate) fn new() -> Self {
        Self(Lru::new(256))
    }

    pub(crate) fn observe<A: Address>(&mut self, origin: PacketOrigin, message: &GmpMessage<'_, A>) {
        let GmpMessage::Query(query) = message else { return };
        if query.group.is_none() {
            let network = (origin.interface, origin.vlan, origin.source.is_ipv4());
            let current = ObservedQuery::new(origin.source, query).membership_interval();
            let default = QuerierSettings::default().group_membership_interval();
            let make = || Lifetime { current: default, since: origin.time, before: default };
            let (stated, _) = self.0.touch(network, make);
            if stated.current != current {
                *stated = Lifetime { current, since: origin.time, before: stated.current };
            }
        }
    }

    /// Returns when a membership lapses of which this was the latest report. Members have the time of a querier with other timers to
    /// report to it.
    pub(crate) fn lapse(&self, place: DiscoveryPlace, group: IpAddr, last: Time) -> Time {
        let Some(stated) = self.0.get(&(place.interface, place.vlan, group.is_ipv4())) else {
            return last.after(QuerierSettings::default().group_membership_interval());
        };
        match last < stated.since {
            true => last.after(stated.before).min(stated.since.after(stated.current)),
            false => last.after(stated.current),
        }
    }
}

impl Members {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { members: Lru::new(capacity), lifetimes: Lifetimes::new(), evicted: 0 }
    }

    pub(crate) fn observe<A: Address>(&mut self, origin: PacketOrigin, message: &GmpMessage<'_, A>) {
        self.lifetimes.observe(origin, message);
        Interest::changes(message, |group, change| self.record(origin, message.version(), group, change));
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn remove_expired(&mut self, now: Time) {
        let lifetimes = &self.lifetimes;
        self.members.retain(|key, state| {
            let place = DiscoveryPlace { interface: key.interface, vlan: key.vlan };
            now < lifetimes.lapse(place, key.group.addr(), state.last)
        });
    }

    pub(crate) fn clear(&mut self) {
        self.members.clear();
        self.lifetimes.0.clear();
        self.evicted = 0;
    }

    pub(crate) fn report(&self, now: Time) -> Vec<GroupMember> {
        let mut keys: Vec<_> = self.members.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| **key);
        let member = |(key, state): (&MemberKey, &MemberState)| GroupMember {
            group: key.group,
            interface: key.interface,
            vlan: key.vlan,
            host: key.host,
            version: state.version,
            filter: state.interest.filter.clone(),
            more_sources: state.interest.truncated,
            is_this_machine: state.is_this_machine,
            quiet: now.since(state.last),
        };
        keys.into_iter().map(member).collect()
    }

    fn record<A: Address>(
        &mut self,
        origin: PacketOrigin,
        version: u8,
        group: A,
        change: &dyn Fn(Option<&Interest>) -> Interest,
    ) {
        let PacketOrigin { time, interface, vlan, source: host, outgoing } = origin;
        let Ok(group) = Group::new(group.into()) else { return };
        let key = MemberKey { group, interface, vlan, host };
        let interest = change(self.members.get(&key).map(|state| &state.interest));
        // An include list without sources is how version 3 leaves (RFC 3376, section 5.1).
        if interest.is_none() {
            self.members.remove(&key);
            return;
        }
        let make =
            || MemberState { last: time, version, interest: Interest::none(), is_this_machine: outgoing };
        let (state, evicted) = self.members.touch(key, make);
        (state.last, state.version, state.interest) = (time, version, interest);
        self.evicted += u64::from(evicted);
    }
}

impl Interest {
    /// Number of sources retained per member.
    const SOURCES: usize = 16;

    const fn none() -> Self {
        Self { filter: SourceFilter::NONE, truncated: false }
    }

    /// Returns it with as many of its sources.
    pub(crate) fn limited(mut self, limit: usize) -> Self {
        let (SourceFilter::Include(sources) | SourceFilter::Exclude(sources)) = &mut self.filter;
        while sources.len() > limit {
            sources.pop_last();
        }
        self
    }

    /// Returns whether the host is not a member.
    pub(crate) fn is_none(&self) -> bool {
        self.filter.is_none()
    }

    /// Passes each group of a message, and how its sender's interest in it changes.
    pub(crate) fn changes<A: Address>(
        message: &GmpMessage<'_, A>,
        mut changed: impl FnMut(A, &dyn Fn(Option<&Self>) -> Self),
    ) {
        match message {
            GmpMessage::V1Report { group } | GmpMessage::Report { group } => {
                changed(*group, &|_| Self { filter: SourceFilter::ANY, truncated: false });
            }
            GmpMessage::Leave { group } => changed(*group, &|_| Self::none()),
            GmpMessage::V3Report(records) => {
                records
                    .iter()
                    .for_each(|record| changed(record.group, &|before| Self::after(before, &record)));
            }
            GmpMessage::Query(_) | GmpMessage::RouterDiscovery(_) => {}
        }
    }

    /// Returns the interest after `record`, applying the rules of a router (RFC 3376 section 6.4) to a single
    /// host.
    fn after<A: Address>(before: Option<&Self>, record: &Record<'_, A>) -> Self {
        let named = || record.sources.iter().map(Into::into);
        let truncated = record.sources.len() > Self::SOURCES;
        let listed = || named().take(Self::SOURCES).collect::<BTreeSet<IpAddr>>();
        let old = before.cloned().unwrap_or(Self::none());
        match record.kind {
            RecordKind::ModeIsInclude | RecordKind::ChangeToInclude => {
                Self { filter: SourceFilter::Include(listed()), truncated }
            }
            RecordKind::ModeIsExclude | RecordKind::ChangeToExclude => {
                Self { filter: SourceFilter::Exclude(listed()), truncated }
            }
            // These two change what was reported before. Without a report before them, the host wanted nothing.
            RecordKind::AllowNewSources => match old.filter {
                SourceFilter::Include(sources) => Self::bounded(sources, named(), old.truncated),
                SourceFilter::Exclude(sources) => {
                    let sources = &sources - &named().collect();
                    Self { filter: SourceFilter::Exclude(sources), truncated: old.truncated }
                }
            },
            RecordKind::BlockOldSources => match old.filter {
                SourceFilter::Include(sources) => {
                    let sources = &sources - &named().collect();
                    Self { filter: SourceFilter::Include(sources), truncated: old.truncated }
                }
                SourceFilter::Exclude(sources) => {
                    let Self { filter, truncated } = Self::bounded(sources, named(), old.truncated);
                    let (SourceFilter::Include(sources) | SourceFilter::Exclude(sources)) = filter;
                    Self { filter: SourceFilter::Exclude(sources), truncated }
                }
            },
            // A host may send types that this version does not know; they are ignored (RFC 3376, section 4.2.12).
            RecordKind::Unknown(_) => old,
        }
    }

    fn bounded(mut sources: BTreeSet<IpAddr>, more: impl Iterator<Item = IpAddr>, truncated: bool) -> Self {
        sources.extend(more);
        let too_many = sources.len() > Self::SOURCES;
        let kept = sources.into_iter().take(Self::SOURCES).collect();
        Self { filter: SourceFilter::Include(kept), truncated: truncated || too_many }
    }
}

/// One logged message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When it arrived.
    pub time: Time,
    /// The interface on which it arrived.
    pub interface: InterfaceIndex,
    /// The address it was sent from.
    pub source: IpAddr,
    /// Its contents as text, truncated if long.
    pub text: String,
}

/// The latest messages, newest first.
#[derive(Debug, Default)]
pub(crate) struct Log(VecDeque<LogEntry>);

impl Log {
    /// Number of entries retained.
    const LENGTH: usize = 200;

    /// Maximum length of an entry's text, in bytes.
    const TEXT: usize = 240;

    pub(crate) fn push(
        &mut self,
        time: Time,
        interface: InterfaceIndex,
        source: IpAddr,
        message: impl fmt::Display,
    ) {
        let mut text = Bounded(String::new());
        if write!(text, "{message}").is_err() {
            text.0.push('…');
        }
        self.0.truncate(Self::LENGTH - 1);
        self.0.push_front(LogEntry { time, interface, source, text: text.0 });
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.0.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A string that refuses further text once it is full.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = Log::TEXT.saturating_sub(self.0.len());
        let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.0.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use mcast_packet::gmp::{IgmpMessage, Query, SourceQuery};

    use super::*;

    const GROUP: Ipv4Addr = Ipv4Addr::new(232, 1, 2, 3);
    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn origin(seconds: u64) -> PacketOrigin {
        PacketOrigin {
            time: Time::from_secs(seconds),
            interface: InterfaceIndex::new(2).unwrap(),
            vlan: None,
            source: "10.0.0.9".parse().unwrap(),
            outgoing: false,
        }
    }

    /// Returns the member's filter after these records, each in a report of its own.
    fn filter_after(records: &[(RecordKind, &[Ipv4Addr])]) -> Option<SourceFilter> {
        let mut members = Members::new(16);
        for (kind, sources) in records {
            let records = [Record { kind: *kind, group: GROUP, sources: (*sources).into() }];
            members.observe(origin(1), &IgmpMessage::V3Report((&records).into()));
        }
        let mut report = members.report(Time::from_secs(1));
        assert!(report.len() <= 1);
        report.pop().map(|member| member.filter)
    }

    fn include(sources: &[Ipv4Addr]) -> Option<SourceFilter> {
        Some(SourceFilter::Include(sources.iter().map(|source| (*source).into()).collect()))
    }

    fn exclude(sources: &[Ipv4Addr]) -> Option<SourceFilter> {
        Some(SourceFilter::Exclude(sources.iter().map(|source| (*source).into()).collect()))
    }

    #[test]
    fn records_change_the_filter_of_a_member() {
        use RecordKind::{AllowNewSources, BlockOldSources, ChangeToExclude, ChangeToInclude, ModeIsInclude};
        assert_eq!(filter_after(&[(ChangeToExclude, &[])]), exclude(&[]));
        assert_eq!(filter_after(&[(ChangeToExclude, &[A, B]), (AllowNewSources, &[A])]), exclude(&[B]));
        assert_eq!(filter_after(&[(ChangeToExclude, &[]), (BlockOldSources, &[A])]), exclude(&[A]));
        assert_eq!(filter_after(&[(AllowNewSources, &[A]), (AllowNewSources, &[B])]), include(&[A, B]));
        assert_eq!(filter_after(&[(ModeIsInclude, &[A, B]), (BlockOldSources, &[B])]), include(&[A]));
        assert_eq!(filter_after(&[(AllowNewSources, &[A]), (BlockOldSources, &[A])]), None);
        assert_eq!(filter_after(&[(ChangeToExclude, &[]), (ChangeToInclude, &[])]), None);
        assert_eq!(filter_after(&[(RecordKind::Unknown(9), &[A])]), None);
    }

    #[test]
    fn excess_sources_are_reported_as_truncated() {
        let sources: Vec<_> = (0..100).map(|last| Ipv4Addr::new(10, 1, 0, last)).collect();
        let mut members = Members::new(16);
        for kind in [RecordKind::AllowNewSources, RecordKind::ModeIsInclude, RecordKind::ChangeToExclude] {
            let records = [Record { kind, group: GROUP, sources: sources.as_slice().into() }];
            members.observe(origin(1), &IgmpMessage::V3Report((&records).into()));
            let report = members.report(Time::from_secs(1));
            assert_eq!((report[0].filter.sources().len(), report[0].more_sources), (16, true));
        }
    }

    #[test]
    fn members_end_by_leave_or_expiry() {
        let mut members = Members::new(16);
        members.observe(origin(1), &IgmpMessage::Report { group: GROUP });
        members.remove_expired(Time::from_secs(260));
        assert_eq!(members.report(Time::from_secs(260)).len(), 1);
        members.remove_expired(Time::from_secs(261));
        assert_eq!(members.report(Time::from_secs(261)), []);
        members.observe(origin(300), &IgmpMessage::Report { group: GROUP });
        members.observe(origin(301), &IgmpMessage::Leave { group: GROUP });
        assert_eq!(members.report(Time::from_secs(301)), []);
    }

    /// As the routers of RFC 3376 do, which take over the timers of the querier.
    #[test]
    fn members_expire_when_the_routers_of_their_querier_drop_them() {
        let mut members = Members::new(16);
        let query = |seconds| {
            let timers = SourceQuery {
                suppress: false,
                robustness: 2,
                interval: Duration::from_secs(seconds),
                sources: (&[][..]).into(),
            };
            let max_response_time = Duration::from_secs(1);
            IgmpMessage::Query(Query { group: None, max_response_time, source_query: Some(timers) })
        };
        members.observe(origin(1), &IgmpMessage::Report { group: GROUP });
        members.observe(origin(1), &query(10));
        members.remove_expired(Time::from_secs(21));
        assert_eq!(members.report(Time::from_secs(21)).len(), 1);
        members.remove_expired(Time::from_secs(22));
        assert_eq!(members.report(Time::from_secs(22)), []);
    }

    #[test]
    fn flood_of_reports_is_bounded_and_evictions_are_counted() {
        let mut members = Members::new(16);
        for number in 0..1_000_u32 {
            let group = Ipv4Addr::from_bits(GROUP.to_bits() + number);
            members.observe(origin(1), &IgmpMessage::Report { group });
        }
        assert_eq!((members.report(Time::from_secs(1)).len(), members.evicted()), (16, 984));
    }

    #[test]
    fn log_is_newest_first_and_bounded() {
        let mut log = Log::default();
        let (interface, source) = (InterfaceIndex::new(1).unwrap(), "10.0.0.1".parse().unwrap());
        for number in 0..1_000 {
            log.push(Time::from_secs(number), interface, source, format_args!("{}", "ä".repeat(1_000)));
        }
        assert_eq!(log.entries().count(), Log::LENGTH);
        let newest = log.entries().next().unwrap();
        assert_eq!(newest.time, Time::from_secs(999));
        assert_eq!(newest.text, "ä".repeat(120) + "…");
    }
}
