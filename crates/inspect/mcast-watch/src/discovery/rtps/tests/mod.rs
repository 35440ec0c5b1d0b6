mod reports;

use super::super::testing::{Bench, DdsSample};
use super::*;

const GROUP: &str = "239.255.0.1:7400";
const RTPS: DiscoveryProtocol = DiscoveryProtocol::Rtps;

fn robot() -> DdsSample {
    DdsSample::participant(1).text(0x62, "robot").lease(20).unicast("10.0.0.1:7411")
}

#[test]
fn participant_and_its_endpoints_are_listed_until_its_lease_ends() {
    let mut bench = Bench::new();
    bench.datagram("10.0.0.1:40000", GROUP, &robot().domain(0).bytes());
    bench.datagram("10.0.0.1:40000", "10.0.0.9:7410", &DdsSample::writer(1, 0x103, "rt/chatter").bytes());
    bench.datagram("10.0.0.1:40000", "10.0.0.9:7410", &DdsSample::reader(1, 0x204, "rq/addRequest").bytes());
    assert_eq!(bench.names(RTPS), ["robot", "rq/addRequest", "rt/chatter"]);
    let participant = bench.of(RTPS).next().unwrap();
    assert_eq!((participant.kind, participant.port), (DiscoveredKind::Participant, Some(7411)));
    assert_eq!(
        (participant.value("vendor"), participant.value("lease")),
        ("Cyclone DDS".into(), "20 s".into())
    );
    let writer = bench.of(RTPS).find(|entry| entry.value("role") == "writer").unwrap();
    assert_eq!((writer.value("ROS topic"), writer.value("domain")), ("/chatter".into(), "0".into()));
    assert_eq!(
        (writer.service.to_string(), writer.value("reliability")),
        ("demo::Type".into(), "reliable".into())
    );
    let reader = bench.of(RTPS).find(|entry| entry.value("role") == "reader").unwrap();
    assert_eq!(
        (reader.value("ROS service"), reader.value("reliability")),
        ("/add".into(), "best effort".into())
    );
    // Any message of the participant renews it, even one of a reader that has no data.
    bench.wait(15.0);
    bench.datagram("10.0.0.1:40000", "10.0.0.9:7410", &[&robot().bytes()[..20], &[6, 1, 0, 0]].concat());
    bench.wait(15.0);
    assert_eq!(bench.names(RTPS).len(), 3);
    bench.wait(6.0);
    assert_eq!(bench.names(RTPS), [""; 0]);
    assert_eq!(bench.events(RTPS), "AAADDD");
}

#[test]
fn goodbye_of_a_participant_takes_its_endpoints_with_it() {
    let mut bench = Bench::new();
    bench.datagram("10.0.0.1:40000", GROUP, &robot().bytes());
    bench.datagram("10.0.0.1:40000", GROUP, &DdsSample::writer(1, 0x103, "a").bytes());
    bench.datagram("10.0.0.1:40000", GROUP, &DdsSample::writer(1, 0x203, "b").bytes());
    bench.datagram("10.0.0.1:40000", GROUP, &DdsSample::writer(1, 0x203, "b").gone().bytes());
    assert_eq!(bench.names(RTPS), ["a", "robot"]);
    // One that another host sends is ignored.
    bench.datagram("10.0.0.66:40000", GROUP, &DdsSample::participant(1).gone().bytes());
    assert_eq!((bench.names(RTPS).len(), bench.table.counts().foreign_goodbyes), (2, 1));
    bench.datagram("10.0.0.1:40000", GROUP, &DdsSample::participant(1).gone().bytes());
    assert_eq!(bench.names(RTPS), [""; 0]);
}

