//! What a program leaves behind: the errors of sockets in what it prints, and how it ended.

use std::fmt;
use std::io::{self, Read, Write};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

/// The longest part of a line that is searched and kept.
const MAX_LINE: usize = 400;
/// The number of errors that are kept.
const MAX_ERRORS: usize = 32;
/// How long to wait for the rest of the output of a program that has ended, and the time between two checks.
const TIMEOUT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// An error of a socket that a program has printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrintedError {
    pub(crate) kind: PrintedErrorKind,
    /// The line, without control characters.
    pub(crate) line: String,
}

/// The kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrintedErrorKind {
    /// `EADDRINUSE`.
    AddressInUse,
    /// `ENODEV`: no interface for a join.
    NoDevice,
    /// `ENETUNREACH`: no route.
    NoRoute,
    /// `EADDRNOTAVAIL`: not an address of this machine.
    AddressUnavailable,
    /// `ENOBUFS`: a limit.
    LimitReached,
    /// `EMSGSIZE`: a datagram that is too long.
    MessageTooLong,
}

/// The texts of each kind, in lower case: of the C library, which most languages print, and the name of the error. Then its
/// number on Linux, which Python and Rust print as well.
const TEXTS: [(PrintedErrorKind, [&str; 2], u32); 7] = [
    (PrintedErrorKind::AddressInUse, ["address already in use", "eaddrinuse"], 98),
    (PrintedErrorKind::NoDevice, ["no such device", "enodev"], 19),
    (PrintedErrorKind::NoRoute, ["network is unreachable", "enetunreach"], 101),
    // A route of the type `unreachable`.
    (PrintedErrorKind::NoRoute, ["no route to host", "ehostunreach"], 113),
    (PrintedErrorKind::AddressUnavailable, ["assign requested address", "eaddrnotavail"], 99),
    (PrintedErrorKind::LimitReached, ["no buffer space available", "enobufs"], 105),
    (PrintedErrorKind::MessageTooLong, ["message too long", "emsgsize"], 90),
];

impl PrintedError {
    /// Returns the error in a line.
    pub(crate) fn of(line: &str) -> Option<Self> {
        let lower = line.to_lowercase();
        // Another error (`ENXIO`), which has nothing to do with networks.
        let lower = lower.replace("no such device or address", "");
        let is_numbered = |number: &u32| {
            let forms =
                [format!("[errno {number}]"), format!("os error {number})"), format!("errno={number} ")];
            forms.iter().any(|form| lower.contains(form))
        };
        let (kind, ..) = TEXTS.iter().find(|(_, texts, number)| {
            texts.iter().any(|text| lower.contains(text)) || is_numbered(number)
        })?;
        let line = line.chars().filter(|character| !character.is_control()).collect::<String>();
        Some(Self { kind: *kind, line: line.trim().to_owned() })
    }

    /// Returns the numbers in the line that can be ports.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        ports(&self.line)
    }
}

/// Returns the numbers in a text that can be ports. Those in IPv4 addresses are not.
pub(crate) fn ports(text: &str) -> impl Iterator<Item = u16> {
    let words = text.split(|character: char| !character.is_ascii_digit() && character != '.');
    words.map(|word| word.trim_matches('.')).filter_map(|word| word.parse().ok()).filter(|port| *port != 0)
}

/// What a program prints: it is passed on, and searched for errors.
#[derive(Debug, Default)]
pub(crate) struct ProgramOutput {
    errors: Arc<Mutex<Vec<PrintedError>>>,
    readers: Vec<JoinHandle<()>>,
}

impl ProgramOutput {
    /// Starts to read what a program prints, and to write it to one of this process's own outputs.
    ///
    /// # Errors
    /// Returns an error if the system cannot start a thread.
    pub(crate) fn pass_on(
        &mut self,
        from: impl Read + Send + 'static,
        to: impl Write + Send + 'static,
    ) -> io::Result<()> {
        let found = Arc::clone(&self.errors);
        let reader = Builder::new().name("program-output".into());
        self.readers.push(reader.spawn(move || pass_on(from, to, &found))?);
        Ok(())
    }

    pub(crate) fn errors(&self) -> Vec<PrintedError> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until everything is read. The processes that could print must have ended; one that was not found may not keep
    /// this process from ending.
    pub(crate) fn finish(&mut self) {
        let begin = Instant::now();
        while self.readers.iter().any(|reader| !reader.is_finished()) && begin.elapsed() < TIMEOUT {
            thread::sleep(POLL_INTERVAL);
        }
    }
}

fn pass_on(mut from: impl Read, mut to: impl Write, found: &Mutex<Vec<PrintedError>>) {
    let mut lines = Lines::default();
    let mut buffer = [0; 4096];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The other side of a pseudoterminal is closed.
            Err(_) => break,
        };
        let Some(read) = buffer.get(..length) else { break };
        // The program must not stop because the output is closed.
        let _ = to.write_all(read).and_then(|()| to.flush());
        add(found, lines.add(read));
    }
    add(found, lines.add(b"\n"));
}

