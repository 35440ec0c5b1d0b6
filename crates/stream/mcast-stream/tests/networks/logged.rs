//! Publishers with a log: restarts without a gap or a repeat, histories, and what a power failure takes.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::history::HistoryStart;
use mcast_stream::log::{LogOptions, SyncPolicy};
use mcast_stream::publisher::{AckLevel, Acknowledgers, Quorum, QuorumLoss};
use mcast_stream::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream::subscriber::{Cause, Item, Position, SubscriberEvent};
use mcast_stream::wire::{FlowControl, KeyEpoch, MessageNumber, StreamId};
use mcast_stream::{
    LogStart, LoggedPublisher, Publish, Publisher, PublisherBuilder, StreamError, Subscriber, Until,
};

use crate::net::{Net, TIMEOUT, message, receive_stream};

const HISTORY: &str = "10.0.0.1:0";

impl Net {
    /// Publishes through a log with a retransmission buffer of this size.
    fn logged(&self, directory: &Path, options: LogOptions, history: usize) -> LoggedPublisher {
        self.try_logged(directory, options, history).unwrap()
    }

    fn try_logged(
        &self,
        directory: &Path,
        options: LogOptions,
        history: usize,
    ) -> Result<LoggedPublisher, StreamError> {
        self.try_logged_with(directory, options, |builder| builder.retransmission_buffer(history))
    }

    fn logged_with(
        &self,
        directory: &Path,
        options: LogOptions,
        settings: impl FnOnce(PublisherBuilder) -> PublisherBuilder + Send,
    ) -> LoggedPublisher {
        self.try_logged_with(directory, options, settings).unwrap()
    }

    fn try_logged_with(
        &self,
        directory: &Path,
        options: LogOptions,
        settings: impl FnOnce(PublisherBuilder) -> PublisherBuilder + Send,
    ) -> Result<LoggedPublisher, StreamError> {
        let membership = self.membership();
        let destination =
            mcast::Destination { address: membership.address, interface: membership.interface.clone() };
        let build = || {
            let builder = settings(Publisher::builder().to(destination).stream(StreamId(7)));
            builder.log(directory, options).build()
        };
        self.publisher.run(build).unwrap()
    }
}

fn lazy() -> LogOptions {
    LogOptions { sync: SyncPolicy::Interval(Duration::from_millis(20)), ..LogOptions::default() }
}

fn each() -> LogOptions {
    LogOptions { sync: SyncPolicy::Each, ..LogOptions::default() }
}

fn publish(publisher: &LoggedPublisher, numbers: std::ops::Range<u64>) {
    numbers.for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
}

/// Reads messages up to this number; each must be as published, and in order.
fn receive_until(subscriber: &mut Subscriber, first: u64, end: u64) -> Vec<SubscriberEvent> {
    let (mut next, mut events) = (first, Vec::new());
    while next < end {
        match subscriber.next_timeout(TIMEOUT).unwrap() {
            Some(Item::Message(received)) => {
                assert_eq!(received.number, MessageNumber(next));
                assert!(received.bytes == message(next), "message {next} is wrong");
                next += 1;
            }
            Some(Item::Event(event)) => events.push(event),
            None => panic!("the stream ended before message {next}: {events:?}"),
        }
    }
    events
}

fn is_loss(event: &SubscriberEvent) -> bool {
    use SubscriberEvent::{Lost, LostUnknown, Restarted};
    matches!(event, Lost { .. } | LostUnknown { .. } | Restarted { .. })
}

#[test]
fn a_restart_continues_the_stream_without_a_gap_or_a_repeat() {
    for options in [each(), lazy()] {
        let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
        let directory = tempfile::tempdir().unwrap();
        let mut subscriber = net.subscriber(0, |settings| settings);
        let start = || net.logged(directory.path(), options.clone(), 1 << 20);
        let first = start();
        assert_eq!(first.start(), LogStart::First);
        thread::scope(|scope| {
            let receiving = scope.spawn(|| receive_stream(&mut subscriber, message));
            assert!(first.publisher().wait_for(1, TIMEOUT));
            publish(&first, 0..200);
            drop(first);
            let second = start();
            assert_eq!(second.start(), LogStart::Continued);
            assert!(second.publisher().wait_for(1, TIMEOUT));
            publish(&second, 200..400);
            assert!(second.close(TIMEOUT).unwrap().is_complete());
            let received = receiving.join().unwrap();
            assert_eq!(received.messages, 400, "{:?}", received.events);
            assert!(!received.events.iter().any(is_loss), "{:?}", received.events);
        });
    }
}

