//! Turns, the queue, and limits of single addresses.

use core::net::Ipv4Addr;

use super::*;

const START: ClockTime = ClockTime(1_000_000_000);
const LIMITS: AdmissionLimits = AdmissionLimits::HISTORY;

fn address(number: usize) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + number as u32).into()
}

fn connected(admission: &mut AdmissionQueue, now: ClockTime, address: IpAddr) -> ClientId {
    match admission.connect(now, address) {
        ConnectDecision::Admitted(id, None) => id,
        other => panic!("{other:?}"),
    }
}

/// Returns a server whose turns are all taken, by clients of different addresses.
fn busy() -> (AdmissionQueue, Vec<ClientId>) {
    let mut admission = AdmissionQueue::new(LIMITS);
    let clients: Vec<_> = (0..LIMITS.turns)
        .map(|number| {
            let id = connected(&mut admission, START, address(number));
            assert_eq!(admission.request(START, id, QueueToken::NONE), Admission::Now);
            id
        })
        .collect();
    (admission, clients)
}

/// Connects and makes a request; if it is sent away, the connection ends.
fn asks(
    admission: &mut AdmissionQueue,
    now: ClockTime,
    of: usize,
    ticket: QueueToken,
) -> (ClientId, Admission) {
    let id = connected(admission, now, address(of));
    let turn = admission.request(now, id, ticket);
    if turn != Admission::Now {
        admission.disconnected(now, id);
    }
    (id, turn)
}

fn later(turn: Admission) -> (Duration, QueueToken) {
    match turn {
        Admission::Retry(wait, ticket) => (wait, ticket),
        Admission::Now => panic!("it has a turn"),
    }
}

#[test]
fn a_busy_server_serves_nobody_else_and_keeps_whom_it_serves() {
    let (mut admission, clients) = busy();
    let tickets: Vec<_> =
        (100..200).map(|of| later(asks(&mut admission, START, of, QueueToken::NONE).1)).collect();
    assert!(tickets.is_sorted_by_key(|(wait, _)| *wait), "{tickets:?}");
    assert_eq!((admission.turns(), admission.waiting()), (LIMITS.turns, 100));
    assert!(clients.iter().all(|client| !admission.is_over(START, *client)));
}

#[test]
fn the_queue_is_served_in_its_order_and_before_new_clients() {
    let (mut admission, clients) = busy();
    let (_, first) = later(asks(&mut admission, START, 100, QueueToken::NONE).1);
    let (_, second) = later(asks(&mut admission, START, 101, QueueToken::NONE).1);
    let now = START + SHORTEST_WAIT;
    admission.disconnected(now, clients[3]);
    assert_eq!(later(asks(&mut admission, now, 101, second).1).1, second, "the first one has the turn");
    later(asks(&mut admission, now, 102, QueueToken::NONE).1);
    assert_eq!(asks(&mut admission, now, 100, first).1, Admission::Now);
    assert_eq!(later(asks(&mut admission, now, 101, second).1).1, second);
    admission.disconnected(now, clients[4]);
    assert_eq!(asks(&mut admission, now, 101, second).1, Admission::Now);
}

#[test]
fn a_client_that_does_not_come_back_loses_its_place() {
    let (mut admission, clients) = busy();
    let (wait, _) = later(asks(&mut admission, START, 100, QueueToken::NONE).1);
    admission.disconnected(START, clients[0]);
    let now = START + wait + wait / 4 + LATENESS;
    assert_eq!(asks(&mut admission, now, 101, QueueToken::NONE).1, Admission::Now);
    assert_eq!(admission.waiting(), 0);
}

