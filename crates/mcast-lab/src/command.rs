//! Programs that run in a host.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{self, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    LabError, LabErrorKind, birthplace::Birthplace, error::Doing, guardian::Guardian, namespace::Alive,
    sys::poll, sys::process as sys, worker::Worker,
};

/// How long a killed process may take to end; more can only be a kernel in trouble.
const LONGEST_DEATH: Duration = Duration::from_secs(5);

/// A program to be started in a host; used like [`std::process::Command`].
///
/// What it starts is killed when the lab is dropped or its process ends, however that ends.
#[derive(Debug)]
pub struct Command {
    pub(crate) command: process::Command,
    children: Arc<Children>,
    group: Group,
    /// The namespace must be there until the program has entered it.
    _namespace: Arc<Alive>,
}

/// Which process group a program runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    /// That of this process.
    Shared,
    /// One of its own, which the lab's guardian has yet to be told of.
    Own,
    /// One of its own, which the guardian will be told of whenever the program starts.
    Guarded,
}

/// A program that runs in a host; used like [`std::process::Child`].
///
/// Dropping it lets the program run on until the lab is dropped.
#[derive(Debug)]
pub struct Child {
    /// The program's standard input, if it was [piped](Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// The program's standard output, if it was [piped](Stdio::piped).
    pub stdout: Option<ChildStdout>,
    /// The program's standard error, if it was [piped](Stdio::piped).
    pub stderr: Option<ChildStderr>,
    running: Arc<Running>,
}

/// A started program. Its process is reaped under the lock only, so that its id stays its own before.
#[derive(Debug)]
struct Running {
    name: String,
    id: u32,
    /// Guards the program's group, if it has one of its own.
    guardian: Option<Arc<Guardian>>,
    ended: OwnedFd,
    child: Mutex<process::Child>,
}

/// The programs of a lab.
#[derive(Debug)]
pub(crate) struct Children {
    /// The thread that starts them: they die with it, so it lives as long as the lab.
    starter: OnceLock<Worker>,
    /// Kills what they have started, should this process be killed.
    guardian: OnceLock<Arc<Guardian>>,
    /// `None` when the lab has been dropped, after which nothing is started.
    running: Mutex<Option<Vec<Arc<Running>>>>,
}

impl Command {
    pub(crate) fn new(
        program: &OsStr,
        namespace: Arc<Alive>,
        children: Arc<Children>,
    ) -> Result<Self, LabError> {
        let mut command = process::Command::new(program);
        let user = namespace.birthplace().user_namespace().map(AsRawFd::as_raw_fd);
        let host = namespace.host_name();
        sys::enter_before_exec(&mut command, user, namespace.descriptor().as_raw_fd(), host);
        Ok(Self { command, children, group: Group::Shared, _namespace: namespace })
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

    /// Sets the program's standard input; it is inherited unless told otherwise.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.command.stdin(stdin);
        self
    }

    /// Sets the program's standard output; it is inherited unless told otherwise.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.command.stdout(stdout);
        self
    }

    /// Sets the program's standard error; it is inherited unless told otherwise.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.command.stderr(stderr);
        self
    }

    /// Gives the program a process group of its own: Ctrl-C does not reach it, signals go to all that it
    /// starts, and all of it is killed when the program itself ends.
    pub fn own_group(&mut self) -> &mut Self {
        if self.group == Group::Shared {
            self.group = Group::Own;
            self.command.process_group(0);
        }
        self
    }

    /// Starts the program.
    ///
    /// # Errors
    ///
    /// The system's error, as when there is no such program.
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

    /// Starts the program and collects its output until it has ended. Its standard input is empty.
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
    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id
    }

    /// Closes its standard input and waits until it has ended.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn wait(&mut self) -> Result<ExitStatus, LabError> {
        self.stdin.take();
        self.running.wait(None)?.ok_or_else(|| self.running.late(Duration::MAX))
    }

    /// Waits until it has ended, or for at most so long.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::TimedOut`] when it runs on.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<ExitStatus, LabError> {
        self.running.wait(Some(timeout))?.ok_or_else(|| self.running.late(timeout))
    }

    /// Its exit status if it has ended.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, LabError> {
        self.running.wait(Some(Duration::ZERO))
    }

    /// Collects what it writes until it has ended.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn wait_with_output(mut self) -> Result<Output, LabError> {
        self.stdin.take();
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let reading = || format!("read what '{}' writes", self.running.name);
        let read = std::thread::scope(|scope| {
            let stderr = scope.spawn(|| read_all(stderr));
            let stdout = read_all(stdout);
            (stdout, stderr.join().unwrap_or_else(|_| Err(io::Error::other("the reader panicked"))))
        });
        let (stdout, stderr) = (read.0.doing(reading)?, read.1.doing(reading)?);
        Ok(Output { status: self.wait()?, stdout, stderr })
    }

    /// Waits for it on behalf of somebody else.
    pub(crate) fn waiter(&self) -> impl FnOnce() -> Result<ExitStatus, LabError> + Send + use<> {
        let running = Arc::clone(&self.running);
        move || running.wait(None)?.ok_or_else(|| running.late(Duration::MAX))
    }

    /// Sends it a signal, such as `libc::SIGINT`; to its whole group, if it has one of its own.
    ///
    /// # Errors
    ///
    /// The system's error. A program that has ended already is no error.
    pub fn signal(&self, signal: i32) -> Result<(), LabError> {
        self.running.signal(signal).doing(|| format!("send signal {signal} to '{}'", self.running.name))
    }

    /// Kills it, with its whole group if it has one of its own.
    ///
    /// # Errors
    ///
    /// The system's error. A program that has ended already is no error.
    pub fn kill(&self) -> Result<(), LabError> {
        self.signal(libc::SIGKILL)
    }
}

