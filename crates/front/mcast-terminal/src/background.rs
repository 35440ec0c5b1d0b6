//! Output that is written on a thread of its own: a reader that does not read, such as a stalled pipe, delays nobody.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What waits for a reader at most, of each stream: minutes of events at the rate at which they are limited. Something longer
/// is taken if nothing else waits.
pub(crate) const CAPACITY: usize = 1 << 20;
/// What is passed to the system at once, so that a reader that is slow is distinguished from one that has stopped.
const AT_ONCE: usize = 4_096;
/// How often a disk that is full is tried again.
const DISK_RETRY: Duration = Duration::from_secs(1);
/// How often a pipe is tried again that another program has made nonblocking.
const PIPE_RETRY: Duration = Duration::from_millis(20);
/// At the end, a reader that takes nothing for this long is not waited for. Other programs of a pipeline start and end
/// in less time.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest time that a reader which is slow delays the end.
const LONGEST_END: Duration = Duration::from_secs(10);
const STACK: usize = 256 << 10;

/// Lines of this process that were not written because nobody read them.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns how many lines of the output of this process were dropped, because its reader had stopped reading or its disk
/// was full.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// One of the standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Error,
}

/// What happened to the output.
#[derive(Debug)]
pub(crate) enum Mishap {
    /// It is a file on a disk that is full. Reported once until [`Self::Writable`].
    Full(io::Error),
    /// There is room on the disk again; the number of lines that were dropped.
    Writable(u64),
    /// The number of lines that were dropped while nobody read it.
    Unread(u64),
}

/// Reports a mishap of a stream, on standard error.
pub(crate) type Reporter = Arc<dyn Fn(Stream, Mishap) + Send + Sync>;

/// Where the thread writes.
pub(crate) type Sink = Box<dyn Write + Send>;

/// A bounded queue before one or both of the standard streams, and the thread that writes what is in it.
pub(crate) struct BackgroundWriter {
    shared: Arc<Shared>,
}

struct Shared {
    capacity: usize,
    report: Reporter,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Chunk>,
    /// Grows with all that the system takes.
    progress: u64,
    output: StreamState,
    error: StreamState,
    /// Whether the process ends, so that a full disk is not waited for.
    is_ending: bool,
}

/// Bytes that are dropped or written together.
struct Chunk {
    stream: Stream,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct StreamState {
    /// The bytes that wait or are being written.
    bytes: usize,
    /// Lines that were dropped and are not reported yet.
    dropped: u64,
    /// Whether its disk is full.
    is_full: bool,
    /// Why nothing more can be written.
    failure: Option<(ErrorKind, String)>,
}

impl State {
    fn of(&mut self, stream: Stream) -> &mut StreamState {
        match stream {
            Stream::Output => &mut self.output,
            Stream::Error => &mut self.error,
        }
    }
}

impl StreamState {
    fn result(&self) -> io::Result<()> {
        match &self.failure {
            Some((kind, text)) => Err(io::Error::new(*kind, text.clone())),
            None => Ok(()),
        }
    }
}

impl BackgroundWriter {
    /// Starts the thread. In it, `prepare` is called first, and `sink` for each stream that it is to write to.
    ///
    /// # Errors
    /// If the thread cannot be started, and those of `prepare`.
    pub(crate) fn start(
        capacity: usize,
        prepare: fn() -> io::Result<()>,
        sink: impl Fn(Stream) -> Sink + Send + 'static,
        report: Reporter,
    ) -> io::Result<Self> {
        let (state, changed) = Default::default();
        let shared = Arc::new(Shared { capacity, report, state, changed });
        let (work, (prepared, result)) = (Arc::clone(&shared), sync_channel(1));
        let run = move || {
            let is_prepared = prepare();
            let fails = is_prepared.is_err();
            if prepared.send(is_prepared).is_ok() && !fails {
                work.run(&sink);
            }
        };
        thread::Builder::new().name("output".into()).stack_size(STACK).spawn(run)?;
        result.recv().map_err(io::Error::other)??;
        Ok(Self { shared })
    }

    /// Adds whole lines, which are dropped together and counted if they do not fit.
    ///
    /// # Errors
    /// Why earlier ones could not be written, such as a broken pipe.
    pub(crate) fn push(&self, stream: Stream, bytes: Vec<u8>) -> io::Result<()> {
        if bytes.is_empty() {
            return self.shared.lock().of(stream).result();
        }
        let dropped = {
            let mut state = self.shared.lock();
            let known = state.of(stream);
            known.result()?;
            if known.bytes > 0 && known.bytes + bytes.len() > self.shared.capacity {
                known.dropped += lines(&bytes);
                DROPPED.fetch_add(lines(&bytes), Ordering::Relaxed);
                return Ok(());
            }
            // A full disk is reported once it can be written.
            if known.is_full { 0 } else { std::mem::take(&mut known.dropped) }
        };
        // Before what follows the gap.
        if dropped > 0 {
            (self.shared.report)(stream, Mishap::Unread(dropped));
        }
        self.shared.add(stream, bytes);
        Ok(())
    }