#[test]
fn a_server_is_in_use_until_the_last_client_is_gone_or_late() {
    let (mut admission, clients) = busy();
    let (wait, _) = later(asks(&mut admission, START, 100, QueueToken::NONE).1);
    clients.into_iter().for_each(|id| admission.disconnected(START, id));
    assert!(admission.is_in_use(START + wait), "one was sent away");
    assert!(!admission.is_in_use(START + wait + wait / 4 + LATENESS));
    let id = connected(&mut admission, START, address(100));
    assert!(admission.is_in_use(START + LONGEST_WAIT), "one is connected");
    admission.disconnected(START, id);
    assert!(!admission.is_in_use(START + LONGEST_WAIT));
}

#[test]
fn no_turn_is_held_for_clients_that_are_away_for_long_or_late() {
    let (mut admission, clients) = busy();
    let waiting: Vec<_> =
        (100..3_000).map(|of| later(asks(&mut admission, START, of, QueueToken::NONE).1)).collect();
    let (wait, ticket) = waiting[waiting.len() - 1];
    assert!(wait > LONGEST_DOUBLED_WAIT, "{wait:?}");
    admission.disconnected(START, clients[0]);
    later(asks(&mut admission, START, 2_999, ticket).1);
    let now = START + LONGEST_DOUBLED_WAIT + LONGEST_DOUBLED_WAIT / 8 + SILENCE;
    assert!(admission.waiting() > 1_000);
    assert_eq!(asks(&mut admission, now, 2_999, ticket).1, Admission::Now);
}

#[test]
fn a_ticket_of_another_address_is_not_valid() {
    let (mut admission, clients) = busy();
    let (_, ticket) = later(asks(&mut admission, START, 100, QueueToken::NONE).1);
    admission.disconnected(START, clients[0]);
    assert_ne!(later(asks(&mut admission, START, 101, ticket).1).1, ticket);
    assert_eq!(asks(&mut admission, START, 100, ticket).1, Admission::Now);
}

#[test]
fn a_long_turn_ends_only_if_others_wait() {
    let (mut admission, clients) = busy();
    let now = START + TURN;
    assert!(!admission.is_over(now, clients[0]));
    assert_eq!(admission.request(now, clients[0], QueueToken::NONE), Admission::Now);
    later(asks(&mut admission, now, 100, QueueToken::NONE).1);
    assert!(admission.is_over(now, clients[0]));
    later(admission.request(now, clients[0], QueueToken::NONE));
    assert_eq!(admission.turns(), LIMITS.turns - 1);
}

#[test]
fn turns_in_which_nothing_happens_go_to_others() {
    let (mut admission, clients) = busy();
    let (_, ticket) = later(asks(&mut admission, START, 100, QueueToken::NONE).1);
    admission.answered(START, clients[0], false);
    assert_eq!(later(asks(&mut admission, START, 100, ticket).1).1, ticket);
    // The next request of a client with a long round trip may be under way.
    let now = START + Duration::from_millis(999);
    assert_eq!(later(asks(&mut admission, now, 100, ticket).1).1, ticket);
    let now = START + REQUEST_TIME;
    assert_eq!(asks(&mut admission, now, 100, ticket).1, Admission::Now);
    let (_, ticket) = later(asks(&mut admission, now, 101, QueueToken::NONE).1);
    // That it reached the end of the records makes room at once.
    admission.answered(now, clients[1], true);
    assert_eq!(asks(&mut admission, now, 101, ticket).1, Admission::Now);
}

#[test]
fn one_address_takes_a_part_of_the_turns_and_does_not_hold_up_others() {
    let mut admission = AdmissionQueue::new(LIMITS);
    for _ in 0..LIMITS.turns_per_address {
        assert_eq!(asks(&mut admission, START, 1, QueueToken::NONE).1, Admission::Now);
    }
    for _ in 0..100 {
        later(asks(&mut admission, START, 1, QueueToken::NONE).1);
    }
    assert_eq!(asks(&mut admission, START, 2, QueueToken::NONE).1, Admission::Now);
}

