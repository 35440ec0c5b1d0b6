//! How long messages take to subscribers that lose datagrams.

use std::thread;
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::subscriber::{Item, SubscriberEvent};

use crate::net::{Net, TIMEOUT};

const SUBSCRIBERS: usize = 20;
const MESSAGES: u64 = 1_000;
/// Between two messages. Twenty subscribers and their links share the processors of this machine.
const INTERVAL: Duration = Duration::from_millis(2);

/// Publishes to subscribers that lose 1 % each, independently; returns how long 99 of 100 messages took at most, of those
/// of all subscribers.
fn ninety_nine_percent() -> Duration {
    let net = Net::new(Family::V4, SUBSCRIBERS, Impairment { loss: 0.01, ..Impairment::default() });
    let mut subscribers: Vec<_> =
        (0..SUBSCRIBERS).map(|number| net.subscriber(number, |settings| settings)).collect();
    let publisher = net.publisher(|settings| settings);
    let began = Instant::now();
    let sent_at = |bytes: &[u8]| Duration::from_nanos(u64::from_be_bytes(bytes[..8].try_into().unwrap()));
    let mut delays = thread::scope(|scope| {
        let receive = |subscriber: &mut mcast_stream::Subscriber| {
            let (deadline, mut delays) = (Instant::now() + TIMEOUT, Vec::new());
            while let Some(item) =
                subscriber.next_timeout(deadline.saturating_duration_since(Instant::now())).unwrap()
            {
                match item {
                    Item::Message(message) => delays.push(began.elapsed() - sent_at(message.bytes)),
                    Item::Event(SubscriberEvent::Lost { .. }) => panic!("a message is lost"),
                    Item::Event(_) => {}
                }
            }
            delays
        };
        let receiving: Vec<_> =
            subscribers.iter_mut().map(|subscriber| scope.spawn(move || receive(subscriber))).collect();
        assert!(publisher.wait_for(SUBSCRIBERS, TIMEOUT), "{:?}", publisher.statistics());
        let first = Instant::now();
        for number in 0..MESSAGES {
            // The pace of the source, not a wait for something.
            thread::sleep((INTERVAL * number as u32).saturating_sub(first.elapsed()));
            let mut message = [0; 200];
            message[..8].copy_from_slice(&(began.elapsed().as_nanos() as u64).to_be_bytes());
            publisher.publish(&message).unwrap();
        }
        let closing = publisher.close(TIMEOUT);
        assert_eq!(closing.complete, SUBSCRIBERS, "{closing:?}");
        receiving.into_iter().flat_map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    let lost: u64 = net.subscribers.iter().map(|(_, link)| link.statistics().lost).sum();
    assert!(lost >= SUBSCRIBERS as u64 * MESSAGES / 200, "the links lost only {lost}");
    assert_eq!(delays.len() as u64, SUBSCRIBERS as u64 * MESSAGES);
    delays.sort_unstable();
    delays[delays.len() * 99 / 100]
}

/// A busy machine delays some attempts by more.
#[test]
fn twenty_subscribers_that_lose_one_percent_each_receive_99_percent_within_20_ms() {
    const ATTEMPTS: usize = 5;
    let mut delays = Vec::new();
    while delays.len() < ATTEMPTS {
        let delay = ninety_nine_percent();
        if delay <= Duration::from_millis(20) {
            return;
        }
        delays.push(delay);
    }
    panic!("99 of 100 messages take up to {delays:?}");
}
