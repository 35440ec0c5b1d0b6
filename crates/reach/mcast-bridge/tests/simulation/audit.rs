//! The invariant: the engine holds each number once, in order, and a gap record for the rest.

use std::collections::BTreeSet;

use mcast_bridge::{Content, GapCause, Position, StreamRecord};
use mcast_stream::wire::MessageNumber;

use crate::publisher::payload;
use crate::world::World;

/// What an engine holds.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) messages: BTreeSet<Position>,
    /// Messages in gap records.
    pub(crate) missing: BTreeSet<Position>,
    pub(crate) gaps: Vec<(StreamRecord, GapCause)>,
}

/// Checks the invariant.
pub(crate) fn audit(world: &World) -> Holding {
    let mut holding = Holding::default();
    let mut previous: Option<&StreamRecord> = None;
    for record in &world.engine.records {
        let Position { incarnation, number } = record.position;
        let expected = match previous {
            Some(before) if before.position.incarnation == incarnation => {
                assert!(before.content != Content::End, "{record:?} follows the end");
                before.position.number + 1
            }
            Some(before) => {
                assert!(before.position.incarnation < incarnation, "{record:?} follows {before:?}");
                assert!(
                    before.closes(),
                    "{record:?} follows {before:?}, which does not close its incarnation"
                );
                MessageNumber(0)
            }
            None => MessageNumber(0),
        };
        assert_eq!(record.first(), expected, "{record:?} follows {previous:?}");
        match &record.content {
            Content::Message { bytes, .. } => {
                assert_eq!(**bytes, payload(incarnation, number)[..], "the payload of {number}");
                holding.messages.insert(record.position);
            }
            Content::Gap { first, cause } => {
                holding.gaps.push((record.clone(), *cause));
                let numbers = MessageNumber::each(*first..number + 1);
                holding.missing.extend(numbers.map(|number| Position { incarnation, number }));
            }
            Content::OpenGap { cause } => holding.gaps.push((record.clone(), *cause)),
            Content::Datagram { .. } => panic!("{record:?} is of no stream"),
            Content::End => {
                let life = world.lives.iter().find(|life| life.incarnation == incarnation).unwrap();
                assert!(life.ended && life.messages == number.0, "{record:?}");
            }
        }
        previous = Some(record);
    }
    holding
}

/// Checks that everything that a bridge now has is accounted for, and that what was acknowledged is stored.
pub(crate) fn audit_acknowledged(world: &World) {
    let stored: BTreeSet<Position> = world.engine.records.iter().map(|record| record.position).collect();
    for bridge in &world.bridges {
        for position in &bridge.acknowledged {
            assert!(stored.contains(position), "{position} was acknowledged");
        }
    }
}
