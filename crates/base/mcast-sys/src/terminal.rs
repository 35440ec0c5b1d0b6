//! Pseudoterminals: a program that prints to one behaves as if it printed to the terminal itself.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

/// A pseudoterminal, which passes on what is printed as it is.
#[derive(Debug)]
pub struct PseudoTerminal {
    /// What a program prints to.
    pub program: OwnedFd,
    /// What is read from. It returns an error when no program has the other side open.
    pub reader: File,
}

impl PseudoTerminal {
    /// Opens a pseudoterminal with the size of the terminal that is standard output, if it is one.
    ///
    /// # Errors
    /// The system's error.
    pub fn open() -> io::Result<Self> {
        let (mut reader, mut program) = (-1, -1);
        // SAFETY: the system writes the two descriptors; the other pointers may be null.
        let opened =
            unsafe { libc::openpty(&raw mut reader, &raw mut program, null_mut(), null_mut(), null_mut()) };
        succeeded(opened)?;
        // SAFETY: both descriptors are new, and nobody else has them.
        let (reader, program) = unsafe { (OwnedFd::from_raw_fd(reader), OwnedFd::from_raw_fd(program)) };
        for descriptor in [&reader, &program] {
            // SAFETY: no pointers.
            succeeded(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        }
        pass_everything(&program)?;
        copy_size(&program);
        Ok(Self { program, reader: reader.into() })
    }
}

/// Turns off the conversion of what is printed: the terminal that it is passed on to converts it.
fn pass_everything(terminal: &OwnedFd) -> io::Result<()> {
    let mut settings = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the pointer is that of a value that outlives the call.
    succeeded(unsafe { libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()) })?;
    // SAFETY: the system has filled it.
    let mut settings = unsafe { settings.assume_init() };
    // SAFETY: the pointer is that of a live value.
    unsafe { libc::cfmakeraw(&raw mut settings) };
    // SAFETY: the pointer is that of a value that outlives the call.
    succeeded(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const settings) })
}

/// Sets the size of the terminal that is standard output. Without one, the program assumes a usual size.
fn copy_size(terminal: &OwnedFd) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the system writes the size.
    if unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ as _, &raw mut size) } == 0 {
        // SAFETY: the system reads the size.
        let _ = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const size) };
    }
}

fn succeeded(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::{IsTerminal, Read, Write};

    use super::*;

    #[test]
    fn what_is_printed_to_a_pseudoterminal_is_passed_on_as_it_is() {
        let PseudoTerminal { program, mut reader } = PseudoTerminal::open().unwrap();
        assert!(program.is_terminal());
        File::from(program).write_all(b"a\tb\nc").unwrap();
        let mut read = [0; 5];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"a\tb\nc");
    }
}
