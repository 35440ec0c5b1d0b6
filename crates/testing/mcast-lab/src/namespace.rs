//! A network namespace, the thread that keeps it, and starting threads that may create namespaces.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::{self, JoinHandle, ThreadId};
use std::{fs, io};

use mcast_sys::lab as sys;
use mcast_sys::lab::scoped::{self, Job};

use crate::error::ErrorContext;
use crate::netlink::Netlink;
use crate::{LabError, LabErrorKind};

/// A network namespace that exists until [`release`](Self::release).
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    /// `None` after the release.
    live: Mutex<Option<Arc<LiveNamespace>>>,
}

/// The thread and the descriptors that keep a namespace in existence.
#[derive(Debug)]
pub(crate) struct LiveNamespace {
    /// A thread inside the namespace.
    worker: Worker,
    name: String,
    descriptor: OwnedFd,
    netlink: Mutex<Netlink>,
    spawner: Spawner,
}

impl Namespace {
    /// Creates a namespace, sets `sysctls` in it, and brings up its loopback interface.
    pub(crate) fn new(spawner: Spawner, name: &str, sysctls: &[(&str, &str)]) -> Result<Self, LabError> {
        let worker = Worker::start(spawner, name).context(|| format!("start the thread of '{name}'"))?;
        let (descriptor, netlink) = worker.call(|| set_up(name, sysctls)).ok_or_else(|| gone(name))??;
        let live = LiveNamespace {
            worker,
            name: name.to_owned(),
            descriptor,
            netlink: Mutex::new(netlink),
            spawner,
        };
        Ok(Self { name: name.to_owned(), live: Mutex::new(Some(Arc::new(live))) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn live(&self) -> Result<Arc<LiveNamespace>, LabError> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.clone().ok_or_else(|| gone(&self.name))
    }

    /// Releases the namespace. The kernel removes it when its last thread, process and socket has gone.
    pub(crate) fn release(&self) {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(live);
    }

    /// Runs `work` on the thread of this namespace. It should be short, because all calls share that thread.
    pub(crate) fn call<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.live()?.worker.call(work).ok_or_else(|| gone(&self.name))
    }

    /// Runs `work` with the netlink socket of this namespace. `operation` describes it in errors.
    pub(crate) fn netlink<T, S: Into<String>>(
        &self,
        work: impl FnOnce(&mut Netlink) -> io::Result<T>,
        operation: impl FnOnce() -> S,
    ) -> Result<T, LabError> {
        let live = self.live()?;
        let mut netlink = live.netlink.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut netlink).context(operation)
    }

    /// Sets a sysctl of this namespace, by its path below `/proc/sys`.
    pub(crate) fn set_sysctl(&self, path: &str, value: &str) -> Result<(), LabError> {
        let operation = || format!("set {path} to {value} on '{}'", self.name);
        if !path.starts_with("net/") || path.split('/').any(|part| part == "..") {
            let problem = "only sysctls below net/ can belong to a host".to_owned();
            return Err(LabError::new(operation(), LabErrorKind::Invalid(problem)));
        }
        self.call(|| fs::write(format!("/proc/sys/{path}"), value))?.context(operation)
    }

    /// Reads a file as seen by the thread of this namespace.
    pub(crate) fn read(&self, path: &str) -> Result<String, LabError> {
        self.call(|| fs::read_to_string(path))?.context(|| format!("read {path} on '{}'", self.name))
    }
}

impl AsFd for LiveNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl LiveNamespace {
    /// Returns the host name for programs in this namespace.
    pub(crate) fn host_name(&self) -> &str {
        &self.name
    }

    pub(crate) fn spawner(&self) -> Spawner {
        self.spawner
    }
}

/// Moves the calling thread into a new namespace and sets it up.
fn set_up(name: &str, sysctls: &[(&str, &str)]) -> Result<(OwnedFd, Netlink), LabError> {
    sys::namespace::unshare_network().context(|| "create a network namespace")?;
    sys::namespace::set_host_name(name).context(|| "set a host name")?;
    let descriptor = sys::namespace::network().context(|| "open a network namespace")?;
    for (path, value) in sysctls {
        set_initial_sysctl(path, value)?;
    }
    let mut netlink = Netlink::open().context(|| "open a netlink socket")?;
    netlink.set_link_up(1, true).context(|| "bring up the loopback interface")?;
    Ok((descriptor, netlink))
}

/// Sets a sysctl of a new namespace. A sysctl that does not exist is skipped: a kernel without IPv6 has none of
/// the IPv6 sysctls and does not need them.
fn set_initial_sysctl(path: &str, value: &str) -> Result<(), LabError> {
    match fs::write(format!("/proc/sys/{path}"), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Err(read_only(error)),
        result => result.context(|| format!("set {path} to {value}")),
    }
}