fn read_all(pipe: Option<impl io::Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes))?;
    Ok(bytes)
}

impl Running {
    /// Its status once it has ended; `None` when the time is over before.
    fn wait(&self, timeout: Option<Duration>) -> Result<Option<ExitStatus>, LabError> {
        let operation = || format!("wait for '{}'", self.name);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if poll::wait_readable(&[self.ended.as_fd()], left).doing(operation)? {
                return self.reap().doing(operation);
            }
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.wait(Some(Duration::ZERO)), Ok(None))
    }

    /// Takes the status of a process that has ended. What is left of its group dies first: later its id could
    /// be another group's.
    fn reap(&self) -> io::Result<Option<ExitStatus>> {
        let mut child = self.lock();
        if let Some(guardian) = &self.guardian {
            let _ = sys::signal_group(self.id, libc::SIGKILL);
            guardian.forget(self.id)?;
        }
        child.try_wait()
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        let _unreaped = self.lock();
        if poll::wait_readable(&[self.ended.as_fd()], Some(Duration::ZERO))? {
            return Ok(());
        }
        match self.guardian {
            Some(_) => sys::signal_group(self.id, signal),
            None => sys::signal(self.id, signal),
        }
    }

    fn lock(&self) -> MutexGuard<'_, process::Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self, timeout: Duration) -> LabError {
        let late = LabErrorKind::TimedOut(format!("it still runs after {timeout:?}"));
        LabError::new(format!("wait for '{}'", self.name), late)
    }
}

impl Children {
    pub(crate) fn new() -> Self {
        Self { starter: OnceLock::new(), guardian: OnceLock::new(), running: Mutex::new(Some(Vec::new())) }
    }

    fn start(
        &self,
        command: &mut process::Command,
        name: String,
        group: &mut Group,
    ) -> Result<Child, LabError> {
        let starting = || format!("start '{name}'");
        let gone = || LabError::new(starting(), LabErrorKind::Gone);
        // Held until the program is in the list, so that the lab cannot end in between.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let all = running.as_mut().ok_or_else(gone)?;
        let starter = self.starter().doing(starting)?;
        let guardian = self.guard(command, group).doing(starting)?;
        let mut child = starter.call(|| command.spawn()).ok_or_else(gone)?.doing(starting)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let id = child.id();
        let ended = sys::descriptor_of(id).doing(starting)?;
        let running = Arc::new(Running { name, id, guardian, ended, child: Mutex::new(child) });
        all.retain(|running| running.is_running());
        all.push(Arc::clone(&running));
        Ok(Child { stdin, stdout, stderr, running })
    }

    fn starter(&self) -> io::Result<&Worker> {
        if let Some(starter) = self.starter.get() {
            return Ok(starter);
        }
        let starter = Worker::start(Birthplace::Here, "mcast-lab starter")?;
        Ok(self.starter.get_or_init(|| starter))
    }

    /// Puts the group that a program will lead, if it will, under the guardian.
    fn guard(&self, command: &mut process::Command, group: &mut Group) -> io::Result<Option<Arc<Guardian>>> {
        if *group == Group::Shared {
            return Ok(None);
        }
        let guardian = self.guardian()?;
        if *group == Group::Own {
            guardian.guard(command);
            *group = Group::Guarded;
        }
        Ok(Some(Arc::clone(guardian)))
    }

    fn guardian(&self) -> io::Result<&Arc<Guardian>> {
        if let Some(guardian) = self.guardian.get() {
            return Ok(guardian);
        }
        let gone = || io::Error::other("the thread that starts programs has ended");
        let guardian = self.starter()?.call(Guardian::start).ok_or_else(gone)??;
        Ok(self.guardian.get_or_init(|| Arc::new(guardian)))
    }

    /// Whether any program was ever started.
    pub(crate) fn has_started_any(&self) -> bool {
        self.starter.get().is_some()
    }

    /// Kills all that still run, and waits until they have ended.
    pub(crate) fn end(&self) {
        let all = self.running.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        for running in &all {
            let _ = running.signal(libc::SIGKILL);
        }
        for running in &all {
            let _ = running.wait(Some(LONGEST_DEATH));
        }
    }
}
