//! What the feature `tracing` records.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::subscriber::Item;

use crate::net::{Net, TIMEOUT};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Appends to [`LINES`].
struct Collector;

impl io::Write for Collector {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether one line has all of these texts.
fn is_recorded(texts: &[&str]) -> bool {
    let lines = LINES.lock().unwrap().clone();
    let lines = String::from_utf8(lines).unwrap();
    lines.lines().any(|line| texts.iter().all(|text| line.contains(text)))
}

#[test]
fn publishers_subscribers_and_their_receivers_record_what_happens() {
    let lines = || Collector;
    tracing_subscriber::fmt()
        .with_writer(lines)
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .init();
    let net = Net::new(Family::V4, 1, Impairment::default());
    // The address of its own identifies it among the tests of this process.
    let on = |text: &str| text.parse().unwrap();
    let mut subscriber = net.subscriber(0, |settings| settings.join(on("239.7.7.8%eth0:7008")));
    let publisher = net.publisher(|settings| settings.to("239.7.7.8%eth0:7008".parse().unwrap()));
    let stream = format!("publisher{{stream={}", publisher.stream());
    publisher.publish(b"hello").unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let mut received = false;
    while !received || !is_recorded(&["INFO ", &stream, "SubscriberJoined("]) {
        assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&LINES.lock().unwrap()));
        let item = subscriber.next_timeout(Duration::from_millis(20)).unwrap();
        received |= matches!(item, Some(Item::Message(_)));
    }
    let expected: [&[&str]; 3] = [
        &[
            "DEBUG subscriber{on=239.7.7.8:7008,239.7.7.7:7000}:receiver: ",
            "joined group=239.7.7.8:7008 interface=",
        ],
        &["INFO subscriber{on=239.7.7.8:7008,239.7.7.7:7000}: ", "joined details=Joined {"],
        &["INFO ", &stream, "publishes paths=2"],
    ];
    for texts in expected {
        assert!(is_recorded(texts), "{texts:?}:\n{}", String::from_utf8_lossy(&LINES.lock().unwrap()));
    }
    assert!(!is_recorded(&["WARN ", &stream]), "nothing went wrong");
}
