//! The process's limit on descriptors: reported when reached, and raised only on request. The limit
//! applies to the whole process, so this test has a process of its own.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "limits are set by system calls")]

use std::time::Duration;

use mcast::{ErrorKind, Membership, Receiver, Sender};
use mcast_lab::Lab;

fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live for the call.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit
}

fn set_limit(limit: libc::rlimit) {
    // SAFETY: `limit` is live for the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
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
    one.run(|| set_limit(libc::rlimit { rlim_cur: 200, rlim_max: 600 })).unwrap();
    let error = one.run(|| Receiver::builder().join_all(memberships(400)).build().unwrap_err()).unwrap();
    assert_eq!((error.kind(), one.run(limit).unwrap().rlim_cur), (ErrorKind::LimitReached, 200), "{error}");

    assert!(one.run(mcast::raise_descriptor_limit).unwrap());
    let receiver = one.run(|| Receiver::builder().join_all(memberships(400)).build().unwrap()).unwrap();
    assert_eq!(one.run(limit).unwrap().rlim_cur, 600);

    let error = one.run(|| Receiver::builder().join_all(memberships(400)).build().unwrap_err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::LimitReached, "{error}");
    assert!(error.remedy().unwrap().contains("ulimit -n"), "{:?}", error.remedy());

    // The earlier receiver still receives, including on its last group.
    two.run(|| Sender::to("[ff15::1:18f%eth0]:7000".parse().unwrap()).unwrap().send(b"x").unwrap()).unwrap();
    assert!(receiver.recv_timeout(&mut [0; 8], Duration::from_secs(10)).unwrap().is_some());
}
