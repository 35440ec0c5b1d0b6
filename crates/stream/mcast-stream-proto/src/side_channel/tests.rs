//! Turns, when others come back, and limits of single addresses.

use core::net::Ipv4Addr;

use super::*;

const START: ClockTime = ClockTime(1_000_000_000);
const LIMITS: AdmissionLimits = AdmissionLimits::HISTORY;

fn address(number: usize) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + number as u32).into()
}

fn connected(admission: &mut AdmissionControl, now: ClockTime, address: IpAddr) -> ClientId {
    match admission.connect(now, address) {
        ConnectDecision::Admitted(id, None) => id,
        other => panic!("{other:?}"),
    }
}

/// Returns a server whose turns are all taken, by clients of different addresses.
fn busy() -> (AdmissionControl, Vec<ClientId>) {
    let mut admission = AdmissionControl::new(LIMITS);
    let clients: Vec<_> = (0..LIMITS.turns)
        .map(|number| {
            let id = connected(&mut admission, START, address(number));
            assert_eq!(admission.request(START, id), Admission::Now);
            id
        })
        .collect();
    (admission, clients)
}

/// Connects and makes a request; if it is sent away, the connection ends.
fn asks(admission: &mut AdmissionControl, now: ClockTime, of: usize) -> (ClientId, Admission) {
    let id = connected(admission, now, address(of));
    let turn = admission.request(now, id);
    if turn != Admission::Now {
        admission.disconnected(id);
    }
    (id, turn)
}

fn later(turn: Admission) -> Duration {
    match turn {
        Admission::Retry(wait) => wait,
        Admission::Now => panic!("it has a turn"),
    }
}

#[test]
fn a_busy_server_serves_nobody_else_and_keeps_whom_it_serves() {
    let (mut admission, clients) = busy();
    let waits: Vec<_> = (100..200).map(|of| later(asks(&mut admission, START, of).1)).collect();
    assert!(waits.is_sorted() && waits[0] == SHORTEST_WAIT, "{waits:?}");
    assert_eq!(admission.turns(), LIMITS.turns);
    assert!(clients.iter().all(|client| !admission.is_over(START, *client)));
}

#[test]
fn a_turn_that_becomes_free_goes_to_who_asks_first() {
    let (mut admission, clients) = busy();
    let wait = later(asks(&mut admission, START, 100).1);
    admission.disconnected(clients[3]);
    assert_eq!(asks(&mut admission, START + wait, 100).1, Admission::Now);
    later(asks(&mut admission, START + wait, 101).1);
}

/// However many wait, they come back at a bounded rate, and none is away for longer than the longest wait.
#[test]
fn a_crowd_comes_back_one_after_the_other() {
    let (mut admission, _) = busy();
    let waits: Vec<_> = (100..20_000).map(|of| later(asks(&mut admission, START, of).1)).collect();
    assert_eq!(waits.iter().max(), Some(&LONGEST_WAIT));
    let in_time = |wait: &&Duration| **wait < LONGEST_WAIT;
    let per_second = waits.iter().filter(in_time).count() as u64 / LONGEST_WAIT.as_secs();
    let most = 1_000 / RETURN_INTERVAL.as_millis() as u64;
    assert!((most - 10..=most).contains(&per_second), "{per_second} come back per second");
}

/// All turns are taken by others, so that the limit of its own turns does not stop it.
#[test]
fn one_address_that_asks_again_and_again_delays_no_other() {
    let (mut admission, _) = busy();
    for _ in 0..10_000 {
        later(asks(&mut admission, START, 100).1);
    }
    let wait = later(asks(&mut admission, START, 101).1);
    assert!(wait <= SHORTEST_WAIT + 2 * RETURN_INTERVAL, "{wait:?}");
}

/// While turns last for long, asking often is of no use.
#[test]
fn the_longer_the_present_turns_have_lasted_the_later_others_come_back() {
    let (mut admission, _) = busy();
    let waits = [0, 4, 8, 60].map(|age| later(asks(&mut admission, START + Duration::from_secs(age), 100).1));
    assert_eq!(waits, [50, 500, 1_000, 1_250].map(Duration::from_millis));
}

