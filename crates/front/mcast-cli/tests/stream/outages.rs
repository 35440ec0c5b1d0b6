//! Outages while a subscriber reads the log of a publisher: it gets everything that the log has.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use mcast_lab::Host;

use crate::support::{Ended, Lan, MCAST, Running, program};
use crate::{GROUP, subscriber};

/// The messages, of 600 bytes each. The log is read in more than 7 s.
const MESSAGES: usize = 15_000;
/// Longer than each patience of 5 s, and than the time after which TCP repeats what a link that was cut for 3 s has lost.
const OUTAGE: Duration = Duration::from_secs(7);

fn lines(range: std::ops::Range<usize>) -> String {
    range.map(|number| format!("{number:08} {}\n", "x".repeat(590))).collect()
}

/// A publisher whose log is read slowly, and that retains little.
fn logged(lan: &Lan, log: &Path) -> Running {
    let log = log.display().to_string();
    let own = ["publish", "-i", "eth0", GROUP, "--name", "prices", "--log", &log, "--sync", "none"];
    let serves = ["--serve-history", "10.0.0.1:7768:8Mbit", "--history", "64K"];
    let ends = ["--linger", "2m", "--flow", "none"];
    let running = program(&lan.a, MCAST, &[&own[..], &serves, &ends].concat(), true);
    running.stderr.wait_for("stream ");
    running
}

fn write(publishing: &mut Running, range: std::ops::Range<usize>) {
    publishing.child.stdin.as_mut().unwrap().write_all(lines(range).as_bytes()).unwrap();
}

/// Lasts for the time of an outage, which is what the test is about.
fn last() {
    let until = Instant::now() + OUTAGE;
    while Instant::now() < until {
        std::thread::sleep(until - Instant::now());
    }
}

fn nft(host: &Host, command: &str) {
    let applied = host.command("nft").unwrap().arg(command).output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

/// Drops what arrives at a host and this rule matches.
fn block(host: &Host, rule: &str) {
    nft(
        host,
        &format!("table inet outage {{ chain in {{ type filter hook input priority 0; {rule} drop; }}; }}"),
    );
}

fn unblock(host: &Host) {
    nft(host, "delete table inet outage");
}

/// The same for the time of an outage.
fn block_for_a_while(host: &Host, rule: &str) {
    block(host, rule);
    last();
    unblock(host);
}

/// Checks that both ends have everything from this message on.
fn assert_whole(publishing: Running, subscribing: Running, first: usize) {
    let ended: Ended = subscribing.end().succeeded();
    assert!(ended.text() == lines(first..MESSAGES), "{}", ended.stderr);
    publishing.end().succeeded();
}

/// Publishes most of the messages, starts a subscriber with these options, and calls `outage` once it reads the log.
fn reads_on_after(start: &[&str], first: usize, outage: impl FnOnce(&Lan, &Running)) {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let mut publishing = logged(&lan, &folder.path().join("log"));
    write(&mut publishing, 0..MESSAGES - 500);
    let options = [&["--name", "prices", GROUP], start].concat();
    let subscribing = subscriber(&lan.b, &options);
    subscribing.stdout.wait_for("00001000 x");
    outage(&lan, &publishing);
    write(&mut publishing, MESSAGES - 500..MESSAGES);
    drop(publishing.child.stdin.take());
    assert_whole(publishing, subscribing, first);
}

#[test]
fn a_start_gets_what_the_log_has_although_it_was_cut_off() {
    reads_on_after(&["--from", "oldest"], 0, |lan, _| block_for_a_while(&lan.b, "iifname eth0"));
}

#[test]
fn a_start_gets_what_the_log_has_although_the_publisher_was_stopped() {
    reads_on_after(&["--from", "10"], 10, |_, publishing| {
        publishing.child.signal(libc::SIGSTOP).unwrap();
        last();
        publishing.child.signal(libc::SIGCONT).unwrap();
    });
}

#[test]
fn a_start_gets_what_the_log_has_although_its_port_was_blocked() {
    reads_on_after(&["--from", "oldest"], 0, |lan, _| block_for_a_while(&lan.b, "tcp sport 7768"));
}

#[test]
fn a_position_is_resumed_although_the_log_cannot_be_reached_for_longer_than_a_start_waits() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let position = folder.path().join("position").display().to_string();
    let mut publishing = logged(&lan, &folder.path().join("log"));
    let resumed = ["--name", "prices", GROUP, "--from", "oldest", "--resume", &position, "--confirm", "pipe"];
    let first = subscriber(&lan.b, &resumed);
    write(&mut publishing, 0..100);
    first.stdout.wait_for("00000099 x");
    let first = first.signalled(libc::SIGTERM);
    let begins = first.lines().len();
    write(&mut publishing, 100..MESSAGES);
    block(&lan.b, "tcp sport 7768");
    let second = subscriber(&lan.b, &resumed);
    second.stderr.wait_for("no history server answers; still waiting");
    second.stderr.wait_for("name its address with --history-server");
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        assert!(second.stdout.len() == 0, "{}", second.stderr.text());
        std::thread::sleep(Duration::from_millis(100));
    }
    unblock(&lan.b);
    drop(publishing.child.stdin.take());
    let ended: Ended = second.end().succeeded();
    assert!(ended.text() == lines(begins..MESSAGES), "{}", ended.stderr);
    // The first one left while there was more to come.
    let ended = publishing.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("1 of 2 subscribers have everything"), "{ended:?}");
}

#[test]
fn a_loss_is_healed_although_the_publisher_is_stopped_meanwhile() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let mut publishing = logged(&lan, &folder.path().join("log"));
    let healed = subscriber(&lan.b, &["--name", "prices", GROUP, "--heal"]);
    // What was published before it joined is not promised to it.
    publishing.stderr.wait_for("10.0.0.2 joined");
    write(&mut publishing, 0..100);
    healed.stdout.wait_for("00000099 x");
    healed.child.signal(libc::SIGSTOP).unwrap();
    // Without flow control, what does not fit into its socket is lost, and only the log has it.
    write(&mut publishing, 100..MESSAGES - 500);
    last();
    healed.child.signal(libc::SIGCONT).unwrap();
    write(&mut publishing, MESSAGES - 500..MESSAGES);
    healed.stdout.wait_for("00009000 x");
    publishing.child.signal(libc::SIGSTOP).unwrap();
    last();
    publishing.child.signal(libc::SIGCONT).unwrap();
    drop(publishing.child.stdin.take());
    assert_whole(publishing, healed, 0);
}

/// The publisher only sees that nothing comes from there any more, and calls it too slow, or silent.
#[test]
fn an_interface_that_was_renamed_or_removed_is_named() {
    let lan = Lan::new();
    let publishing = program(&lan.a, MCAST, &["publish", "-i", "eth0", GROUP], true);
    publishing.stderr.wait_for("stream ");
    let [renamed, removed] = [&lan.b, &lan.c].map(|host| subscriber(host, &[GROUP]));
    renamed.stderr.wait_for("subscribed to");
    removed.stderr.wait_for("subscribed to");
    lan.c.delete_interface("eth0").unwrap();
    removed.stderr.wait_for("warning: eth0 is gone: nothing arrives on it");
    lan.b.set_down("eth0").unwrap();
    renamed.stderr.wait_for("warning: eth0 is down");
    lan.b.rename_interface("eth0", "eth7").unwrap();
    renamed.stderr.wait_for("warning: eth0 is gone: nothing arrives on it");
}