#[test]
fn domain_is_stated_or_follows_from_the_ports() {
    let domain = |sample: DdsSample, to: &str| {
        let mut bench = Bench::new();
        bench.datagram("10.0.0.1:40000", to, &sample.bytes());
        bench.only(RTPS).value("domain")
    };
    assert_eq!(domain(robot().domain(42), GROUP), "42");
    assert_eq!(domain(robot(), "239.255.0.1:17900"), "42");
    assert_eq!(domain(robot().locator(0x33, "239.255.0.1:7650"), "10.0.0.9:50000"), "1");
    assert_eq!(domain(robot().locator(0x32, "10.0.0.1:7662"), "10.0.0.9:50000"), "1");
    assert_eq!(domain(robot(), "10.0.0.9:7660"), "1");
    assert_eq!(domain(robot(), "10.0.0.9:7000"), "");
}

#[test]
fn every_domain_is_asked_in_and_a_burst_is_bounded() {
    let mut bench = Bench::new();
    let request = DiscoveryRequest { domains: (0..=u8::MAX).collect(), ..DiscoveryRequest::default() };
    bench.table.ask_for(bench.now, &request);
    let (mut asked, mut bursts) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let all = std::iter::from_fn(|| bench.table.poll_transmit(bench.now));
        let ports: Vec<u16> = all
            .filter(|question| question.protocol == RTPS)
            .map(|question| question.destination.port())
            .collect();
        bursts.push(ports.len());
        asked.extend(ports);
        bench.wait(0.1);
    }
    // By IPv4 and by IPv6.
    assert_eq!(asked, Vec::from_iter((7_400..=65_400).step_by(250).flat_map(|port| [port, port])));
    assert_eq!(bursts, [64, 64, 64, 64, 64, 64, 64, 18, 0, 0]);
    // All of them after 8 s, and not before.
    bench.wait(6.6);
    assert!(std::iter::from_fn(|| bench.table.poll_transmit(bench.now)).all(|one| one.protocol != RTPS));
    bench.wait(1.5);
    assert!(std::iter::from_fn(|| bench.table.poll_transmit(bench.now)).any(|one| one.protocol == RTPS));
}

/// A heartbeat of the first participant's writer of writers, to this participant, or to none in particular.
fn heartbeat(to: &[u8], last: u8) -> Vec<u8> {
    let mut message = b"RTPS\x02\x02\x01\x10".to_vec();
    message.extend([1; 12]);
    if !to.is_empty() {
        message.extend([0x0e, 1, 12, 0]);
        message.extend_from_slice(to);
    }
    message.extend([7, 1, 28, 0, 0, 0, 3, 0xc7, 0, 0, 3, 0xc2]);
    message.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 1, 0, 0, 0]);
    message
}

#[test]
fn heartbeats_to_the_group_are_answered_with_no_more_bytes_than_their_participant_sent() {
    let mut bench = Bench::new();
    bench.table.ask(bench.now);
    let requests = |bench: &mut Bench| {
        let all: Vec<_> = std::iter::from_fn(|| bench.table.poll_transmit(bench.now)).collect();
        let requests =
            all.into_iter().filter(|it| it.protocol == RTPS && it.destination.ip().to_string() == "10.0.0.1");
        requests.map(|request| request.payload).collect::<Vec<_>>()
    };
    let offered = heartbeat(&[], 1);
    let announced = robot().locator(0x32, "10.0.0.1:7410").bytes();
    // It may not know of the question.
    bench.datagram("10.0.0.1:40000", GROUP, &announced);
    for _ in 0..10 {
        bench.datagram("10.0.0.1:40000", GROUP, &offered);
    }
    assert_eq!(requests(&mut bench), [[0; 0]; 0]);
    bench.datagram("10.0.0.1:40000", "0.0.0.0:7400", &announced);
    let (mut sent, mut received, mut count) = (announced.len(), 0, 0);
    for _ in 0..100 {
        bench.datagram("10.0.0.1:40000", GROUP, &offered);
        sent += offered.len();
        for request in requests(&mut bench) {
            // With the name of that participant, without which others would read it, too.
            assert_eq!(request[20..36], [&[0x0e, 1, 12, 0], &[1; 12][..]].concat());
            (received, count) = (received + request.len(), count + 1);
        }
        assert!(received <= sent, "{received} bytes for {sent}");
    }
    assert!(count >= 70, "{count}");
    // Another host cannot spend what is left.
    bench.datagram("10.0.0.1:40000", "0.0.0.0:7400", &announced);
    bench.datagram("10.0.0.66:40000", GROUP, &offered);
    assert_eq!(requests(&mut bench), [[0; 0]; 0]);
}

