//! Everything that differs between operating systems, and all `unsafe` of the mcast crates.
//!
//! This crate is made for the other crates of mcast and follows their needs: use those instead. It
//! imports none of them but the addresses of `mcast-group`.
//!
//! # Multicast sockets
//! Each platform folder offers the same items:
//!
//! | item | contract |
//! |---|---|
//! | `socket::Socket` | a nonblocking UDP socket: open, bind, options, memberships (`join`, `change_filter`, `leave`), send, receive; the metadata reported with each datagram can be switched off (`disable_details`, `receive_bare`) |
//! | `socket::ReceiveSlots` | the memory of a batched receive, reused from call to call |
//! | `poller::Poller` | waits for many sockets or a wake-up, through one descriptor where there is one; with `WAITS_BESIDE` also for one unregistered socket |
//! | `layout` | the distribution of groups over sockets (see `receiver::sockets`), and the kernel's filtering |
//! | `error_kind`, `is_gone` | the meaning of the system's error numbers |
//! | `remedies`, `why_no_ipv6` | suggestions to users of this system |
//! | `interface::list` | all interfaces of the calling thread's network namespace |
//! | `route::interface_towards` | the interface that the routing table selects for an address |
//! | `watch::InterfaceWatch` | `open`, `wait` for a notice of a possible interface change, `list` and `interface_towards` like the two above, but in the namespace it was opened in; `AsFd` or `AsSocket` |
//! | `bridge::list`, `bridge::queue_disciplines` | the kernel's bridges, and the queue disciplines of an interface |
//! | `timing` | clocks, processors, and socket options for low latency |
//! | `joined::survey` | the memberships of this machine, and which processes could be inspected |
//! | `joined::shared` | the groups that more than one socket has joined on an interface, where that is counted |
//! | `joined::Notices` | `open`, `wait` for a notice that a group was joined or left, or for a timeout |
//!
//! # Beside the sockets
//! `joined::table` (Linux) lists the memberships without their holders, which is cheap, and `joined::socket_owners`
//! the processes that have each socket open, `joined::socket_options` the options of their UDP sockets, `joined::change`
//! changes one of them, and `joined::answer_to_send` asks the kernel whether one of them could send.
//! [`capture`] has packet sockets and BPF devices, and sends IGMP and MLD. `protocol` (Linux) receives other IP protocols than UDP. `readable::wait_for_any` (Unix) waits for
//! descriptors. `namespace` (Linux) runs functions in other network namespaces. `link` (Linux) sends frames on an interface. `lab` (Linux) creates namespaces and what a network in them needs. [`unicast`] sends segmented buffers
//! (GSO) by sockets of the standard library. [`process`] ends processes and groups of them, and raises the limit on
//! descriptors. [`pause`] waits with a precision of microseconds. `rights` (Linux) drops capabilities in all threads. `interrupts` (Unix) notes signals that end a process. [`service`] reports to the service manager. `console` (Windows) catches Ctrl-C. [`wire`] takes the datagrams of groups off an interface (Linux). `bpf` (Linux) loads BPF
//! programs and reads the kernel's type information. `xtables` (Linux) reads the tables of the old `iptables`.
//!
//! An operation that a system does not support returns an error of kind
//! `io::ErrorKind::Unsupported`; it is never silently ignored.

#![allow(unsafe_code, reason = "this is the crate for it")]
#![allow(
    clippy::missing_errors_doc,
    reason = "every `io::Error` is the system's, unless a function says more"
)]

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
compile_error!(
    "mcast runs on Linux, Android, macOS and other systems of Apple, FreeBSD, and Windows; this one needs a backend in mcast-sys"
);

pub mod capture;
mod exchange;
#[cfg(not(target_os = "linux"))]
mod fallbacks;
#[cfg(any(target_os = "linux", target_os = "android", windows))]
mod gso;
mod kernel_share;
mod option_table;
mod pause;
pub mod ready;
pub mod trace;
mod values;

#[cfg(unix)]
mod cmsg;
#[cfg(unix)]
mod errno;
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "freebsd"))]
mod interface_names;
#[cfg(unix)]
pub mod interrupts;
#[cfg(unix)]
pub mod process;
#[cfg(unix)]
pub mod readable;
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "freebsd"))]
mod requests;
#[cfg(all(unix, not(target_os = "android")))]
pub mod terminal;

#[cfg(target_os = "linux")]
pub mod lab;
#[cfg(target_os = "linux")]
pub mod service;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod socket_option;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod unicast;
#[cfg(target_os = "linux")]
pub mod wire;

pub use exchange::{KernelClock, OutgoingDatagram, ReceiveBuffer, Received, SendRequest, Sent};
#[cfg(not(unix))]
pub use fallbacks::process;
#[cfg(any(not(unix), target_os = "android"))]
pub use fallbacks::terminal;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub use fallbacks::{bridge, protocol, timing, unicast};
#[cfg(not(target_os = "linux"))]
pub use fallbacks::{service, wire};
pub use pause::pause;
pub use platform::*;
pub use values::*;

#[cfg(all(unix, feature = "tokio"))]
pub mod registration {
    //! Registering a descriptor with tokio.

    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio::runtime::Handle;

    /// Registers a duplicate of this descriptor with the current tokio runtime; fails outside of one.
    pub fn register(descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
        // Outside a runtime, tokio would panic.
        Handle::try_current().map_err(io::Error::other)?;
        let own = descriptor.try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` returns the same open descriptor for as long as it lives, and only the
        // registration holds this one.
        unsafe { AsyncFd::register_with_interest(own, interest) }.map_err(io::Error::from)
    }
}
