//! Counts allocations to show that the hot path makes none.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use allocation_counter::measure;
use mcast::{Batch, ErrorKind, Outgoing, Receiver, Sender, Wire};
use mcast_lab::Lab;

/// Returns the number of allocations of this thread during `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

/// Asserts that `work` allocates at most on its first call.
fn assert_none_once_warm(what: &str, mut work: impl FnMut()) {
    assert!(allocations(|| drop(vec![0_u8; 16])) > 0, "the counter does not count");
    work();
    assert_eq!(allocations(|| (0..20).for_each(|_| work())), 0, "{what}");
}

#[test]
fn sending_and_receiving_allocate_nothing() {
    let lab = Lab::new().unwrap();
    let host = lab.host("alone").unwrap();
    host.run(|| {
        let single: Vec<_> = ["239.1.2.3%lo:7000"].map(|text| text.parse().unwrap()).into();
        let many: Vec<_> =
            (0..100).map(|number| format!("239.1.3.{number}%lo:7001").parse().unwrap()).collect();
        for (memberships, to) in [(single, "239.1.2.3%lo:7000"), (many, "239.1.3.7%lo:7001")] {
            let receiver = Receiver::builder().join_all(memberships).build().unwrap();
            let sender = Sender::to(to.parse().unwrap()).unwrap();
            exchange(&receiver, &sender);
        }
    })
    .unwrap();
}

/// Returns whether an ordinary user runs this, whose namespaces give no right to load programs of BPF.
fn is_ordinary_user() -> bool {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap();
    let is_root = read("status").lines().any(|line| line.starts_with("Uid:\t0\t"));
    !is_root || !read("uid_map").contains("4294967295")
}

#[test]
fn datagrams_taken_off_an_interface_allocate_nothing() {
    let lab = Lab::new().unwrap();
    let (one, two) = (lab.host("one").unwrap(), lab.host("two").unwrap());
    lab.link(&one, "eth0", &["10.0.0.1/24"], &two, "eth0", &["10.0.0.2/24"]).unwrap();
    let receiver = two.run(|| {
        let membership = "239.1.2.3%eth0:7000".parse().unwrap();
        Receiver::builder().join(membership).wire(Wire::Require).build()
    });
    let receiver = match receiver.unwrap() {
        Ok(receiver) => receiver,
        // The right answer, and there is nothing else to test.
        Err(error) if error.kind() == ErrorKind::Permission && is_ordinary_user() => return,
        Err(error) if error.kind() == ErrorKind::Permission => {
            return mcast_lab::skip(error);
        }
        Err(error) => panic!("{error}"),
    };
    let sender = one.run(|| Sender::to("239.1.2.3%eth0:7000".parse().unwrap()).unwrap()).unwrap();
    exchange(&receiver, &sender);
    assert!(receiver.wire_status()[0].is_taken());
}

fn exchange(receiver: &Receiver, sender: &Sender) {
    let payload = [7; 100];
    let outgoing = [Outgoing::new(&payload); 200];
    let mut buffer = [0; 2048];
    let mut batch = Batch::new(32, 65_536);
    let timeout = Duration::from_secs(30);

    assert_none_once_warm("one at a time", || {
        sender.send(&payload).unwrap();
        assert!(receiver.recv_timeout(&mut buffer, timeout).unwrap().is_some());
    });
    assert_none_once_warm("in batches", || {
        assert_eq!(sender.send_batch(&outgoing).unwrap(), outgoing.len());
        let mut count = 0;
        while count < outgoing.len() {
            count += receiver.recv_batch_timeout(&mut batch, timeout).unwrap();
            assert!(batch.iter().all(|datagram| datagram.payload() == payload));
        }
    });
    let mut reader = receiver.reader();
    assert_none_once_warm("by a reader", || {
        assert_eq!(sender.send_batch(&outgoing).unwrap(), outgoing.len());
        for _ in 0..outgoing.len() {
            assert_eq!(reader.next_timeout(timeout).unwrap().unwrap().payload(), payload);
        }
    });
}