fn read_only(error: io::Error) -> LabError {
    let why = "/proc/sys is read-only, as it is in an unprivileged container".to_owned();
    let remedy =
        "mount it writable: mount -o remount,rw /proc/sys, or run the container privileged".to_owned();
    LabError::new("set up a namespace", LabErrorKind::Refused { why, remedy }).with_cause(error)
}

fn gone(name: &str) -> LabError {
    LabError::new(format!("reach '{name}'"), LabErrorKind::Gone)
}

/// A thread started by a [`Spawner`] that runs jobs until this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    id: ThreadId,
}

impl Worker {
    /// Starts a thread with this name.
    pub(crate) fn start(spawner: Spawner, name: &str) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = spawner.spawn(name, move || inbox.into_iter().for_each(|job| job()))?;
        let id = thread.thread().id();
        Ok(Self { jobs: Some(jobs), thread: Some(thread), id })
    }

    /// Runs `work` on the thread and waits for it. A panic in it is resumed in the caller.
    ///
    /// Returns `None` if the thread has ended.
    pub(crate) fn call<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Option<T> {
        let result = scoped::run_elsewhere(work, |job| {
            if let Some(jobs) = &self.jobs {
                let _ = jobs.send(job);
            }
        })?;
        Some(result.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs.take();
        // A job may hold the last reference to its own worker; a thread cannot join itself.
        if thread::current().id() == self.id {
            return;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts threads that may move to new network namespaces.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Spawner {
    /// Starts threads in this process, which has the required capability.
    InProcess,
    /// Starts threads in a child that shares the memory of the process and has a user namespace of its own.
    Warden(&'static Warden),
}

/// The child process that starts the threads of an ordinary user's hosts. There is at most one, for all labs.
#[derive(Debug)]
pub(crate) struct Warden {
    requests: mpsc::Sender<Request>,
    user_namespace: OwnedFd,
}

/// A request to the warden to start a thread.
struct Request {
    name: String,
    body: Box<dyn FnOnce() + Send>,
    reply: mpsc::Sender<io::Result<JoinHandle<()>>>,
}

/// A setup step that failed, and its error number.
#[derive(Debug, Clone)]
struct SetupFailure {
    step: &'static str,
    error: Option<i32>,
}

impl Spawner {
    /// Returns the spawner for this process. The first call determines it.
    pub(crate) fn find() -> Result<Self, LabError> {
        static SPAWNER: OnceLock<Result<Spawner, SetupFailure>> = OnceLock::new();
        SPAWNER.get_or_init(Self::determine).clone().map_err(SetupFailure::refusal)
    }

    fn determine() -> Result<Self, SetupFailure> {
        let attempt = thread::Builder::new().spawn(sys::namespace::unshare_network);
        let attempt = attempt.map_err(SetupFailure::at("start a thread"))?;
        match attempt.join() {
            Ok(Ok(())) => Ok(Self::InProcess),
            Ok(Err(error)) if error.raw_os_error() == Some(libc::EPERM) => Warden::start().map(Self::Warden),
            Ok(Err(error)) => Err(SetupFailure::at("create a network namespace")(error)),
            Err(_) => Err(SetupFailure { step: "create a network namespace", error: None }),
        }
    }

    /// Starts a thread that may move to a new network namespace.
    pub(crate) fn spawn(
        self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        match self {
            Self::InProcess => thread::Builder::new().name(name.to_owned()).spawn(body),
            Self::Warden(namespace_child) => namespace_child.spawn(name, Box::new(body)),
        }
    }

    /// Returns the user namespace of the threads, unless it is the process's own.
    pub(crate) fn user_namespace(self) -> Option<&'static OwnedFd> {
        match self {
            Self::InProcess => None,
            Self::Warden(namespace_child) => Some(&namespace_child.user_namespace),
        }
    }
}

impl Warden {
    /// Starts the child from a thread of this process that sleeps until the child ends.
    fn start() -> Result<&'static Self, SetupFailure> {
        let (requests, inbox) = mpsc::channel();
        let (startup, result) = mpsc::channel();
        let namespace_child = move || {
            let failure = startup.clone();
            let body = move || serve(&inbox, &startup);
            if let Err(error) = sys::namespace_child::run_in_child(Box::new(body)) {
                let _ = failure.send(Err(SetupFailure::at("start a child that shares memory")(error)));
            }
        };
        let parent = thread::Builder::new().name("mcast-lab warden".to_owned()).spawn(namespace_child);
        parent.map_err(SetupFailure::at("start a thread"))?;
        let died = || SetupFailure { step: "keep the warden alive", error: None };
        let user_namespace = result.recv().map_err(|_| died())??;
        // The warden lasts as long as the process, so its handle is never dropped.
        Ok(Box::leak(Box::new(Self { requests, user_namespace })))
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
        let (reply, thread) = mpsc::channel();
        let gone = || io::Error::other("the lab's warden process has ended");
        self.requests.send(Request { name: name.to_owned(), body, reply }).map_err(|_| gone())?;
        thread.recv().map_err(|_| gone())?
    }
}

/// Runs the warden: enters a user namespace, reports the result, and starts threads until the process ends.
fn serve(inbox: &mpsc::Receiver<Request>, startup: &mpsc::Sender<Result<OwnedFd, SetupFailure>>) {
    let entered = enter_user_namespace();
    let failed = entered.is_err();
    let _ = startup.send(entered);
    if failed {
        return;
    }
    for Request { name, body, reply } in inbox {
        let _ = reply.send(thread::Builder::new().name(name).spawn(body));
    }
}

fn enter_user_namespace() -> Result<OwnedFd, SetupFailure> {
    become_root_inside()?;
    sys::process::die_with_parent()
        .map_err(SetupFailure::at("tie the lifetime of the warden to the process"))?;
    let attempt = thread::Builder::new().spawn(sys::namespace::unshare_network);
    let attempt = attempt.map_err(SetupFailure::at("start a thread in the user namespace"))?;
    let attempt = attempt.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")));
    attempt.map_err(SetupFailure::at("create a network namespace in a user namespace"))?;
    sys::namespace::user().map_err(SetupFailure::at("open the user namespace"))
}

fn become_root_inside() -> Result<(), SetupFailure> {
    let (user, group) = sys::namespace::effective_ids();
    sys::namespace::unshare_user().map_err(SetupFailure::at("create a user namespace"))?;
    sys::namespace::map_to_root(user, group)
        .map_err(SetupFailure::at("write the id maps of a user namespace"))
}

/// Moves this whole process into a user namespace, if it needs one to create labs.
///
/// Call it first in `main`, while the process has one thread; later the kernel refuses. It is optional, because
/// [`Lab::new`](crate::Lab::new) works without it. After it, closures that run in hosts see the process's own id,
/// and the programs that they start can be waited for anywhere. The process then appears to itself to run as
/// root, and keeps the rights of its user towards everything else.
///
/// # Errors
///
/// [`LabErrorKind::Refused`] when namespaces are not available, or when the process has other threads already.
pub fn enter() -> Result<(), LabError> {
    let is_administrator =
        sys::namespace::is_administrator().map_err(SetupFailure::at("read its capabilities"));
    if is_administrator.map_err(SetupFailure::refusal)? {
        return Ok(());
    }
    become_root_inside().map_err(SetupFailure::refusal)
}

impl SetupFailure {
    fn at(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self { step, error: error.raw_os_error() }
    }

    fn refusal(self) -> LabError {
        let (setting, remedy) = likely_cause(self.error);
        let why = format!("this user may not {}{setting}", self.step);
        let refused = LabErrorKind::Refused { why, remedy: remedy.to_owned() };
        let error = LabError::new("create a lab", refused);
        match self.error {
            Some(number) => error.with_cause(io::Error::from_raw_os_error(number)),
            None => error,
        }
    }
}

/// Returns the setting that most likely forbids namespaces, and the remedy.
fn likely_cause(error: Option<i32>) -> (&'static str, &'static str) {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let is = |path: &str, value: &str| setting(path).as_deref() == Some(value);
    if error == Some(libc::EINVAL) {
        return (
            ": the kernel has no network or user namespaces, or enter() was called after threads were started",
            "use a kernel with CONFIG_NET_NS and CONFIG_USER_NS, and call enter() first in main",
        );
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return (
            ": kernel.unprivileged_userns_clone is 0",
            "run as root, or: sysctl kernel.unprivileged_userns_clone=1",
        );
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return (
            ": AppArmor restricts user namespaces",
            "run as root, or: sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        );
    }
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return (": user.max_user_namespaces is 0", "run as root, or: sysctl user.max_user_namespaces=10000");
    }
    if error == Some(libc::ENOSPC) {
        return (
            ": the limit on the number of namespaces is reached",
            "raise it: sysctl user.max_user_namespaces=10000 user.max_net_namespaces=10000",
        );
    }
    (
        ": the sandbox of a container or a service seems to forbid it",
        "run as root with CAP_SYS_ADMIN, or allow the container to create user namespaces (seccomp, AppArmor)",
    )
}
