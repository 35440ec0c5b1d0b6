//! What hosts, queriers and routers said to each other.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast_packet::gmp::{Address, Message, RecordKind};

/// A message of IGMP, MLD or PIM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlSeen {
    pub(crate) time: SystemTime,
    pub(crate) interface: u32,
    /// Whether this machine sent it.
    pub(crate) outgoing: bool,
    pub(crate) source: IpAddr,
    pub(crate) said: Said,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Who is a member? Of the group, or of any.
    Query { version: u8, group: Option<IpAddr>, interval: Option<Duration> },
    /// These groups are wanted, or not any more.
    Report { version: u8, wanted: Vec<IpAddr>, left: Vec<IpAddr> },
    /// PIM.
    Pim,
}

impl Said {
    pub(crate) fn of<A: Address + Into<IpAddr>>(message: &Message<'_, A>) -> Option<Self> {
        let version = message.version();
        let report = |wanted, left| Some(Self::Report { version, wanted, left });
        match message {
            Message::Query(query) => Some(Self::Query {
                version,
                group: query.group.map(Into::into),
                interval: query.source_query.map(|source| source.interval),
            }),
            Message::FirstReport { group } | Message::Report { group } => {
                report(vec![(*group).into()], Vec::new())
            }
            Message::Leave { group } => report(Vec::new(), vec![(*group).into()]),
            Message::SourceReport(records) => {
                let (mut wanted, mut left) = (Vec::new(), Vec::new());
                for record in records.iter() {
                    let none = record.sources.is_empty();
                    let list = match record.kind {
                        RecordKind::ChangeToInclude | RecordKind::ModeIsInclude if none => &mut left,
                        RecordKind::BlockOldSources => &mut left,
                        _ => &mut wanted,
                    };
                    list.push(record.group.into());
                }
                report(wanted, left)
            }
            Message::RouterDiscovery(_) => None,
        }
    }
}
