//! Options for low latency and precise timing: they affect when datagrams are delivered, never
//! which.

use std::thread;
use std::time::{Duration, Instant};

use mcast::{ErrorKind, InterfaceSelector, LaunchClock, Outgoing, Rate};
use mcast_sys::timing::pin_to_processor;

use crate::net::{Net, TIMEOUT, both_families, next, texts_until};

both_families!(
    spinning_and_busy_polling_receive_the_same_datagrams,
    a_reader_thread_runs_on_one_processor,
    a_device_without_timestamps_reports_none,
    launch_times_are_accepted,
    a_launch_time_needs_a_clock,
    a_paced_sender_spreads_its_datagrams,
);

fn spinning_and_busy_polling_receive_the_same_datagrams(net: &Net) {
    let membership = net.on("eth0", net.group(1));
    let receiver = net.receiver(|builder| {
        builder.join(membership).spin(Duration::from_millis(5)).busy_poll(Duration::from_micros(50))
    });
    let start = Instant::now();
    assert!(receiver.recv_timeout(&mut [0; 8], Duration::from_millis(20)).unwrap().is_none());
    assert!(start.elapsed() >= Duration::from_millis(20), "the wait ended early");
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn a_reader_thread_runs_on_one_processor(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let reading = thread::spawn(move || {
        pin_to_processor(0).unwrap();
        let payload = receiver.reader().next_timeout(TIMEOUT).unwrap().unwrap().payload().to_vec();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let allowed = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap()
            .trim()
            .to_owned();
        (payload, allowed)
    });
    net.send("eth0", net.group(1), b"x");
    assert_eq!(reading.join().unwrap(), (b"x".to_vec(), "0".to_owned()));

    assert!(pin_to_processor(4711).is_err());
}

fn a_device_without_timestamps_reports_none(net: &Net) {
    let membership = net.on("eth0", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).hardware_time(true));
    net.send("eth0", net.group(1), b"x");
    let received = next(&receiver);
    assert!(received.arrival.time.is_some() && received.arrival.hardware_time.is_none());
}

fn launch_times_are_accepted(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let group = net.group(1);
    net.send_with(
        |builder| {
            builder.interface(InterfaceSelector::Name("eth0".into())).launch_clock(LaunchClock::Monotonic)
        },
        |sender| {
            let soon = LaunchClock::Monotonic.now().unwrap() + Duration::from_millis(1);
            let outgoing = Outgoing::new(b"later").to(group).launch_at(soon);
            assert_eq!(sender.send_batch(&[outgoing, outgoing]).unwrap(), 2);
        },
    );
    assert_eq!((next(&receiver).text, next(&receiver).text), ("later".into(), "later".into()));
}

fn a_launch_time_needs_a_clock(net: &Net) {
    let outgoing = [
        Outgoing::new(b"x").to(net.group(1)),
        Outgoing::new(b"y").to(net.group(1)).launch_at(Duration::ZERO),
    ];
    net.send_with(
        |builder| builder.interface(InterfaceSelector::Name("eth0".into())),
        |sender| {
            assert_eq!(sender.send_batch(&outgoing).unwrap(), 1);
            assert_eq!(sender.send_batch(&outgoing[1..]).unwrap_err().kind(), ErrorKind::Mismatch);
        },
    );
}

fn a_paced_sender_spreads_its_datagrams(net: &Net) {
    // On a busy machine many may arrive at once; then the test is repeated. A sender that sends in
    // bursts never passes.
    let most: Vec<usize> = (0..20).map(|_| most_in_10_ms(net)).take_while(|most| *most > 42).collect();
    // 20 are due in this time, and the sender may catch up with 20 more.
    assert!(most.len() < 20, "{most:?}");
}

/// Sends 400 datagrams at 2,000 per second; returns the maximum number that arrived within 10 ms.
fn most_in_10_ms(net: &Net) -> usize {
    const COUNT: usize = 400;
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let seconds = net.send_with(
        |builder| {
            let builder = builder.interface(InterfaceSelector::Name("eth0".into())).to(net.group(1).into());
            builder.pace(Rate::Datagrams(2_000.0))
        },
        |sender| {
            let start = Instant::now();
            assert_eq!(sender.send_batch(&[Outgoing::new(b"x"); COUNT]).unwrap(), COUNT);
            start.elapsed().as_secs_f64()
        },
    );
    // On a busy machine a sender may be late, but never early.
    assert!(seconds >= 0.18, "{seconds}");
    let times: Vec<_> = (0..COUNT).map(|_| next(&receiver).arrival.time.unwrap()).collect();
    let within_10_ms = |from: &std::time::SystemTime| {
        times.iter().filter(|time| *time >= from && **time < *from + Duration::from_millis(10)).count()
    };
    times.iter().map(within_10_ms).max().unwrap()
}
