//! Counts allocations to show that the hot path makes none.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use allocation_counter::measure;
use mcast::{
    Batch, ErrorKind, HostAddr, InterfaceSelector, Membership, Outgoing, Receiver, ReceiverBuilder, Sender,
    Wire,
};
use mcast_lab::{Host, Lab};

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

/// Returns whether an ordinary user runs this, whose namespaces give no right to load programs of BPF.
fn is_ordinary_user() -> bool {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap();
    let is_root = read("status").lines().any(|line| line.starts_with("Uid:\t0\t"));
    !is_root || !read("uid_map").contains("4294967295")
}

/// Two hosts, and the groups that the second joins.
struct Pair {
    _lab: Lab,
    sender: Host,
    receiver: Host,
}

/// The destinations to try: of both families, as one of few groups and as one of many.
const DESTINATIONS: [(&str, usize); 4] =
    [("239.1.2.3", 1), ("239.1.2.3", 100), ("ff15::3", 1), ("ff15::3", 100)];

impl Pair {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let (sender, receiver) = (lab.host("one").unwrap(), lab.host("two").unwrap());
        let (one, two) = (["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]);
        lab.link(&sender, "eth0", &one, &receiver, "eth0", &two).unwrap();
        Self { _lab: lab, sender, receiver }
    }

    /// Opens a receiver of this number of groups, the first of which is `group`.
    fn receiver(
        &self,
        (group, count): (&str, usize),
        set: impl FnOnce(ReceiverBuilder) -> ReceiverBuilder + Send,
    ) -> mcast::Result<Receiver> {
        let others = (1..count).map(|number| match group.contains(':') {
            true => format!("[ff15::1:{number:x}%eth0]:7000"),
            false => format!("239.2.0.{number}%eth0:7000"),
        });
        let all: Vec<Membership> =
            std::iter::once(address(group)).chain(others).map(|text| text.parse().unwrap()).collect();
        self.receiver.run(|| set(Receiver::builder().join_all(all)).build()).unwrap()
    }

    fn sender_to(&self, (group, _): (&str, usize)) -> Sender {
        self.sender.run(|| Sender::to(address(group).parse().unwrap()).unwrap()).unwrap()
    }
}

fn address(group: &str) -> String {
    if group.contains(':') { format!("[{group}%eth0]:7000") } else { format!("{group}%eth0:7000") }
}

#[test]
fn datagrams_received_by_sockets_allocate_nothing() {
    let pair = Pair::new();
    for destination in DESTINATIONS {
        for (gro, details) in [(true, true), (true, false), (false, true), (false, false)] {
            let receiver = pair.receiver(destination, |builder| builder.gro(gro).details(details));
            exchange(&format!("{destination:?}"), &receiver.unwrap(), &pair.sender_to(destination));
        }
    }
}

#[test]
fn datagrams_to_hosts_and_broadcasts_allocate_nothing() {
    let pair = Pair::new();
    let broadcast = HostAddr::broadcast(7000).on(InterfaceSelector::Name("eth0".into()));
    for host in ["10.0.0.2:7000".parse().unwrap(), "[fd00::2]:7000".parse().unwrap(), broadcast] {
        let receiver =
            pair.receiver.run(|| Receiver::builder().listen(host.clone()).build()).unwrap().unwrap();
        let sender = pair
            .sender
            .run(|| Sender::builder().broadcast(true).to_host(host.clone()).build())
            .unwrap()
            .unwrap();
        exchange(&format!("to {host}"), &receiver, &sender);
    }
}

#[test]
fn datagrams_taken_off_an_interface_allocate_nothing() {
    let pair = Pair::new();
    for destination in DESTINATIONS {
        for details in [true, false] {
            let receiver = pair.receiver(destination, |builder| builder.details(details).wire(Wire::Require));
            let receiver = match receiver {
                Ok(receiver) => receiver,
                // The right answer, and there is nothing else to test.
                Err(error) if error.kind() == ErrorKind::Permission && is_ordinary_user() => return,
                Err(error) if error.kind() == ErrorKind::Permission => {
                    return mcast_lab::skip(error);
                }
                Err(error) => panic!("{error}"),
            };
            exchange(&format!("{destination:?}"), &receiver, &pair.sender_to(destination));
            assert!(receiver.wire_status()[0].is_taken());
        }
    }
}

#[cfg(feature = "tokio")]
#[test]
fn datagrams_received_on_tokio_allocate_nothing() {
    let pair = Pair::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for destination in DESTINATIONS {
        let sender = pair.sender_to(destination);
        let receiver = pair.receiver(destination, |builder| builder).unwrap();
        let receiver = runtime.block_on(async { mcast::tokio::Receiver::new(receiver).unwrap() });
        let outgoing = [Outgoing::new(&PAYLOAD); 200];
        let (mut buffer, mut batch) = ([0; 2048], Batch::new(32, 65_536));
        assert_none_once_warm(&format!("one at a time on tokio, {destination:?}"), || {
            sender.send(&PAYLOAD).unwrap();
            assert_eq!(runtime.block_on(receiver.recv(&mut buffer)).unwrap().payload(), PAYLOAD);
        });
        assert_none_once_warm(&format!("in batches on tokio, {destination:?}"), || {
            assert_eq!(sender.send_batch(&outgoing).unwrap(), outgoing.len());
            let mut count = 0;
            while count < outgoing.len() {
                count += runtime.block_on(receiver.recv_batch(&mut batch)).unwrap();
            }
        });
    }
}

const PAYLOAD: [u8; 100] = [7; 100];

fn exchange(what: &str, receiver: &Receiver, sender: &Sender) {
    let outgoing = [Outgoing::new(&PAYLOAD); 200];
    let mut buffer = [0; 2048];
    let mut batch = Batch::new(32, 65_536);
    let timeout = Duration::from_secs(30);

    assert_none_once_warm(&format!("one at a time, {what}"), || {
        sender.send(&PAYLOAD).unwrap();
        assert!(receiver.recv_timeout(&mut buffer, timeout).unwrap().is_some());
    });
    assert_none_once_warm(&format!("in batches, {what}"), || {
        assert_eq!(sender.send_batch(&outgoing).unwrap(), outgoing.len());
        let mut count = 0;
        while count < outgoing.len() {
            count += receiver.recv_batch(&mut batch, Some(timeout)).unwrap();
            assert!(batch.iter().all(|datagram| datagram.payload() == PAYLOAD));
        }
    });
    let mut reader = receiver.reader();
    assert_none_once_warm(&format!("by a reader, {what}"), || {
        assert_eq!(sender.send_batch(&outgoing).unwrap(), outgoing.len());
        for _ in 0..outgoing.len() {
            assert_eq!(reader.next_timeout(timeout).unwrap().unwrap().payload(), PAYLOAD);
        }
    });
}
