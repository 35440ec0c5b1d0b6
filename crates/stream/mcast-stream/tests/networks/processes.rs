//! Publishers that are killed, and subscribers that are stopped for a while. Each is a separate process, which runs
//! this test program again.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mcast::Family;
use mcast_lab::{Child, Host, Impairment};
use mcast_stream::subscriber::{Item, SubscriberEvent};
use mcast_stream::wire::StreamId;
use mcast_stream::{Publisher, StreamError, Subscriber};

use crate::net::{Net, TIMEOUT, message, receive_stream};

const GROUP: &str = "239.7.7.7%eth0:7000";
const COUNT: &str = "MCAST_TEST_COUNT";
/// Set if all messages are short.
const SHORT: &str = "MCAST_TEST_SHORT";
const STREAM: StreamId = StreamId::named("killed");

/// Runs a test of this program on a host; returns the process, and its output line by line.
fn start(host: &Host, test: &str, count: u64, short: bool) -> (Child, mpsc::Receiver<String>) {
    let mut command = host.command(std::env::current_exe().unwrap()).unwrap();
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(COUNT, count.to_string());
    if short {
        command.env(SHORT, "1");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    (child, lines)
}

/// Waits for a line that contains this.
fn await_line(lines: &mpsc::Receiver<String>, sought: &str) -> String {
    loop {
        let line = lines.recv_timeout(TIMEOUT).unwrap_or_else(|_| panic!("no line contains {sought:?}"));
        if line.contains(sought) {
            return line;
        }
    }
}

fn short_message(number: u64) -> Vec<u8> {
    message(number % 49 + 1)
}

fn count() -> u64 {
    std::env::var(COUNT).unwrap().parse().unwrap()
}

#[test]
#[ignore = "run by the tests below"]
fn publishes() {
    let publisher = Publisher::builder().stream(STREAM).to(GROUP.parse().unwrap()).build().unwrap();
    assert!(publisher.wait_for(1, TIMEOUT));
    for number in 0..count() {
        assert_eq!(publisher.publish(&message(number)).unwrap().0, number);
    }
    assert!(publisher.close(TIMEOUT).behind.is_empty());
}

/// Twice in a row: each new incarnation must count as later, however short the former one was.
#[test]
fn a_killed_publisher_is_followed_after_its_restart() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.01, ..Impairment::default() });
    let mut subscriber = net.subscriber(0, |settings| settings.stream(STREAM));
    let (endless, whole) = (u64::MAX, 400);
    let mut restarts = 0;
    let mut next = 0;
    let (mut child, mut _lines) = start(&net.publisher, "processes::publishes", endless, false);
    loop {
        match subscriber.next_timeout(TIMEOUT).unwrap() {
            Some(Item::Message(received)) => {
                assert_eq!(received.number.0, next);
                assert!(received.bytes == message(next), "message {next} is wrong");
                next += 1;
                if next == 30 && restarts < 2 {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    restarts += 1;
                    let count = if restarts == 2 { whole } else { endless };
                    (child, _lines) = start(&net.publisher, "processes::publishes", count, false);
                }
            }
            Some(Item::Event(SubscriberEvent::Restarted { from, to })) => {
                assert!(to > from);
                next = 0;
            }
            Some(Item::Event(SubscriberEvent::Lost { end, .. })) => next = end.0,
            Some(Item::Event(SubscriberEvent::Ended { messages })) => {
                assert_eq!((messages, next, restarts), (whole, whole, 2));
                break;
            }
            Some(Item::Event(_)) => {}
            None => panic!("no message after {next} since restart {restarts}"),
        }
    }
    drop(subscriber);
    assert!(child.wait_timeout(TIMEOUT).unwrap().success());
}

#[test]
#[ignore = "run by the tests below"]
fn subscribes() {
    let mut subscriber = Subscriber::join_one(GROUP.parse().unwrap()).unwrap();
    let mut output = std::io::stdout();
    writeln!(output, "ready").unwrap();
    let expected = count();
    let short = std::env::var_os(SHORT).is_some();
    let received =
        receive_stream(&mut subscriber, |number| if short { short_message(number) } else { message(number) });
    let lost: u64 = received
        .events
        .iter()
        .map(
            |event| {
                if let SubscriberEvent::Lost { first, end, .. } = event { end.ahead_of(*first) } else { 0 }
            },
        )
        .sum();
    assert_eq!(received.messages + lost, expected, "{:?}", received.events);
    writeln!(output, "received {} lost {lost}", received.messages).unwrap();
}

/// Publishes until flow control waits for a subscriber; returns the number of messages that were accepted.
fn publish_until_blocked(publisher: &Publisher) -> u64 {
    for number in 0.. {
        loop {
            let progress = publisher.progress();
            match publisher.try_publish(&message(number)) {
                Ok(_) => break,
                Err(StreamError::Refused(mcast_stream::publisher::Refusal::WaitingFor { .. })) => {
                    return number;
                }
                Err(StreamError::Refused(refusal)) if refusal.is_temporary() => {
                    publisher.wait_for_room(progress, TIMEOUT);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    unreachable!("numbers do not end")
}

#[test]
fn a_subscriber_that_is_stopped_for_a_while_is_waited_for() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.01, ..Impairment::default() });
    let eviction = Duration::from_secs(600);
    let publisher = net.publisher(|settings| {
        settings
            .retransmission_buffer(256 << 10)
            .eviction(eviction)
            .subscriber_timeout(Duration::from_secs(600))
    });
    let (mut child, lines) = start(&net.subscribers[0].0, "processes::subscribes", 3_000, false);
    assert!(publisher.wait_for(1, TIMEOUT));
    child.signal(libc::SIGSTOP).unwrap();
    let accepted = publish_until_blocked(&publisher);
    assert!(accepted < 3_000, "{accepted} messages fit 256 KiB");
    child.signal(libc::SIGCONT).unwrap();
    (accepted..3_000).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
    let closing = publisher.close(TIMEOUT);
    assert!(closing.behind.is_empty(), "{closing:?}");
    assert!(await_line(&lines, "received").contains("received 3000 lost 0"));
    assert!(child.wait_timeout(TIMEOUT).unwrap().success());
}

/// A subscriber that is stopped for too long is evicted. When it continues, its losses are reported exactly.
#[test]
fn an_evicted_subscriber_reports_exactly_what_it_missed() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let publisher = net
        .publisher(|settings| settings.retransmission_buffer(64 << 10).eviction(Duration::from_millis(300)));
    let (mut child, lines) = start(&net.subscribers[0].0, "processes::subscribes", 1_000, true);
    assert!(publisher.wait_for(1, TIMEOUT));
    child.signal(libc::SIGSTOP).unwrap();
    // More than the publisher's retransmission buffer and the subscriber's socket buffer hold.
    net.subscribers[0].1.set(Impairment { loss: 1.0, ..Impairment::default() }).unwrap();
    (0..900).for_each(|number| assert_eq!(publisher.publish(&short_message(number)).unwrap().0, number));
    net.subscribers[0].1.set(Impairment::default()).unwrap();
    child.signal(libc::SIGCONT).unwrap();
    (900..1_000).for_each(|number| assert_eq!(publisher.publish(&short_message(number)).unwrap().0, number));
    let closing = publisher.close(TIMEOUT);
    let line = await_line(&lines, "received");
    assert!(!line.contains("lost 0"), "{line} {closing:?}");
    assert!(child.wait_timeout(TIMEOUT).unwrap().success());
}
