//! Subscribers and publishers that poll in a loop before they sleep.

use std::thread;
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::StreamError;

use crate::net::{Net, TIMEOUT, message, receive_stream};

/// Longer than the test.
const ALWAYS: Duration = Duration::from_secs(60);

/// Returns how often this thread has slept, or waited for anything else.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn everything_arrives_at_a_subscriber_that_never_sleeps() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let mut subscriber = net.subscriber(0, |settings| settings.spin(ALWAYS));
    let publisher = net.publisher(|settings| settings.spin(ALWAYS));
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let before = sleeps();
            (receive_stream(&mut subscriber, message), sleeps() - before)
        });
        assert!(publisher.wait_for(1, TIMEOUT));
        for number in 0..600 {
            publisher.publish(&message(number)).unwrap();
            thread::sleep(Duration::from_micros(200));
        }
        let closing = publisher.close(TIMEOUT);
        assert_eq!((closing.complete, &closing.behind[..]), (1, &[][..]), "{closing:?}");
        let (received, slept) = receiving.join().unwrap();
        assert_eq!((received.first, received.messages), (Some(0), 600), "{:?}", received.events);
        // One that waits for each sleeps 600 times. Repairs and locks of the test itself may make it wait sometimes.
        assert!(slept < 100, "it slept {slept} times");
    });
}

#[test]
fn spinning_ends_with_the_time_and_with_a_waker() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let mut subscriber = net.subscriber(0, |settings| settings.spin(ALWAYS));
    let before = Instant::now();
    assert!(subscriber.next_timeout(Duration::from_millis(20)).unwrap().is_none());
    assert!(before.elapsed() >= Duration::from_millis(20));
    let waker = subscriber.waker();
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(20));
            waker.wake().unwrap();
        });
        assert!(matches!(subscriber.next_timeout(TIMEOUT), Err(StreamError::Woken)));
    });
}

/// In a runtime with one thread, other tasks run between two polls.
#[cfg(feature = "tokio")]
#[test]
fn a_task_that_spins_lets_others_run() {
    use mcast_stream::subscriber::Item;
    use mcast_stream::tokio::{Publisher, Subscriber};

    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let subscriber = net.subscriber(0, |settings| settings.spin(ALWAYS));
    let publisher = net.publisher(|settings| settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let publishing = async {
            let publisher = Publisher::new(publisher);
            assert!(publisher.wait_for(1, TIMEOUT).await);
            for number in 0..600 {
                publisher.publish(&message(number)).await.unwrap();
            }
            publisher.close(TIMEOUT).await
        };
        let receiving = async {
            let mut subscriber = Subscriber::new(subscriber).unwrap();
            let mut count = 0;
            while let Some(item) = subscriber.next().await.unwrap() {
                let Item::Message(received) = item else { continue };
                assert_eq!((received.number.0, received.bytes), (count, &message(count)[..]));
                count += 1;
            }
            count
        };
        let (closing, count) = tokio::join!(publishing, receiving);
        assert_eq!((closing.complete, count), (1, 600), "{closing:?}");
    });
}
