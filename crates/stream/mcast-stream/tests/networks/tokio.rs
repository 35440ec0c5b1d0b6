//! The publisher and the subscriber for tokio.

use std::time::Duration;

use futures_util::stream::{self, FusedStream};
use futures_util::{SinkExt, StreamExt};
use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::seal::Keys;
use mcast_stream::subscriber::{Item, Start, SubscriberEvent};
use mcast_stream::tokio::{OwnedItem, OwnedOutgoingMessage, Publisher, Subscriber, fetch_snapshot};
use mcast_stream::wire::{MessageKey, MessageNumber};
use mcast_stream::{MAX_SNAPSHOT, Snapshot, StreamError, Until, find_stream};

use crate::net::{Net, TIMEOUT, message};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn tasks_publish_and_receive_over_a_lossy_link() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.publisher(|settings| settings.retransmission_buffer(256 << 10));
    runtime().block_on(async {
        let receiving = tokio::spawn(async move {
            let mut subscriber = Subscriber::new(subscriber).unwrap();
            let mut count = 0;
            while let Some(item) = subscriber.next().await.unwrap() {
                match item {
                    Item::Message(received) => {
                        assert_eq!((received.number.0, received.bytes), (count, &message(count)[..]));
                        count += 1;
                    }
                    Item::Event(event) => {
                        assert!(!matches!(event, SubscriberEvent::Lost { .. }), "{event:?}");
                    }
                }
            }
            count
        });
        let publisher = Publisher::new(publisher);
        assert!(!publisher.wait_for(2, Duration::from_millis(1)).await);
        assert!(publisher.wait_for(1, TIMEOUT).await);
        for number in 0..600 {
            assert_eq!(publisher.publish(&message(number)).await.unwrap().0, number);
        }
        assert!(publisher.wait(Until::Received, TIMEOUT).await.unwrap());
        let closing = publisher.close(TIMEOUT).await;
        assert!(closing.behind.is_empty() && closing.statistics.messages == 600, "{closing:?}");
        assert!(publisher.publish(b"too late").await.is_err());
        // The publisher repairs until it is dropped.
        assert_eq!(tokio::time::timeout(TIMEOUT, receiving).await.unwrap().unwrap(), 600);
    });
}

/// While the program is busy, nothing is delivered and nothing is lost, also if the wait is dropped.
#[test]
fn a_busy_subscriber_is_kept_alive() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.publisher(|settings| settings);
    runtime().block_on(async {
        let mut subscriber = Subscriber::new(subscriber).unwrap();
        let publisher = Publisher::new(publisher);
        let (_, joined) =
            tokio::join!(subscriber.keep_alive(Duration::from_secs(1)), publisher.wait_for(1, TIMEOUT));
        assert!(joined);
        for number in 0..300 {
            publisher.publish(&message(number)).await.unwrap();
        }
        let dropped = tokio::time::timeout(Duration::from_millis(10), subscriber.keep_alive(TIMEOUT)).await;
        assert!(dropped.is_err());
        subscriber.keep_alive(Duration::from_millis(200)).await.unwrap();
        assert_eq!(subscriber.blocking().statistics().messages, 0);
        let closing = tokio::spawn(async move { publisher.close(TIMEOUT).await });
        let mut received = 0;
        while let Some(item) = subscriber.next().await.unwrap() {
            if let Item::Message(one) = item {
                assert_eq!(one.bytes, &message(received)[..]);
                received += 1;
            }
        }
        assert_eq!(received, 300);
        drop(subscriber);
        assert_eq!(closing.await.unwrap().complete, 1);
    });
}

