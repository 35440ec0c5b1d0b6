//! Pseudoterminals.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Opens both ends of a new terminal of this size: one for the test, one for the program.
pub(crate) fn open_terminal(columns: u16, rows: u16) -> (File, OwnedFd) {
    let (mut person, mut program) = (-1, -1);
    let size = window(columns, rows);
    // SAFETY: the two numbers are written to, the size is read, and name and settings are null.
    let opened = unsafe {
        libc::openpty(
            &raw mut person,
            &raw mut program,
            std::ptr::null_mut(),
            std::ptr::null(),
            &raw const size,
        )
    };
    assert_eq!(opened, 0, "{}", io::Error::last_os_error());
    // SAFETY: both descriptors are new and owned by nothing else.
    unsafe { (File::from_raw_fd(person), OwnedFd::from_raw_fd(program)) }
}

/// Changes the terminal's size; the system notifies the program.
pub(crate) fn resize(person: &File, columns: u16, rows: u16) {
    let size = window(columns, rows);
    // SAFETY: the size is read, and lives through the call.
    let done = unsafe { libc::ioctl(person.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

const fn window(columns: u16, rows: u16) -> libc::winsize {
    libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