#[test]
fn what_all_subscribers_had_is_not_sent_again() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let mut subscriber = net.subscriber(0, |settings| settings);
    let start = || net.logged(directory.path(), LogOptions::default(), 1 << 20);
    let first = start();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive_stream(&mut subscriber, message));
        assert!(first.publisher().wait_for(1, TIMEOUT));
        publish(&first, 0..100);
        assert!(first.stop(TIMEOUT).unwrap().is_complete());
        drop(first);
        let second = start();
        assert_eq!(second.start(), LogStart::Continued);
        assert!(second.publisher().wait_for(1, TIMEOUT));
        publish(&second, 100..101);
        let closing = second.close(TIMEOUT).unwrap();
        assert!(closing.is_complete());
        assert_eq!(closing.statistics.messages, 1);
        let received = receiving.join().unwrap();
        assert_eq!(received.messages, 101, "{:?}", received.events);
        assert!(!received.events.iter().any(is_loss), "{:?}", received.events);
    });
}

#[test]
fn what_is_new_is_sent_at_once_after_a_restart_although_the_rate_is_low() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let mut subscriber = net.subscriber(0, |settings| settings);
    let first = net.logged(directory.path(), lazy(), 1 << 20);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive_until(&mut subscriber, 0, 2_000));
        assert!(first.publisher().wait_for(1, TIMEOUT));
        publish(&first, 0..2_000);
        assert!(!receiving.join().unwrap().iter().any(is_loss));
    });
    // As if it had been killed: it does not know that the subscriber has everything.
    drop(first.stop(Duration::ZERO));
    drop(first);
    let second = net.logged_with(directory.path(), lazy(), |builder| builder.rate(100_000));
    assert_eq!(second.start(), LogStart::Continued);
    let since = Instant::now();
    publish(&second, 2_000..2_001);
    let events = receive_until(&mut subscriber, 2_000, 2_001);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    assert!(!events.iter().any(is_loss), "{events:?}");
    drop(second.stop(Duration::ZERO));
}