#[test]
fn new_connections_replace_silent_ones_only() {
    let (mut admission, clients) = busy();
    let silent = connected(&mut admission, START, address(50));
    for number in 51..51 + LIMITS.connections - LIMITS.turns - 1 {
        connected(&mut admission, START + Duration::from_nanos(1), address(number));
    }
    assert_eq!(admission.connect(START, address(200)), ConnectDecision::Full(NO_ROOM));
    let now = START + REQUEST_TIME;
    let replaced = admission.connect(now, address(200));
    assert!(matches!(replaced, ConnectDecision::Admitted(_, Some(id)) if id == silent), "{replaced:?}");
    assert!(clients.iter().all(|client| !admission.is_over(now, *client)));
    assert_eq!(admission.connections(), LIMITS.connections);
}

#[test]
fn one_address_cannot_take_all_connections() {
    let mut admission = AdmissionQueue::new(LIMITS);
    let clients: Vec<_> =
        (0..LIMITS.connections_per_address).map(|_| connected(&mut admission, START, address(1))).collect();
    connected(&mut admission, START, address(2));
    // The requests of the others may be under way.
    let now = START + Duration::from_millis(999);
    assert_eq!(admission.connect(now, address(1)), ConnectDecision::Refused);
    let replaced = admission.connect(START + REQUEST_TIME, address(1));
    assert!(matches!(replaced, ConnectDecision::Admitted(_, Some(id)) if id == clients[0]), "{replaced:?}");
    assert_eq!(admission.connections(), LIMITS.connections_per_address + 1);
}

#[test]
fn an_idle_connection_does_not_keep_a_client_away_that_does_not_try_again() {
    const LIMITS: AdmissionLimits = AdmissionLimits::SNAPSHOT;
    let mut admission = AdmissionQueue::new(LIMITS);
    let idle: Vec<_> =
        (0..LIMITS.connections_per_address).map(|_| connected(&mut admission, START, address(1))).collect();
    let replaced = admission.connect(START, address(1));
    assert!(matches!(replaced, ConnectDecision::Admitted(_, Some(id)) if id == idle[0]), "{replaced:?}");
}

#[test]
fn an_address_does_not_replace_its_own_clients_that_are_served() {
    let mut admission = AdmissionQueue::new(AdmissionLimits::SNAPSHOT);
    for _ in 0..AdmissionLimits::SNAPSHOT.turns_per_address {
        assert_eq!(asks(&mut admission, START, 1, QueueToken::NONE).1, Admission::Now);
    }
    assert_eq!(admission.connect(START + SILENCE, address(1)), ConnectDecision::Refused);
    let replaced = admission.connect(START + STALL, address(1));
    assert!(matches!(replaced, ConnectDecision::Admitted(_, Some(_))), "{replaced:?}");
}

#[test]
fn a_long_download_does_not_make_a_crowd_wait_for_long() {
    // One that ended before the crowd came, one that ends while it waits, and one that is over when it comes.
    for ends_at in [Some(Duration::ZERO), Some(SHORTEST_WAIT), None] {
        let mut admission = AdmissionQueue::new(LIMITS);
        let (download, turn) = asks(&mut admission, START, 1, QueueToken::NONE);
        assert_eq!(turn, Admission::Now);
        let now = START + Duration::from_secs(600);
        if ends_at == Some(Duration::ZERO) {
            admission.disconnected(now, download);
        }
        for of in 100..100 + LIMITS.turns + 10 {
            asks(&mut admission, now, of, QueueToken::NONE);
        }
        let now = now + ends_at.unwrap_or(SHORTEST_WAIT);
        match ends_at {
            Some(_) => admission.disconnected(now, download),
            None => assert!(admission.is_over(now, download)),
        }
        let waits: Vec<_> =
            (1_000..2_000).map(|of| later(asks(&mut admission, now, of, QueueToken::NONE).1).0).collect();
        let longest = waits.iter().max();
        assert!(longest <= Some(&Duration::from_secs(4)), "{ends_at:?}: {longest:?}");
    }
}