#[test]
fn program_that_asks_requests_what_heartbeats_offer() {
    let mut bench = Bench::new();
    bench.table.ask(bench.now);
    let question = |bench: &mut Bench| {
        let mut all = std::iter::from_fn(|| bench.table.poll_transmit(bench.now));
        all.find(|question| question.protocol == RTPS)
    };
    let greeting = question(&mut bench).unwrap();
    assert_eq!(greeting.destination, GROUP.parse().unwrap());
    // Its own question is not listed.
    while question(&mut bench).is_some() {}
    bench.datagram("10.0.0.9:50000", GROUP, &greeting.payload);
    assert_eq!(bench.names(RTPS), [""; 0]);
    let heartbeat = |last: u8| heartbeat(&greeting.payload[8..20], last);
    bench.datagram("10.0.0.1:40000", "0.0.0.0:7400", &heartbeat(1));
    let request = question(&mut bench).unwrap();
    assert_eq!(request.destination, "10.0.0.1:40000".parse().unwrap());
    assert!(request.payload.len() <= heartbeat(1).len());
    assert_eq!(request.payload[52..57], [1, 0, 0, 0, 1]);
    bench.datagram("10.0.0.1:40000", "0.0.0.0:7400", &DdsSample::writer(1, 0x103, "rt/chatter").bytes());
    assert_eq!(bench.names(RTPS), ["rt/chatter"]);
    bench.datagram("10.0.0.1:40000", "0.0.0.0:7400", &heartbeat(1));
    assert_eq!(question(&mut bench).unwrap().payload[52..57], [2, 0, 0, 0, 1]);
    // One for another participant is not answered.
    let mut other = heartbeat(1);
    other[24] ^= 1;
    bench.datagram("10.0.0.1:40000", "0.0.0.0:7400", &other);
    assert_eq!(question(&mut bench), None);
    // It does not send its second reader or writer, however often that is requested.
    let unanswered = |bench: &mut Bench| {
        bench.datagram("10.0.0.1:40000", GROUP, &robot().bytes());
        let entries = bench.table.entries();
        let mut robot = entries.iter().filter(|entry| entry.kind == DiscoveredKind::Participant);
        robot.next().unwrap().field(UNANSWERED).is_some()
    };
    for (expected, is_answered) in [(false, false), (false, false), (true, false), (false, true)] {
        bench.wait(0.6);
        bench.datagram("10.0.0.1:40000", "0.0.0.0:7400", &heartbeat(2));
        if is_answered {
            let second = DdsSample::writer(1, 0x203, "rt/scan").bytes();
            bench.datagram("10.0.0.1:40000", "0.0.0.0:7400", &second);
        }
        assert_eq!(unanswered(&mut bench), expected);
        while question(&mut bench).is_some() {}
    }
    // Participants that appear are greeted soon, together, and one that is known is not.
    bench.wait(0.5);
    while question(&mut bench).is_some() {}
    for (numbers, greeted) in [([3, 4], 1), ([3, 4], 0), ([4, 5], 1)] {
        for number in numbers {
            bench.datagram("10.0.0.3:40000", GROUP, &DdsSample::participant(number).bytes());
        }
        assert_eq!(question(&mut bench), None);
        bench.wait(0.5);
        let greetings: Vec<_> = std::iter::from_fn(|| question(&mut bench)).collect();
        assert_eq!(greetings.len(), 2 * greeted, "{greetings:?}");
        assert!(greetings.iter().all(|it| it.destination.port() == 7400), "{greetings:?}");
    }
    // A new domain is greeted at once.
    bench.datagram("10.0.0.2:40000", "239.255.0.1:12400", &DdsSample::participant(2).bytes());
    assert_eq!(question(&mut bench).unwrap().destination.port(), 12_400);
}

