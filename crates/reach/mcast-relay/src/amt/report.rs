//! Reports of memberships, as the packets inside of updates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_group::{Family, Group, SourceFilter};
use mcast_packet::ControlPacket;
use mcast_packet::gmp::{Address, GmpMessage, Record, RecordKind};

/// The maximum length of the records of a report, so that the datagram around it is not fragmented.
const MAX_RECORDS: usize = 1_000;
/// The maximum number of sources of a record. Of longer lists of excluded sources, the rest is admitted by the relay and
/// dropped by the gateway.
const MAX_SOURCES: usize = 48;
/// The source of reports of MLD, which has to be link-local (RFC 3810 section 5.2.13).
const MLD_SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// Whether a report is the answer to a query, or reports a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReportKind {
    CurrentState,
    Change,
}

/// Returns the packets that report these memberships, which are of one family.
pub(super) fn report_packets(
    family: Family,
    kind: ReportKind,
    memberships: &[(Group, SourceFilter)],
) -> Vec<Vec<u8>> {
    match family {
        Family::V4 => packets(Ipv4Addr::UNSPECIFIED, kind, memberships, |address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }),
        Family::V6 => packets(MLD_SOURCE, kind, memberships, |address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }),
    }
}

fn packets<A: Address>(
    source: A,
    kind: ReportKind,
    memberships: &[(Group, SourceFilter)],
    of_family: impl Fn(IpAddr) -> Option<A>,
) -> Vec<Vec<u8>> {
    let mut records: Vec<(RecordKind, A, Vec<A>)> = Vec::new();
    for (group, filter) in memberships {
        let Some(group) = of_family(group.addr()) else { continue };
        let sources: Vec<A> = filter.sources().filter_map(&of_family).collect();
        match filter {
            SourceFilter::Exclude(_) => {
                let kept = sources.into_iter().take(MAX_SOURCES).collect();
                records.push((excluding(kind), group, kept));
            }
            SourceFilter::Include(_) if sources.len() <= MAX_SOURCES => {
                records.push((including(kind), group, sources));
            }
            // Several records together request all of the sources, but cannot exclude others.
            SourceFilter::Include(_) => {
                let parts = sources.chunks(MAX_SOURCES).map(<[A]>::to_vec);
                records.extend(parts.map(|part| (RecordKind::ModeIsInclude, group, part)));
            }
        }
    }
    let (mut packets, mut rest) = (Vec::new(), records.as_slice());
    while !rest.is_empty() {
        let mut length = 0;
        let fits = |(_, _, sources): &&(RecordKind, A, Vec<A>)| {
            length += 4 + A::LENGTH * (1 + sources.len());
            length <= MAX_RECORDS
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        packets.extend(packet(source, now));
        rest = later;
    }
    packets
}

fn packet<A: Address>(source: A, records: &[(RecordKind, A, Vec<A>)]) -> Option<Vec<u8>> {
    let records = records.iter().map(|(kind, group, sources)| {
        let (kind, group) = (*kind, *group);
        Record { kind, group, sources: sources.as_slice().into() }
    });
    let records: Vec<Record<'_, A>> = records.collect();
    let message = GmpMessage::V3Report(records.as_slice().into());
    let mut buffer = vec![0; 48 + message.length()];
    let length = ControlPacket { source, message }.emit(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

const fn including(kind: ReportKind) -> RecordKind {
    match kind {
        ReportKind::CurrentState => RecordKind::ModeIsInclude,
        ReportKind::Change => RecordKind::ChangeToInclude,
    }
}

const fn excluding(kind: ReportKind) -> RecordKind {
    match kind {
        ReportKind::CurrentState => RecordKind::ModeIsExclude,
        ReportKind::Change => RecordKind::ChangeToExclude,
    }
}
