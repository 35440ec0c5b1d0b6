//! Everything that differs between operating systems, and all of this crate's `unsafe`.
//!
//! Each platform folder offers the same items:
//!
//! | item | contract |
//! |---|---|
//! | `socket::Socket` | a nonblocking UDP socket: open, bind, options, memberships (`join`, `change_filter`, `leave`), send, receive; the metadata reported with each datagram can be switched off (`disable_details`, `receive_bare`) |
//! | `socket::ReceiveSlots` | the memory of a batched receive, reused from call to call |
//! | `poller::Poller` | waits for many sockets or a wake-up, through one descriptor where there is one; with `WAITS_BESIDE` also for one unregistered socket |
//! | `layout` | the distribution of groups over sockets (see `receiver::sockets`), and the kernel's filtering |
//! | `error_kind`, `is_gone` | the meaning of the system's error numbers |
//! | `raise_descriptor_limit` | raises the process's limit on descriptors, where there is one |
//! | `remedies`, `why_no_ipv6` | suggestions to users of this system |
//! | `interface::list` | all interfaces of the calling thread's network namespace |
//! | `route::interface_towards` | the interface that the routing table selects for an address |
//! | `watch::Watch` | `open`, `wait` for a notice of a possible interface change, `list` and `interface_towards` like the two above, but in the namespace it was opened in; `AsFd` or `AsSocket` |
//! | `bridge::list`, `bridge::queue_disciplines` | the kernel's bridges, and the queue disciplines of an interface |
//! | `timing` | clocks, processors, and socket options for low latency |
//! | `joined::survey` | the memberships of this machine, and which processes could be inspected |
//! | `joined::Notices` | `open`, `wait` for a notice that a group was joined or left, or for a timeout |
//!
//! An operation that a system does not support returns an error of kind
//! `io::ErrorKind::Unsupported`; it is never silently ignored.

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
#[cfg(any(target_os = "linux", target_os = "android", windows))]
mod gso;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod plain;
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
mod without_gso;

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
