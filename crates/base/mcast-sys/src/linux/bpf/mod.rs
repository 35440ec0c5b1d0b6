//! BPF programs, maps and tracepoints by the system call `bpf(2)`, and the kernel's type information ([`btf`]).
//!
//! Contract: loading a program is safe, because the kernel's verifier checks it before it runs (a rejected program is an
//! error), and because programs consist of the instructions and helpers of [`Assembler`], none of which writes memory
//! of a process, except that of an `AF_XDP` socket, which only [`wire`](crate::wire) has. The kernel reads and writes memory of this process only during a call, and only as
//! many bytes as the key and value sizes of the map: [`Map`] stores these sizes and compares every slice with them.
//! Programs, maps and attachments exist until they are dropped, or until the process ends, however it ends.

pub mod btf;
mod instruction;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use mcast_group::InterfaceIndex;

pub use instruction::{Assembler, BpfHelper, BpfRegister, Condition, Instruction, Label, Size};

/// Commands, types and flags from `linux/bpf.h`.
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const MAP_GET_NEXT_KEY: libc::c_int = 4;
const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const LINK_CREATE: libc::c_int = 28;
const LINK_DETACH: libc::c_int = 34;
/// The kind of attachment to an interface: before anything else sees an arriving frame.
const ATTACH_XDP: u32 = 37;
/// Attach only as the driver's own XDP (`XDP_FLAGS_DRV_MODE`).
const DRIVER_MODE: u32 = 1 << 2;
/// The program runs on one interface only and may call its driver (`BPF_F_XDP_DEV_BOUND_ONLY`).
const BOUND_TO_INTERFACE: u32 = 1 << 6;
const MAP_TYPE_HASH: u32 = 1;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_XSK: u32 = 17;

/// The kernel offers its helpers that read kernel memory only to programs with a license compatible with the GPL; this
/// is one of the texts that it accepts. The programs here are under the license of this crate, which includes the MIT
/// license.
const LICENSE: &CStr = c"Dual MIT/GPL";

/// The size of a program's name, which ends with zero (`BPF_OBJ_NAME_LEN`).
const NAME_BYTES: usize = 16;

/// The name that `bpftool` lists for each program: which software it belongs to.
const NAME: &[u8; NAME_BYTES] = b"mcast\0\0\0\0\0\0\0\0\0\0\0";

/// The kind of a program: `BPF_PROG_TYPE_…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramKind {
    /// Runs for each frame that an interface receives.
    Xdp = 6,
    /// Runs at a tracepoint, with the tracepoint's arguments as they are.
    RawTracepoint = 17,
}

/// The start of `union bpf_attr` for `BPF_MAP_CREATE`.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// The start of `union bpf_attr` for commands on an element.
#[repr(C)]
struct MapElement {
    map: u32,
    padding: u32,
    key: u64,
    /// The value, or the next key.
    value: u64,
    flags: u64,
}

/// The start of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_BYTES],
    prog_ifindex: u32,
}

/// The start of `union bpf_attr` for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    program: u32,
    padding: u32,
}

/// The start of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// A map that programs and this process share.
#[derive(Debug)]
pub struct Map {
    descriptor: OwnedFd,
    key_bytes: usize,
    value_bytes: usize,
}

/// A program that the kernel has verified.
#[derive(Debug)]
pub struct BpfProgram {
    descriptor: OwnedFd,
}

/// A program attached to a tracepoint or an interface, until it is dropped.
#[derive(Debug)]
pub struct Attachment {
    descriptor: OwnedFd,
}

/// The start of `union bpf_attr` for `BPF_LINK_DETACH`.
#[repr(C)]
struct LinkDetach {
    link: u32,
}

impl Attachment {
    /// Stops a program on an interface now, even if a process that is just being started still has the descriptor.
    /// Linux 5.9.
    pub fn detach(&self) -> io::Result<()> {
        let attributes = LinkDetach { link: number(self.descriptor.as_fd()) };
        // SAFETY: the command reads the attributes only.
        unsafe { call(LINK_DETACH, &attributes) }.map(drop)
    }
}

impl Map {
    /// Creates a hash map of up to `entries` entries, for which the kernel allocates the memory now.
    pub fn hash(key_bytes: usize, value_bytes: usize, entries: u32) -> io::Result<Self> {
        Self::create(MAP_TYPE_HASH, key_bytes, value_bytes, entries)
    }

