//! Reading the tables of the old `iptables` and `ip6tables`, which the kernel keeps apart from nftables.
//!
//! The structures are those of linux/netfilter_ipv4/ip_tables.h and linux/netfilter_ipv6/ip6_tables.h; their entries are returned
//! as the kernel stores them. Needs `CAP_NET_ADMIN`.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::super::socket_option::{self, Plain, check};
use mcast_group::Family;

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`; the same numbers for both families.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// How often a table is read that others replace meanwhile.
const ATTEMPTS: usize = 5;
/// `NF_INET_NUMHOOKS`
const HOOKS: usize = 5;
const NAME: usize = 32;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Where the chains of the hooks prerouting, input, forward, output and postrouting begin, and where their policies are, as
    /// positions in `entries`. `None` for a hook that the table lacks.
    pub hooks: [Option<(usize, usize)>; HOOKS],
    /// The entries, one after the other.
    pub entries: Vec<u8>,
}

/// `struct ipt_getinfo`
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    name: [u8; NAME],
    valid_hooks: u32,
    hook_entry: [u32; HOOKS],
    underflow: [u32; HOOKS],
    num_entries: u32,
    size: u32,
}

/// `struct ipt_get_entries` without the entries, which are aligned to their counters.
#[repr(C)]
#[derive(Clone, Copy)]
struct EntriesHeader {
    name: [u8; NAME],
    size: u32,
    entries: [u64; 0],
}

// SAFETY: integers and arrays of them.
unsafe impl Plain for Info {}

/// Reads a table of the network namespace of the calling thread: `filter`, `raw`… A table that is not there is created by the
/// kernel if it can be, so ask only for those that `/proc/net/ip_tables_names` lists.
pub fn table(family: Family, name: &str) -> io::Result<Table> {
    let (domain, level) = match family {
        Family::V4 => (libc::AF_INET, libc::IPPROTO_IP),
        Family::V6 => (libc::AF_INET6, libc::IPPROTO_IPV6),
    };
    let mut padded = [0; NAME];
    let room = padded.get_mut(..name.len()).filter(|room| room.len() < NAME);
    room.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(name.as_bytes());
    let socket = socket_option::open(domain, libc::SOCK_DGRAM, 0)?;
    let mut attempts = ATTEMPTS;
    loop {
        let info = info(socket.as_fd(), level, padded)?;
        attempts -= 1;
        match entries(socket.as_fd(), level, &info) {
            // The table was replaced.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && attempts > 0 => {}
            Err(error) => return Err(error),
            Ok(entries) => {
                let hook = |number: usize| {
                    let positions = (info.hook_entry[number] as usize, info.underflow[number] as usize);
                    (info.valid_hooks & (1 << number) != 0).then_some(positions)
                };
                return Ok(Table { hooks: std::array::from_fn(hook), entries });
            }
        }
    }
}

fn info(socket: BorrowedFd<'_>, level: libc::c_int, name: [u8; NAME]) -> io::Result<Info> {
    let request =
        Info { name, valid_hooks: 0, hook_entry: [0; HOOKS], underflow: [0; HOOKS], num_entries: 0, size: 0 };
    let mut length = mem::size_of::<Info>() as libc::socklen_t;
    let mut info = request;
    // SAFETY: the kernel reads the name, and writes at most `length` bytes, which is the size of the value.
    check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, GET_INFO, (&raw mut info).cast(), &raw mut length)
    })?;
    Ok(info)
}

fn entries(socket: BorrowedFd<'_>, level: libc::c_int, info: &Info) -> io::Result<Vec<u8>> {
    let start = mem::size_of::<EntriesHeader>();
    let mut buffer = vec![0_u8; start + info.size as usize];
    buffer[..NAME].copy_from_slice(&info.name);
    let size = mem::offset_of!(EntriesHeader, size);
    buffer[size..size + 4].copy_from_slice(&info.size.to_ne_bytes());
    let mut length = buffer.len() as libc::socklen_t;
    // SAFETY: the kernel reads the header, and writes at most `length` bytes, which is the length of the buffer.
    check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, GET_ENTRIES, buffer.as_mut_ptr().cast(), &raw mut length)
    })?;
    Ok(buffer.split_off(start))
}
