//! Flow control: which subscribers a publisher waits for, and how long.

use std::thread;
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_lab::{Host, Impairment};
use mcast_stream::publisher::{PublisherEvent, Refusal};
use mcast_stream::subscriber::Item;
use mcast_stream::{StreamError, Subscriber, Until};

use crate::net::{Net, TIMEOUT, message, receive_stream};

#[test]
fn a_subscriber_that_reads_nothing_is_named_in_refusals_and_then_evicted() {
    let net = Net::new(Family::V4, 2, Impairment::default());
    let mut quick = net.subscriber(0, |settings| settings);
    let mut stuck = net.subscriber(1, |settings| settings);
    let publisher = net
        .publisher(|settings| settings.retransmission_buffer(64 << 10).eviction(Duration::from_millis(300)));
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive_stream(&mut quick, |number| message(number % 49 + 1)));
        while !publisher.wait_for(2, Duration::from_millis(20)) {
            // It joins, and then makes no further calls.
            stuck.next_timeout(Duration::from_millis(20)).unwrap();
        }
        let mut reasons = Vec::new();
        for number in 0..1_000 {
            loop {
                match publisher.try_publish(&message(number % 49 + 1)) {
                    Ok(_) => break,
                    Err(StreamError::Refused(refusal @ Refusal::WaitingFor { .. })) => reasons.push(refusal),
                    Err(StreamError::Refused(Refusal::Unsent)) => {}
                    Err(error) => panic!("{error}"),
                }
                thread::yield_now();
            }
        }
        let events: Vec<_> = std::iter::from_fn(|| publisher.event()).collect();
        let evicted: Vec<_> =
            events.iter().filter(|event| matches!(event, PublisherEvent::SubscriberEvicted(..))).collect();
        assert_eq!(evicted.len(), 1, "{events:?}");
        assert!(!reasons.is_empty(), "no refusal names the subscriber that the publisher waits for");
        assert!(publisher.close(TIMEOUT).behind.is_empty());
        assert_eq!(receiving.join().unwrap().messages, 1_000);
    });
}

#[test]
fn a_busy_subscriber_that_keeps_alive_is_not_silent_and_misses_nothing() {
    // An idle subscriber sends a status every second.
    let silence = Duration::from_secs(4);
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let mut subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.publisher(|settings| settings.subscriber_timeout(silence));
    while !publisher.wait_for(1, Duration::from_millis(20)) {
        subscriber.next_timeout(Duration::from_millis(20)).unwrap();
    }
    publisher.publish(&message(1)).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while !matches!(subscriber.next_timeout(TIMEOUT).unwrap(), Some(Item::Message(_))) {
        assert!(Instant::now() < deadline, "the first message does not arrive");
    }
    let (busy_until, deadline) = (Instant::now() + 2 * silence, Instant::now() + TIMEOUT);
    thread::scope(|scope| {
        let publish = || (2..1_000).for_each(|number| _ = publisher.publish(&message(number)).unwrap());
        let publishing = scope.spawn(publish);
        let is_confirmed =
            || publishing.is_finished() && publisher.wait(Until::Received, Duration::ZERO).unwrap();
        while Instant::now() < busy_until || !is_confirmed() {
            assert!(Instant::now() < deadline, "buffered messages are not confirmed");
            subscriber.keep_alive(Duration::from_millis(20)).unwrap();
        }
    });
    let events: Vec<_> = std::iter::from_fn(|| publisher.event()).collect();
    let is_gone = |event: &PublisherEvent| {
        matches!(event, PublisherEvent::SubscriberSilent(_) | PublisherEvent::SubscriberEvicted(..))
    };
    assert!(!events.iter().any(is_gone), "{events:?}");
    assert!(subscriber.statistics().repaired > 0, "nothing was lost: {:?}", subscriber.statistics());
    thread::scope(|scope| {
        scope.spawn(|| assert!(publisher.close(TIMEOUT).behind.is_empty()));
        let received = receive_stream(&mut subscriber, |number| message(number + 1));
        assert_eq!((received.first, received.messages), (Some(1), 998));
    });
}

/// The driver reports the size of its receive buffer, so what is sent while the subscriber does not read fits into it.
/// On the publisher's host, because no link drops anything there.
#[test]
fn a_subscriber_that_does_not_read_for_a_while_loses_nothing() {
    let net = Net::new(Family::V4, 0, Impairment::default());
    let membership = net.membership();
    let granted = net.publisher.run(|| {
        let receiver = mcast::Receiver::builder().join(membership.clone()).receive_buffer(4 << 20).build();
        receiver.unwrap().receive_buffer()
    });
    let granted = granted.unwrap();
    if granted < 1 << 20 {
        println!("skipped: the system grants a receive buffer of only {granted} bytes (net.core.rmem_max)");
        return;
    }
    let mut subscriber =
        net.publisher.run(|| Subscriber::builder().join(membership).build().unwrap()).unwrap();
    let publisher = net.publisher(|settings| {
        let settings = settings.retransmission_buffer(32 << 20).eviction(TIMEOUT);
        settings.subscriber_timeout(TIMEOUT)
    });
    while !publisher.wait_for(1, Duration::from_millis(20)) {
        subscriber.next_timeout(Duration::from_millis(20)).unwrap();
    }
    // Each message fills a datagram. Publishing stops when the publisher waits for the subscriber.
    let message = |number: u64| vec![number as u8; 1_400];
    let mut published = 0;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match publisher.try_publish(&message(published)) {
            Ok(_) => published += 1,
            Err(StreamError::Refused(Refusal::WaitingFor { .. })) => break,
            Err(StreamError::Refused(Refusal::Unsent)) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < deadline, "the publisher does not wait after {published} messages");
    }
    let sent = publisher.statistics().datagrams;
    assert!(sent > 500, "the publisher waited after only {sent} datagrams");
    thread::scope(|scope| {
        scope.spawn(|| assert!(publisher.close(TIMEOUT).behind.is_empty()));
        assert_eq!(receive_stream(&mut subscriber, message).messages, published);
    });
    // Datagrams may overtake each other between two processors, so `missed` may exceed 0.
    let overflows = receive_buffer_errors(&net.publisher);
    assert_eq!(overflows, 0, "the receive buffer of {granted} bytes overflowed");
}

/// Returns how many datagrams were dropped on a host because a receive buffer was full.
fn receive_buffer_errors(host: &Host) -> u64 {
    let table = host.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
    let mut lines = table.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut counters = names.split(' ').zip(values.split(' '));
    counters.find(|(name, _)| *name == "RcvbufErrors").unwrap().1.parse().unwrap()
}
