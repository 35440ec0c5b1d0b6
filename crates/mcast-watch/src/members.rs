//! Who has joined what, as the reports of IGMP and MLD tell.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mcast_group::{Group, InterfaceIndex, SourceFilter};
use mcast_packet::gmp::{Address, Message, Record, RecordKind};

use crate::lru::Lru;
use crate::time::Time;

/// A host that has reported to be a member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The group.
    pub group: Group,
    /// The interface on which it was heard.
    pub interface: InterfaceIndex,
    /// The VLAN that the report was tagged with.
    pub vlan: Option<u16>,
    /// The host; 0.0.0.0 or `::` for a switch that reports in others' stead.
    pub host: IpAddr,
    /// The version of IGMP or MLD that it spoke.
    pub version: u8,
    /// The sources that it admits, as far as its reports have told.
    pub filter: SourceFilter,
    /// Whether it named more sources than are remembered.
    pub more_sources: bool,
    /// Whether it is this machine.
    pub is_this_machine: bool,
    /// How long ago it last said so.
    pub quiet: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    group: Group,
    interface: InterfaceIndex,
    vlan: Option<u16>,
    host: IpAddr,
}

#[derive(Debug)]
struct State {
    last: Time,
    version: u8,
    interest: Interest,
    is_this_machine: bool,
}

/// What a host wants of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interest {
    filter: SourceFilter,
    more: bool,
}

/// Where a message was heard, and from whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) time: Time,
    pub(crate) interface: InterfaceIndex,
    pub(crate) vlan: Option<u16>,
    pub(crate) source: IpAddr,
    pub(crate) outgoing: bool,
}

/// All members.
#[derive(Debug)]
pub(crate) struct Members {
    members: Lru<Key, State>,
    left_out: u64,
}

impl Members {
    /// How long a host that is not heard again is taken for a member: the group membership interval of
    /// RFC 3376 section 8.4 with its defaults.
    const LIFETIME: Duration = Duration::from_secs(260);

    pub(crate) fn new(capacity: usize) -> Self {
        Self { members: Lru::new(capacity), left_out: 0 }
    }

    pub(crate) fn observe<A: Address>(&mut self, heard: Heard, message: &Message<'_, A>) {
        let version = message.version();
        match message {
            Message::FirstReport { group } | Message::Report { group } => {
                self.hear(heard, version, *group, Interest::from_plain_report);
            }
            Message::Leave { group } => self.hear(heard, version, *group, |_| Interest::none()),
            Message::SourceReport(records) => {
                for record in records.iter() {
                    self.hear(heard, version, record.group, |before| Interest::after(before, &record));
                }
            }
            Message::Query(_) | Message::RouterDiscovery(_) => {}
        }
    }

    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(crate) fn forget_the_silent(&mut self, now: Time) {
        self.members.retain(|_, state| now.since(state.last) < Self::LIFETIME);
    }

    pub(crate) fn clear(&mut self) {
        self.members.clear();
        self.left_out = 0;
    }

    pub(crate) fn report(&self, now: Time) -> Vec<Member> {
        let mut keys: Vec<_> = self.members.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| **key);
        let member = |(key, state): (&Key, &State)| Member {
            group: key.group,
            interface: key.interface,
            vlan: key.vlan,
            host: key.host,
            version: state.version,
            filter: state.interest.filter.clone(),
            more_sources: state.interest.more,
            is_this_machine: state.is_this_machine,
            quiet: now.since(state.last),
        };
        keys.into_iter().map(member).collect()
    }

    fn hear<A: Address>(
        &mut self,
        heard: Heard,
        version: u8,
        group: A,
        change: impl FnOnce(Option<&Interest>) -> Interest,
    ) {
        let Heard { time, interface, vlan, source: host, outgoing } = heard;
        let Ok(group) = Group::new(group.into()) else { return };
        let key = Key { group, interface, vlan, host };
        let interest = change(self.members.get(&key).map(|state| &state.interest));
        if interest.filter.is_none() {
            self.members.remove(&key);
            return;
        }
        let make = || State { last: time, version, interest: Interest::none(), is_this_machine: outgoing };
        let (state, evicted) = self.members.touch(key, make);
        (state.last, state.version, state.interest) = (time, version, interest);
        self.left_out += u64::from(evicted);
    }
}

impl Interest {
    /// How many sources are remembered.
    const SOURCES: usize = 16;

    const fn none() -> Self {
        Self { filter: SourceFilter::NONE, more: false }
    }

    fn from_plain_report(_: Option<&Self>) -> Self {
        Self { filter: SourceFilter::ANY, more: false }
    }

