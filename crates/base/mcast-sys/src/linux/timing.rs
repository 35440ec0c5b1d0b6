//! Options for low latency and precise timing.

use std::io;
use std::mem::zeroed;
use std::time::Duration;

use super::socket::Socket;
use crate::KernelClock;

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
    /// Sets how long the kernel polls the device before a call sleeps (`SO_BUSY_POLL`).
    pub fn set_busy_poll(&self, time: Duration) -> io::Result<()> {
        let microseconds = libc::c_int::try_from(time.as_micros()).unwrap_or(libc::c_int::MAX);
        self.set(libc::SOL_SOCKET, libc::SO_BUSY_POLL, microseconds)
    }

    /// Makes the kernel report the device's timestamp with each datagram, if the device is
    /// configured to take timestamps (`SO_TIMESTAMPING`).
    pub fn enable_hardware_time(&self) -> io::Result<()> {
        let flags = libc::SOF_TIMESTAMPING_RX_HARDWARE | libc::SOF_TIMESTAMPING_RAW_HARDWARE;
        self.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags)
    }

    /// Allows datagrams to carry a launch time (`SO_TXTIME`, Linux 4.19).
    pub fn set_launch_clock(&self, clock: KernelClock) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, SO_TXTIME, LaunchSettings { clock: clock_id(clock), flags: 0 })
    }
}

/// Returns the time on a launch clock.
pub fn clock_time(clock: KernelClock) -> io::Result<Duration> {
    // SAFETY: an all-zero `timespec` is valid.
    let mut time: libc::timespec = unsafe { zeroed() };
    // SAFETY: `time` is live for the call.
    match unsafe { libc::clock_gettime(clock_id(clock), &raw mut time) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)),
    }
}

fn clock_id(clock: KernelClock) -> libc::clockid_t {
    match clock {
        KernelClock::Monotonic => libc::CLOCK_MONOTONIC,
        KernelClock::Tai => libc::CLOCK_TAI,
    }
}

/// Pins the calling thread to one processor.
pub fn pin_to_processor(processor: usize) -> io::Result<()> {
    // SAFETY: all zeroes is the empty set.
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
