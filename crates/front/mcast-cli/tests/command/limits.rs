//! The limits and the exit status of `mcast recv`.

use crate::support::{Ended, Lan, mcast, recv, send};

const GROUP: &str = "239.255.1.2:5000";

#[test]
fn silence_fails_with_a_timeout() {
    let lan = Lan::new();
    for limit in [&["-W", "100ms"][..], &["--idle", "0.1"], &["-c", "1", "-W", "100ms"]] {
        let ended = mcast(&lan.b, &[&["recv", GROUP], limit].concat());
        assert_eq!(ended.status, Some(1), "{limit:?}: {ended:?}");
        assert!(ended.stderr.contains("received 0, expected at least 1"), "{ended:?}");
    }
    let content = mcast(&lan.b, &["recv", GROUP, "-W", "100ms", "--expect", "0"]);
    assert_eq!(content.status, Some(0), "{content:?}");
}

#[test]
fn fewer_datagrams_than_required_fail() {
    let lan = Lan::new();
    let limits = [&[][..], &["-c", "2"], &["-c", "3"], &["--expect", "2"], &["--expect", "3"]];
    let receivers = limits.map(|limit| recv(&lan.b, &[&[GROUP, "--idle", "5s"], limit].concat()));
    send(&lan.a, &[GROUP, "one", "two"]);
    assert_eq!(receivers.map(|each| each.end().status), [0, 0, 1, 0, 1].map(Some));
}

#[test]
fn silence_is_counted_from_the_last_datagram() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "--idle", "5", "--format", "text"]);
    let start = std::time::Instant::now();
    send(&lan.a, &[GROUP, "tick", "--every", "500ms", "-c", "4"]);
    let ended = receiver.end().succeeded();
    assert_eq!(ended.lines().len(), 4);
    assert!(start.elapsed() >= std::time::Duration::from_millis(6_500), "{:?}", start.elapsed());
}

#[test]
fn drops_on_this_machine_are_counted_exactly() {
    const SENT: u64 = 2_000;

    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "--buffer", "16k", "--idle", "4s", "--max-loss", "1%", "--json"]);
    receiver.child.signal(libc::SIGSTOP).unwrap();
    send(&lan.a, &[GROUP, "--random", "100", "-c", &SENT.to_string(), "--rate", "50kpps"]);
    receiver.child.signal(libc::SIGCONT).unwrap();
    let ended = receiver.end();

    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let dropped = dropped(&ended);
    assert_eq!(ended.json().len() as u64 + dropped, SENT);
    assert!(dropped > SENT / 10, "{dropped} is too few to be a test");
    assert!(ended.stderr.contains("%, more than the allowed 1%"), "{}", ended.stderr);
}

#[test]
fn loss_is_shown_in_the_next_line() {
    let lan = Lan::new();
    let receiver = recv(&lan.b, &[GROUP, "--buffer", "16k", "--json"]);
    receiver.child.signal(libc::SIGSTOP).unwrap();
    send(&lan.a, &[GROUP, "--random", "100", "-c", "1000", "--rate", "50kpps"]);
    receiver.child.signal(libc::SIGCONT).unwrap();
    // Drops after the last datagram would only show in the summary: one more, when there is room.
    crate::support::eventually("a datagram after the loss", || {
        send(&lan.a, &[GROUP, "last"]);
        receiver.stdout.text().contains("last")
    });
    let ended = receiver.signalled(libc::SIGINT);

    let lost: u64 = ended.json().iter().map(|each| each["lost"].as_u64().unwrap()).sum();
    assert!(lost > 100, "{lost}");
    assert_eq!(dropped(&ended), lost, "{}", ended.stderr);
}

/// Returns the number of dropped datagrams in the summary, which separates thousands by commas.
fn dropped(ended: &Ended) -> u64 {
    let rest = ended.stderr.split("dropped by this machine: ").nth(1).unwrap();
    rest.lines().next().unwrap().replace(',', "").parse().unwrap()
}
