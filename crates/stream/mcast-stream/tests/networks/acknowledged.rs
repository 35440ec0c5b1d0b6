//! Waiting until named subscribers have received and processed messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::publisher::{AckLevel, AckState, Acknowledgers, Quorum, SubscriberPresence};
use mcast_stream::subscriber::Item;
use mcast_stream::wire::MessageNumber;
use mcast_stream::{StreamError, Subscriber, Until};

use crate::net::{Net, TIMEOUT};

fn quorum(level: AckLevel) -> Quorum {
    Quorum { level, ..Quorum::new(Acknowledgers::Named(vec!["db".parse().unwrap()])) }
}

/// Receives until `done`, and acknowledges messages while `processes`.
fn receive(subscriber: &mut Subscriber, processes: &AtomicBool, done: &AtomicBool) {
    let mut waiting = Vec::new();
    while !done.load(Ordering::Acquire) {
        if let Some(Item::Message(message)) = subscriber.next_timeout(Duration::from_millis(5)).unwrap() {
            waiting.push(message.position());
        }
        if processes.load(Ordering::Acquire) {
            waiting.drain(..).for_each(|position| subscriber.ack(position));
        }
    }
}

#[test]
fn a_message_is_acknowledged_once_the_application_has_processed_it() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let mut subscriber = net.subscriber(0, |settings| settings.name("db".parse().unwrap()));
    let publisher = net.publisher(|settings| settings.acknowledge(quorum(AckLevel::Processed)));
    let (processes, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| receive(&mut subscriber, &processes, &done));
        // It blocks until the subscriber is there.
        let number = publisher.publish(b"order").unwrap();
        let deadline = Instant::now() + TIMEOUT;
        while publisher.watermarks().first().is_none_or(|each| each.received.0 == 0) {
            assert!(Instant::now() < deadline, "{:?}", publisher.watermarks());
            thread::yield_now();
        }
        let acked = Until::MessageAcknowledged(number);
        assert!(!publisher.wait(acked, Duration::from_millis(50)).unwrap());
        assert_eq!(
            publisher.ack_state(number),
            Some(AckState::Pending),
            "it was received, and not processed"
        );
        assert_eq!(
            publisher.ack_wait().map(|wait| (wait.message, wait.acknowledged, wait.required)),
            Some((number, 0, 1))
        );
        processes.store(true, Ordering::Release);
        assert!(publisher.wait(acked, TIMEOUT).unwrap());
        assert!(publisher.wait(Until::Acknowledged, TIMEOUT).unwrap());
        assert_eq!(publisher.ack_state(number), Some(AckState::Acknowledged));
        let one = publisher.watermarks()[0];
        assert_eq!(
            (one.name.map(|name| name.to_string()), one.presence),
            (Some("db".into()), SubscriberPresence::Present)
        );
        assert_eq!((one.received.0, one.processed.0, one.missing), (1, 1, 0));
        assert_eq!(publisher.ack_state(MessageNumber(1)), Some(AckState::Pending));
        done.store(true, Ordering::Release);
    });
    let closing = publisher.close(Duration::ZERO);
    assert!(closing.acknowledged.is_some_and(|progress| progress.is_complete()), "{closing:?}");
}

#[test]
fn without_a_quorum_there_is_nothing_to_wait_for() {
    let net = Net::new(Family::V4, 0, Impairment::default());
    let publisher = net.publisher(|settings| settings);
    for until in [Until::Acknowledged, Until::MessageAcknowledged(MessageNumber(0))] {
        let waited = publisher.wait(until, Duration::ZERO);
        assert!(matches!(waited, Err(StreamError::AcksNotRequired)), "{until:?}: {waited:?}");
    }
    for until in [Until::Stored, Until::MessageStored(MessageNumber(0))] {
        let waited = publisher.wait(until, Duration::ZERO);
        assert!(matches!(waited, Err(StreamError::NoLog)), "{until:?}: {waited:?}");
    }
    assert_eq!(publisher.ack_state(MessageNumber(0)), None);
}

#[cfg(feature = "tokio")]
#[test]
fn a_task_waits_for_acknowledgements() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let mut subscriber = net.subscriber(0, |settings| settings.name("db".parse().unwrap()));
    let publisher = net.publisher(|settings| settings.acknowledge(quorum(AckLevel::Received)));
    let (processes, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| receive(&mut subscriber, &processes, &done));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let publisher = mcast_stream::tokio::Publisher::new(publisher);
            let mut times = Vec::new();
            for _ in 0..20 {
                let number = publisher.publish(b"order").await.unwrap();
                let begun = Instant::now();
                assert!(publisher.wait(Until::MessageAcknowledged(number), TIMEOUT).await.unwrap());
                times.push(begun.elapsed());
            }
            times.sort_unstable();
            eprintln!("acknowledged after {:?} (median), {:?} at most", times[10], times[19]);
        });
        done.store(true, Ordering::Release);
    });
}
