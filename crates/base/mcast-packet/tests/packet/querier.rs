//! The state machine of the querier: single rules, arbitrary input, and simulations of several queriers on a
//! network with loss and delay.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mcast_packet::gmp::querier::{ClockTime, OutgoingQuery, Querier, QuerierSettings, Role, RoleChange};
use mcast_packet::gmp::{Address, GmpMessage, Query, Record, RecordKind, SourceQuery, Sources};
use mcast_sim::{Dice, EventQueue, for_seeds};
use proptest::prelude::*;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const LOWER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);
const HIGHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 6);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn at(number: u64) -> ClockTime {
    ClockTime::START + seconds(number)
}

fn general<A: Address>(robustness: u8, interval: u64) -> GmpMessage<'static, A> {
    let source_query =
        SourceQuery { suppress: false, robustness, interval: seconds(interval), sources: Sources::none() };
    GmpMessage::Query(Query { group: None, max_response_time: seconds(10), source_query: Some(source_query) })
}

/// Returns all queries until a time, with the times at which they are sent.
fn queries_until<A: Address>(
    querier: &mut Querier<A>,
    from: ClockTime,
    until: ClockTime,
) -> Vec<(ClockTime, OutgoingQuery<A>)> {
    let mut queries = Vec::new();
    let mut now = from;
    while now <= until {
        querier.check(now);
        while let Some(query) = querier.poll_transmit(now) {
            queries.push((now, query));
        }
        let next = querier.poll_timeout().unwrap();
        assert!(next > now, "busy loop");
        now = next;
    }
    queries
}

fn times<A>(queries: &[(ClockTime, OutgoingQuery<A>)]) -> Vec<u64> {
    queries.iter().map(|(time, _)| time.0 / 1_000_000).collect()
}

fn started() -> Querier<Ipv4Addr> {
    let mut querier = Querier::new(QuerierSettings::default(), OWN, ClockTime::START);
    queries_until(&mut querier, ClockTime::START, at(40));
    querier
}

#[test]
fn general_queries_are_frequent_at_startup_and_then_sent_every_query_interval() {
    let mut querier: Querier<Ipv4Addr> = Querier::new(QuerierSettings::default(), OWN, at(1));
    let queries = queries_until(&mut querier, at(1), at(410));
    assert_eq!(times(&queries), [1_000, 32_250, 157_250, 282_250, 407_250]);
    let messages: Vec<_> = queries.iter().map(|(_, query)| query.message().to_string()).collect();
    assert!(
        messages.iter().all(|text| text == "IGMPv3 general query: members of any group, answer within 10 s")
    );
    let GmpMessage::Query(query) = queries[0].1.message() else { panic!() };
    let extension = query.source_query.unwrap();
    assert_eq!((extension.robustness, extension.interval), (2, seconds(125)));
}

#[test]
fn queries_use_the_older_version_if_configured() {
    let mut igmp: Querier<Ipv4Addr> = Querier::new(QuerierSettings::default().older(), OWN, ClockTime::START);
    assert_eq!(igmp.poll_transmit(ClockTime::START).unwrap().message().version(), 2);
    let own = "fe80::5".parse().unwrap();
    let mut mld: Querier<Ipv6Addr> = Querier::new(QuerierSettings::default().older(), own, ClockTime::START);
    assert_eq!(mld.poll_transmit(ClockTime::START).unwrap().message().version(), 1);
    let mut newer: Querier<Ipv6Addr> = Querier::new(QuerierSettings::default(), own, ClockTime::START);
    assert_eq!(newer.poll_transmit(ClockTime::START).unwrap().message().version(), 2);
}

#[test]
fn querier_yields_to_a_lower_address_until_it_is_silent() {
    let mut querier = started();
    assert_eq!(querier.handle_message(at(50), LOWER, &general(2, 125)), Some(RoleChange::YieldedTo(LOWER)));
    assert_eq!(querier.role(), Role::Listener { querier: LOWER });
    // Robustness times query interval, and half of the response interval: 255 s (RFC 3376 section 8.5).
    assert_eq!(querier.poll_timeout(), Some(at(50 + 255)));
    assert_eq!(querier.handle_message(at(170), LOWER, &general(2, 125)), None);
    assert_eq!((querier.check(at(424)), querier.poll_transmit(at(424))), (None, None));
    assert_eq!(querier.check(at(425)), Some(RoleChange::TookOverFrom(LOWER)));
    assert!(querier.poll_transmit(at(425)).is_some());
    assert_eq!(querier.poll_timeout(), Some(at(425 + 125)));
}

