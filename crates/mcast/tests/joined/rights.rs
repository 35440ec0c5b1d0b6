//! Privileges that a thread can give up.

/// Drops all capabilities of the calling thread, which then may no longer inspect processes that
/// have some.
pub(crate) fn give_up() {
    const VERSION_3: u32 = 0x2008_0522;

    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }

    let header = Header { version: VERSION_3, pid: 0 };
    let none = [[0_u32; 3]; 2];
    // SAFETY: `capset` takes a header and, for version 3, two sets of three words.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const none) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