#[test]
fn a_server_is_in_use_until_the_last_client_is_gone_or_late() {
    let (mut admission, clients) = busy();
    let wait = later(asks(&mut admission, START, 100).1);
    clients.into_iter().for_each(|id| admission.disconnected(id));
    assert!(admission.is_in_use(START + wait), "one was sent away");
    assert!(!admission.is_in_use(START + wait + wait / 4 + LATENESS));
    let id = connected(&mut admission, START, address(100));
    assert!(admission.is_in_use(START + LONGEST_WAIT), "one is connected");
    admission.disconnected(id);
    assert!(!admission.is_in_use(START + LONGEST_WAIT));
}

#[test]
fn a_long_turn_ends_only_if_others_wait_who_come_first_then() {
    let (mut admission, clients) = busy();
    let now = START + TURN;
    assert!(!admission.is_over(now, clients[0]));
    assert_eq!(admission.request(now, clients[0]), Admission::Now);
    let wait = later(asks(&mut admission, now, 100).1);
    assert!(admission.is_over(now, clients[0]));
    assert!(later(admission.request(now, clients[0])) > wait, "it has had its turn");
    assert_eq!(admission.turns(), LIMITS.turns - 1);
    assert_eq!(asks(&mut admission, now + wait, 100).1, Admission::Now);
}

#[test]
fn turns_in_which_nothing_happens_go_to_others() {
    let (mut admission, clients) = busy();
    later(asks(&mut admission, START, 100).1);
    admission.answered(START, clients[0], false);
    later(asks(&mut admission, START, 100).1);
    // The next request of a client with a long round trip may be under way.
    later(asks(&mut admission, START + Duration::from_millis(999), 100).1);
    let now = START + REQUEST_TIME;
    assert_eq!(asks(&mut admission, now, 100).1, Admission::Now);
    later(asks(&mut admission, now, 101).1);
    // That it reached the end of the records makes room at once.
    admission.answered(now, clients[1], true);
    assert_eq!(asks(&mut admission, now, 101).1, Admission::Now);
}

#[test]
fn one_address_takes_a_part_of_the_turns_and_does_not_hold_up_others() {
    let mut admission = AdmissionControl::new(LIMITS);
    for _ in 0..LIMITS.turns_per_address {
        assert_eq!(asks(&mut admission, START, 1).1, Admission::Now);
    }
    for _ in 0..10_000 {
        assert_eq!(later(asks(&mut admission, START, 1).1), ADDRESS_WAIT);
    }
    for of in 2..2 + LIMITS.turns - LIMITS.turns_per_address {
        assert_eq!(asks(&mut admission, START, of).1, Admission::Now);
    }
    // Nor do those that wait behind it come back later.
    assert_eq!(later(asks(&mut admission, START, 100).1), SHORTEST_WAIT);
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
    let mut admission = AdmissionControl::new(LIMITS);
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
fn an_address_does_not_replace_its_own_clients_that_are_served() {
    let mut admission = AdmissionControl::new(LIMITS);
    let served: Vec<_> = (0..LIMITS.turns_per_address).map(|_| asks(&mut admission, START, 1)).collect();
    assert!(served.iter().all(|(_, admission)| *admission == Admission::Now));
    let others = LIMITS.connections_per_address - LIMITS.turns_per_address;
    for _ in 0..others {
        connected(&mut admission, START, address(1));
    }
    assert_eq!(admission.connect(START + SILENCE, address(1)), ConnectDecision::Refused);
    for _ in 0..others {
        let replaced = admission.connect(START + REQUEST_TIME, address(1));
        let ConnectDecision::Admitted(_, Some(id)) = replaced else { panic!("{replaced:?}") };
        assert!(served.iter().all(|(served, _)| *served != id), "{id:?}");
    }
    assert_eq!(admission.connect(START + REQUEST_TIME, address(1)), ConnectDecision::Refused);
}

#[test]
fn the_addresses_of_an_ipv6_network_count_as_one() {
    let address = |number: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, number, 2, 3, number]);
    let mut admission = AdmissionControl::new(LIMITS);
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