#[test]
fn a_log_whose_old_secret_was_removed_is_continued_and_what_it_sealed_is_reported_as_lost() {
    let secret = |byte| GroupSecret::new(&[byte; 32], Algorithm::Aes128Gcm);
    let mut both = Keys::one(KeyEpoch(1), secret(1));
    both.add(KeyEpoch(2), secret(2));
    let (old, new) = (Keys::one(KeyEpoch(1), secret(1)), Keys::one(KeyEpoch(2), secret(2)));
    let net = Net::new(Family::V4, 1, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let start = |keys: &Keys| net.logged_with(directory.path(), lazy(), |builder| builder.keys(keys.clone()));
    let first = start(&old);
    publish(&first, 0..100);
    first.set_keys(both).unwrap();
    publish(&first, 100..200);
    drop(first.stop(Duration::ZERO));
    drop(first);

    let second = start(&new);
    assert_eq!(second.start(), LogStart::Continued);
    let unopened = second.unopened().map(|unopened| (unopened.first, unopened.end));
    assert_eq!(unopened, Some((MessageNumber(0), MessageNumber(100))));
    publish(&second, 200..300);
    let server =
        net.publisher.run(|| second.serve_history(HISTORY.parse::<SocketAddr>().unwrap()).unwrap()).unwrap();
    let mut subscriber = net.subscriber(0, |settings| {
        settings.keys(new.clone()).history_from(HistoryStart::Oldest).history_server(server.address())
    });
    let events = net.subscribers[0].0.run(|| receive_until(&mut subscriber, 100, 300)).unwrap();
    let lost: Vec<_> = events.iter().filter(|event| is_loss(event)).collect();
    let (first, end) = (MessageNumber(0), MessageNumber(100));
    let unreadable = SubscriberEvent::Lost { first, end, cause: Cause::Unreadable };
    assert_eq!(lost, [&unreadable], "{events:?}");
    drop(second.stop(Duration::ZERO));
}

#[test]
fn what_the_publisher_no_longer_retains_is_served_from_the_log() {
    let net = Net::new(Family::V4, 2, Impairment { loss: 0.02, ..Impairment::default() });
    let directory = tempfile::tempdir().unwrap();
    publish(&net.logged(directory.path(), lazy(), 64 << 10), 0..1_000);
    let publisher = net.logged(directory.path(), lazy(), 64 << 10);
    let server = net
        .publisher
        .run(|| publisher.serve_history(HISTORY.parse::<SocketAddr>().unwrap()).unwrap())
        .unwrap();
    let mut all = net.subscriber(0, |settings| settings.history_from(HistoryStart::Oldest));
    let at = server.address();
    let later = HistoryStart::Number(MessageNumber(500));
    let mut half = net.subscriber(1, |settings| settings.history_from(later).history_server(at));
    thread::scope(|scope| {
        // Their connections are made while they receive.
        let [at_first, at_second] = [0, 1].map(|number| &net.subscribers[number].0);
        let all = scope.spawn(|| at_first.run(|| receive_stream(&mut all, message)).unwrap());
        let half = scope.spawn(|| at_second.run(|| receive_stream(&mut half, message)).unwrap());
        assert!(publisher.publisher().wait_for(2, TIMEOUT));
        publish(&publisher, 1_000..1_500);
        let closing = publisher.close(TIMEOUT).unwrap();
        assert!(closing.is_complete(), "{closing:?}");
        let (all, half) = (all.join().unwrap(), half.join().unwrap());
        assert_eq!((all.first, all.messages), (Some(0), 1_500), "{:?}", all.events);
        assert_eq!((half.first, half.messages), (Some(500), 1_000), "{:?}", half.events);
        assert!(!all.events.iter().chain(&half.events).any(is_loss));
    });
}

/// Much more is published while the link is cut than the publisher retains; the stream ends right after it is back.
#[test]
fn what_a_subscriber_heals_is_waited_for_and_acknowledged_and_counts_as_lost_on_neither_end() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let acknowledgers = Acknowledgers::Named(["db".parse().unwrap()].into());
    let quorum = Quorum { on_loss: QuorumLoss::Report, ..Quorum::new(acknowledgers) };
    let settings = |settings: PublisherBuilder| {
        settings.retransmission_buffer(64 << 10).flow(FlowControl::None).acknowledge(quorum)
    };
    let publisher = net.try_logged_with(directory.path(), lazy(), settings).unwrap();
    let serve = || publisher.serve_history(HISTORY.parse::<SocketAddr>().unwrap()).unwrap();
    let server = net.publisher.run(serve).unwrap();
    let mut healing = net.subscriber(0, |settings| {
        settings.name("db".parse().unwrap()).heal(true).history_server(server.address())
    });
    thread::scope(|scope| {
        let (at, link) = &net.subscribers[0];
        let healing = scope.spawn(|| at.run(|| receive_stream(&mut healing, message)).unwrap());
        assert!(publisher.publisher().wait_for(1, TIMEOUT));
        publish(&publisher, 0..500);
        assert!(publisher.wait(Until::Received, TIMEOUT).unwrap());
        link.cut().unwrap();
        publish(&publisher, 500..3_000);
        link.restore().unwrap();
        publish(&publisher, 3_000..3_010);
        let closing = publisher.close(TIMEOUT).unwrap();
        assert!(closing.is_complete(), "{closing:?}");
        let progress = closing.acknowledged.unwrap();
        assert!(progress.is_complete(), "{progress:?}");
        let received = healing.join().unwrap();
        assert_eq!((received.first, received.messages), (Some(0), 3_010), "{:?}", received.events);
        assert!(!received.events.iter().any(is_loss), "{:?}", received.events);
    });
    assert!(server.statistics().records > 1_000, "{:?}", server.statistics());
}

