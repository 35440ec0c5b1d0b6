//! Tests of a publisher's threads and locks.

use mcast_lab::Lab;

use super::*;
use crate::Until;

const GROUP: &str = "239.7.7.7%lo:7000";

fn publisher() -> Publisher {
    Publisher::to(GROUP.parse().unwrap()).unwrap()
}

/// Waits until `holds` returns `true`; returns the time that took.
fn wait_until(publisher: &Publisher, holds: impl Fn(PublisherStatistics) -> bool) -> Duration {
    let began = Instant::now();
    while !holds(publisher.statistics()) {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", publisher.statistics());
        std::thread::sleep(Duration::from_micros(100));
    }
    began.elapsed()
}

/// Publishes messages as fast as possible; returns how many of them, and how many datagrams, were sent.
fn publish_in_a_loop(max_delay: Duration) -> (u64, u64) {
    let builder = Publisher::builder().to(GROUP.parse().unwrap()).max_delay(max_delay);
    let publisher = builder.build().unwrap();
    (0..20_000).for_each(|_| _ = publisher.publish(&[7; 64]).unwrap());
    assert!(publisher.wait(Until::Sent, Duration::from_secs(20)).unwrap());
    let PublisherStatistics { messages, datagrams, .. } = publisher.statistics();
    (messages, datagrams)
}

#[test]
fn messages_that_are_published_in_a_loop_share_datagrams() {
    let lab = Lab::new().unwrap();
    let host = lab.host("alone").unwrap();
    let run = |max_delay| host.run(move || publish_in_a_loop(max_delay)).unwrap();
    let (messages, datagrams) = run(Duration::from_millis(1));
    assert_eq!(messages, 20_000);
    assert!(datagrams < messages / 4, "{datagrams} datagrams");
    assert_eq!(run(Duration::ZERO), (20_000, 20_000), "each is sent at once");
}

fn publish_after_pauses() {
    let publisher = publisher();
    for count in 1..=5 {
        let heartbeats = publisher.statistics().heartbeats;
        wait_until(&publisher, |statistics| statistics.heartbeats >= heartbeats + 2);
        publisher.publish(b"hello").unwrap();
        assert_eq!(publisher.statistics().datagrams, count, "it is sent when the call returns");
    }
}

#[test]
fn a_message_after_a_pause_is_sent_by_its_caller() {
    let lab = Lab::new().unwrap();
    lab.host("alone").unwrap().run(publish_after_pauses).unwrap();
}

/// Returns how long after each of five loops that publish something was not sent, in ascending order.
fn stop_publishing() -> Vec<Duration> {
    let publisher = publisher();
    let has_unsent = || publisher.shared.core().machine.has_unsent();
    let mut late = Vec::new();
    for _ in 0..1_000 {
        (0..2_000).for_each(|_| _ = publisher.publish(&[7; 64]).unwrap());
        let stopped = Instant::now();
        if has_unsent() {
            wait_until(&publisher, |_| !has_unsent());
            late.push(stopped.elapsed());
        }
        if late.len() == 5 {
            break;
        }
    }
    late.sort();
    late
}

#[test]
fn what_waits_when_the_caller_stops_is_sent_soon() {
    let lab = Lab::new().unwrap();
    let late = lab.host("alone").unwrap().run(stop_publishing).unwrap();
    assert_eq!(late.len(), 5, "nothing waited");
    // After 50 µs, not with the next timer in up to a third of a second. The median, because a stall of the machine may delay
    // single ones.
    assert!(late[2] < Duration::from_millis(30), "{late:?}");
}

fn look_while_the_timer_thread_sleeps() {
    let publisher = publisher();
    publisher.publish(b"hello").unwrap();
    let (mut looks, mut late) = (0, 0);
    while looks < 200 {
        let core = publisher.shared.core();
        if core.sleeps_until > ClockTime(0) {
            looks += 1;
            late += u32::from(core.oversleeps());
        }
        drop(core);
        std::thread::yield_now();
    }
    // Only until it has woken for the message.
    assert!(late < 100, "each datagram that is sent would wake it, {late} times of {looks}");
}

#[test]
fn the_timer_thread_wakes_by_itself_when_something_is_due() {
    let lab = Lab::new().unwrap();
    lab.host("alone").unwrap().run(look_while_the_timer_thread_sleeps).unwrap();
}

#[cfg(feature = "tokio")]
fn publish_while_the_lock_is_held(publisher: Publisher) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let publisher = crate::tokio::Publisher::new(publisher);
    let shared = Arc::clone(&publisher.blocking().shared);
    let held = shared.core();
    runtime.block_on(async {
        let mut publishing = std::pin::pin!(publisher.publish(b"hello"));
        let ticked = tokio::time::timeout(Duration::from_millis(20), &mut publishing).await;
        assert!(ticked.is_err(), "nothing can be published while the lock is held");
        assert!(!publisher.wait(Until::Received, Duration::from_millis(20)).await.unwrap());
        assert!(!publisher.wait_for(0, Duration::from_millis(20)).await);
        drop(held);
        assert_eq!(publishing.await.unwrap().0, 0);
        let waited = publisher.wait(Until::Received, Duration::from_secs(5)).await;
        assert!(waited.unwrap(), "the publisher's thread sends it");
    });
    assert_eq!(publisher.blocking().statistics().datagrams, 1);
}