    /// Adds a line whether or not there is room for it. It is about this queue, so that there is at most one for each other.
    pub(crate) fn push_report(&self, stream: Stream, bytes: Vec<u8>) {
        self.shared.add(stream, bytes);
    }

    /// Waits until all of a stream is written, or its reader takes nothing any more.
    ///
    /// # Errors
    /// Why it could not be written. A reader that takes nothing is not an error: what is left is counted as dropped.
    pub(crate) fn finish(&self, stream: Stream) -> io::Result<()> {
        let start = Instant::now();
        let mut state = self.shared.lock();
        state.is_ending = true;
        self.shared.changed.notify_all();
        let (mut progress, mut since) = (state.progress, start);
        while state.of(stream).bytes > 0 && state.of(stream).failure.is_none() {
            if state.progress != progress {
                (progress, since) = (state.progress, Instant::now());
            }
            let left =
                PATIENCE.saturating_sub(since.elapsed()).min(LONGEST_END.saturating_sub(start.elapsed()));
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let unread: u64 =
            state.waiting.iter().filter(|chunk| chunk.stream == stream).map(|it| lines(&it.bytes)).sum();
        state.waiting.retain(|chunk| chunk.stream != stream);
        let known = state.of(stream);
        known.result()?;
        let dropped = std::mem::take(&mut known.dropped) + unread;
        DROPPED.fetch_add(unread, Ordering::Relaxed);
        drop(state);
        if dropped > 0 {
            (self.shared.report)(stream, Mishap::Unread(dropped));
        }
        Ok(())
    }
}

/// Returns the number of lines, the last of which may lack its end.
fn lines(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    ends.max(1)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, stream: Stream, bytes: Vec<u8>) {
        let mut state = self.lock();
        state.of(stream).bytes += bytes.len();
        state.waiting.push_back(Chunk { stream, bytes });
        self.changed.notify_all();
    }

    /// Writes what is added, for as long as the process runs.
    fn run(&self, sink: &dyn Fn(Stream) -> Sink) {
        let (mut output, mut error) = (None, None);
        loop {
            let chunk = self.next();
            let opened = match chunk.stream {
                Stream::Output => &mut output,
                Stream::Error => &mut error,
            };
            let written = self.write(&chunk, opened.get_or_insert_with(|| sink(chunk.stream)).as_mut());
            self.complete(&chunk, written);
        }
    }