#[test]
fn what_is_processed_of_a_history_before_the_publisher_is_heard_is_acknowledged() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let acknowledgers = Acknowledgers::Named(["db".parse().unwrap()].into());
    let quorum = Quorum { level: AckLevel::Processed, ..Quorum::new(acknowledgers) };
    let first = net.logged(directory.path(), lazy(), 64 << 10);
    publish(&first, 0..100);
    let serve = || first.serve_history(HISTORY.parse::<SocketAddr>().unwrap()).unwrap();
    let server = net.publisher.run(serve).unwrap();
    // Its log is still served, and nothing is sent to the group.
    drop(first.stop(Duration::ZERO));
    drop(first);
    let mut subscriber = net.subscriber(0, |settings| {
        let settings = settings.name("db".parse().unwrap()).stream(StreamId(7));
        settings.history_from(HistoryStart::Oldest).history_server(server.address())
    });
    let receive = || receive_until(&mut subscriber, 0, 100);
    let events = net.subscribers[0].0.run(receive).unwrap();
    let [SubscriberEvent::Joined { incarnation, .. }] = events[..] else { panic!("{events:?}") };
    assert_eq!(subscriber.acknowledgement(), None, "it has not heard a publisher");
    subscriber.ack(Position::new(incarnation, MessageNumber(99)));
    drop(server);

    let second = net.logged_with(directory.path(), lazy(), |builder| builder.acknowledge(quorum));
    assert_eq!(second.start(), LogStart::Continued);
    let deadline = Instant::now() + TIMEOUT;
    let acknowledged = loop {
        assert!(Instant::now() < deadline, "{:?}", subscriber.acknowledgement());
        let item = subscriber.next_timeout(Duration::from_millis(5)).unwrap();
        assert!(!matches!(item, Some(Item::Message(_))), "it has everything: {item:?}");
        if let Some(all) = subscriber.acknowledgement().filter(|of| of.received == MessageNumber(100)) {
            break all;
        }
    };
    assert!(subscriber.acks_requested());
    assert_eq!((acknowledged.since.0, acknowledged.processed.0), (0, 100));
    drop(second.stop(Duration::ZERO));
}

/// The log has one stream that ended, and one that is published.
#[test]
fn a_history_has_the_streams_before_the_present_one() {
    use SubscriberEvent::{Lost, LostUnknown, Restarted};

    let net = Net::new(Family::V4, 1, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let first = net.logged(directory.path(), lazy(), 64 << 10);
    publish(&first, 0..70);
    assert!(first.close(TIMEOUT).unwrap().is_complete());
    drop(first);
    drop(net.logged(directory.path(), lazy(), 64 << 10));
    let publisher = net.logged(directory.path(), lazy(), 64 << 10);
    assert_eq!(publisher.start(), LogStart::Continued);
    let at = HISTORY.parse::<SocketAddr>().unwrap();
    let server = net.publisher.run(|| publisher.serve_history(at).unwrap()).unwrap();
    publish(&publisher, 0..500);
    let from = |settings: mcast_stream::SubscriberBuilder| {
        settings.history_from(HistoryStart::Oldest).history_server(server.address())
    };
    let mut subscriber = net.subscriber(0, from);
    let receive = || {
        let before = receive_until(&mut subscriber, 0, 70);
        let after = receive_until(&mut subscriber, 0, 500);
        before.into_iter().chain(after).collect::<Vec<_>>()
    };
    let events = net.subscribers[0].0.run(receive).unwrap();
    assert!(!events.iter().any(|event| matches!(event, Lost { .. } | LostUnknown { .. })), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, Restarted { .. })), "{events:?}");
}

#[test]
fn a_stream_that_was_closed_begins_a_new_incarnation() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let mut subscriber = net.subscriber(0, |settings| settings.follow_restarts(true));
    let first = net.logged(directory.path(), each(), 1 << 20);
    assert!(first.publisher().wait_for(0, TIMEOUT));
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let events = receive_until(&mut subscriber, 0, 20);
            assert!(!events.iter().any(is_loss), "{events:?}");
            receive_until(&mut subscriber, 0, 30)
        });
        assert!(first.publisher().wait_for(1, TIMEOUT));
        publish(&first, 0..20);
        assert!(first.close(TIMEOUT).unwrap().is_complete());
        drop(first);
        let second = net.logged(directory.path(), each(), 1 << 20);
        assert_eq!(second.start(), LogStart::AfterEnd, "subscribers know that the stream has ended");
        assert!(second.publisher().wait_for(1, TIMEOUT));
        publish(&second, 0..30);
        let events = receiving.join().unwrap();
        let ended = |event: &SubscriberEvent| matches!(event, SubscriberEvent::Ended { .. });
        assert!(events.iter().any(ended), "{events:?}");
        assert!(!events.iter().any(|event| matches!(event, SubscriberEvent::Lost { .. })), "{events:?}");
    });
}