fn add(found: &Mutex<Vec<PrintedError>>, new: Vec<PrintedError>) {
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    let room = MAX_ERRORS.saturating_sub(found.len());
    found.extend(new.into_iter().take(room));
}

/// Splits what is read into lines.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// Adds bytes, and returns the errors in the lines that are now complete.
    fn add(&mut self, bytes: &[u8]) -> Vec<PrintedError> {
        let mut errors = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' | b'\r' => {
                    errors.extend(PrintedError::of(&String::from_utf8_lossy(&self.line)));
                    self.line.clear();
                }
                _ if self.line.len() < MAX_LINE => self.line.push(*byte),
                _ => {}
            }
        }
        errors
    }
}

/// Shells exit with this status plus the signal that has ended what they waited for.
const SIGNALLED: i32 = 128;
/// The greatest number of a signal.
const MAX_SIGNAL: i32 = 64;

/// Writes how a program ended, and which signal ended the child of a shell.
pub(crate) struct Outcome(pub(crate) ExitStatus);

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        match self.0.code() {
            Some(code) if (SIGNALLED + 1..=SIGNALLED + MAX_SIGNAL).contains(&code) => {
                write!(f, ", which a shell returns if its child ends by {}", signal(code - SIGNALLED))
            }
            _ => Ok(()),
        }
    }
}

/// Returns a signal with its name: `signal: 11 (SIGSEGV)`.
#[cfg(unix)]
fn signal(number: i32) -> String {
    use std::os::unix::process::ExitStatusExt;

    ExitStatus::from_raw(number).to_string()
}

#[cfg(not(unix))]
fn signal(number: i32) -> String {
    format!("signal: {number}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn errors_are_recognized_as_programs_print_them() {
        use PrintedErrorKind::{AddressInUse, AddressUnavailable, LimitReached, NoDevice, NoRoute};
        let expected = [
            ("OSError: [Errno 98] Address already in use", Some(AddressInUse)),
            ("OSError: [Errno 98] Die Adresse wird bereits verwendet", Some(AddressInUse)),
            ("listen udp :5000: bind: address already in use", Some(AddressInUse)),
            (
                "Error: Os { code: 98, kind: AddrInUse, message: \"Address already in use\" }",
                Some(AddressInUse),
            ),
            ("Error: bind: EADDRINUSE 0.0.0.0:5000", Some(AddressInUse)),
            ("[udp @ 0x5581] IP_ADD_MEMBERSHIP: No such device", Some(NoDevice)),
            ("socat[7] E setsockopt(5, 0, 35, 0x7f, 8): No such device", Some(NoDevice)),
            ("sendto: Network is unreachable", Some(NoRoute)),
            ("Network is unreachable (os error 101)", Some(NoRoute)),
            ("bind: Cannot assign requested address", Some(AddressUnavailable)),
            ("setsockopt: No buffer space available", Some(LimitReached)),
            ("open /dev/dsp: No such device or address", None),
            ("[Errno 980] something else", None),
            ("listening on 5000", None),
        ];
        for (line, kind) in expected {
            assert_eq!(PrintedError::of(line).map(|error| error.kind), kind, "{line}");
        }
    }

    #[test]
    fn lines_are_split_wherever_they_are_read() {
        let text = b"start\nbind: Address already in use\r\n\x1b[31mNo such device\x1b[0m\nend";
        for size in [1, 3, 7, 100] {
            let mut lines = Lines::default();
            let errors: Vec<_> = text.chunks(size).flat_map(|chunk| lines.add(chunk)).collect();
            let found: Vec<_> = errors.iter().map(|error| error.line.as_str()).collect();
            assert_eq!(found, ["bind: Address already in use", "[31mNo such device[0m"]);
        }
    }

    #[test]
    fn ports_are_the_numbers_in_a_line() {
        assert_eq!(ports("udp://@239.1.2.3:5000?x=70000, or 5001.").collect::<Vec<_>>(), [5000, 5001]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut lines = Lines::default();
            for error in lines.add(&bytes) {
                prop_assert!(!error.line.chars().any(char::is_control));
            }
            prop_assert!(lines.line.len() <= MAX_LINE);
        }
    }

    #[cfg(unix)]
    #[test]
    fn signal_is_named_whether_a_shell_waited_or_not() {
        use std::os::unix::process::ExitStatusExt;

        let text = |status| Outcome(ExitStatus::from_raw(status)).to_string();
        assert_eq!(text(11), "signal: 11 (SIGSEGV)");
        assert_eq!(
            text(139 << 8),
            "exit status: 139, which a shell returns if its child ends by signal: 11 (SIGSEGV)"
        );
        for code in [0, 1, 127, 128, 193, 255] {
            assert_eq!(text(code << 8), format!("exit status: {code}"));
        }
    }
}
