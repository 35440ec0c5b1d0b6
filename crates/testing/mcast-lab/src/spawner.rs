//! Starts threads that may create network namespaces.

use std::{
    fs, io,
    os::fd::OwnedFd,
    sync::{OnceLock, mpsc},
    thread::{self, JoinHandle},
};

use mcast_sys::lab as sys;

use crate::{LabError, LabErrorKind};

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
