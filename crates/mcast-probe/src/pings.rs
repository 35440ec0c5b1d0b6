//! Multicast and unicast side by side: who answers, how fast, how often not.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::wire::Answer;
use crate::{Histogram, SequenceLog};

/// Responders that are kept account of.
const MOST_RESPONDERS: usize = 256;
/// Probes whose times are remembered.
const MOST_TIMES: usize = 4_096;

/// When which probe was asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    forgotten: u64,
    times: VecDeque<Duration>,
}

impl Asked {
    /// A probe goes now; gives its number.
    pub fn ask(&mut self, now: Duration) -> u64 {
        if self.times.len() == MOST_TIMES {
            self.times.pop_front();
            self.forgotten += 1;
        }
        let number = self.count();
        self.times.push_back(now);
        number
    }

    /// How many went.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.forgotten + self.times.len() as u64
    }

    /// When this one went, if that is remembered.
    fn time_of(&self, number: u64) -> Option<Duration> {
        let place = usize::try_from(number.checked_sub(self.forgotten)?).ok()?;
        self.times.get(place).copied()
    }

    /// How many went before a time.
    fn before(&self, time: Duration) -> u64 {
        self.forgotten + self.times.partition_point(|asked| *asked < time) as u64
    }
}

/// What came of the probes that went one way: by multicast or by unicast.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// The first probe that counts.
    first: u64,
    answers: SequenceLog,
    round_trips: Histogram,
}

impl Way {
    fn answered(&mut self, number: u64, round_trip: Duration) {
        let before = self.answers.received();
        self.answers.record(number);
        if self.answers.received() > before {
            self.round_trips.record(u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// How many probes had an answer.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.answers.received()
    }

    /// How many answers came once more.
    #[must_use]
    pub const fn duplicated(&self) -> u64 {
        self.answers.duplicated()
    }

    /// The times from probe to answer.
    #[must_use]
    pub const fn round_trips(&self) -> &Histogram {
        &self.round_trips
    }

    /// How many probes count: those that had long enough to be answered, or were.
    fn sent(&self, settled: u64) -> u64 {
        let answered = self.answers.unheard() + self.answers.sent();
        let end = if self.received() > 0 { settled.max(answered) } else { settled };
        end.saturating_sub(self.first).max(self.received())
    }
}

/// One that answers.
#[derive(Clone, Debug)]
pub struct Responder {
    /// The address that it answers from.
    pub address: IpAddr,
    /// Its number: several may share an address.
    pub id: u64,
    /// The port at which it answers probes sent to it alone; 0 for none.
    pub unicast_port: u16,
    /// Fewest and most routers on the way, where both ends tell.
    pub hops: Option<(u8, u8)>,
    /// How long after it had joined the first probe reached it, if it joined while probes were
    /// already going; `None` if it had joined before.
    pub join_to_first: Option<Duration>,
    multicast: Way,
    unicast: Way,
    asked: Asked,
}

impl Responder {
    /// The probes that went to the group.
    #[must_use]
    pub const fn multicast(&self) -> &Way {
        &self.multicast
    }

    /// The probes that went to it alone.
    #[must_use]
    pub const fn unicast(&self) -> &Way {
        &self.unicast
    }

    /// A probe goes to it alone now; gives its number.
    pub fn ask(&mut self, now: Duration) -> u64 {
        self.asked.ask(now)
    }

    fn came(&mut self, answer: &Answer) {
        self.unicast_port = answer.unicast_port;
        if let Some(hops) = answer.hops() {
            let (fewest, most) = self.hops.unwrap_or((hops, hops));
            self.hops = Some((fewest.min(hops), most.max(hops)));
        }
    }
}

/// All probes, and all that answer them, in bounded memory.
#[derive(Clone, Debug)]
pub struct Pings {
    patience: Duration,
    asked: Asked,
    responders: Vec<Responder>,
    refused: u64,
}

impl Pings {
    /// None yet. A probe without an answer counts as lost after so long.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, asked: Asked::default(), responders: Vec::new(), refused: 0 }
    }

    /// A probe goes to the group now; gives its number.
    pub fn ask(&mut self, now: Duration) -> u64 {
        self.asked.ask(now)
    }

    /// How many probes went to the group.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.count()
    }

