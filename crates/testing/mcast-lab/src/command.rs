//! Programs that run in hosts, and what ends them when the process of the lab has been killed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mcast_sys::lab::process as sys;
use mcast_sys::readable::{is_readable, wait_for_any};

use crate::error::ErrorContext;
use crate::namespace::{LiveNamespace, Spawner, Worker};
use crate::{LabError, LabErrorKind};

/// How long a killed process may take to end. Waiting has a limit so that a stuck kernel does not block the drop of
/// the lab.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A command that starts programs in a host, used like [`std::process::Command`].
///
/// The programs are killed when the lab is dropped or its process ends for any reason.
#[derive(Debug)]
pub struct Command {
    pub(crate) command: process::Command,
    children: Arc<Children>,
    group: ProcessGroup,
    /// The namespace must exist until the program has entered it.
    _namespace: Arc<LiveNamespace>,
}

/// The process group of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProcessGroup {
    /// The group of this process.
    Inherited,
    /// A group of its own that the watchdog of the lab does not watch yet.
    Own,
    /// A group of its own that the watchdog watches from each start of the program.
    Watched,
}

/// A program that runs in a host, used like [`std::process::Child`].
///
/// Dropping it does not stop the program, which then runs until it ends or the lab is dropped.
#[derive(Debug)]
pub struct Child {
    /// The program's standard input, if it was [piped](Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// The program's standard output, if it was [piped](Stdio::piped).
    pub stdout: Option<ChildStdout>,
    /// The program's standard error, if it was [piped](Stdio::piped).
    pub stderr: Option<ChildStderr>,
    program: Arc<StartedProgram>,
}

/// A program that has been started.
#[derive(Debug)]
struct StartedProgram {
    name: String,
    id: u32,
    /// Watches the process group of the program, if it has one of its own.
    watchdog: Option<Arc<Watchdog>>,
    /// Becomes readable when the process ends.
    pidfd: OwnedFd,
    process: Mutex<Process>,
}

/// A process. It is only reaped under the lock, so that its id is not reused while a signal is sent.
#[derive(Debug)]
enum Process {
    Unreaped(process::Child),
    /// The ids of the process and its group may have been reused.
    Reaped(ExitStatus),
}

/// The programs of a lab.
#[derive(Debug)]
pub(crate) struct Children {
    /// The thread that starts them. They are killed when it ends, so it lasts as long as the lab.
    starter: OnceLock<Worker>,
    /// Kills the processes that they have started if this process is killed.
    watchdog: OnceLock<Arc<Watchdog>>,
    /// The programs that may still run. `None` when the lab has been dropped; no program is started then.
    programs: Mutex<Option<Vec<Arc<StartedProgram>>>>,
}

impl Command {
    pub(crate) fn new(
        program: &OsStr,
        namespace: Arc<LiveNamespace>,
        children: Arc<Children>,
    ) -> Result<Self, LabError> {
        let mut command = process::Command::new(program);
        let user = namespace.spawner().user_namespace().map(AsFd::as_fd);
        let host = namespace.host_name();
        sys::enter_before_exec(&mut command, user, namespace.as_fd(), host);
        Ok(Self { command, children, group: ProcessGroup::Inherited, _namespace: namespace })
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(key, value);
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.command.env_remove(key);
        self
    }

    /// Sets the directory that the program starts in.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets the program's standard input, which is inherited by default.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.command.stdin(stdin);
        self
    }

    /// Sets the program's standard output, which is inherited by default.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.command.stdout(stdout);
        self
    }

    /// Sets the program's standard error, which is inherited by default.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.command.stderr(stderr);
        self
    }

    /// Gives the program a process group of its own. Ctrl-C does not reach it, signals are sent to the whole group,
    /// and the rest of the group is killed when the program itself ends.
    pub fn own_group(&mut self) -> &mut Self {
        if self.group == ProcessGroup::Inherited {
            self.group = ProcessGroup::Own;
            self.command.process_group(0);
        }
        self
    }

    /// Starts the program.
    ///
    /// # Errors
    ///
    /// The system's error, for instance when there is no such program.
    pub fn spawn(&mut self) -> Result<Child, LabError> {
        let name = self.command.get_program().to_string_lossy().into_owned();
        self.children.start(&mut self.command, name, &mut self.group)
    }

    /// Starts the program and waits until it has ended.
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    pub fn status(&mut self) -> Result<ExitStatus, LabError> {
        self.spawn()?.wait()
    }

    /// Starts the program, waits until it has ended, and returns its output. Its standard input is empty.
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    pub fn output(&mut self) -> Result<Output, LabError> {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.spawn()?.wait_with_output()
    }
}