#[cfg(feature = "tokio")]
fn wait_beside_an_open_datagram() {
    let publisher = Publisher::builder()
        .to("239.7.7.7%lo:7000".parse().unwrap())
        .max_delay(Duration::from_secs(100))
        .build()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let publisher = crate::tokio::Publisher::new(publisher);
    {
        // Published without the publisher, which would send the first one at once.
        let mut core = publisher.blocking().shared.core();
        core.machine
            .publish(publisher.blocking().shared.clock.now(), b"a message that waits for others")
            .unwrap();
    }
    let looks = std::cell::Cell::new(0);
    runtime.block_on(async {
        let look = |_: &crate::PublisherMachine| {
            looks.set(looks.get() + 1);
            false
        };
        assert!(!publisher.until(Duration::from_millis(300), look).await);
        assert_eq!(publisher.blocking().statistics().datagrams, 0, "a caller that waits sends nothing");
        // Once in 500 µs would be 600 times.
        assert!((1..100).contains(&looks.get()), "looked {} times", looks.get());
        assert!(publisher.wait(Until::Received, Duration::from_secs(5)).await.unwrap());
    });
    assert_eq!(publisher.blocking().statistics().datagrams, 1);
}

#[cfg(feature = "tokio")]
#[test]
fn a_waiting_task_is_woken_by_progress_and_ends_no_batch() {
    let lab = Lab::new().unwrap();
    lab.host("alone").unwrap().run(wait_beside_an_open_datagram).unwrap();
}

fn progress_before_the_wait() {
    let publisher = publisher();
    let since = publisher.progress();
    publisher.publish(b"hello").unwrap();
    let began = Instant::now();
    publisher.wait_for_room(since, Duration::from_secs(20));
    assert!(began.elapsed() < Duration::from_secs(10), "the progress was missed");
}

#[test]
fn progress_between_an_attempt_and_the_wait_is_not_missed() {
    let lab = Lab::new().unwrap();
    lab.host("alone").unwrap().run(progress_before_the_wait).unwrap();
}

fn panic_with_the_lock() {
    let publisher = publisher();
    publisher.publish(b"before").unwrap();
    let shared = Arc::clone(&publisher.shared);
    let panics = move || {
        let _core = shared.core();
        std::panic::resume_unwind(Box::new("within the machine"));
    };
    assert!(std::thread::spawn(panics).join().is_err());
    let refused = publisher.publish(b"after").unwrap_err();
    assert!(matches!(refused, StreamError::Refused(Refusal::Internal)), "{refused}");
    let began = Instant::now();
    assert!(!publisher.wait_for(1, Duration::from_secs(20)));
    drop(publisher);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn after_a_panic_nothing_more_is_published() {
    let lab = Lab::new().unwrap();
    lab.host("alone").unwrap().run(panic_with_the_lock).unwrap();
}

/// A NAK from an unproven address.
fn nak(publisher: &Publisher) -> Vec<u8> {
    use crate::wire::{AddressToken, DatagramWriter, Header, Kind, NakWriter, Sequence};
    let mut bytes = vec![0; 1_500];
    let header = Header::new(Kind::Nak, publisher.stream(), publisher.incarnation(), 1);
    let mut writer = DatagramWriter::new(&mut bytes, &header).unwrap();
    writer.subscriber(SubscriberId(5)).unwrap();
    let mut list = NakWriter::new();
    assert!(list.add(Sequence(1), 1));
    list.write_nak(AddressToken::NONE, &mut writer).unwrap();
    let length = writer.finish();
    bytes.truncate(length);
    bytes
}

fn flood_a_path() {
    let builder = Publisher::builder().to("239.7.7.7%lo:7000".parse().unwrap());
    let publisher = builder.to("239.7.7.8%lo:7001".parse().unwrap()).build().unwrap();
    let nak = nak(&publisher);
    let mut core = publisher.shared.core();
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let feedback_port = |endpoint: usize| {
        let sender = &publisher.shared.sockets.all[endpoint].sender;
        sender.local_address(Family::V4).unwrap().port()
    };
    for (endpoint, count, datagram) in [(0, 200, b"garbage".to_vec()), (1, 1, nak)] {
        let to = ("127.0.0.1", feedback_port(endpoint));
        (0..count).for_each(|_| _ = stranger.send_to(&datagram, to).unwrap());
    }
    publisher.shared.receive_feedback(&mut core);
    assert_eq!(core.machine.statistics().unproven, 1, "{:?}", core.machine.statistics());
    assert!(core.machine.statistics().foreign > 0);
}

#[test]
fn a_flooded_path_does_not_delay_the_feedback_on_another() {
    let lab = Lab::new().unwrap();
    lab.host("alone").unwrap().run(flood_a_path).unwrap();
}

#[cfg(feature = "tokio")]
#[test]
fn a_held_lock_does_not_block_the_executor() {
    let lab = Lab::new().unwrap();
    lab.host("alone").unwrap().run(|| publish_while_the_lock_is_held(publisher())).unwrap();
}
