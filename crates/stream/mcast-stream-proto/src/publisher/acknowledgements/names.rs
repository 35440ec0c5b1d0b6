//! The names that subscribers claim.

use alloc::collections::BTreeMap;

use crate::publisher::members::Members;
use crate::wire::{SubscriberId, SubscriberName};

/// Names that nobody uses any more, remembered beside those of the present subscribers.
const SPARE: usize = 64;

/// Who uses a name.
#[derive(Clone, Copy, Debug)]
struct Claim {
    holder: SubscriberId,
    /// Another subscriber that has used it since.
    other: Option<SubscriberId>,
}

/// The names in use.
#[derive(Debug, Default)]
pub(in crate::publisher) struct Names(BTreeMap<SubscriberName, Claim>);

impl Names {
    /// Notes a status of a present subscriber that uses a name. Returns two subscribers that use the name at the same time from
    /// different addresses, the first of them once in its life, so that names which change all the time fill no queue of events.
    /// A subscriber that was restarted sends no more statuses as the one that it was, and is not returned.
    pub(in crate::publisher) fn note(
        &mut self,
        name: SubscriberName,
        id: SubscriberId,
        members: &mut Members,
    ) -> Option<(SubscriberId, SubscriberId)> {
        let uses = |name: SubscriberName, id: SubscriberId| {
            members.get(id).is_some_and(|member| member.progress.acknowledgements.name == Some(name))
        };
        if self.0.len() > members.len() + SPARE {
            self.0.retain(|name, claim| uses(*name, claim.holder));
        }
        let claim = self.0.entry(name).or_insert(Claim { holder: id, other: None });
        if claim.holder != id {
            if !uses(name, claim.holder) {
                *claim = Claim { holder: id, other: None };
            } else if claim.other.is_none_or(|other| !uses(name, other)) {
                claim.other = Some(id);
            }
            return None;
        }
        let other = claim.other.filter(|other| uses(name, *other))?;
        let elsewhere = members.get(other)?.address;
        let holder = members.get_mut(id).filter(|holder| holder.address != elsewhere)?;
        let is_reported = &mut holder.progress.acknowledgements.is_name_reported;
        (!core::mem::replace(is_reported, true)).then_some((id, other))
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::ClockTime;
    use crate::publisher::auto_rate::SentRepairs;
    use crate::publisher::members::Departure;
    use crate::publisher::repair_flow::RepairFlow;
    use crate::wire::Sequence;

    fn join(members: &mut Members, id: u64) -> SubscriberId {
        let address = SocketAddr::from(([10, 0, 0, id as u8], 7000));
        let repairs = RepairFlow::new(1_000, 1_000, &SentRepairs::new(), ClockTime(1));
        members.join(SubscriberId(id), address, ClockTime(1), repairs, Sequence(1));
        SubscriberId(id)
    }

    /// Notes a status that claims a name.
    fn note(
        names: &mut Names,
        name: SubscriberName,
        id: SubscriberId,
        members: &mut Members,
    ) -> Option<(SubscriberId, SubscriberId)> {
        members.get_mut(id).unwrap().progress.acknowledgements.name = Some(name);
        names.note(name, id, members)
    }

    fn name(text: &str) -> SubscriberName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_that_two_subscribers_use_is_reported_once() {
        let (mut names, mut members) = (Names::default(), Members::new());
        let (one, two) = (join(&mut members, 1), join(&mut members, 2));
        assert_eq!(note(&mut names, name("db"), one, &mut members), None);
        assert_eq!(
            note(&mut names, name("db"), two, &mut members),
            None,
            "the first may have been restarted"
        );
        assert_eq!(note(&mut names, name("db"), one, &mut members), Some((one, two)));
        for id in [one, two, one] {
            assert_eq!(note(&mut names, name("db"), id, &mut members), None);
        }
        // The first is not reported again because of a third one.
        let three = join(&mut members, 3);
        for id in [three, one, two, three, one] {
            assert_eq!(note(&mut names, name("db"), id, &mut members), None);
        }
    }

    #[test]
    fn a_subscriber_that_is_restarted_with_its_name_is_not_reported() {
        let (mut names, mut members) = (Names::default(), Members::new());
        let one = join(&mut members, 1);
        assert_eq!(note(&mut names, name("db"), one, &mut members), None);
        let two = join(&mut members, 2);
        assert_eq!(note(&mut names, name("db"), two, &mut members), None);
        members.depart(one, Departure::Silent);
        for _ in 0..2 {
            assert_eq!(note(&mut names, name("db"), two, &mut members), None);
        }
        assert_eq!(note(&mut names, name("audit"), two, &mut members), None, "it has another name now");
    }

    #[test]
    fn a_subscriber_that_keeps_changing_its_name_fills_nothing() {
        let (mut names, mut members) = (Names::default(), Members::new());
        let one = join(&mut members, 1);
        for number in 0..1_000 {
            let name = name(&alloc::format!("n{number}"));
            assert_eq!(note(&mut names, name, one, &mut members), None);
        }
        assert!(names.0.len() <= SPARE + 2, "{} names", names.0.len());
    }

    #[test]
    fn names_are_remembered_within_bounds() {
        let (mut names, mut members) = (Names::default(), Members::new());
        for number in 0..1_000 {
            let id = join(&mut members, number);
            assert_eq!(note(&mut names, name(&alloc::format!("n{number}")), id, &mut members), None);
            members.depart(id, Departure::Left);
        }
        assert!(names.0.len() <= SPARE + 2, "{} names", names.0.len());
    }
}
