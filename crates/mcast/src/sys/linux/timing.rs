//! Options for those who count microseconds.

use std::io;
use std::mem::zeroed;
use std::time::Duration;

use super::socket::Socket;
use crate::timing::LaunchClock;

/// The option, and the type of the control message (`asm-generic/socket.h`).
#[cfg(target_os = "android")]
pub(super) const SO_TXTIME: libc::c_int = 61;
#[cfg(not(target_os = "android"))]
pub(super) use libc::SO_TXTIME;

/// `struct sock_txtime` of `linux/net_tstamp.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LaunchSettings {
    clock: libc::clockid_t,
    flags: u32,
}

impl Socket {
    /// Has the kernel look at the device for so long before a call sleeps (`SO_BUSY_POLL`).
    pub(crate) fn set_busy_poll(&self, time: Duration) -> io::Result<()> {
        let microseconds = libc::c_int::try_from(time.as_micros()).unwrap_or(libc::c_int::MAX);
        self.set(libc::SOL_SOCKET, libc::SO_BUSY_POLL, microseconds)
    }

    /// Has the device's own time told with each datagram, where the device is set to keep it
    /// (`SO_TIMESTAMPING`).
    pub(crate) fn tell_hardware_time(&self) -> io::Result<()> {
        let flags = libc::SOF_TIMESTAMPING_RX_HARDWARE | libc::SOF_TIMESTAMPING_RAW_HARDWARE;
        self.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags)
    }

    /// Lets datagrams name the time at which they leave (`SO_TXTIME`, Linux 4.19).
    pub(crate) fn set_launch_clock(&self, clock: LaunchClock) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, SO_TXTIME, LaunchSettings { clock: clock_id(clock), flags: 0 })
    }
}

/// The time on a launch clock.
pub(crate) fn clock_time(clock: LaunchClock) -> io::Result<Duration> {
    // SAFETY: all-zero is a value of this plain structure.
    let mut time: libc::timespec = unsafe { zeroed() };
    // SAFETY: `time` is live for the call.
    match unsafe { libc::clock_gettime(clock_id(clock), &raw mut time) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)),
    }
}

fn clock_id(clock: LaunchClock) -> libc::clockid_t {
    match clock {
        LaunchClock::Monotonic => libc::CLOCK_MONOTONIC,
        LaunchClock::Tai => libc::CLOCK_TAI,
    }
}

/// Keeps the calling thread on one processor.
pub(crate) fn pin_to_processor(processor: usize) -> io::Result<()> {
    // SAFETY: all-zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    if processor >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the processor is within the set.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: `set` is live for the call; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