/// Subscribers have messages that a power failure took from the log; their numbers then stand for other messages.
#[test]
fn a_power_failure_that_took_messages_is_reported_by_subscribers() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let unknown = |event: &SubscriberEvent| matches!(event, SubscriberEvent::LostUnknown { .. });
    let [lost, kept] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut subscriber = net.subscriber(0, |settings| settings);
    let first = net.logged(lost.path(), lazy(), 1 << 20);
    thread::scope(|scope| {
        let (reached, position) = std::sync::mpsc::channel();
        let receiving = scope.spawn(move || {
            receive_until(&mut subscriber, 0, 60);
            reached.send(()).unwrap();
            receive_until(&mut subscriber, 0, 50)
        });
        assert!(first.publisher().wait_for(1, TIMEOUT));
        publish(&first, 0..50);
        assert!(first.wait(Until::Stored, TIMEOUT).unwrap());
        // What the disk has now is all that is there after the failure.
        for entry in std::fs::read_dir(lost.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), kept.path().join(entry.file_name())).unwrap();
        }
        publish(&first, 50..60);
        position.recv_timeout(TIMEOUT).unwrap();
        drop(first);
        let file = kept.path().join("publisher");
        let text = std::fs::read_to_string(&file).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let [.., lock, _, boot] = words[..] else { panic!("{text}") };
        // It is another file only in this test.
        let same = std::fs::metadata(kept.path().join("lock")).unwrap().ino().to_string();
        let text =
            text.replace(boot, "an-earlier-boot").replace(&format!(" {lock}\n"), &format!(" {same}\n"));
        std::fs::write(&file, text).unwrap();
        let second = net.logged(kept.path(), lazy(), 1 << 20);
        assert_eq!(second.start(), LogStart::AfterUnsyncedLoss);
        assert!(second.publisher().wait_for(1, TIMEOUT));
        publish(&second, 0..50);
        let events = receiving.join().unwrap();
        assert!(events.iter().any(|event| matches!(event, SubscriberEvent::Restarted { .. })), "{events:?}");
        assert!(events.iter().any(unknown), "{events:?}");
        assert!(!events.iter().any(|event| matches!(event, SubscriberEvent::Lost { .. })), "{events:?}");
    });
}

#[test]
fn a_second_publisher_and_other_streams_are_refused() {
    let net = Net::new(Family::V4, 0, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let first = net.logged(directory.path(), each(), 1 << 20);
    let second = net.try_logged(directory.path(), each(), 1 << 20).unwrap_err();
    assert!(second.to_string().contains("another publisher is writing the log"), "{second}");
    drop(first);
    let membership = net.membership();
    let build = |stream: Option<StreamId>| {
        let destination =
            mcast::Destination { address: membership.address, interface: membership.interface.clone() };
        let builder = Publisher::builder().to(destination);
        stream
            .into_iter()
            .fold(builder, mcast_stream::PublisherBuilder::stream)
            .log(directory.path(), each())
            .build()
    };
    let other = net.publisher.run(|| build(Some(StreamId(8)))).unwrap().unwrap_err();
    assert!(other.to_string().contains("belongs to stream"), "{other}");
    assert!(matches!(net.publisher.run(|| build(None)).unwrap(), Err(StreamError::LogWithoutStream)));
}

#[test]
fn threads_share_syncs_and_every_message_is_there_once() {
    let net = Net::new(Family::V4, 0, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let publisher = net.logged(directory.path(), each(), 1 << 20);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut last = None;
                for _ in 0..50 {
                    let number = publisher.publish(b"hello").unwrap();
                    assert!(last < Some(number), "{number} after {last:?}");
                    last = Some(number);
                }
            });
        }
    });
    assert_eq!(publisher.next_message(), MessageNumber(200));
    assert_eq!(publisher.publish_all([b"a", b"b"]).unwrap(), Some(MessageNumber(201)));
    assert!(publisher.wait(Until::Received, TIMEOUT).unwrap());
    assert_eq!(publisher.publisher().statistics().messages, 202);
    let directly = publisher.publisher().publish(b"not in the log").unwrap();
    assert_eq!(directly, MessageNumber(202));
    assert!(matches!(publisher.publish(b"hello"), Ok(_) | Err(StreamError::LogBypassed)));
    assert!(matches!(publisher.publish(b"hello"), Err(StreamError::LogBypassed)));
}