    fn next(&self) -> Chunk {
        let mut state = self.lock();
        loop {
            if let Some(chunk) = state.waiting.pop_front() {
                return chunk;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write(&self, chunk: &Chunk, sink: &mut dyn Write) -> io::Result<()> {
        let mut rest = chunk.bytes.as_slice();
        loop {
            let written = match rest.is_empty() {
                true => sink.flush().map(|()| None),
                false => sink.write(first_lines(rest)).map(Some),
            };
            match written {
                Ok(Some(0)) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = &rest[count.unwrap_or_default()..];
                    self.note_progress(chunk.stream);
                    if count.is_none() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PIPE_RETRY),
                Err(error) if is_full(&error) => self.wait_for_room(chunk.stream, error)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until a full disk should be tried again.
    fn wait_for_room(&self, stream: Stream, error: io::Error) -> io::Result<()> {
        let mut state = self.lock();
        if state.is_ending {
            return Err(error);
        }
        if !std::mem::replace(&mut state.of(stream).is_full, true) {
            drop(state);
            (self.report)(stream, Mishap::Full(error));
            state = self.lock();
        }
        let until = Instant::now() + DISK_RETRY;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.is_ending {
                return Ok(());
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn note_progress(&self, stream: Stream) {
        let (was_full, dropped) = {
            let mut state = self.lock();
            state.progress += 1;
            let known = state.of(stream);
            let was_full = std::mem::take(&mut known.is_full);
            (was_full, if was_full { std::mem::take(&mut known.dropped) } else { 0 })
        };
        self.changed.notify_all();
        if was_full {
            (self.report)(stream, Mishap::Writable(dropped));
        }
    }

    /// Notes the end of a chunk. After an error, nothing more of its stream is written.
    fn complete(&self, chunk: &Chunk, written: io::Result<()>) {
        let mut state = self.lock();
        let known = state.of(chunk.stream);
        known.bytes = known.bytes.saturating_sub(chunk.bytes.len());
        if let Err(error) = written {
            known.failure = Some((error.kind(), error.to_string()));
            known.bytes = 0;
            state.waiting.retain(|other| other.stream != chunk.stream);
        }
        let known = state.of(chunk.stream);
        let dropped = if known.bytes == 0 { std::mem::take(&mut known.dropped) } else { 0 };
        drop(state);
        self.changed.notify_all();
        if dropped > 0 {
            (self.report)(chunk.stream, Mishap::Unread(dropped));
        }
    }
}

/// Returns what is passed to the system at once: whole lines if possible, so that other programs that write to the same
/// terminal or pipe do not write in between.
fn first_lines(bytes: &[u8]) -> &[u8] {
    let most = &bytes[..bytes.len().min(AT_ONCE)];
    match most.iter().rposition(|byte| *byte == b'\n') {
        Some(end) if most.len() < bytes.len() => &most[..=end],
        _ => most,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A pipe: it takes bytes while it is allowed to.
    struct Pipe {
        permits: Receiver<Result<(), ErrorKind>>,
        taken: Sender<u8>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without its other end it stalls forever, as a pipe does.
            match self.permits.recv() {
                Ok(Ok(())) => {}
                Ok(Err(kind)) => return Err(kind.into()),
                Err(_) => loop {
                    thread::park();
                },
            }
            bytes.iter().for_each(|byte| self.taken.send(*byte).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct World {
        writer: BackgroundWriter,
        permits: Sender<Result<(), ErrorKind>>,
        taken: Receiver<u8>,
        mishaps: Receiver<String>,
    }

    fn world(capacity: usize) -> World {
        let ((permits, permitted), (take, taken), (report, mishaps)) = (channel(), channel(), channel());
        let pipe = Mutex::new(Some(Pipe { permits: permitted, taken: take }));
        let sink = move |_| -> Sink { Box::new(pipe.lock().unwrap().take().unwrap()) };
        let report = Mutex::new(report);
        let reporter: Reporter = Arc::new(move |_, mishap| {
            let _ = report.lock().unwrap().send(format!("{mishap:?}"));
        });
        let writer = BackgroundWriter::start(capacity, || Ok(()), sink, reporter).unwrap();
        World { writer, permits, taken, mishaps }
    }

    impl World {
        fn push(&self, line: &str) -> io::Result<()> {
            self.writer.push(Stream::Output, line.as_bytes().to_vec())
        }

        fn read(&self, count: usize) -> String {
            let bytes = (0..count).map(|_| self.taken.recv_timeout(Duration::from_secs(30)).unwrap());
            String::from_utf8(bytes.collect()).unwrap()
        }

        fn mishap(&self) -> String {
            self.mishaps.recv_timeout(Duration::from_secs(30)).unwrap()
        }
    }

    #[test]
    fn a_reader_that_has_stopped_delays_nobody_and_what_it_missed_is_counted() {
        let world = world(16);
        for number in 0..1_000 {
            world.push(&format!("line {number:03}\n")).unwrap();
        }
        // One of 9 bytes is being written or waits, and another one waits.
        world.permits.send(Ok(())).unwrap();
        assert_eq!(world.read(9), "line 000\n");
        assert_eq!(world.mishap(), "Unread(999)");
        world.permits.send(Ok(())).unwrap();
        world.push("again\n").unwrap();
        assert_eq!(world.read(6), "again\n");
        world.writer.finish(Stream::Output).unwrap();
    }

    #[test]
    fn something_longer_than_the_queue_is_written_if_nothing_waits() {
        let world = world(4);
        world.permits.send(Ok(())).unwrap();
        world.push("a long line\n").unwrap();
        assert_eq!(world.read(12), "a long line\n");
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_has_stopped() {
        let world = world(100);
        world.push("one\n").unwrap();
        world.push("two\nthree\n").unwrap();
        let start = Instant::now();
        world.writer.finish(Stream::Output).unwrap();
        assert!((PATIENCE..LONGEST_END * 2).contains(&start.elapsed()));
        assert!(["Unread(2)", "Unread(3)"].contains(&&*world.mishap()), "the first one may be under way");
    }

    #[test]
    fn the_end_waits_until_all_is_written() {
        let world = world(100_000);
        let text = "0123456789abcde\n".repeat(1_000);
        world.push(&text).unwrap();
        let permits = world.permits.clone();
        let reading = thread::spawn(move || {
            for _ in 0..4 {
                permits.send(Ok(())).unwrap();
                thread::yield_now();
            }
        });
        world.writer.finish(Stream::Output).unwrap();
        assert_eq!(world.read(text.len()), text);
        reading.join().unwrap();
    }

    #[test]
    fn a_full_disk_is_tried_again_and_one_that_stays_full_is_an_error_at_the_end() {
        let world = world(100);
        world.permits.send(Err(ErrorKind::StorageFull)).unwrap();
        world.push("one\n").unwrap();
        assert_eq!(world.mishap(), "Full(Kind(StorageFull))");
        world.permits.send(Err(ErrorKind::StorageFull)).unwrap();
        world.permits.send(Ok(())).unwrap();
        assert_eq!(world.read(4), "one\n");
        assert_eq!(world.mishap(), "Writable(0)");
        world.permits.send(Err(ErrorKind::StorageFull)).unwrap();
        world.permits.send(Err(ErrorKind::StorageFull)).unwrap();
        world.push("two\n").unwrap();
        assert_eq!(world.mishap(), "Full(Kind(StorageFull))");
        assert_eq!(world.writer.finish(Stream::Output).unwrap_err().kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn a_broken_pipe_is_an_error_from_then_on() {
        let world = world(100);
        world.permits.send(Err(ErrorKind::BrokenPipe)).unwrap();
        world.push("one\n").unwrap();
        let failed = world.writer.finish(Stream::Output);
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(world.push("two\n").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
