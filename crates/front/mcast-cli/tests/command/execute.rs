//! `mcast recv --exec`: one process per datagram.

use std::thread;
use std::time::Duration;

use crate::support::{Lan, eventually, mcast, recv, send, start_with_processes};

const GROUP: &str = "239.255.1.2:5000";

#[test]
fn the_payload_is_the_input_and_metadata_is_in_the_environment() {
    let lan = Lan::new();
    let script = "cat; echo \" $MCAST_GROUP $MCAST_PORT $MCAST_INTERFACE $MCAST_SOURCE $MCAST_SOURCE_PORT \
                  $MCAST_TTL $MCAST_DSCP $MCAST_LENGTH $MCAST_LOST $MCAST_TRUNCATED $MCAST_TIME\"";
    let runs = recv(&lan.b, &[GROUP, "-c", "1", "--exec", script]);
    send(&lan.a, &[GROUP, "hello", "--source-port", "4444", "-t", "2"]);
    let ended = runs.end().succeeded();
    let (facts, time) = ended.text().trim_end().rsplit_once(' ').unwrap();
    assert_eq!(facts, "hello 239.255.1.2 5000 eth0 10.0.0.1 4444 2 0 5 0 false");
    assert!(time.ends_with('Z') && time.len() == "2026-01-01T00:00:00.123456789Z".len(), "{time}");
    assert!(ended.stderr.contains("ran 1 command"), "{ended:?}");
}

#[test]
fn output_is_flushed_before_a_command_runs() {
    let lan = Lan::new();
    let runs = recv(&lan.b, &[GROUP, "-c", "1", "--format", "text", "--exec", "echo second"]);
    send(&lan.a, &[GROUP, "first"]);
    assert_eq!(runs.end().succeeded().text(), "first\nsecond\n");
}

#[test]
fn commands_run_concurrently_up_to_the_limit() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    // Each waits until there were two side by side, and counts how many run with it.
    let script = format!(
        "cd {}; touch $$.runs; until [ -e two ]; do [ $(ls *.runs | wc -l) -lt 2 ] || touch two; done; \
         ls *.runs | wc -l; sleep 0.3; rm $$.runs",
        folder.path().display()
    );
    let runs = recv(&lan.b, &[GROUP, "-c", "6", "--exec", &script, "--exec-limit", "2"]);
    send(&lan.a, &[GROUP, "x", "-c", "6"]);
    let ended = runs.end().succeeded();
    let at_once: Vec<u32> = ended.lines().iter().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!((at_once.len(), at_once.iter().max()), (6, Some(&2)), "{ended:?}");
}

#[test]
fn datagrams_without_a_command_are_counted() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let end = folder.path().join("end");
    let script = format!("echo begun; until [ -e {} ]; do sleep 0.05; done", end.display());
    let runs = recv(&lan.b, &[GROUP, "-W", "3s", "--exec", &script, "--exec-limit", "1"]);
    send(&lan.a, &[GROUP, "x", "-c", "3"]);
    runs.stdout.wait_for("begun");
    // Its end is waited for, also beyond the time.
    thread::sleep(Duration::from_secs(4));
    std::fs::write(end, "").unwrap();
    let ended = runs.end().succeeded();
    assert!(ended.stderr.contains("ran 1 command\n"), "{ended:?}");
    assert!(ended.stderr.contains("no command was run for 2 datagrams"), "{ended:?}");
    assert!(
        ended.stderr.contains("received 2 datagrams") || ended.stderr.contains("received 3 datagrams"),
        "{ended:?}"
    );
}

#[test]
fn datagrams_waiting_for_a_command_are_not_silence() {
    const IDLE: Duration = Duration::from_secs(3);

    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let end = folder.path().join("end");
    let script = format!("cat; echo; until [ -e {} ]; do sleep 0.05; done", end.display());
    let runs = recv(&lan.b, &[GROUP, "--idle", "3s", "--exec", &script, "--exec-limit", "1"]);
    send(&lan.a, &[GROUP, "one", "two"]);
    runs.stdout.wait_for("one");
    send(&lan.a, &[GROUP, "three"]);
    thread::sleep(IDLE);
    std::fs::write(end, "").unwrap();
    assert_eq!(runs.end().succeeded().text(), "one\ntwo\nthree\n");
}

#[test]
fn a_command_that_fails_is_counted() {
    let lan = Lan::new();
    let runs = recv(&lan.b, &[GROUP, "-c", "2", "--exec", "read word; test $word = good"]);
    send(&lan.a, &[GROUP, "good", "bad"]);
    let ended = runs.end().succeeded();
    assert!(ended.stderr.contains("ran 2 commands, of which 1 failed"), "{ended:?}");
}

#[test]
fn a_large_payload_and_a_large_answer_do_not_deadlock() {
    let lan = Lan::new();
    let runs = recv(
        &lan.b,
        &[GROUP, "-c", "1", "--exec-reply", "--exec", "head -c 60000 /dev/zero; cat >/dev/null"],
    );
    let asked =
        mcast(&lan.a, &["ask", GROUP, &"x".repeat(65_000), "-c", "1", "-W", "30", "--json"]).succeeded();
    assert_eq!(asked.json()[0]["length"], 60_000);
    runs.end().succeeded();
}

#[test]
fn an_answer_too_large_to_send_is_reported() {
    let lan = Lan::new();
    let runs = recv(&lan.b, &[GROUP, "-c", "1", "--exec-reply", "--exec", "head -c 100000 /dev/zero"]);
    send(&lan.a, &[GROUP, "x"]);
    let ended = runs.end().succeeded();
    assert!(ended.stderr.contains("cannot send an answer: "), "{ended:?}");
}

#[test]
fn a_lack_of_threads_is_reported_without_waiting() {
    let lan = Lan::new();
    let mut trouble = String::new();
    for most in 2..20 {
        let arguments = ["recv", GROUP, "-c", "1", "--exec", "cat", "--exec-reply"];
        let (_folder, mut runs) = start_with_processes(&lan.b, most, &arguments);
        // Longer than what a pipe buffers, so that a thread writes it.
        let payload = "x".repeat(5_000);
        eventually("it ends", || {
            send(&lan.a, &[GROUP, &payload]);
            runs.child.try_wait().unwrap().is_some()
        });
        let ended = runs.end();
        assert!(!ended.stderr.contains("panicked"), "{most}: {ended:?}");
        if ended.stderr.contains("ran 1 command, sent 1 answer\n") {
            for place in ["cannot start a thread for the command", "cannot write to the command"] {
                assert!(trouble.contains(place), "no limit was just too low for that: {trouble}");
            }
            return;
        }
        assert!(ended.stderr.contains("cannot ") || ended.stderr.contains("failed"), "{most}: {ended:?}");
        trouble += &ended.stderr;
    }
    panic!("no limit was enough: {trouble}");
}