#[test]
fn timers_of_the_elected_querier_apply() {
    let mut querier = started();
    querier.handle_message(at(50), LOWER, &general(3, 60));
    assert_eq!(querier.poll_timeout(), Some(at(50 + 185)));
    // Zero means not stated, and queries of the older version cannot state it.
    querier.handle_message(at(50), LOWER, &general(0, 0));
    assert_eq!(querier.poll_timeout(), Some(at(50 + 255)));
    let older = Query { group: None, max_response_time: seconds(10), source_query: None };
    querier.handle_message(at(51), LOWER, &GmpMessage::Query(older));
    assert_eq!(querier.poll_timeout(), Some(at(51 + 255)));
}

#[test]
fn queries_from_addresses_that_are_not_lower_are_ignored() {
    let mut querier = started();
    let before = querier.poll_timeout();
    for source in [HIGHER, OWN, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(224, 0, 0, 1)] {
        assert_eq!(querier.handle_message(at(50), source, &general(2, 125)), None, "{source}");
    }
    assert_eq!((querier.role(), querier.poll_timeout()), (Role::Querier, before));
    // In IPv6 only link-local addresses count.
    let mut mld: Querier<Ipv6Addr> =
        Querier::new(QuerierSettings::default(), "fe80::5".parse().unwrap(), ClockTime::START);
    assert_eq!(mld.handle_message(at(1), "fd00::1".parse().unwrap(), &general(2, 125)), None);
    let lower = "fe80::4".parse().unwrap();
    assert_eq!(mld.handle_message(at(1), lower, &general(2, 125)), Some(RoleChange::YieldedTo(lower)));
}

#[test]
fn left_group_is_queried_as_often_as_robustness_defines() {
    let mut querier = started();
    querier.handle_message(at(60), HOST, &GmpMessage::Leave { group: GROUP });
    querier.handle_message(at(60), HOST, &GmpMessage::Leave { group: GROUP });
    assert_eq!(querier.poll_timeout(), Some(at(60)));
    let queries = queries_until(&mut querier, at(60), at(70));
    assert_eq!(times(&queries), [60_000, 61_000]);
    assert_eq!(queries[0].1.message().destination(), GROUP);
    assert_eq!(queries[0].1.message().to_string(), "IGMPv3 query: members of 239.1.2.3, answer within 1 s");
    // The group is queried again after a later leave.
    querier.handle_message(at(80), HOST, &GmpMessage::Leave { group: GROUP });
    assert_eq!(queries_until(&mut querier, at(80), at(90)).len(), 2);
}

#[test]
fn records_that_leave_sources_are_followed_by_a_query() {
    let sources = [Ipv4Addr::new(10, 0, 0, 7), Ipv4Addr::new(10, 0, 0, 8)];
    let query_after = |kind, sources: &[Ipv4Addr]| {
        let mut querier = started();
        let records = [Record { kind, group: GROUP, sources: sources.into() }];
        querier.handle_message(at(60), HOST, &GmpMessage::V3Report((&records).into()));
        let queries = queries_until(&mut querier, at(60), at(70));
        queries.first().map(|(_, query)| query.message().content().to_string())
    };
    let whole_group = Some("members of 239.1.2.3, answer within 1 s".to_owned());
    assert_eq!(query_after(RecordKind::ChangeToInclude, &[]), whole_group);
    assert_eq!(query_after(RecordKind::ChangeToInclude, &sources), whole_group);
    assert_eq!(
        query_after(RecordKind::BlockOldSources, &sources).unwrap(),
        "members of 239.1.2.3 from 10.0.0.7, 10.0.0.8, answer within 1 s"
    );
    let many = [HOST; 9];
    assert_eq!(query_after(RecordKind::BlockOldSources, &many), whole_group);
    for kind in [
        RecordKind::ModeIsInclude,
        RecordKind::ModeIsExclude,
        RecordKind::ChangeToExclude,
        RecordKind::AllowNewSources,
        RecordKind::Unknown(9),
    ] {
        assert_eq!(query_after(kind, &sources), None, "{kind:?}");
    }
}