#[test]
fn topic_that_is_repeated_after_its_goodbye_is_not_there_until_its_participant_appears_again() {
    let mut bench = Bench::new();
    bench.table.ask(bench.now);
    let (there, topic) = (robot(), DdsSample::writer(1, 0x103, "rt/chatter"));
    let mut gone = topic.clone().gone();
    gone.sequence = 2;
    let send = |bench: &mut Bench, samples: &[&DdsSample]| {
        samples.iter().for_each(|it| bench.datagram("10.0.0.1:40000", GROUP, &it.bytes()));
        bench.names(RTPS)
    };
    assert_eq!(send(&mut bench, &[&there, &topic, &topic]), ["robot", "rt/chatter"]);
    assert_eq!(send(&mut bench, &[&gone, &topic]), ["robot"]);
    assert_eq!(send(&mut bench, &[&there.clone().gone(), &topic]), [""; 0]);
    assert_eq!(send(&mut bench, &[&there, &topic]), ["robot", "rt/chatter"]);
}

#[test]
fn questions_of_other_programs_are_not_participants() {
    let asked = || {
        let mut bench = Bench::new();
        bench.table.ask(bench.now);
        let questions = std::iter::from_fn(|| bench.table.poll_transmit(bench.now));
        questions.filter(|question| question.protocol == RTPS).collect::<Vec<_>>()
    };
    let (questions, mut bench) = (asked(), Bench::new());
    assert!(questions.len() >= 10);
    for question in &questions {
        bench.datagram("10.0.0.9:50000", &question.destination.to_string(), &question.payload);
    }
    assert_eq!(bench.events(RTPS), "");
    // A program with the same name that does not ask as this one does is a participant.
    let named = DdsSample::participant(1).text(0x62, "mcast discover ");
    bench.datagram("10.0.0.9:50000", GROUP, &named.bytes());
    assert_eq!(bench.names(RTPS), ["mcast discover "]);
}

#[test]
fn flood_of_participants_leaves_lasting_ones_and_their_endpoints() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.datagram("10.0.0.1:40000", GROUP, &robot().bytes());
        bench.datagram("10.0.0.1:40000", GROUP, &DdsSample::writer(1, 0x103, "rt/chatter").bytes());
        bench.wait(2.0);
    }
    for number in 0..5_000_u32 {
        let mut forged = DdsSample::writer(9, 0x103, "forged");
        forged.prefix[..4].copy_from_slice(&number.to_be_bytes());
        let own = [&forged.prefix[..], &[0, 0, 1, 3]].concat();
        let forged = forged.parameter(0x5a, &own).bytes();
        bench.datagram("10.0.0.66:40000", GROUP, &forged);
    }
    let names = bench.names(RTPS);
    assert!(names.contains(&"robot".into()) && names.contains(&"rt/chatter".into()));
    assert!(names.len() <= RtpsObserver::MAX_PARTICIPANTS + 1, "{}", names.len());
    assert_eq!(bench.table.counts().evicted, 5_000 - names.len() as u64 + 2);
}

#[test]
fn one_participant_has_a_bounded_number_of_endpoints() {
    let mut bench = Bench::new();
    for entity in 0..1_000 {
        bench.datagram("10.0.0.1:40000", GROUP, &DdsSample::writer(1, entity, "a").bytes());
    }
    assert_eq!((bench.names(RTPS).len(), bench.table.counts().refused), (512, 488));
}

#[test]
fn sample_without_an_identity_is_counted() {
    let mut bench = Bench::new();
    let mut bytes = robot().bytes();
    // The identifier of the first parameter: the participant.
    bytes[48] = 0x51;
    bench.datagram("10.0.0.1:40000", GROUP, &bytes);
    assert_eq!((bench.names(RTPS).len(), bench.table.counts().malformed), (0, 1));
}
