//! Traffic between two hosts of a lab.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use mcast::Sender;
use mcast_lab::{Host, Lab};
use mcast_stream::{Publisher, Subscriber};
use mcast_traffic::{
    Dispatch, DispatchCounts, MessagePublisher, MessageRun, PublishPlan, RunEnd, StopSignal, TrafficError,
    resolve_targets,
};

fn two_hosts(lab: &Lab) -> (Host, Host) {
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"]).unwrap();
    (a, b)
}

#[test]
fn a_run_measures_all_messages_of_a_publisher() {
    let lab = Lab::new().unwrap();
    let (a, b) = two_hosts(&lab);
    let plan = PublishPlan { size: 100, rate: None, count: Some(500), duration: Duration::ZERO, clock: 7 };
    let mut subscriber = b
        .run(|| Subscriber::builder().join("239.1.2.3%eth0:5000".parse().unwrap()).build().unwrap())
        .unwrap();
    let listening = std::thread::spawn(move || {
        let mut run = MessageRun::new(7);
        let deadline = Instant::now() + Duration::from_secs(60);
        let idle = Duration::from_secs(5);
        let end = run.listen(&mut subscriber, idle, Some(deadline), &StopSignal::default(), |_| {}).unwrap();
        (run, end)
    });
    let report = a
        .run(move || {
            let publisher = Publisher::builder().to("239.1.2.3%eth0:5000".parse().unwrap()).build().unwrap();
            let stop = StopSignal::default();
            let messages = MessagePublisher::new(&publisher, &plan, &stop);
            assert!(messages.wait_for_subscribers(1));
            messages.run(|_| {}).unwrap()
        })
        .unwrap();
    let (run, end) = listening.join().unwrap();

    assert_eq!((report.complete, report.behind, report.statistics.messages), (1, 0, 500));
    assert_eq!((end, run.lost, run.sent()), (RunEnd::Ended, 0, Some(500)));
    let counts = run.meter.counts();
    assert_eq!((counts.messages, counts.bytes, counts.wrong), (500, 50_000, 0));
    assert!(run.meter.delays().is_some(), "both have the same clock");
}

#[test]
fn a_signal_ends_the_wait_for_subscribers() {
    let lab = Lab::new().unwrap();
    let (a, _b) = two_hosts(&lab);
    let is_complete = a
        .run(|| {
            let publisher = Publisher::builder().to("239.1.2.3%eth0:5000".parse().unwrap()).build().unwrap();
            let plan = PublishPlan { size: 0, rate: None, count: None, duration: Duration::MAX, clock: 0 };
            let stop = StopSignal::default();
            stop.set();
            MessagePublisher::new(&publisher, &plan, &stop).wait_for_subscribers(1)
        })
        .unwrap();

    assert!(!is_complete);
}

#[test]
fn an_error_is_reported_once_and_later_datagrams_are_counted() {
    let lab = Lab::new().unwrap();
    let (a, _b) = two_hosts(&lab);
    let c = lab.host("c").unwrap();
    lab.link(&a, "eth1", &["10.0.1.1/24"], &c, "eth1", &["10.0.1.2/24"]).unwrap();
    a.set_down("eth1").unwrap();
    a.run(|| {
        let sender = Sender::builder().build().unwrap();
        let interfaces = ["eth0", "eth1"].map(|name| name.parse().unwrap());
        let targets = resolve_targets(&["239.1.2.3:5000".parse().unwrap()], &interfaces).unwrap();
        let [up, down] = [&targets[0], &targets[1]].map(|target| target.outgoing(b"hello"));
        let mut dispatch = Dispatch::new(&sender);
        let mut reported = 0;

        dispatch.send(&[up, down, down, up], |_| reported += 1).unwrap();

        assert_eq!((dispatch.counts(), reported), (DispatchCounts { sent: 2, bytes: 10, refused: 2 }, 1));
        // If the first is refused, nothing may work at all.
        Dispatch::new(&sender).send(&[down, up], |error| panic!("{error}")).unwrap_err();
    })
    .unwrap();
}

#[test]
fn an_unknown_interface_is_named_with_the_target() {
    let unknown =
        resolve_targets(&["239.1.2.3:5000".parse().unwrap()], &["no-such-interface".parse().unwrap()]);
    let Err(TrafficError::Target { to, .. }) = unknown else { panic!("{unknown:?}") };
    assert_eq!(to.to_string(), "239.1.2.3:5000");
}
