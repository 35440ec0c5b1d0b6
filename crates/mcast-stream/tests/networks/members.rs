//! Whom a publisher waits for, and for how long.

use std::thread;
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::StreamError;
use mcast_stream::receiver::Item;
use mcast_stream::sender::{Refusal, SenderEvent};

use crate::net::{Net, PATIENCE, hear, message};

#[test]
fn who_takes_nothing_is_waited_for_by_name_and_then_no_more() {
    let net = Net::new(Family::V4, 2, Impairment::default());
    let mut quick = net.subscriber(0, |settings| settings);
    let mut stuck = net.subscriber(1, |settings| settings);
    let publisher = net.publisher(|settings| settings.history(64 << 10).eviction(Duration::from_millis(300)));
    thread::scope(|scope| {
        let hearing = scope.spawn(|| hear(&mut quick, |number| message(number % 49 + 1)));
        while !publisher.wait_for(2, Duration::from_millis(20)) {
            // It joins, and then is heard of no more.
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
            events.iter().filter(|event| matches!(event, SenderEvent::ReceiverEvicted(..))).collect();
        assert_eq!(evicted.len(), 1, "{events:?}");
        assert!(!reasons.is_empty(), "the refusals tell for whom it waits");
        assert!(publisher.close(PATIENCE).behind.is_empty());
        assert_eq!(hearing.join().unwrap().messages, 1_000);
    });
}

#[test]
fn who_attends_while_it_is_busy_is_neither_silent_nor_without_what_comes() {
    // Who has nothing to say says so every second.
    let silence = Duration::from_secs(4);
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let mut subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.publisher(|settings| {
        settings.configure(|config| config.receiver_timeout = silence.as_nanos() as u64)
    });
    while !publisher.wait_for(1, Duration::from_millis(20)) {
        subscriber.next_timeout(Duration::from_millis(20)).unwrap();
    }
    publisher.publish(&message(1)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !matches!(subscriber.next_timeout(PATIENCE).unwrap(), Some(Item::Message(_))) {
        assert!(Instant::now() < deadline, "the first message does not come");
    }
    (2..1_000).for_each(|number| _ = publisher.publish(&message(number)).unwrap());
    let busy_until = Instant::now() + 2 * silence;
    while Instant::now() < busy_until {
        subscriber.keep_alive(busy_until.saturating_duration_since(Instant::now())).unwrap();
    }
    let events: Vec<_> = std::iter::from_fn(|| publisher.event()).collect();
    let is_gone = |event: &SenderEvent| {
        matches!(event, SenderEvent::ReceiverSilent(_) | SenderEvent::ReceiverEvicted(..))
    };
    assert!(!events.iter().any(is_gone), "{events:?}");
    assert!(publisher.wait_complete(Duration::ZERO), "what is kept is there");
    assert!(subscriber.statistics().repaired > 0, "nothing was lost: {:?}", subscriber.statistics());
    thread::scope(|scope| {
        scope.spawn(|| assert!(publisher.close(PATIENCE).behind.is_empty()));
        let heard = hear(&mut subscriber, |number| message(number + 1));
        assert_eq!((heard.first, heard.messages), (Some(1), 998));
    });
}
