//! A subscriber that joins after many messages gets all of them, and then the live stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use mcast_lab::Child;

use crate::engine::{Engine, Setup};
use crate::network::{Network, close};
use crate::support::{MCAST, Running, eventually, program, start};

/// The length of a message, in bytes.
const LENGTH: usize = 100;
/// Messages that are published at once.
const BLOCK: u64 = 1_000;
/// Messages per second that are published while the subscriber reads what is stored.
const LIVE: u64 = 10_000;
/// Messages per second that the subscriber must get out of Redis, in a release build.
const GOAL: f64 = 200_000.0;

/// How many messages are stored before the subscriber joins.
fn stored_messages() -> u64 {
    std::env::var("MCAST_BRIDGE_JOINING").map_or(10_000_000, |text| text.parse().unwrap())
}

/// Appends the line of a message.
fn add_line(number: u64, lines: &mut Vec<u8>) {
    let end = lines.len() + LENGTH;
    write!(lines, "message {number} ").unwrap();
    lines.resize(end, b'a' + (number % 26) as u8);
    lines.push(b'\n');
}

fn write_block(publisher: &mut Running, first: u64) {
    let mut lines = Vec::with_capacity(BLOCK as usize * (LENGTH + 1));
    (first..first + BLOCK).for_each(|number| add_line(number, &mut lines));
    publisher.child.stdin.as_mut().unwrap().write_all(&lines).unwrap();
}

/// Checks every line, from message 0 on; returns their number. Reports when `stored` lines were read.
fn check_lines(pipe: impl Read, stored: u64, caught_up: &Sender<Instant>) -> u64 {
    let mut pipe = BufReader::with_capacity(1 << 20, pipe);
    let (mut line, mut expected) = (Vec::new(), Vec::new());
    for number in 0.. {
        line.clear();
        if pipe.read_until(b'\n', &mut line).unwrap() == 0 {
            return number;
        }
        expected.clear();
        add_line(number, &mut expected);
        assert!(line == expected, "message {number}: {:?}", String::from_utf8_lossy(&line));
        if number + 1 == stored {
            caught_up.send(Instant::now()).unwrap();
        }
    }
    unreachable!("numbers do not end")
}

/// Returns the processor time of a program.
fn processor_time(process: &Child) -> Duration {
    let statistics = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    // After the name, which is in parentheses: `utime` and `stime` are the fields 14 and 15, in hundredths of a second.
    let fields = statistics.rsplit_once(')').unwrap().1.split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// Returns the rate, if the engine is installed.
fn everything_that_is_stored_arrives_and_then_the_live_stream<T: Engine>(name: &str) -> Option<f64> {
    // The publisher is on the host of the engine, and the subscriber on that of the second bridge.
    let network = Network::new([0.0, 0.0]);
    let engine = T::start(&network, Setup::Plain)?;
    let group = "239.1.2.3%engine:7000";
    let url = engine.url();
    // It stays at the end of the stream, because the subscriber may still need the history then.
    let arguments =
        ["bridge", group, "to", &url, "--name", "prices", "--stay", "--serve-history", "0.0.0.0:0"];
    let bridge = start(&network.bridges[0], &arguments);
    bridge.stderr.wait_for("keeping the stream in");
    let arguments = ["publish", "239.1.2.3%eth0:7000", "--name", "prices", "--wait-for", "1"];
    let mut publisher = program(&network.engine, MCAST, &arguments, true);
    let (stored, begun) = (stored_messages(), Instant::now());
    (0..stored).step_by(BLOCK as usize).for_each(|first| write_block(&mut publisher, first));
    eventually("all messages", || engine.length() >= stored);
    eprintln!("{name}: {stored} messages were stored in {:.1} s", begun.elapsed().as_secs_f64());

    let (spent, joined) = (processor_time(&bridge.child), Instant::now());
    let mut command = network.bridges[1].command(MCAST).unwrap();
    command.args(["subscribe", group, "--name", "prices", "--from", "oldest"]);
    let mut subscriber = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let pipe = subscriber.stdout.take().unwrap();
    let (caught_up, when) = channel();
    let check = thread::spawn(move || check_lines(pipe, stored, &caught_up));
    let mut next = stored;
    let caught_up = loop {
        write_block(&mut publisher, next);
        next += BLOCK;
        let due = joined + Duration::from_secs(next - stored) / LIVE as u32;
        match when.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(at) => break at,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("it read {:?}", check.join()),
        }
    };
    let took = caught_up.duration_since(joined).as_secs_f64();
    let (of_bridge, of_subscriber) = (processor_time(&bridge.child) - spent, processor_time(&subscriber));
    let rate = stored as f64 / took;
    eprintln!(
        "{name}: {stored} messages of {LENGTH} bytes in {took:.1} s: {rate:.0} messages per second, while {} were \
         published; processor time: bridge {:.1} s, subscriber {:.1} s",
        next - stored,
        of_bridge.as_secs_f64(),
        of_subscriber.as_secs_f64(),
    );
    for _ in 0..10 {
        write_block(&mut publisher, next);
        next += BLOCK;
    }
    close(&mut publisher);
    publisher.end().succeeded();
    assert!(subscriber.wait().unwrap().success());
    assert_eq!(check.join().unwrap(), next);
    bridge.child.kill().unwrap();
    Some(rate)
}

#[test]
#[ignore = "stores 10,000,000 messages: cargo soak --only bridge:joining"]
fn everything_in_redis_arrives_and_then_the_live_stream() {
    let rate = everything_that_is_stored_arrives_and_then_the_live_stream::<crate::redis::Redis>("Redis");
    let is_met = rate.is_none_or(|rate| cfg!(debug_assertions) || rate >= GOAL);
    assert!(is_met, "{rate:?} messages per second");
}

#[test]
#[ignore = "stores 10,000,000 messages: cargo soak --only bridge:joining"]
fn everything_in_nats_arrives_and_then_the_live_stream() {
    everything_that_is_stored_arrives_and_then_the_live_stream::<crate::nats::Nats>("NATS");
}