impl Child {
    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.program.id
    }

    /// Closes the program's standard input and waits until it has ended.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn wait(&mut self) -> Result<ExitStatus, LabError> {
        self.stdin.take();
        self.program.wait(None)?.ok_or_else(|| self.program.timed_out(Duration::MAX))
    }

    /// Waits until the program has ended, but not longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::TimedOut`] when it is still running then.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<ExitStatus, LabError> {
        self.program.wait(Some(timeout))?.ok_or_else(|| self.program.timed_out(timeout))
    }

    /// Returns the exit status, or `None` if the program is still running.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, LabError> {
        self.program.wait(Some(Duration::ZERO))
    }

    /// Waits until the program has ended, and returns its output.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn wait_with_output(mut self) -> Result<Output, LabError> {
        self.stdin.take();
        let stdout = self.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let stderr = self.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let operation = || format!("read the output of '{}'", self.program.name);
        let [stdout, stderr] = read_to_end([stdout, stderr]).context(operation)?;
        Ok(Output { status: self.wait()?, stdout, stderr })
    }

    /// Returns a closure that waits for the program, for another thread.
    pub(crate) fn waiter(&self) -> impl FnOnce() -> Result<ExitStatus, LabError> + Send + use<> {
        let program = Arc::clone(&self.program);
        move || program.wait(None)?.ok_or_else(|| program.timed_out(Duration::MAX))
    }

    /// Sends the program a signal such as `libc::SIGINT`, or its whole process group if it has one of its own.
    ///
    /// # Errors
    ///
    /// The system's error. A program that has ended already is not an error.
    pub fn signal(&self, signal: i32) -> Result<(), LabError> {
        self.program.signal(signal).context(|| format!("send signal {signal} to '{}'", self.program.name))
    }

    /// Kills the program, or its whole process group if it has one of its own.
    ///
    /// # Errors
    ///
    /// The system's error. A program that has ended already is not an error.
    pub fn kill(&self) -> Result<(), LabError> {
        self.signal(libc::SIGKILL)
    }
}

/// Reads all pipes to their ends concurrently, without threads, which the system may refuse.
fn read_to_end<const N: usize>(mut pipes: [Option<File>; N]) -> io::Result<[Vec<u8>; N]> {
    let mut read = [const { Vec::new() }; N];
    while pipes.iter().any(Option::is_some) {
        let open: Vec<_> = pipes.iter().flatten().map(AsFd::as_fd).collect();
        wait_for_any(&open, None)?;
        for (pipe, bytes) in pipes.iter_mut().zip(&mut read) {
            if let Some(file) = pipe
                && is_readable(file)?
                && !read_some(file, bytes)?
            {
                *pipe = None;
            }
        }
    }
    Ok(read)
}

/// Reads the available bytes of a readable pipe. Returns false at its end.
fn read_some(mut pipe: &File, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 16 << 10];
    match pipe.read(&mut chunk) {
        Ok(count) => {
            bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
            Ok(count > 0)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(error),
    }
}

