//! Publishers that are killed, subscribers that are stopped for a while: each a process of its own, this test program run
//! again.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mcast::Family;
use mcast_lab::{Child, Host, Impairment};
use mcast_stream::receiver::{Event, Item};
use mcast_stream::wire::StreamId;
use mcast_stream::{Publisher, StreamError, Subscriber};

use crate::net::{Net, PATIENCE, hear, message};

const GROUP: &str = "239.7.7.7%eth0:7000";
const COUNT: &str = "MCAST_TEST_COUNT";
/// Set where all messages are short.
const SHORT: &str = "MCAST_TEST_SHORT";
const STREAM: StreamId = StreamId::named("killed");

/// Runs a test of this program on a host; what it prints comes line by line.
fn start(host: &Host, test: &str, count: u64, short: bool) -> (Child, mpsc::Receiver<String>) {
    let mut command = host.command(std::env::current_exe().unwrap()).unwrap();
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(COUNT, count.to_string());
    if short {
        command.env(SHORT, "1");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let (tells, told) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).all(|line| tells.send(line).is_ok())
    });
    (child, told)
}

/// Waits for a line that has this in it.
fn await_line(told: &mpsc::Receiver<String>, sought: &str) -> String {
    loop {
        let line = told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it never said {sought:?}"));
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
    assert!(publisher.wait_for(1, PATIENCE));
    for number in 0..count() {
        assert_eq!(publisher.publish(&message(number)).unwrap(), number);
    }
    assert!(publisher.close(PATIENCE).behind.is_empty());
}

/// Twice, one right after the other: each new life must be taken for a later one, however short the former was.
#[test]
fn a_publisher_that_is_killed_is_followed_when_it_starts_again() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.01, ..Impairment::default() });
    let mut subscriber = net.subscriber(0, |settings| settings.stream(STREAM));
    let (endless, whole) = (u64::MAX, 400);
    let mut lives = 0;
    let mut next = 0;
    let (mut child, mut _said) = start(&net.publisher, "processes::publishes", endless, false);
    loop {
        match subscriber.next_timeout(PATIENCE).unwrap() {
            Some(Item::Message(heard)) => {
                assert_eq!(heard.number, next);
                assert!(heard.bytes == message(next), "message {next} is wrong");
                next += 1;
                if next == 30 && lives < 2 {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    lives += 1;
                    let count = if lives == 2 { whole } else { endless };
                    (child, _said) = start(&net.publisher, "processes::publishes", count, false);
                }
            }
            Some(Item::Event(Event::Restarted { from, to })) => {
                assert!(to > from);
                next = 0;
            }
            Some(Item::Event(Event::Lost { end, .. })) => next = end,
            Some(Item::Event(Event::Ended { messages })) => {
                assert_eq!((messages, next, lives), (whole, whole, 2));
                break;
            }
            Some(Item::Event(_)) => {}
            None => panic!("life {lives} stood still at {next}"),
        }
    }
    drop(subscriber);
    assert!(child.wait_timeout(PATIENCE).unwrap().success());
}

#[test]
#[ignore = "run by the tests below"]
fn subscribes() {
    let mut subscriber = Subscriber::join_one(GROUP.parse().unwrap()).unwrap();
    let mut output = std::io::stdout();
    writeln!(output, "ready").unwrap();
    let expected = count();
    let short = std::env::var_os(SHORT).is_some();
    let heard = hear(&mut subscriber, |number| if short { short_message(number) } else { message(number) });
    let lost: u64 = heard
        .events
        .iter()
        .map(|event| if let Event::Lost { first, end, .. } = event { end - first } else { 0 })
        .sum();
    assert_eq!(heard.messages + lost, expected, "{:?}", heard.events);
    writeln!(output, "heard {} lost {lost}", heard.messages).unwrap();
}

/// Publishes so long until somebody is waited for who does not get on.
fn publish_until_blocked(publisher: &Publisher) -> u64 {
    for number in 0.. {
        loop {
            match publisher.try_publish(&message(number)) {
                Ok(_) => break,
                Err(StreamError::Refused(mcast_stream::sender::Refusal::WaitingFor { .. })) => return number,
                Err(StreamError::Refused(refusal)) if refusal.is_temporary() => {
                    publisher.wait_for_room(PATIENCE);
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
    let patient = Duration::from_secs(600);
    let publisher = net.publisher(|settings| {
        settings
            .history(256 << 10)
            .eviction(patient)
            .configure(|config| config.receiver_timeout = 600_000_000_000)
    });
    let (mut child, told) = start(&net.subscribers[0].0, "processes::subscribes", 3_000, false);
    assert!(publisher.wait_for(1, PATIENCE));
    child.signal(libc::SIGSTOP).unwrap();
    let stood = publish_until_blocked(&publisher);
    assert!(stood < 3_000, "{stood} messages went into 256 KiB");
    child.signal(libc::SIGCONT).unwrap();
    (stood..3_000).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap(), number));
    let closing = publisher.close(PATIENCE);
    assert!(closing.behind.is_empty(), "{closing:?}");
    assert!(await_line(&told, "heard").contains("heard 3000 lost 0"));
    assert!(child.wait_timeout(PATIENCE).unwrap().success());
}

/// Who is stopped too long is evicted; when it goes on, it is told exactly what it missed.
#[test]
fn a_subscriber_that_is_stopped_too_long_is_told_what_it_missed() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let publisher = net.publisher(|settings| settings.history(64 << 10).eviction(Duration::from_millis(300)));
    let (mut child, told) = start(&net.subscribers[0].0, "processes::subscribes", 1_000, true);
    assert!(publisher.wait_for(1, PATIENCE));
    child.signal(libc::SIGSTOP).unwrap();
    // More than anybody keeps: the publisher's history, and what the system holds for the subscriber.
    net.subscribers[0].1.set(Impairment { loss: 1.0, ..Impairment::default() }).unwrap();
    (0..900).for_each(|number| assert_eq!(publisher.publish(&short_message(number)).unwrap(), number));
    net.subscribers[0].1.set(Impairment::default()).unwrap();
    child.signal(libc::SIGCONT).unwrap();
    (900..1_000).for_each(|number| assert_eq!(publisher.publish(&short_message(number)).unwrap(), number));
    let closing = publisher.close(PATIENCE);
    let line = await_line(&told, "heard");
    assert!(!line.contains("lost 0"), "{line} {closing:?}");
    assert!(child.wait_timeout(PATIENCE).unwrap().success());
}