    /// An answer came: to the probe of this number, so long after it was sent. Gives the
    /// responder and whether it is a new one; `None` if nothing was asked that it could answer.
    pub fn answered(
        &mut self,
        address: IpAddr,
        number: u64,
        answer: &Answer,
        round_trip: Duration,
    ) -> Option<(&Responder, bool)> {
        let known =
            self.responders.iter().position(|one| one.address == address && one.id == answer.responder);
        let place = match known {
            Some(place) => place,
            // One answers the group first, and only then is asked alone.
            None if answer.by_unicast || self.responders.len() == MOST_RESPONDERS => {
                self.refused += 1;
                return None;
            }
            None => self.welcome(address, number, answer)?,
        };
        let responder = &mut self.responders[place];
        let asked = if answer.by_unicast { responder.asked.count() } else { self.asked.count() };
        if number >= asked {
            self.refused += 1;
            return None;
        }
        let way = if answer.by_unicast { &mut responder.unicast } else { &mut responder.multicast };
        way.answered(number, round_trip);
        if !answer.by_unicast {
            responder.came(answer);
        }
        Some((responder, known.is_none()))
    }

    fn welcome(&mut self, address: IpAddr, number: u64, answer: &Answer) -> Option<usize> {
        let Some(sent) = self.asked.time_of(number) else {
            self.refused += 1;
            return None;
        };
        let start = self.asked.time_of(0).unwrap_or_default();
        let joined = sent.checked_sub(answer.joined).filter(|joined| *joined > start);
        let first = joined.map_or(0, |joined| self.asked.before(joined).min(number));
        self.responders.push(Responder {
            address,
            id: answer.responder,
            unicast_port: answer.unicast_port,
            hops: None,
            join_to_first: joined.map(|_| answer.joined),
            multicast: Way { first, ..Way::default() },
            unicast: Way::default(),
            asked: Asked::default(),
        });
        Some(self.responders.len() - 1)
    }

    /// Those that answer, in the order in which they first did.
    #[must_use]
    pub fn responders(&self) -> &[Responder] {
        &self.responders
    }

    /// The same, to ask them.
    pub fn responders_mut(&mut self) -> &mut [Responder] {
        &mut self.responders
    }

    /// How many probes to the group count for this responder: those since it joined that had
    /// long enough to be answered, or were.
    #[must_use]
    pub fn sent_to_group(&self, responder: &Responder, now: Duration) -> u64 {
        responder.multicast.sent(self.asked.before(self.settled_before(now)))
    }

    /// How many probes to it alone count.
    #[must_use]
    pub fn sent_to(&self, responder: &Responder, now: Duration) -> u64 {
        responder.unicast.sent(responder.asked.before(self.settled_before(now)))
    }

    /// What was asked before this time is not waited for any more.
    fn settled_before(&self, now: Duration) -> Duration {
        // A probe that is exactly as old as patience lasts has had its time.
        (now + Duration::from_nanos(1)).saturating_sub(self.patience)
    }

