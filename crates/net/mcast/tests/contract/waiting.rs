//! Guarantee 7, continued: every waiting thread notices every event that must end its wait.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mcast::{ErrorKind, InterfaceSelector, Outgoing, Receiver};

use crate::net::{Net, TIMEOUT, both_families, next};

both_families!(
    with_and_without_gro:
    all_waiting_threads_notice_a_first_group,
    all_waiting_threads_notice_another_group,
    all_waiting_threads_notice_a_group_that_replaces_theirs,
    the_descriptor_covers_a_group_that_was_waited_for_without_it,
    requesting_the_descriptor_disturbs_no_wait,
    a_spinning_wait_notices_joins_and_wakers;
    by_the_sockets:
    the_descriptor_is_readable_up_to_the_last_datagram_of_a_coalesced_buffer,
    waiting_threads_share_a_coalesced_buffer,
);

const WAITERS: usize = 3;

/// Starts waiting threads, and once all of them sleep, runs `work`, which must let each receive a
/// datagram.
fn while_threads_wait(receiver: &Receiver, work: impl FnOnce()) -> Vec<Option<String>> {
    let receive = || {
        let mut buffer = [0; 64];
        let received = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap();
        received.map(|datagram| String::from_utf8_lossy(datagram.payload()).into_owned())
    };
    thread::scope(|scope| {
        let (sender, started) = mpsc::channel();
        let waiting: Vec<_> = (0..WAITERS)
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(move || {
                    sender.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
                    receive()
                })
            })
            .collect();
        for task in started.iter().take(WAITERS) {
            wait_asleep(task.file_name().unwrap().to_str().unwrap());
        }
        work();
        let worked = Instant::now();
        let received = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(worked.elapsed() < TIMEOUT / 2, "noticed only at the timeout");
        received
    })
}

/// Waits until a thread of this process sleeps.
fn wait_asleep(task: &str) {
    let end = Instant::now() + TIMEOUT;
    loop {
        let status = std::fs::read_to_string(format!("/proc/self/task/{task}/status")).unwrap();
        if status.lines().any(|line| line.starts_with("State:\tS")) {
            return;
        }
        assert!(Instant::now() < end, "the thread does not go to sleep");
        thread::yield_now();
    }
}

fn all_waiting_threads_notice_a_first_group(net: &Net) {
    let receiver = net.joined(&[]);
    let received = while_threads_wait(&receiver, || {
        net.receiver.run(|| receiver.join(net.on("eth1", net.group(2)))).unwrap().unwrap();
        (0..WAITERS).for_each(|_| net.send("eth1", net.group(2), b"first"));
    });
    assert_eq!(received, vec![Some("first".to_owned()); WAITERS]);
}

fn all_waiting_threads_notice_another_group(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let received = while_threads_wait(&receiver, || {
        net.receiver.run(|| receiver.join(net.on("eth1", net.group(2)))).unwrap().unwrap();
        (0..WAITERS).for_each(|_| net.send("eth1", net.group(2), b"other"));
    });
    assert_eq!(received, vec![Some("other".to_owned()); WAITERS]);
}

fn all_waiting_threads_notice_a_group_that_replaces_theirs(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let received = while_threads_wait(&receiver, || {
        net.receiver.run(|| receiver.leave(&net.on("eth0", net.group(1)))).unwrap().unwrap();
        net.receiver.run(|| receiver.join(net.on("eth1", net.group(2)))).unwrap().unwrap();
        (0..WAITERS).for_each(|_| net.send("eth1", net.group(2), b"other"));
    });
    assert_eq!(received, vec![Some("other".to_owned()); WAITERS]);
}

fn readable(receiver: &Receiver, timeout: Duration) -> bool {
    use std::os::fd::AsFd;
    mcast_sys::readable::wait_for_any(&[receiver.as_fd()], Some(timeout)).unwrap()
}

fn the_descriptor_covers_a_group_that_was_waited_for_without_it(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    assert!(receiver.recv_timeout(&mut [0; 16], Duration::from_millis(1)).unwrap().is_none());
    net.send("eth0", net.group(1), b"before");
    assert!(receiver.wait(Some(TIMEOUT)).unwrap());

    assert!(readable(&receiver, Duration::ZERO), "the pending datagram does not make it readable");
    assert_eq!(next(&receiver).text, "before");
    assert!(!readable(&receiver, Duration::ZERO));
    net.send("eth0", net.group(1), b"after");
    assert!(readable(&receiver, TIMEOUT));
    assert!(receiver.wait(Some(Duration::ZERO)).unwrap());
    assert_eq!(next(&receiver).text, "after");
    assert!(!receiver.wait(Some(Duration::ZERO)).unwrap());
}

fn requesting_the_descriptor_disturbs_no_wait(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let received = while_threads_wait(&receiver, || {
        assert!(!readable(&receiver, Duration::ZERO));
        (0..WAITERS).for_each(|_| net.send("eth0", net.group(1), b"here"));
    });
    assert_eq!(received, vec![Some("here".to_owned()); WAITERS]);
}

/// Sends datagrams that can be coalesced.
fn send_equal(net: &Net, count: usize) {
    let eth0 = InterfaceSelector::Name("eth0".into());
    net.send_with(
        |builder| builder.interface(eth0).to(net.group(1).into()),
        |sender| assert_eq!(sender.send_batch(&vec![Outgoing::new(b"here"); count]).unwrap(), count),
    );
}

fn the_descriptor_is_readable_up_to_the_last_datagram_of_a_coalesced_buffer(net: &Net) {
    const COUNT: usize = 5;
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    send_equal(net, COUNT);

    for received in 0..COUNT {
        assert!(readable(&receiver, TIMEOUT), "after {received} of {COUNT}");
        assert!(receiver.wait(Some(Duration::ZERO)).unwrap(), "after {received} of {COUNT}");
        assert_eq!(receiver.recv_timeout(&mut [0; 16], Duration::ZERO).unwrap().unwrap().payload(), b"here");
    }
    assert!(!readable(&receiver, Duration::ZERO));
    assert!(!receiver.wait(Some(Duration::ZERO)).unwrap());
    assert_eq!(receiver.statistics().merged, u64::from(net.gro));
}

fn waiting_threads_share_a_coalesced_buffer(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let received = while_threads_wait(&receiver, || send_equal(net, WAITERS));
    assert_eq!(received, vec![Some("here".to_owned()); WAITERS]);
    assert_eq!(receiver.statistics().merged, u64::from(net.gro));
}

fn a_spinning_wait_notices_joins_and_wakers(net: &Net) {
    let receiver = net.receiver(|builder| builder.join(net.on("eth0", net.group(1))).spin(TIMEOUT));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| next(&receiver));
        net.receiver.run(|| receiver.join(net.on("eth1", net.group(2)))).unwrap().unwrap();
        net.send("eth1", net.group(2), b"other");
        assert_eq!(waiting.join().unwrap().text, "other");

        let waiting = scope.spawn(|| receiver.recv(&mut [0; 16]).map(|_| ()).unwrap_err().kind());
        receiver.waker().wake().unwrap();
        assert_eq!(waiting.join().unwrap(), ErrorKind::Woken);
    });
}
