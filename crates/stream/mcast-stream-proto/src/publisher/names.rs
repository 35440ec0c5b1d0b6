//! The names that subscribers claim: two that claim the same one at the same time count as one to acknowledgements.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;

use super::members::Members;
use crate::wire::{SubscriberId, SubscriberName};

/// Names of subscribers that have departed, remembered beside those of the present ones.
const SPARE: usize = 64;

/// Who claims a name.
#[derive(Clone, Copy, Debug)]
struct Claim {
    holder: SubscriberId,
    /// Another present subscriber that has claimed it since.
    other: Option<SubscriberId>,
    is_reported: bool,
}

/// The names in use.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<SubscriberName, Claim>);

impl Names {
    /// Notes a status of a present subscriber with a name. Returns two subscribers that use the name at the same time from
    /// different addresses: once, until one of them has departed. A subscriber that was restarted with its name is not heard
    /// any more as the one that it was.
    pub(super) fn note(
        &mut self,
        name: SubscriberName,
        id: SubscriberId,
        members: &Members,
    ) -> Option<(SubscriberId, SubscriberId)> {
        let is_present = |id: SubscriberId| members.get(id).is_some();
        if self.0.len() > members.len() + SPARE {
            self.0.retain(|_, claim| is_present(claim.holder));
        }
        let alone = Claim { holder: id, other: None, is_reported: false };
        let claim = match self.0.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(alone);
                return None;
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        if claim.holder != id {
            if !is_present(claim.holder) {
                *claim = alone;
            } else if claim.other.is_none_or(|other| !is_present(other)) {
                (claim.other, claim.is_reported) = (Some(id), false);
            }
            return None;
        }
        let address = |id: SubscriberId| members.get(id).map(|member| member.address);
        let other = claim.other.filter(|other| is_present(*other) && address(*other) != address(id))?;
        (!core::mem::replace(&mut claim.is_reported, true)).then_some((id, other))
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::ClockTime;
    use crate::publisher::members::Departure;
    use crate::publisher::repair_flow::RepairFlow;
    use crate::wire::Sequence;

    fn join(members: &mut Members, id: u64) -> SubscriberId {
        let address = SocketAddr::from(([10, 0, 0, id as u8], 7000));
        let repairs = RepairFlow::new(1_000, 1_000, 0, ClockTime(1));
        members.join(SubscriberId(id), address, ClockTime(1), repairs, Sequence(1));
        SubscriberId(id)
    }

    fn name(text: &str) -> SubscriberName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_that_two_subscribers_use_is_reported_once() {
        let (mut names, mut members) = (Names::default(), Members::new());
        let (one, two) = (join(&mut members, 1), join(&mut members, 2));
        assert_eq!(names.note(name("db"), one, &members), None);
        assert_eq!(names.note(name("db"), two, &members), None, "the first may have been restarted");
        assert_eq!(names.note(name("db"), one, &members), Some((one, two)));
        for id in [one, two, one] {
            assert_eq!(names.note(name("db"), id, &members), None);
        }
        // The first is not reported again because of a third one.
        let three = join(&mut members, 3);
        for id in [three, one, two, three, one] {
            assert_eq!(names.note(name("db"), id, &members), None);
        }
    }

    #[test]
    fn a_subscriber_that_is_restarted_with_its_name_is_not_reported() {
        let (mut names, mut members) = (Names::default(), Members::new());
        let one = join(&mut members, 1);
        assert_eq!(names.note(name("db"), one, &members), None);
        let two = join(&mut members, 2);
        assert_eq!(names.note(name("db"), two, &members), None);
        members.depart(one, Departure::Silent);
        for _ in 0..2 {
            assert_eq!(names.note(name("db"), two, &members), None);
        }
        assert_eq!(names.note(name("audit"), two, &members), None, "it has another name now");
    }

    #[test]
    fn names_are_remembered_within_bounds() {
        let (mut names, mut members) = (Names::default(), Members::new());
        for number in 0..1_000 {
            let id = join(&mut members, number);
            assert_eq!(names.note(name(&alloc::format!("n{number}")), id, &members), None);
            members.depart(id, Departure::Left);
        }
        assert!(names.0.len() <= SPARE + 2, "{} names", names.0.len());
    }
}