#[test]
fn what_is_appended_is_sent_from_the_disk_and_nobody_waits_for_each_sync() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let mut subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.logged(directory.path(), each(), 1 << 20);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive_stream(&mut subscriber, message));
        assert!(publisher.publisher().wait_for(1, TIMEOUT));
        // More than may wait: it also waits for room.
        for batch in 0..80 {
            let messages: Vec<_> = (batch * 100..batch * 100 + 100).map(message).collect();
            let last = publisher.append_all(&messages).unwrap().unwrap();
            assert_eq!(last, MessageNumber(batch * 100 + 99));
            assert!(publisher.publisher().next_message() <= publisher.durable(), "sent before its sync");
        }
        assert!(publisher.wait(Until::MessageStored(MessageNumber(7_999)), TIMEOUT).unwrap());
        assert_eq!(publisher.durable(), MessageNumber(8_000));
        assert!(publisher.close(TIMEOUT).unwrap().is_complete());
        let received = receiving.join().unwrap();
        assert_eq!(received.messages, 8_000, "{:?}", received.events);
    });
}

#[test]
fn a_message_is_synced_when_somebody_waits_for_it_whatever_the_policy() {
    let net = Net::new(Family::V4, 0, Impairment::default());
    let directory = tempfile::tempdir().unwrap();
    let options = LogOptions { sync: SyncPolicy::None, ..LogOptions::default() };
    let publisher = net.logged(directory.path(), options, 1 << 20);
    publish(&publisher, 0..3);
    assert_eq!(publisher.durable(), MessageNumber(0));
    assert!(publisher.wait(Until::MessageStored(MessageNumber(1)), TIMEOUT).unwrap());
    assert_eq!(publisher.durable(), MessageNumber(3));
    assert!(!publisher.wait(Until::MessageStored(MessageNumber(3)), Duration::from_millis(1)).unwrap());
}

/// Publishes five messages in each way, and returns the number of the next one.
fn publish_in_each_way(publisher: &impl Publish) -> MessageNumber {
    let first = publisher.publish(b"0").unwrap();
    assert_eq!(publisher.try_publish(b"1").unwrap(), MessageNumber(first.0 + 1));
    assert_eq!(publisher.publish_timeout(b"2", TIMEOUT).unwrap(), MessageNumber(first.0 + 2));
    assert_eq!(publisher.publish_all([b"3"]).unwrap(), Some(MessageNumber(first.0 + 3)));
    assert_eq!(publisher.try_publish_all([b"4"]).unwrap(), Some(MessageNumber(first.0 + 4)));
    assert_eq!(publisher.try_publish_all([b"5"; 0]).unwrap(), None);
    for until in [Until::Sent, Until::Received, Until::Read] {
        assert!(publisher.wait(until, TIMEOUT).unwrap(), "{until:?}");
    }
    assert_eq!(publisher.statistics().messages, 5);
    publisher.end().unwrap();
    assert!(matches!(publisher.try_publish(b"5"), Err(StreamError::Refused(_))));
    publisher.next_message()
}

#[test]
fn generic_code_publishes_with_a_log_and_without() {
    let net = Net::new(Family::V4, 0, Impairment::default());
    assert_eq!(publish_in_each_way(&net.publisher(|settings| settings)), MessageNumber(5));
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(publish_in_each_way(&net.logged(directory.path(), each(), 1 << 20)), MessageNumber(5));
}
