//! Subscribers and publishers that poll in a loop before they sleep.

use std::path::{Path, PathBuf};
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
    sleeps_of("/proc/thread-self".as_ref())
}

/// Returns how often a thread has slept.
fn sleeps_of(thread: &Path) -> u64 {
    let status = std::fs::read_to_string(thread.join("status")).unwrap();
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

/// Returns the thread of the publisher in this network that waits for feedback.
fn listening_thread(net: &Net) -> PathBuf {
    let namespace = |thread: &Path| std::fs::read_link(thread.join("ns/net")).ok();
    let host = net.publisher.run(|| namespace("/proc/thread-self".as_ref())).unwrap();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let listens = |thread: &PathBuf| {
        let name = std::fs::read_to_string(thread.join("comm")).unwrap_or_default();
        name.starts_with("mcast-stream-li") && namespace(thread) == host
    };
    threads.into_iter().find(listens).unwrap()
}

/// Publishes on a bad link, and returns how often the thread that waits for feedback slept meanwhile.
fn sleeps_of_publisher(spin: Duration) -> u64 {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.1, ..Impairment::default() });
    let mut subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.publisher(|settings| settings.spin(spin));
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive_stream(&mut subscriber, message));
        assert!(publisher.wait_for(1, TIMEOUT));
        let listening = listening_thread(&net);
        let before = sleeps_of(&listening);
        for number in 0..600 {
            publisher.publish(&message(number)).unwrap();
            thread::sleep(Duration::from_micros(200));
        }
        let slept = sleeps_of(&listening) - before;
        assert_eq!(publisher.close(TIMEOUT).complete, 1);
        assert_eq!(receiving.join().unwrap().messages, 600);
        slept
    })
}

#[test]
fn a_publisher_that_polls_for_feedback_hardly_sleeps() {
    let (sleeping, polling) = (sleeps_of_publisher(Duration::ZERO), sleeps_of_publisher(ALWAYS));
    // The lock of the publisher may make it wait sometimes.
    assert!(polling * 3 < sleeping, "{polling} times instead of {sleeping}");
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
