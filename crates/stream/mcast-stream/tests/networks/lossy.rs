//! Over links that lose, delay, duplicate and reorder, every message arrives unchanged and in order.

use std::thread;
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::StreamError;
use mcast_stream::subscriber::Item;

use crate::net::{Net, TIMEOUT, message, receive_stream};

fn everything_arrives(family: Family, receivers: usize, count: u64, impairment: Impairment) {
    let net = Net::new(family, receivers, impairment);
    let mut subscribers: Vec<_> =
        (0..receivers).map(|number| net.subscriber(number, |settings| settings)).collect();
    let publisher = net.publisher(|settings| settings.retransmission_buffer(2 << 20));
    thread::scope(|scope| {
        let receiving: Vec<_> = subscribers
            .iter_mut()
            .map(|subscriber| scope.spawn(|| receive_stream(subscriber, message)))
            .collect();
        assert!(publisher.wait_for(receivers, TIMEOUT), "{:?}", publisher.statistics());
        for number in 0..count {
            assert_eq!(publisher.publish(&message(number)).unwrap().0, number);
        }
        let closing = publisher.close(TIMEOUT);
        assert_eq!((closing.complete, &closing.behind[..]), (receivers, &[][..]), "{closing:?}");
        for one in receiving {
            let received = one.join().unwrap();
            assert_eq!((received.first, received.messages), (Some(0), count), "{:?}", received.events);
        }
        // Without configured loss there may be repairs, too, for subscribers that read slowly.
        assert!(impairment.loss == 0.0 || closing.statistics.repair_bytes > 0, "{:?}", closing.statistics);
    });
}

#[test]
fn without_loss() {
    everything_arrives(Family::V4, 2, 3_000, Impairment::default());
    everything_arrives(Family::V6, 2, 3_000, Impairment::default());
}

#[test]
fn at_one_percent_loss() {
    everything_arrives(Family::V4, 2, 3_000, Impairment { loss: 0.01, ..Impairment::default() });
}

#[test]
fn at_five_percent_loss() {
    everything_arrives(Family::V4, 1, 3_000, Impairment { loss: 0.05, ..Impairment::default() });
    everything_arrives(Family::V6, 4, 2_000, Impairment { loss: 0.05, ..Impairment::default() });
}

#[test]
fn at_twenty_percent_loss() {
    everything_arrives(Family::V4, 3, 1_000, Impairment { loss: 0.2, ..Impairment::default() });
}

#[test]
fn to_four_at_one_percent_loss_and_to_eight_at_five() {
    everything_arrives(Family::V6, 4, 2_000, Impairment { loss: 0.01, ..Impairment::default() });
    everything_arrives(Family::V4, 8, 1_000, Impairment { loss: 0.05, ..Impairment::default() });
}

#[test]
fn to_eight_without_loss_and_at_twenty_percent() {
    everything_arrives(Family::V4, 8, 1_000, Impairment::default());
    everything_arrives(Family::V6, 8, 300, Impairment { loss: 0.2, ..Impairment::default() });
}

/// Again and again, one link loses everything in both directions for a while.
#[test]
fn when_losses_come_in_bursts() {
    const COUNT: u64 = 2_000;
    let net = Net::new(Family::V4, 2, Impairment::default());
    let mut subscribers = [net.subscriber(0, |settings| settings), net.subscriber(1, |settings| settings)];
    // Everything fits the retransmission buffer, so that flow control does not wait while a link loses feedback.
    let publisher = net.publisher(|settings| settings.retransmission_buffer(8 << 20));
    thread::scope(|scope| {
        let receiving: Vec<_> = subscribers
            .iter_mut()
            .map(|subscriber| scope.spawn(|| receive_stream(subscriber, message)))
            .collect();
        assert!(publisher.wait_for(2, TIMEOUT));
        let mut lost = 0;
        for number in 0..COUNT {
            let link = &net.subscribers[number as usize / 100 % 2].1;
            match number % 100 {
                40 => {
                    lost = link.statistics().lost;
                    link.set(Impairment { loss: 1.0, ..Impairment::default() }).unwrap();
                }
                60 => {
                    // The link's thread drops them when it gets the processor.
                    let deadline = Instant::now() + TIMEOUT;
                    while link.statistics().lost < lost + 5 {
                        assert!(Instant::now() < deadline, "nothing is lost: {:?}", link.statistics());
                        thread::yield_now();
                    }
                    link.set(Impairment::default()).unwrap();
                }
                _ => {}
            }
            assert_eq!(publisher.publish(&message(number)).unwrap().0, number);
        }
        let closing = publisher.close(TIMEOUT);
        assert!(closing.behind.is_empty(), "{closing:?}");
        for one in receiving {
            let received = one.join().unwrap();
            assert_eq!((received.first, received.messages), (Some(0), COUNT), "{:?}", received.events);
        }
    });
    let lost: u64 = net.subscribers.iter().map(|(_, link)| link.statistics().lost).sum();
    assert!(lost >= 100, "the bursts took only {lost}");
}

#[test]
fn with_reordering_copies_and_delay() {
    let delay = Duration::from_millis(2);
    let impairment = Impairment {
        loss: 0.02,
        reorder: 0.05,
        duplicate: 0.05,
        delay,
        jitter: delay,
        ..Impairment::default()
    };
    everything_arrives(Family::V4, 2, 1_000, impairment);
}

/// Four threads share a publisher, each with another call, whose buffer is soon full: each message arrives once, those of one
/// thread in order, by the numbers that its calls returned.
#[test]
fn threads_that_share_a_publisher_lose_no_order() {
    const EACH: u64 = 2_000;

    let net = Net::new(Family::V4, 1, Impairment { loss: 0.02, ..Impairment::default() });
    let mut subscriber = net.subscriber(0, |settings| settings);
    let publisher = &net.publisher(|settings| settings.retransmission_buffer(64 << 10));
    let text = |thread: u64, count: u64| [thread.to_be_bytes(), count.to_be_bytes()].concat();
    let publish = |thread: u64, count: u64| {
        let message = text(thread, count);
        loop {
            let published = match thread {
                0 => publisher.try_publish(&message),
                1 => publisher.publish_timeout(&message, Duration::from_millis(1)),
                _ => publisher.publish(&message),
            };
            match published {
                Err(StreamError::Refused(refusal)) if refusal.is_temporary() => thread::yield_now(),
                published => return published.unwrap(),
            }
        }
    };
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let mut received = Vec::new();
            while let Some(item) = subscriber.next_timeout(TIMEOUT).unwrap() {
                if let Item::Message(message) = item {
                    received.push((message.number, message.bytes.to_vec()));
                }
            }
            received
        });
        assert!(publisher.wait_for(1, TIMEOUT));
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || (0..EACH).map(|count| publish(thread, count)).collect::<Vec<_>>())
            })
            .collect();
        let numbers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let closing = publisher.close(TIMEOUT);
        assert!(closing.behind.is_empty(), "{closing:?}");
        let received = receiving.join().unwrap();
        assert_eq!(received.len() as u64, 4 * EACH);
        assert!(received.iter().zip(0..).all(|((number, _), expected)| number.0 == expected));
        for (numbers, thread) in numbers.iter().zip(0..) {
            assert!(numbers.is_sorted());
            for (number, count) in numbers.iter().zip(0..) {
                assert_eq!(received[number.0 as usize].1, text(thread, count));
            }
        }
    });
}