#[test]
fn flooded_groups_are_not_queried() {
    let mut querier = started();
    for group in [Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::UNSPECIFIED] {
        querier.handle_message(at(60), HOST, &GmpMessage::Leave { group });
    }
    assert_eq!(querier.poll_timeout(), Some(ClockTime::START + Duration::from_millis(156_250)));
}

#[test]
fn listener_does_not_query_groups() {
    let mut querier = started();
    querier.handle_message(at(60), HOST, &GmpMessage::Leave { group: GROUP });
    querier.handle_message(at(60), LOWER, &general(2, 125));
    querier.handle_message(at(61), HOST, &GmpMessage::Leave { group: GROUP });
    assert_eq!((querier.poll_transmit(at(61)), querier.poll_timeout()), (None, Some(at(315))));
}

#[test]
fn groups_beyond_the_memory_limit_are_counted() {
    let mut querier: Querier<Ipv4Addr, 4> = Querier::new(QuerierSettings::default(), OWN, ClockTime::START);
    for last in 0..6 {
        querier.handle_message(at(1), HOST, &GmpMessage::Leave { group: Ipv4Addr::new(239, 1, 2, last) });
    }
    assert_eq!(querier.unqueried_groups(), 2);
}

#[test]
fn invalid_settings_are_rejected() {
    let settings = QuerierSettings::default();
    assert_eq!(settings.group_membership_interval(), seconds(260));
    settings.with_robustness(0).unwrap_err();
    settings.with_robustness(8).unwrap_err();
    settings.with_intervals(seconds(10), seconds(10)).unwrap_err();
    settings.with_intervals(Duration::from_millis(999), Duration::from_millis(100)).unwrap_err();
    settings.with_intervals(seconds(40_000), seconds(10)).unwrap_err();
    let quick = settings.with_intervals(seconds(4), seconds(1)).unwrap().with_robustness(3).unwrap();
    assert_eq!(
        (quick.startup_query_interval(), quick.group_membership_interval()),
        (seconds(1), seconds(13))
    );
}

/// A network that loses and delays messages.
struct Network {
    dice: Dice,
    loss_percent: u64,
    /// The receivers and the sources of messages in flight, by time of arrival.
    in_flight: EventQueue<ClockTime, (usize, Ipv4Addr)>,
}

impl Network {
    fn send(&mut self, now: ClockTime, from: Ipv4Addr, receivers: usize) {
        for receiver in 0..receivers {
            if self.dice.below(100) >= self.loss_percent {
                let delay = Duration::from_micros(self.dice.below(50_000));
                self.in_flight.push(now + delay, (receiver, from));
            }
        }
    }
}

/// A simulation of several queriers on one network. It records the longest time without a query.
struct Simulation {
    queriers: Vec<(Ipv4Addr, Option<Querier<Ipv4Addr>>)>,
    network: Network,
    now: ClockTime,
    last_query: ClockTime,
    longest_silence: Duration,
}

impl Simulation {
    fn new(seed: u64, count: u8, loss_percent: u64) -> Self {
        let queriers = (0..count).map(|last| (Ipv4Addr::new(10, 0, 0, 10 + last), None)).collect();
        let network = Network { dice: Dice::new(seed), loss_percent, in_flight: EventQueue::new() };
        let start = ClockTime::START;
        Self { queriers, network, now: start, last_query: start, longest_silence: Duration::ZERO }
    }

    fn start(&mut self, number: usize) {
        let (own, querier) = &mut self.queriers[number];
        *querier = Some(Querier::new(QuerierSettings::default(), *own, self.now));
    }

    fn stop(&mut self, number: usize) {
        self.queriers[number].1 = None;
    }

    fn run_until(&mut self, until: ClockTime) {
        loop {
            let timers = self.queriers.iter().filter_map(|(_, querier)| querier.as_ref()?.poll_timeout());
            let arrivals = self.network.in_flight.next_time();
            let Some(next) = timers.chain(arrivals).min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            self.deliver();
            self.send_queries();
        }
        self.now = until;
    }

    fn deliver(&mut self) {
        while let Some((_, (receiver, from))) = self.network.in_flight.pop_until(self.now) {
            if let Some(querier) = &mut self.queriers[receiver].1 {
                querier.handle_message(self.now, from, &general(2, 125));
            }
        }
    }

