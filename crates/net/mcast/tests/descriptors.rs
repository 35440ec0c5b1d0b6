//! The process's limit on descriptors: reported when reached, and raised only on request. The limit
//! applies to the whole process, so this test has a process of its own.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use mcast::{ErrorKind, Membership, Receiver, Sender};
use mcast_lab::Lab;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

fn memberships(count: u16) -> Vec<Membership> {
    (0..count).map(|number| format!("[ff15::1:{number:x}%eth0]:7000").parse().unwrap()).collect()
}

#[test]
fn the_descriptor_limit_is_raised_only_on_request() {
    let lab = Lab::new().unwrap();
    let (one, two) = (lab.host("one").unwrap(), lab.host("two").unwrap());
    lab.link(&one, "eth0", &["fd00::1/64"], &two, "eth0", &["fd00::2/64"]).unwrap();

    // Set on the host: for an ordinary user, a lab's hosts are a separate process.
    let limits = Rlimit { current: Some(200), maximum: Some(600) };
    one.run(|| setrlimit(Resource::Nofile, limits).unwrap()).unwrap();
    let error = one.run(|| Receiver::builder().join_all(memberships(400)).build().unwrap_err()).unwrap();
    assert_eq!((error.kind(), one.run(limit).unwrap()), (ErrorKind::LimitReached, Some(200)), "{error}");

    assert!(one.run(mcast_sys::process::raise_descriptor_limit).unwrap());
    let receiver = one.run(|| Receiver::builder().join_all(memberships(400)).build().unwrap()).unwrap();
    assert_eq!(one.run(limit).unwrap(), Some(600));

    let error = one.run(|| Receiver::builder().join_all(memberships(400)).build().unwrap_err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::LimitReached, "{error}");
    assert!(error.remedy().unwrap().contains("ulimit -n"), "{:?}", error.remedy());

    // The earlier receiver still receives, including on its last group.
    two.run(|| Sender::to("[ff15::1:18f%eth0]:7000".parse().unwrap()).unwrap().send(b"x").unwrap()).unwrap();
    assert!(receiver.recv_timeout(&mut [0; 8], Duration::from_secs(10)).unwrap().is_some());
}
