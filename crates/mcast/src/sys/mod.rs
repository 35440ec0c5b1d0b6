//! Everything that differs per operating system, and all of this crate's `unsafe`.
//!
//! Each platform folder offers the same items:
//!
//! | item | contract |
//! |---|---|
//! | `socket::Socket` | a UDP socket that never blocks: open, bind, options, memberships, receive, send |
//! | `socket::ReceiveSlots` | the memory of a batched receive, reused from call to call |
//! | `poller::Poller` | waits for many sockets or a wake-up, behind one descriptor where there is one; with `WAITS_BESIDE` also for a socket that is not among them |
//! | `layout` | how groups are spread over sockets (see `receiver::sockets`), and what the kernel does for them |
//! | `error_kind`, `is_gone`, `descriptors_exhausted` | what the system's error numbers mean |
//! | `raise_descriptor_limit` | gets the process more descriptors, where that can be |
//! | `remedies`, `why_no_ipv6` | what to tell people of this system |
//! | `interface::list` | all interfaces, as the calling thread's network namespace has them |
//! | `route::interface_towards` | the interface that the routing table takes towards an address |
//! | `watch::Watch` | `open`, `wait` for a notice that they may have changed, `list` and `interface_towards` as the two above, but in the namespace it was opened in; `AsFd` or `AsSocket` |
//! | `bridge::list`, `bridge::queue_disciplines` | the kernel's bridges, and the queues of an interface |
//! | `timing` | clocks, processors, and options of sockets for those who count microseconds |
//! | `joined::survey` | who on this machine has joined what, and which processes could be looked into |
//! | `joined::Notices` | `open`, `wait` for a notice that someone joined or left, or for a time |
//!
//! What a system cannot do is an error of kind `io::ErrorKind::Unsupported`, never silence.

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "linux/mod.rs"]
mod platform;

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
#[path = "bsd/mod.rs"]
mod platform;

#[cfg(windows)]
#[path = "windows/mod.rs"]
mod platform;

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    windows
)))]
#[path = "unsupported/mod.rs"]
mod platform;

#[cfg(unix)]
mod cmsg;
#[cfg(unix)]
mod descriptors;
#[cfg(unix)]
mod errno;

mod exchange;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod plain;
#[cfg(any(target_os = "linux", target_os = "android", windows))]
mod trains;
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
mod without_trains;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "without_bridges.rs"]
pub(crate) mod bridge;
#[cfg(all(unix, feature = "tokio"))]
pub(crate) mod registration;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "without_timing.rs"]
pub(crate) mod timing;

#[cfg(any(target_os = "android", target_vendor = "apple", target_os = "freebsd"))]
mod getifaddrs;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod pause;

#[cfg(unix)]
mod readable;

pub(crate) mod ready;

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "freebsd"))]
mod requests;

pub(crate) use exchange::{Received, Sent, Transmit};
pub(crate) use platform::*;