#[test]
fn a_turn_counts_as_at_most_the_longest() {
    let (mut admission, clients) = busy();
    later(asks(&mut admission, START, 100, QueueToken::NONE).1);
    let now = START + Duration::from_secs(600);
    later(asks(&mut admission, now, 101, QueueToken::NONE).1);
    admission.disconnected(now, clients[0]);
    assert!(admission.turn_time <= TURN, "{:?}", admission.turn_time);
}

#[test]
fn one_address_takes_a_part_of_the_queue() {
    let (mut admission, _) = busy();
    let most = PLACES_PER_TURN * LIMITS.turns_per_address;
    let mut tickets: Vec<_> =
        (0..=most).map(|_| later(asks(&mut admission, START, 100, QueueToken::NONE).1).1).collect();
    assert_eq!(tickets.pop(), Some(QueueToken::NONE));
    assert!(!tickets.contains(&QueueToken::NONE));
    assert_eq!(admission.waiting(), most);
    // A client that has a place keeps it, and others get theirs.
    assert_eq!(later(asks(&mut admission, START, 100, tickets[3]).1).1, tickets[3]);
    assert_ne!(later(asks(&mut admission, START, 101, QueueToken::NONE).1).1, QueueToken::NONE);
}

#[test]
fn the_addresses_of_an_ipv6_network_count_as_one() {
    let address = |number: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, number, 2, 3, number]);
    let mut admission = AdmissionQueue::new(LIMITS);
    for number in 0..LIMITS.connections_per_address {
        connected(&mut admission, START, address(number as u16));
    }
    assert_eq!(admission.connect(START, address(99)), ConnectDecision::Refused);
    connected(&mut admission, START, IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 0]));
    // These are IPv4 addresses.
    for number in 0..=LIMITS.connections_per_address {
        let address = Ipv4Addr::from(0x0a00_0000 + number as u32).to_ipv6_mapped();
        connected(&mut admission, START, address.into());
    }
}

#[test]
fn the_queue_is_bounded() {
    let (mut admission, _) = busy();
    for of in 0..MOST_WAITING {
        later(asks(&mut admission, START, 100 + of, QueueToken::NONE).1);
    }
    let (_, ticket) = later(asks(&mut admission, START, 99, QueueToken::NONE).1);
    assert_eq!((ticket, admission.waiting()), (QueueToken::NONE, MOST_WAITING));
}

const MILLISECOND: usize = 64_000;

#[test]
fn all_clients_together_get_64_mb_per_second_and_each_the_same() {
    let mut pace = SharedPace::new(ClockTime(0), SharedPace::RATE);
    let (mut sent, mut next) = ([0_u64; 3], [ClockTime(0); 3]);
    while let Some(client) = (0..3).min_by_key(|client| next[*client])
        && next[client] < ClockTime(0) + Duration::from_secs(1)
    {
        let now = next[client];
        sent[client] += MILLISECOND as u64;
        // What is sent takes time of its own.
        next[client] = now + pace.spend(now, MILLISECOND) + Duration::from_micros(50);
    }
    let total: u64 = sent.iter().sum();
    assert!((64_000_000..66_000_000).contains(&total), "{total}");
    assert!(sent.iter().all(|sent| sent.abs_diff(total / 3) < total / 20), "{sent:?}");
}

#[test]
fn an_idle_server_may_not_catch_up_for_longer_than_the_burst() {
    let mut pace = SharedPace::new(ClockTime(0), SharedPace::RATE);
    let now = ClockTime(0) + Duration::from_secs(60);
    let without_waiting = (0..1_000).take_while(|_| pace.spend(now, MILLISECOND) == Duration::ZERO).count();
    assert_eq!(without_waiting, 10);
}

#[test]
fn the_rate_can_be_chosen() {
    let mut pace = SharedPace::new(ClockTime(0), NonZeroU64::new(1_000_000).unwrap());
    assert_eq!(pace.spend(ClockTime(0) + Duration::from_secs(1), 500_000), Duration::from_millis(490));
}