    fn send_queries(&mut self) {
        let receivers = self.queriers.len();
        for (own, querier) in &mut self.queriers {
            let Some(querier) = querier else { continue };
            querier.check(self.now);
            while querier.poll_transmit(self.now).is_some() {
                self.longest_silence = self.longest_silence.max(self.now.since(self.last_query));
                self.last_query = self.now;
                self.network.send(self.now, *own, receivers);
            }
        }
    }

    fn elected(&self) -> Vec<usize> {
        let is_querier = |querier: &Option<Querier<Ipv4Addr>>| {
            querier.as_ref().is_some_and(|querier| querier.role() == Role::Querier)
        };
        (0..self.queriers.len()).filter(|number| is_querier(&self.queriers[*number].1)).collect()
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.queriers.len()).filter(|number| self.queriers[*number].1.is_some())
    }
}

/// Starts and stops queriers on a network with loss. Once nothing has been lost for the other-querier-present
/// interval, exactly one querier is elected: the one with the lowest address.
fn elects_exactly_one(seed: u64) {
    let loss = seed % 60;
    let mut simulation = Simulation::new(seed, 2 + (seed % 7) as u8, loss);
    for _ in 0..12 {
        let number = simulation.network.dice.below(simulation.queriers.len() as u64) as usize;
        match simulation.network.dice.below(3) {
            0 => simulation.stop(number),
            _ => simulation.start(number),
        }
        let pause = Duration::from_millis(simulation.network.dice.below(200_000));
        simulation.run_until(simulation.now + pause);
    }
    simulation.start(0);
    simulation.stop(1);
    simulation.network.loss_percent = 0;
    simulation.run_until(simulation.now + seconds(600));
    assert_eq!(simulation.elected(), [simulation.running().min().unwrap()]);
    simulation.stop(0);
    let Some(next) = simulation.running().min() else { return };
    let stopped = simulation.now;
    simulation.last_query = simulation.last_query.min(stopped);
    simulation.longest_silence = Duration::ZERO;
    simulation.run_until(stopped + seconds(600));
    assert_eq!(simulation.elected(), [next]);
    // Switches keep a membership for 260 s.
    assert!(simulation.longest_silence < QuerierSettings::default().group_membership_interval());
}

#[test]
fn several_queriers_elect_exactly_one() {
    for_seeds(2_000, elects_exactly_one);
}

proptest! {
    #[test]
    fn any_messages_at_any_time_are_handled(
        events in proptest::collection::vec((0_u64..10_000, any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..60)
    ) {
        let mut querier: Querier<Ipv4Addr> = Querier::new(QuerierSettings::default(), OWN, ClockTime::START);
        let mut now = ClockTime::START;
        for (later, source, bytes) in events {
            now = now + Duration::from_millis(later);
            if let Ok(message) = GmpMessage::parse(&bytes) {
                querier.handle_message(now, source.into(), &message);
            }
            querier.check(now);
            let mut count = 0;
            while let Some(query) = querier.poll_transmit(now) {
                count += 1;
                let mut buffer = [0; 128];
                let length = query.message().emit(&mut buffer, OWN, query.message().destination()).unwrap();
                prop_assert_eq!(GmpMessage::parse(&buffer[..length]).unwrap(), query.message());
                prop_assert!(count <= 257, "endless queries");
            }
            prop_assert!(querier.poll_timeout().unwrap() > now);
        }
    }

    #[test]
    fn queries_after_leaves_of_all_kinds_end(
        kinds in proptest::collection::vec((1_u8..8, any::<u8>(), 0_usize..12), 1..40)
    ) {
        let own = "fe80::5".parse().unwrap();
        let mut querier: Querier<Ipv6Addr> = Querier::new(QuerierSettings::default(), own, ClockTime::START);
        queries_until(&mut querier, ClockTime::START, at(40));
        let sources = [own; 12];
        for (kind, last, count) in &kinds {
            let group = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, u16::from(*last));
            let record = Record { kind: RecordKind::from(*kind), group, sources: (&sources[..*count]).into() };
            querier.handle_message(at(41), own, &GmpMessage::V3Report((&[record]).into()));
        }
        let queries = queries_until(&mut querier, at(41), at(60));
        let is_leave = |kind: u8| [3, 6].contains(&kind);
        let groups: std::collections::BTreeSet<u8> =
            kinds.iter().filter(|(kind, _, _)| is_leave(*kind)).map(|(_, last, _)| *last).collect();
        prop_assert_eq!(queries.len(), groups.len() * 2);
    }
}