    /// Whether everybody known has answered everything that was asked.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        let answered = |responder: &Responder| {
            let group = self.asked.count().saturating_sub(responder.multicast.first);
            responder.multicast.received() >= group && responder.unicast.received() >= responder.asked.count()
        };
        !self.responders.is_empty() && self.responders.iter().all(answered)
    }

    /// Answers to nothing that was asked, and from responders beyond the most that are kept
    /// account of.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn answer(by_unicast: bool, joined: Duration) -> Answer {
        Answer { responder: 1, hop_limit: 3, hop_limit_left: Some(1), by_unicast, unicast_port: 9, joined }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// A probe a second from 10 s on.
    fn pings(count: u64) -> Pings {
        let mut pings = Pings::new(PATIENCE);
        (0..count).for_each(|number| {
            let _ = pings.ask(seconds(10.0 + number as f64));
        });
        pings
    }

    fn hear(pings: &mut Pings, number: u64, by_unicast: bool, joined: f64) {
        pings.answered(address(2), number, &answer(by_unicast, seconds(joined)), seconds(0.001));
    }

    #[test]
    fn loss_by_multicast_and_by_unicast_is_told_apart() {
        let mut pings = pings(3);
        hear(&mut pings, 0, false, 100.0);
        (0..3).for_each(|number| {
            let _ = pings.responders_mut()[0].ask(seconds(10.0 + f64::from(number)));
        });
        hear(&mut pings, 2, false, 102.0);
        hear(&mut pings, 2, false, 102.0);
        hear(&mut pings, 0, true, 100.0);
        let responder = &pings.responders()[0];
        let now = seconds(13.0);
        assert_eq!((pings.sent_to_group(responder, now), responder.multicast().received()), (3, 2));
        assert_eq!((pings.sent_to(responder, now), responder.unicast().received()), (3, 1));
        assert_eq!(responder.multicast().duplicated(), 1);
        assert_eq!((responder.hops, responder.join_to_first), (Some((2, 2)), None));
        assert_eq!(responder.multicast().round_trips().count(), 2);
    }

    #[test]
    fn what_may_still_be_answered_is_not_lost() {
        let mut pings = pings(3);
        hear(&mut pings, 0, false, 100.0);
        let sent = |pings: &Pings, now| pings.sent_to_group(&pings.responders()[0], seconds(now));
        assert_eq!((sent(&pings, 11.9), sent(&pings, 12.0), sent(&pings, 13.0)), (1, 2, 3));
        assert!(!pings.all_answered());
        [1, 2].into_iter().for_each(|number| hear(&mut pings, number, false, 100.0));
        assert!(pings.all_answered());
        assert_eq!(sent(&pings, 12.0), 3);
    }

    #[test]
    fn what_was_asked_before_a_responder_joined_is_not_lost() {
        let mut pings = pings(10);
        // Joined 1.5 s before the probe of 16 s: that of 15 s was lost on the way.
        hear(&mut pings, 6, false, 1.5);
        let responder = &pings.responders()[0];
        assert_eq!(responder.join_to_first, Some(seconds(1.5)));
        assert_eq!(pings.sent_to_group(responder, seconds(17.0)), 2);
    }

    #[test]
    fn answers_to_nothing_are_refused() {
        let mut pings = pings(2);
        hear(&mut pings, 2, false, 0.0);
        hear(&mut pings, u64::MAX, false, 0.0);
        hear(&mut pings, 0, true, 0.0);
        assert!(pings.responders().is_empty());
        hear(&mut pings, 0, false, 0.0);
        hear(&mut pings, 0, true, 0.0);
        hear(&mut pings, 2, false, 0.0);
        assert_eq!((pings.responders().len(), pings.refused()), (1, 5));
        assert_eq!(pings.responders()[0].unicast().received(), 0);
    }

    #[test]
    fn forged_responders_take_no_more_memory_than_there_is() {
        let mut pings = pings(1);
        for id in 0..1_000 {
            let answer = Answer { responder: id, ..answer(false, Duration::ZERO) };
            pings.answered(address(1), 0, &answer, Duration::ZERO);
        }
        assert_eq!(pings.responders().len(), MOST_RESPONDERS);
        (0..10_000).for_each(|number| {
            let _ = pings.ask(seconds(20.0 + f64::from(number)));
        });
        assert_eq!((pings.asked.times.len(), pings.asked()), (MOST_TIMES, 10_001));
    }

    proptest! {
        #[test]
        fn whatever_answers_come_no_more_is_received_than_sent(
            answers in proptest::collection::vec(
                (0_u8..4, 0_u64..30, any::<bool>(), 0.0..40.0_f64, 0_u8..4), 0..200,
            ),
        ) {
            let mut pings = Pings::new(PATIENCE);
            let mut now = seconds(100.0);
            for (last, number, by_unicast, joined, ask) in answers {
                now += seconds(0.3);
                if ask == 0 {
                    pings.ask(now);
                    pings.responders_mut().iter_mut().for_each(|responder| { let _ = responder.ask(now); });
                }
                pings.answered(address(last), number, &answer(by_unicast, seconds(joined)), seconds(0.1));
                for responder in pings.responders() {
                    let sent = pings.sent_to_group(responder, now);
                    prop_assert!(responder.multicast().received() <= sent && sent <= pings.asked());
                    let sent = pings.sent_to(responder, now);
                    prop_assert!(responder.unicast().received() <= sent && sent <= pings.asked());
                }
            }
        }
    }
}
