//! Both ends of a measurement on one network.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mcast::{Family, Outgoing, Receiver, Sender};
use mcast_doctor::{Error, HostError};
use mcast_measure::wire::SessionId;
use mcast_measure::{EndedSession, PingPong, PingPongLimit, PingSchedule, Pings, ProbeCase};
use mcast_path::{Asker, Listener, PathTest, PerfSendPlan, PerfSender, clock_id};

use crate::net::Net;

const LISTEN: &str = "239.1.2.3%eth0:5000";
const IDLE: Duration = Duration::from_secs(3);
/// Much longer than any of these measurements.
const TIMEOUT: Duration = Duration::from_secs(30);

fn targets() -> Vec<Outgoing<'static>> {
    vec![Outgoing::new(&[]).to("239.1.2.3:5000".parse().unwrap())]
}

/// Listens while `act` runs on the sending host, and returns the sessions that have ended.
fn with_listener(net: &Net, answers_pings: bool, act: impl FnOnce() + Send) -> Vec<EndedSession> {
    let receiver = net.receiver.run(|| Receiver::join_one(LISTEN.parse().unwrap()).unwrap()).unwrap();
    let is_done = &AtomicBool::new(false);
    thread::scope(|scope| {
        let listening = scope.spawn(|| {
            net.receiver
                .run(|| {
                    let listener = Listener::perf(receiver, IDLE, answers_pings);
                    let mut ended = Vec::new();
                    let keep_going = |_| {
                        ended.extend(listener.take_ended());
                        Ok::<_, Error>(!is_done.load(Ordering::Relaxed))
                    };
                    listener.run(Some(TIMEOUT), keep_going, |_| ()).unwrap();
                    ended.extend(listener.take_all());
                    ended
                })
                .unwrap()
        });
        net.sender.run(act).unwrap();
        is_done.store(true, Ordering::Relaxed);
        listening.join().unwrap()
    })
}

#[test]
fn receiver_reports_what_a_session_sent() {
    let net = Net::new();
    let ended = with_listener(&net, false, || {
        let open = || Sender::builder().details(false).build();
        let mut sender = PerfSender::new(&targets(), 2, 100, open).unwrap();
        let plan = PerfSendPlan { count: Some(500), ..PerfSendPlan::default() };
        let result = sender.run(&plan, &|| true, |_| Ok::<_, Error>(())).unwrap();
        assert_eq!((result.sent, result.settings.streams), (1_000, 2));
        let report = result.reports.worst().unwrap().report.clone();
        assert_eq!(report.received + report.lost, 1_000);
    });
    assert_eq!(ended.iter().map(|ended| ended.report.sent).collect::<Vec<_>>(), [1_000]);
}

#[test]
fn failure_of_the_caller_ends_a_session() {
    let net = Net::new();
    let begun = Instant::now();
    let failed = net.sender.run(|| {
        let mut sender = PerfSender::new(&targets(), 1, 100, || Sender::builder().build()).unwrap();
        let plan = PerfSendPlan { duration: Some(TIMEOUT), ..PerfSendPlan::default() };
        sender.run(&plan, &|| true, |_| Err(Error::Host(HostError::NoProgram("enough".into())))).unwrap_err()
    });
    assert_eq!(failed.unwrap().to_string(), "enough");
    assert!(begun.elapsed() < TIMEOUT);
}

#[test]
fn ping_pong_measures_round_trips() {
    let net = Net::new();
    let ended = with_listener(&net, true, || {
        let sender = Sender::builder().details(false).build().unwrap();
        let mut game = PingPong::new(SessionId::random(), 64, clock_id(), PingPongLimit::Count(20), None);
        let mut partners = Vec::new();
        let targets = targets();
        let mut asker = Asker::new(&sender, &targets);
        asker.run(&mut game, || true, |_, partner| partners.push(partner.to_string())).unwrap();
        assert_eq!(partners, ["10.9.0.2"]);
        assert_eq!(game.times().count() + game.lost(), 20);
        assert!(game.times().min().unwrap() <= game.elapsed());
    });
    assert_eq!(ended.len(), 1);
}

#[test]
fn pings_are_answered_by_multicast_and_by_unicast() {
    let net = Net::new();
    let listener =
        net.receiver.run(|| Listener::probes(vec![LISTEN.parse().unwrap()], Some(Family::V4)).unwrap());
    let listener = listener.unwrap();
    let (is_done, probers) = (&AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        scope.spawn(|| {
            let keep_going = |_| Ok::<_, Error>(!is_done.load(Ordering::Relaxed));
            net.receiver.run(|| {
                listener.run(Some(TIMEOUT), keep_going, |prober| probers.lock().unwrap().push(prober))
            })
        });
        net.sender.run(ping).unwrap();
        is_done.store(true, Ordering::Relaxed);
        listener.receiver().waker().wake().unwrap();
    });
    assert_eq!(probers.into_inner().unwrap(), ["10.9.0.1".parse::<std::net::IpAddr>().unwrap()]);
    // The first probe to the group has no unicast probe beside it.
    assert_eq!(listener.counts().answered, 3 + 2);
}

#[test]
fn good_path_has_no_findings() {
    let net = Net::new();
    let listener = net.receiver.run(|| Listener::probes(vec![LISTEN.parse().unwrap()], None).unwrap());
    let listener = listener.unwrap();
    let is_done = &AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let keep_going = |_| Ok::<_, Error>(!is_done.load(Ordering::Relaxed));
            net.receiver.run(|| listener.run(Some(TIMEOUT), keep_going, |_| ()))
        });
        let test = net.sender.run(|| {
            let mut test = PathTest::new("239.1.2.3:5000".parse().unwrap(), None, 1, SessionId::random());
            test.run(&Sender::builder().build().unwrap(), &targets(), 2, || true).unwrap();
            test
        });
        is_done.store(true, Ordering::Relaxed);
        listener.receiver().waker().wake().unwrap();
        let test = test.unwrap();
        assert_eq!(test.findings(false), []);
        let arrived = &test.session.responders()[0];
        assert!((0..test.session.cases().len()).all(|case| arrived.multicast(case).received() == 2));
    });
}

fn ping() {
    let every = Duration::from_millis(50);
    let schedule =
        PingSchedule { every, wait: TIMEOUT, count: Some(3), timeout: Some(TIMEOUT), expected: Some(1) };
    let case = ProbeCase { size: 64, hop_limit: 1 };
    let sender = Sender::builder().build().unwrap();
    let (mut pings, targets) = (Pings::new(SessionId::random(), case, schedule), targets());
    let mut by_unicast = Vec::new();
    let mut asker = Asker::new(&sender, &targets);
    asker.run(&mut pings, || true, |_, accepted| by_unicast.push(accepted.reply.by_unicast)).unwrap();
    assert_eq!((by_unicast.len(), by_unicast.iter().filter(|is| **is).count()), (5, 2));
    let responder = &pings.session().responders()[0];
    assert_eq!((responder.multicast(0).received(), responder.unicast().received()), (3, 2));
}
