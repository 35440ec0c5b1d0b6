//! Random messages for the property tests.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mcast_packet::gmp::{Address, GmpMessage, Query, Record, RecordKind, SourceQuery};
use proptest::collection::vec;
use proptest::prelude::*;

/// A message that owns its lists, as proptest requires.
#[derive(Clone, Debug)]
pub(crate) enum OwnedMessage<A> {
    Query { group: Option<A>, time: u64, extension: Option<Extension<A>> },
    V1Report(A),
    Report(A),
    Leave(A),
    V3Report(Vec<OwnedRecord<A>>),
}

#[derive(Clone, Debug)]
pub(crate) struct Extension<A> {
    suppress: bool,
    robustness: u8,
    interval: u64,
    sources: Vec<A>,
}

#[derive(Clone, Debug)]
pub(crate) struct OwnedRecord<A> {
    kind: u8,
    group: A,
    sources: Vec<A>,
}

impl<A: Address> OwnedMessage<A> {
    /// Passes the message to `use_message`. `step` is the resolution of the response time.
    pub(crate) fn with<R>(&self, step: Duration, use_message: impl FnOnce(GmpMessage<'_, A>) -> R) -> R {
        match self {
            Self::Query { group, time, extension } => {
                let source_query = extension.as_ref().map(|extension| SourceQuery {
                    suppress: extension.suppress,
                    robustness: extension.robustness,
                    interval: Duration::from_secs(extension.interval),
                    sources: extension.sources.as_slice().into(),
                });
                let max_response_time = step * u32::try_from(*time).unwrap();
                use_message(GmpMessage::Query(Query { group: *group, max_response_time, source_query }))
            }
            Self::V1Report(group) => use_message(GmpMessage::V1Report { group: *group }),
            Self::Report(group) => use_message(GmpMessage::Report { group: *group }),
            Self::Leave(group) => use_message(GmpMessage::Leave { group: *group }),
            Self::V3Report(records) => {
                let records: Vec<_> = records
                    .iter()
                    .map(|record| Record {
                        kind: RecordKind::from(record.kind),
                        group: record.group,
                        sources: record.sources.as_slice().into(),
                    })
                    .collect();
                use_message(GmpMessage::V3Report(records.as_slice().into()))
            }
        }
    }
}

/// Any address except the unspecified one, which would make a query a general query.
pub(crate) fn v4() -> BoxedStrategy<Ipv4Addr> {
    (1..=u32::MAX).prop_map(Ipv4Addr::from).boxed()
}

pub(crate) fn v6() -> BoxedStrategy<Ipv6Addr> {
    (1..=u128::MAX).prop_map(Ipv6Addr::from).boxed()
}

/// Any message whose times are below 128 units and thus encoded without rounding.
pub(crate) fn message<A: Address>(address: BoxedStrategy<A>) -> BoxedStrategy<OwnedMessage<A>> {
    let list = vec(address.clone(), 0..20);
    let extension = (any::<bool>(), 0..8u8, 0..128u64, list.clone()).prop_map(
        |(suppress, robustness, interval, sources)| Extension { suppress, robustness, interval, sources },
    );
    let record = (any::<u8>(), address.clone(), list).prop_map(|(kind, group, sources)| OwnedRecord {
        kind,
        group,
        sources,
    });
    prop_oneof![
        (proptest::option::of(address.clone()), 0..128u64, proptest::option::of(extension))
            .prop_map(|(group, time, extension)| OwnedMessage::Query { group, time, extension }),
        address.clone().prop_map(OwnedMessage::V1Report),
        address.clone().prop_map(OwnedMessage::Report),
        address.prop_map(OwnedMessage::Leave),
        vec(record, 0..10).prop_map(OwnedMessage::V3Report),
    ]
    .boxed()
}