#[test]
fn a_stream_yields_every_message_of_a_sink_and_then_ends() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.publisher(|settings| settings.retransmission_buffer(64 << 10));
    runtime().block_on(async {
        let receiving = tokio::spawn(async move {
            let mut subscriber = Subscriber::new(subscriber).unwrap();
            let mut items = subscriber.items();
            let (mut messages, mut events) = (Vec::new(), Vec::new());
            while let Some(item) = items.next().await {
                match item.unwrap() {
                    OwnedItem::Message(message) => {
                        items.subscriber().ack(message.position());
                        messages.push(message);
                    }
                    OwnedItem::Event(event) => events.push(event),
                }
            }
            assert!(items.is_terminated() && items.next().await.is_none());
            (messages, events)
        });
        let publisher = Publisher::new(publisher);
        assert!(publisher.wait_for(1, TIMEOUT).await);
        let outgoing = |number: u64| match number % 2 {
            0 => OwnedOutgoingMessage::from(message(number)),
            _ => OwnedOutgoingMessage::from((MessageKey(number), message(number))),
        };
        let mut input = stream::iter((0..300).map(outgoing)).map(Ok);
        publisher.sink().send_all(&mut input).await.unwrap();
        let closing = publisher.close(TIMEOUT).await;
        assert!(closing.behind.is_empty() && closing.statistics.messages == 300, "{closing:?}");

        // The publisher repairs until it is dropped.
        let (messages, events) = tokio::time::timeout(TIMEOUT, receiving).await.unwrap().unwrap();
        assert_eq!(messages.len(), 300, "{events:?}");
        for (number, received) in (0..).zip(&messages) {
            let key = (number % 2 == 1).then_some(MessageKey(number));
            let expected = (MessageNumber(number), key, &message(number)[..]);
            assert_eq!((received.number, received.key, &received.bytes[..]), expected);
        }
        // A sink reports what cannot be published.
        let error = publisher.sink().send(b"too late".to_vec()).await.unwrap_err();
        assert!(matches!(error, StreamError::Refused(_)), "{error:?}");
    });
}

#[test]
fn a_task_starts_with_a_snapshot() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let publisher = net.publisher(|settings| settings.announce("prices"));
    (0..10).for_each(|number| {
        assert_eq!(publisher.publish((MessageKey(7), &message(number))).unwrap().0, number);
    });
    let serve = || {
        let capture = || Snapshot { message: MessageNumber(10), bytes: b"state".to_vec() };
        publisher.serve_snapshots("10.0.0.1:0".parse().unwrap(), capture).unwrap()
    };
    let _server = net.publisher.run(serve).unwrap();
    let find = || find_stream("prices", None, None, &Keys::none(), TIMEOUT).unwrap();
    let found = net.subscribers[0].0.run(find).unwrap();
    let subscriber = net.subscriber(0, |settings| settings.stream(found.stream).start(Start::Snapshot));
    let publisher = Publisher::new(publisher);
    // The threads of a runtime are in the network namespace of the thread that creates it.
    let subscribe = || {
        runtime().block_on(async {
            let mut subscriber = Subscriber::new(subscriber).unwrap();
            let needed = loop {
                if let Some(Item::Event(SubscriberEvent::SnapshotWanted { message })) =
                    subscriber.next().await.unwrap()
                {
                    break message;
                }
            };
            let keys = Keys::none();
            let fetched =
                fetch_snapshot(&found, found.incarnation, needed, &keys, MAX_SNAPSHOT, TIMEOUT).await;
            let snapshot = fetched.unwrap();
            assert_eq!((snapshot.message.0, &snapshot.bytes[..]), (10, &b"state"[..]));
            subscriber.resume(snapshot.message);
            assert_eq!(publisher.publish((MessageKey(8), b"after it")).await.unwrap().0, 10);
            loop {
                if let Some(Item::Message(received)) = subscriber.next().await.unwrap() {
                    return (received.number.0, received.key, received.bytes.to_vec());
                }
            }
        })
    };
    let received = net.subscribers[0].0.run(subscribe).unwrap();
    assert_eq!(received, (10, Some(MessageKey(8)), b"after it".to_vec()));
}
