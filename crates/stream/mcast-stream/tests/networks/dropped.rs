//! Publishers that are dropped with messages accepted and not yet delivered.

use std::thread;
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::publisher::Refusal;
use mcast_stream::subscriber::{Item, SubscriberEvent};
use mcast_stream::{Publisher, PublisherBuilder, StreamError, Subscriber};

use crate::net::{Net, TIMEOUT};

const MESSAGES: u64 = 1_000;

/// Receives until all messages are there.
fn receive_all(subscriber: &mut Subscriber) {
    let deadline = Instant::now() + TIMEOUT;
    let mut next = 0;
    while next < MESSAGES {
        let left = deadline.saturating_duration_since(Instant::now());
        match subscriber.next_timeout(left).unwrap() {
            Some(Item::Message(message)) => {
                assert_eq!((message.number.0, message.bytes), (next, &[next as u8; 600][..]));
                next += 1;
            }
            Some(Item::Event(event)) => assert!(
                !matches!(event, SubscriberEvent::Lost { .. } | SubscriberEvent::PublisherSilent),
                "{event:?} with {next} messages received"
            ),
            None => panic!("{next} of {MESSAGES} messages were received: {:?}", subscriber.statistics()),
        }
    }
}

/// Publishes and drops at once; everything must arrive.
fn everything_arrives(
    impairment: Impairment,
    settings: impl FnOnce(PublisherBuilder) -> PublisherBuilder + Send,
    publish_and_drop: impl FnOnce(Publisher),
) {
    let net = Net::new(Family::V4, 1, impairment);
    let mut subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.publisher(settings);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive_all(&mut subscriber));
        assert!(publisher.wait_for(1, TIMEOUT));
        publish_and_drop(publisher);
        receiving.join().unwrap();
    });
}

fn message(number: u64) -> [u8; 600] {
    [number as u8; 600]
}

#[test]
fn a_publisher_that_is_dropped_sends_what_was_queued() {
    everything_arrives(
        Impairment::default(),
        |settings| settings,
        |publisher| (0..MESSAGES).for_each(|number| _ = publisher.publish(&message(number)).unwrap()),
    );
}

#[test]
fn a_publisher_that_is_dropped_sends_what_its_rate_held_back() {
    // 0.6 MB at 150 kB/s take longer than a dropped publisher waits without a rate.
    everything_arrives(
        Impairment::default(),
        |settings| settings.rate(150_000),
        |publisher| (0..MESSAGES).for_each(|number| _ = publisher.publish(&message(number)).unwrap()),
    );
}

#[test]
fn a_publisher_that_is_dropped_repairs_what_was_lost() {
    everything_arrives(
        Impairment { loss: 0.05, ..Impairment::default() },
        |settings| settings,
        |publisher| (0..MESSAGES).for_each(|number| _ = publisher.publish(&message(number)).unwrap()),
    );
}

#[cfg(feature = "tokio")]
#[test]
fn a_publisher_that_a_task_drops_sends_what_was_accepted_and_blocks_no_executor() {
    everything_arrives(
        Impairment { loss: 0.05, ..Impairment::default() },
        // Everything takes two seconds.
        |settings| settings.rate(300_000),
        |publisher| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let publisher = mcast_stream::tokio::Publisher::new(publisher);
                for number in 0..MESSAGES {
                    publisher.publish(&message(number)).await.unwrap();
                }
                let before = Instant::now();
                drop(publisher);
                assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
            });
        },
    );
}

#[test]
fn a_publisher_that_was_closed_is_dropped_at_once_and_has_reported_what_was_not_sent() {
    let net = Net::new(Family::V4, 0, Impairment::default());
    let publisher = net.publisher(|settings| settings.rate(10_000).max_delay(Duration::ZERO));
    (0..MESSAGES).for_each(|number| _ = publisher.publish(&message(number)).unwrap());
    let closing = publisher.close(Duration::from_millis(1));
    assert!(closing.unsent > 0, "{closing:?}");
    assert_eq!(closing.statistics.datagrams + closing.unsent, MESSAGES);
    let before = Instant::now();
    drop(publisher);
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
}

#[test]
fn publishing_with_a_timeout_ends_with_the_reason() {
    let net = Net::new(Family::V4, 0, Impairment::default());
    let publisher = net.publisher(|settings| {
        settings.retransmission_buffer(64 << 10).rate(1_000).drop_timeout(Duration::ZERO)
    });
    let timeout = Duration::from_millis(50);
    let (mut published, before) = (0, Instant::now());
    let refusal = loop {
        match publisher.publish_timeout(&message(0), timeout) {
            Ok(number) => published = number.0 + 1,
            Err(StreamError::Refused(refusal)) => break refusal,
            Err(error) => panic!("{error}"),
        }
        assert!(before.elapsed() < TIMEOUT, "{published} messages fit 64 KiB");
    };
    assert_eq!(refusal, Refusal::Unsent);
    assert_eq!(publisher.next_message().0, published, "a message that is refused is not published");
}