impl StartedProgram {
    /// Waits until the program has ended, and returns its exit status, or `None` after the timeout.
    fn wait(&self, timeout: Option<Duration>) -> Result<Option<ExitStatus>, LabError> {
        let operation = || format!("wait for '{}'", self.name);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if wait_for_any(&[self.pidfd.as_fd()], left).context(operation)? {
                return self.reap().context(operation);
            }
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.wait(Some(Duration::ZERO)), Ok(None))
    }

    /// Reaps a process that has ended, and returns its exit status. The rest of its group is killed before that,
    /// because the id of the group could be reused afterwards.
    fn reap(&self) -> io::Result<Option<ExitStatus>> {
        let mut process = self.lock();
        let child = match &mut *process {
            Process::Unreaped(child) => child,
            Process::Reaped(status) => return Ok(Some(*status)),
        };
        if let Some(watchdog) = &self.watchdog {
            let _ = sys::signal_group(self.id, libc::SIGKILL);
            watchdog.forget(self.id)?;
        }
        let status = child.try_wait()?;
        if let Some(status) = status {
            *process = Process::Reaped(status);
        }
        Ok(status)
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        let _unreaped = self.lock();
        if is_readable(&self.pidfd)? {
            return Ok(());
        }
        match self.watchdog {
            Some(_) => sys::signal_group(self.id, signal),
            None => sys::signal(self.id, signal),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timed_out(&self, timeout: Duration) -> LabError {
        let problem = LabErrorKind::TimedOut(format!("it is still running after {timeout:?}"));
        LabError::new(format!("wait for '{}'", self.name), problem)
    }
}

impl Children {
    pub(crate) fn new() -> Self {
        Self { starter: OnceLock::new(), watchdog: OnceLock::new(), programs: Mutex::new(Some(Vec::new())) }
    }

    fn start(
        &self,
        command: &mut process::Command,
        name: String,
        group: &mut ProcessGroup,
    ) -> Result<Child, LabError> {
        let operation = || format!("start '{name}'");
        let gone = || LabError::new(operation(), LabErrorKind::Gone);
        // Locked until the program is in the list, so that the lab cannot be dropped in between.
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let programs = programs.as_mut().ok_or_else(gone)?;
        let starter = self.starter().context(operation)?;
        let watchdog = self.watch_group(command, group).context(operation)?;
        let mut child = starter.call(|| command.spawn()).ok_or_else(gone)?.context(operation)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let id = child.id();
        let pidfd = sys::pidfd_open(id).context(operation)?;
        let process = Mutex::new(Process::Unreaped(child));
        let program = Arc::new(StartedProgram { name, id, watchdog, pidfd, process });
        programs.retain(|program| program.is_running());
        programs.push(Arc::clone(&program));
        Ok(Child { stdin, stdout, stderr, program })
    }

    fn starter(&self) -> io::Result<&Worker> {
        if let Some(starter) = self.starter.get() {
            return Ok(starter);
        }
        let starter = Worker::start(Spawner::InProcess, "mcast-lab starter")?;
        Ok(self.starter.get_or_init(|| starter))
    }

    /// Makes the watchdog watch the process group of a program, and returns it, if the program will have a group of
    /// its own.
    fn watch_group(
        &self,
        command: &mut process::Command,
        group: &mut ProcessGroup,
    ) -> io::Result<Option<Arc<Watchdog>>> {
        if *group == ProcessGroup::Inherited {
            return Ok(None);
        }
        let watchdog = self.watchdog()?;
        if *group == ProcessGroup::Own {
            watchdog.watch(command);
            *group = ProcessGroup::Watched;
        }
        Ok(Some(Arc::clone(watchdog)))
    }

    fn watchdog(&self) -> io::Result<&Arc<Watchdog>> {
        if let Some(watchdog) = self.watchdog.get() {
            return Ok(watchdog);
        }
        let gone = || io::Error::other("the thread that starts programs has ended");
        let watchdog = self.starter()?.call(Watchdog::start).ok_or_else(gone)??;
        Ok(self.watchdog.get_or_init(|| Arc::new(watchdog)))
    }

    /// Returns whether any program was ever started.
    pub(crate) fn has_started_any(&self) -> bool {
        self.starter.get().is_some()
    }

    /// Kills all programs that are still running, and waits until they have ended.
    pub(crate) fn kill_all(&self) {
        let programs =
            self.programs.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        for program in &programs {
            let _ = program.signal(libc::SIGKILL);
        }
        for program in &programs {
            let _ = program.wait(Some(EXIT_TIMEOUT));
        }
    }
}

/// A process that kills the process groups of a lab's programs when this process has ended.
#[derive(Debug)]
pub(crate) struct Watchdog {
    id: i32,
    /// The watchdog ends, and kills the groups it watches, when this end of the connection is closed.
    requests: Option<UnixStream>,
}

impl Watchdog {
    /// Forks the watchdog. It must be dropped by a thread of the same process, which waits for it then.
    pub(crate) fn start() -> io::Result<Self> {
        let (requests, inbox) = UnixStream::pair()?;
        let id = sys::fork_watchdog(&inbox)?;
        Ok(Self { id, requests: Some(requests) })
    }

    /// Makes the watchdog watch the process group that `command` will lead, from before the program starts.
    pub(crate) fn watch(&self, command: &mut process::Command) {
        if let Some(requests) = &self.requests {
            sys::announce_before_exec(command, requests.as_fd());
        }
    }

    /// Makes the watchdog forget a group that has just been killed, because its id may be reused.
    pub(crate) fn forget(&self, group: u32) -> io::Result<()> {
        self.requests.as_ref().map_or(Ok(()), |requests| sys::forget(requests.as_fd(), group))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.requests.take();
        let _ = sys::wait_for_watchdog(self.id);
    }
}

/// Processes that start while others are being killed are killed in a further round.
const MAX_ROUNDS: usize = 16;

/// The device and inode number that identify a namespace.
type Identity = (u64, u64);

/// Kills every other process that is in one of these namespaces.
pub(crate) fn kill_all(namespaces: &[Arc<LiveNamespace>]) {
    let ours: Vec<Identity> = namespaces.iter().filter_map(|live| identity(live).ok()).collect();
    for _ in 0..MAX_ROUNDS {
        let killed = processes().filter(|process| kill_if_in(*process, &ours).unwrap_or(false)).count();
        if killed == 0 {
            return;
        }
    }
}

fn identity(namespace: &LiveNamespace) -> io::Result<Identity> {
    identity_at(&format!("/proc/self/fd/{}", namespace.as_fd().as_raw_fd()))
}

fn identity_at(path: &str) -> io::Result<Identity> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Returns the ids of all processes except this one, whose own threads are in the namespaces of its labs.
fn processes() -> impl Iterator<Item = u32> {
    mcast_sys::process::ids().into_iter().flatten().filter(|id| *id != std::process::id())
}

/// Kills a process if it is in one of the namespaces, and returns whether it was.
///
/// The namespace is checked again after the process descriptor was opened, so that a process which has taken over
/// the id in between is not killed.
fn kill_if_in(process: u32, namespaces: &[Identity]) -> io::Result<bool> {
    let is_ours =
        || identity_at(&format!("/proc/{process}/ns/net")).map(|identity| namespaces.contains(&identity));
    if !is_ours()? {
        return Ok(false);
    }
    let descriptor = sys::pidfd_open(process)?;
    let is_ours = is_ours()?;
    if is_ours {
        sys::kill(descriptor.as_fd())?;
    }
    Ok(is_ours)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};

    use super::*;

    #[test]
    fn a_group_with_the_reused_id_of_a_reaped_group_is_not_killed() {
        let child = process::Command::new("true").process_group(0).spawn().unwrap();
        let id = child.id();
        let mut program = StartedProgram {
            name: "true".into(),
            id,
            watchdog: Some(Arc::new(Watchdog::start().unwrap())),
            pidfd: sys::pidfd_open(id).unwrap(),
            process: Mutex::new(Process::Unreaped(child)),
        };
        let status = program.wait(None).unwrap();
        let mut other = process::Command::new("cat");
        other.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut other = other.spawn().unwrap();

        program.id = other.id();
        assert_eq!(program.wait(None).unwrap(), status);

        // A killed process would not echo its input.
        other.stdin.take().unwrap().write_all(b"alive\n").unwrap();
        let mut line = String::new();
        BufReader::new(other.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "alive\n");
        assert!(other.wait().unwrap().success());
    }

    #[test]
    fn both_pipes_are_read_to_the_end() {
        let mut shell = process::Command::new("sh");
        shell.args(["-c", "head -c 300000 /dev/zero; head -c 200000 /dev/zero >&2; printf end"]);
        let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = File::from(OwnedFd::from(child.stdout.take().unwrap()));
        let stderr = File::from(OwnedFd::from(child.stderr.take().unwrap()));
        let [stdout, stderr] = read_to_end([Some(stdout), Some(stderr)]).unwrap();
        assert_eq!((stdout.len(), stderr.len()), (300_003, 200_000));
        assert!(stdout.ends_with(b"end") && child.wait().unwrap().success());
        assert_eq!(read_to_end([None, None]).unwrap(), [Vec::<u8>::new(), Vec::new()]);
    }
}