    /// What a host wants behind a record, as a router takes it (RFC 3376 section 6.4), but for one host.
    fn after<A: Address>(before: Option<&Self>, record: &Record<'_, A>) -> Self {
        let named = || record.sources.iter().map(Into::into);
        let cut = record.sources.len() > Self::SOURCES;
        let listed = || named().take(Self::SOURCES).collect::<BTreeSet<IpAddr>>();
        let old = before.cloned().unwrap_or(Self::none());
        match record.kind {
            RecordKind::ModeIsInclude | RecordKind::ChangeToInclude => {
                Self { filter: SourceFilter::Include(listed()), more: cut }
            }
            RecordKind::ModeIsExclude | RecordKind::ChangeToExclude => {
                Self { filter: SourceFilter::Exclude(listed()), more: cut }
            }
            RecordKind::AllowNewSources => match old.filter {
                SourceFilter::Include(sources) => Self::bounded(sources, named(), old.more),
                SourceFilter::Exclude(sources) => {
                    let sources = &sources - &named().collect();
                    Self { filter: SourceFilter::Exclude(sources), more: old.more }
                }
            },
            RecordKind::BlockOldSources => match old.filter {
                SourceFilter::Include(sources) => {
                    let sources = &sources - &named().collect();
                    Self { filter: SourceFilter::Include(sources), more: old.more }
                }
                SourceFilter::Exclude(sources) => {
                    let Self { filter, more } = Self::bounded(sources, named(), old.more);
                    let (SourceFilter::Include(sources) | SourceFilter::Exclude(sources)) = filter;
                    Self { filter: SourceFilter::Exclude(sources), more }
                }
            },
            RecordKind::Unknown(_) => old,
        }
    }

    fn bounded(mut sources: BTreeSet<IpAddr>, more: impl Iterator<Item = IpAddr>, cut: bool) -> Self {
        sources.extend(more);
        let too_many = sources.len() > Self::SOURCES;
        let kept = sources.into_iter().take(Self::SOURCES).collect();
        Self { filter: SourceFilter::Include(kept), more: cut || too_many }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use mcast_packet::igmp;

    const GROUP: Ipv4Addr = Ipv4Addr::new(232, 1, 2, 3);
    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn heard(seconds: u64) -> Heard {
        Heard {
            time: Time::from_secs(seconds),
            interface: InterfaceIndex::new(2).unwrap(),
            vlan: None,
            source: "10.0.0.9".parse().unwrap(),
            outgoing: false,
        }
    }

    /// What is known after these records, one report each.
    fn filter_after(records: &[(RecordKind, &[Ipv4Addr])]) -> Option<SourceFilter> {
        let mut members = Members::new(16);
        for (kind, sources) in records {
            let records = [Record { kind: *kind, group: GROUP, sources: (*sources).into() }];
            members.observe(heard(1), &igmp::Message::SourceReport((&records).into()));
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
    fn records_change_what_a_host_wants() {
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
    fn sources_beyond_what_is_remembered_are_told_to_be_there() {
        let sources: Vec<_> = (0..100).map(|last| Ipv4Addr::new(10, 1, 0, last)).collect();
        let mut members = Members::new(16);
        for kind in [RecordKind::AllowNewSources, RecordKind::ModeIsInclude, RecordKind::ChangeToExclude] {
            let records = [Record { kind, group: GROUP, sources: sources.as_slice().into() }];
            members.observe(heard(1), &igmp::Message::SourceReport((&records).into()));
            let report = members.report(Time::from_secs(1));
            assert_eq!((report[0].filter.sources().len(), report[0].more_sources), (16, true));
        }
    }

    #[test]
    fn who_leaves_or_is_not_heard_any_more_is_no_member() {
        let mut members = Members::new(16);
        members.observe(heard(1), &igmp::Message::Report { group: GROUP });
        members.forget_the_silent(Time::from_secs(260));
        assert_eq!(members.report(Time::from_secs(260)).len(), 1);
        members.forget_the_silent(Time::from_secs(261));
        assert_eq!(members.report(Time::from_secs(261)), []);
        members.observe(heard(300), &igmp::Message::Report { group: GROUP });
        members.observe(heard(301), &igmp::Message::Leave { group: GROUP });
        assert_eq!(members.report(Time::from_secs(301)), []);
    }

    #[test]
    fn a_flood_of_reports_is_bounded_and_counted() {
        let mut members = Members::new(16);
        for number in 0..1_000_u32 {
            let group = Ipv4Addr::from_bits(GROUP.to_bits() + number);
            members.observe(heard(1), &igmp::Message::Report { group });
        }
        assert_eq!((members.report(Time::from_secs(1)).len(), members.left_out()), (16, 984));
    }
}