    /// Creates an array with a single value, which programs can read without a call ([`Assembler::set_map_value`]). Its
    /// key is a 32-bit 0.
    pub fn single(value_bytes: usize) -> io::Result<Self> {
        Self::create(MAP_TYPE_ARRAY, size_of::<u32>(), value_bytes, 1)
    }

    /// Creates a map from numbers below `entries` to `AF_XDP` sockets, given by their descriptors. Keys and values are
    /// 32-bit numbers, and values cannot be read.
    pub fn xdp_sockets(entries: u32) -> io::Result<Self> {
        Self::create(MAP_TYPE_XSK, size_of::<u32>(), size_of::<u32>(), entries)
    }

    fn create(map_type: u32, key_bytes: usize, value_bytes: usize, entries: u32) -> io::Result<Self> {
        let size = |bytes: usize| u32::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput);
        let attributes = MapCreate {
            map_type,
            key_size: size(key_bytes)?,
            value_size: size(value_bytes)?,
            max_entries: entries,
            map_flags: 0,
        };
        // SAFETY: the command reads the attributes only.
        let descriptor = unsafe { new_descriptor(MAP_CREATE, &attributes) }?;
        Ok(Self { descriptor, key_bytes, value_bytes })
    }

    /// Sets the value of a key.
    pub fn insert(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check(key, self.key_bytes)?;
        self.check(value, self.value_bytes)?;
        let attributes = self.element(key.as_ptr(), value.as_ptr());
        // SAFETY: the command reads a key and a value, which are as long as the kernel expects.
        unsafe { call(MAP_UPDATE_ELEM, &attributes) }.map(drop)
    }

    /// Removes a key; nothing changes if there is none.
    pub fn remove(&self, key: &[u8]) -> io::Result<()> {
        self.check(key, self.key_bytes)?;
        let attributes = self.element(key.as_ptr(), std::ptr::null());
        // SAFETY: the command reads a key, which is as long as the kernel expects.
        found(unsafe { call(MAP_DELETE_ELEM, &attributes) }).map(drop)
    }

    /// Returns the value of a key; `None` if there is none.
    pub fn value(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.check(key, self.key_bytes)?;
        let mut value = vec![0; self.value_bytes];
        let attributes = self.element(key.as_ptr(), value.as_mut_ptr());
        // SAFETY: the command reads a key and writes a value, which are as long as the kernel expects.
        found(unsafe { call(MAP_LOOKUP_ELEM, &attributes) }).map(|found| found.map(|()| value))
    }

    /// Returns all keys. Keys that a program adds meanwhile may be missing.
    pub fn keys(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut next = vec![0; self.key_bytes];
            let last = keys.last().map_or(std::ptr::null(), Vec::as_ptr);
            let attributes = self.element(last, next.as_mut_ptr());
            // SAFETY: the command reads a key, if there is one, and writes one: both are as long as the kernel expects.
            match found(unsafe { call(MAP_GET_NEXT_KEY, &attributes) })? {
                Some(()) => keys.push(next),
                None => return Ok(keys),
            }
        }
    }

    fn element(&self, key: *const u8, value: *const u8) -> MapElement {
        let map = number(self.descriptor.as_fd());
        MapElement { map, padding: 0, key: key as u64, value: value as u64, flags: 0 }
    }

    fn check(&self, bytes: &[u8], length: usize) -> io::Result<()> {
        if bytes.len() == length { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl BpfProgram {
    /// Loads a program.
    pub fn load(kind: ProgramKind, instructions: &[Instruction]) -> io::Result<Self> {
        Self::load_with(kind, instructions, 0, 0)
    }

    /// Loads an XDP program for one interface of the calling thread's network namespace, whose driver it may call
    /// ([`Assembler::call_kernel`]). Linux 6.3.
    pub fn load_for(interface: InterfaceIndex, instructions: &[Instruction]) -> io::Result<Self> {
        Self::load_with(ProgramKind::Xdp, instructions, BOUND_TO_INTERFACE, interface.number())
    }

    fn load_with(
        kind: ProgramKind,
        instructions: &[Instruction],
        flags: u32,
        interface: u32,
    ) -> io::Result<Self> {
        let attributes = ProgramLoad {
            prog_type: kind as u32,
            insn_cnt: u32::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
            insns: instructions.as_ptr() as u64,
            license: LICENSE.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: flags,
            prog_name: *NAME,
            prog_ifindex: interface,
        };
        // SAFETY: the command reads the instructions, whose number is given, and a text that ends with zero.
        let descriptor = unsafe { new_descriptor(PROG_LOAD, &attributes) }?;
        Ok(Self { descriptor })
    }

    /// Runs the program at a tracepoint from now on.
    pub fn attach(&self, tracepoint: &CStr) -> io::Result<Attachment> {
        let program = number(self.descriptor.as_fd());
        let attributes = RawTracepointOpen { name: tracepoint.as_ptr() as u64, program, padding: 0 };
        // SAFETY: the command reads a text that ends with zero.
        let descriptor = unsafe { new_descriptor(RAW_TRACEPOINT_OPEN, &attributes) }?;
        Ok(Attachment { descriptor })
    }

    /// Runs an XDP program for the frames that arrive on an interface of the calling thread's network namespace from now
    /// on.
    pub fn attach_to_interface(&self, interface: InterfaceIndex) -> io::Result<Attachment> {
        self.attach_with(interface, 0)
    }

    /// Like [`attach_to_interface`](Self::attach_to_interface), but fails with `EOPNOTSUPP` if the driver cannot run the
    /// program itself, before the kernel has processed a frame.
    pub fn attach_to_driver(&self, interface: InterfaceIndex) -> io::Result<Attachment> {
        self.attach_with(interface, DRIVER_MODE)
    }

    fn attach_with(&self, interface: InterfaceIndex, flags: u32) -> io::Result<Attachment> {
        let attributes = LinkCreate {
            program: number(self.descriptor.as_fd()),
            interface: interface.number(),
            attach_type: ATTACH_XDP,
            flags,
        };
        // SAFETY: the command reads the attributes only.
        let descriptor = unsafe { new_descriptor(LINK_CREATE, &attributes) }?;
        Ok(Attachment { descriptor })
    }
}

impl AsFd for BpfProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Returns the descriptor as the attributes have it.
fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// Returns `None` if the map has no such entry.
fn found(result: io::Result<libc::c_int>) -> io::Result<Option<()>> {
    match result {
        Ok(_) => Ok(Some(())),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs a command that returns a new descriptor, which started programs do not inherit.
///
/// # Safety
/// As for [`call`].
unsafe fn new_descriptor<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let descriptor = unsafe { call(command, attributes) }?;
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Runs a command of `bpf(2)`.
///
/// # Safety
/// The attributes must be those of the command, and their pointers must be valid for what the command reads and writes.
unsafe fn call<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads as many bytes of the attributes as given; for the pointers in them see above.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>() as libc::c_uint)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints a note and returns `None` without the right to use BPF.
    fn map() -> Option<Map> {
        match Map::hash(2, 4, 8) {
            Ok(map) => Some(map),
            Err(error) => {
                mcast_lab::skip(format_args!("BPF is not available: {error}"));
                None
            }
        }
    }

    #[test]
    fn map_returns_what_was_inserted() {
        let Some(map) = map() else { return };
        assert_eq!(map.keys().unwrap(), Vec::<Vec<u8>>::new());
        for key in 1..4 {
            map.insert(&[key, 0], &[key; 4]).unwrap();
        }
        let mut keys = map.keys().unwrap();
        keys.sort();
        assert_eq!(keys, [[1, 0], [2, 0], [3, 0]]);
        assert_eq!(map.value(&[2, 0]).unwrap(), Some(vec![2; 4]));
        assert_eq!(map.value(&[9, 9]).unwrap(), None);
        map.remove(&[2, 0]).unwrap();
        assert_eq!(map.value(&[2, 0]).unwrap(), None);
        map.remove(&[2, 0]).unwrap();
    }

    #[test]
    fn slices_of_another_length_are_refused() {
        let Some(map) = map() else { return };
        assert_eq!(map.insert(&[1], &[0; 4]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(map.insert(&[1, 0], &[0; 5]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(map.value(&[1, 0, 0]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn verifier_refuses_a_program_that_returns_nothing() {
        let Some(_) = map() else { return };
        let mut program = Assembler::new();
        program.exit();
        let refused = BpfProgram::load(ProgramKind::RawTracepoint, &program.finish()).unwrap_err();
        assert!(matches!(refused.raw_os_error(), Some(libc::EACCES | libc::EINVAL)), "{refused}");
    }

    #[test]
    fn program_that_returns_a_number_is_loaded() {
        let Some(_) = map() else { return };
        let mut program = Assembler::new();
        program.set(BpfRegister::R0, 1);
        program.exit();
        BpfProgram::load(ProgramKind::Xdp, &program.finish()).unwrap();
    }
}
