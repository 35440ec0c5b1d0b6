//! Where the threads of a lab are born: where they may make network namespaces.

use std::{
    fs, io,
    os::fd::OwnedFd,
    sync::{OnceLock, mpsc},
    thread::{self, JoinHandle},
};

use crate::{LabError, LabErrorKind, sys};

/// Where threads are born that may leave for network namespaces.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Birthplace {
    /// In this process, which may already.
    Here,
    /// In a child that shares the process's memory and has a user namespace of its own.
    Warden(&'static Warden),
}

/// The child process that owns the hosts of an ordinary user. There is one at most, for all labs.
#[derive(Debug)]
pub(crate) struct Warden {
    requests: mpsc::Sender<Request>,
    user_namespace: OwnedFd,
}

/// A thread that the warden is asked to start.
struct Request {
    name: String,
    body: Box<dyn FnOnce() + Send>,
    answer: mpsc::Sender<io::Result<JoinHandle<()>>>,
}

/// The step that failed on the way to a birthplace, and its error number.
#[derive(Debug, Clone)]
struct Obstacle {
    step: &'static str,
    error: Option<i32>,
}

impl Birthplace {
    /// The birthplace for this process; the first call finds out.
    pub(crate) fn find() -> Result<Self, LabError> {
        static FOUND: OnceLock<Result<Birthplace, Obstacle>> = OnceLock::new();
        FOUND.get_or_init(Self::search).clone().map_err(Obstacle::refusal)
    }

    fn search() -> Result<Self, Obstacle> {
        let attempt = thread::Builder::new().spawn(sys::namespace::unshare_network);
        let attempt = attempt.map_err(Obstacle::at("start a thread"))?;
        match attempt.join() {
            Ok(Ok(())) => Ok(Self::Here),
            Ok(Err(error)) if error.raw_os_error() == Some(libc::EPERM) => Warden::start().map(Self::Warden),
            Ok(Err(error)) => Err(Obstacle::at("make a network namespace")(error)),
            Err(_) => Err(Obstacle { step: "make a network namespace", error: None }),
        }
    }

    /// Starts a thread that may leave for a network namespace.
    pub(crate) fn spawn(
        self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        match self {
            Self::Here => thread::Builder::new().name(name.to_owned()).spawn(body),
            Self::Warden(warden) => warden.spawn(name, Box::new(body)),
        }
    }

    /// The user namespace that the threads live in, if it is not the process's own.
    pub(crate) fn user_namespace(self) -> Option<&'static OwnedFd> {
        match self {
            Self::Here => None,
            Self::Warden(warden) => Some(&warden.user_namespace),
        }
    }
}

impl Warden {
    /// Starts the child, held by a thread of this process that sleeps as long as the child lives.
    fn start() -> Result<&'static Self, Obstacle> {
        let (requests, inbox) = mpsc::channel();
        let (tell, hear) = mpsc::channel();
        let warden = move || {
            let tell_failure = tell.clone();
            let body = move || serve(&inbox, &tell);
            if let Err(error) = sys::warden::run_in_child(Box::new(body)) {
                let _ = tell_failure.send(Err(Obstacle::at("start a child that shares memory")(error)));
            }
        };
        let holder = thread::Builder::new().name("mcast-lab warden".to_owned()).spawn(warden);
        holder.map_err(Obstacle::at("start a thread"))?;
        let died = || Obstacle { step: "keep the warden alive", error: None };
        let user_namespace = hear.recv().map_err(|_| died())??;
        // It lives as long as the process does, and so does what is needed to reach it.
        Ok(Box::leak(Box::new(Self { requests, user_namespace })))
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
        let (answer, hear) = mpsc::channel();
        let gone = || io::Error::other("the lab's warden process has ended");
        self.requests.send(Request { name: name.to_owned(), body, answer }).map_err(|_| gone())?;
        hear.recv().map_err(|_| gone())?
    }
}

/// The warden's life: enter a user namespace, say so, and start threads until the process ends.
fn serve(inbox: &mpsc::Receiver<Request>, tell: &mpsc::Sender<Result<OwnedFd, Obstacle>>) {
    let entered = enter_user_namespace();
    let failed = entered.is_err();
    let _ = tell.send(entered);
    if failed {
        return;
    }
    for Request { name, body, answer } in inbox {
        let _ = answer.send(thread::Builder::new().name(name).spawn(body));
    }
}

fn enter_user_namespace() -> Result<OwnedFd, Obstacle> {
    become_root_inside()?;
    sys::process::die_with_parent().map_err(Obstacle::at("tie the warden's life to the process"))?;
    let attempt = thread::Builder::new().spawn(sys::namespace::unshare_network);
    let attempt = attempt.map_err(Obstacle::at("start a thread in the user namespace"))?;
    let attempt = attempt.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")));
    attempt.map_err(Obstacle::at("make a network namespace in a user namespace"))?;
    sys::namespace::user().map_err(Obstacle::at("open the user namespace"))
}

fn become_root_inside() -> Result<(), Obstacle> {
    let (user, group) = sys::namespace::effective_ids();
    sys::namespace::unshare_user().map_err(Obstacle::at("make a user namespace"))?;
    sys::namespace::map_to_root(user, group).map_err(Obstacle::at("write the map of a user namespace"))
}

/// Moves this whole process into a user namespace, if it needs one to make labs.
///
/// Call it first in `main`, while the process has one thread: later the kernel refuses. It is never needed,
/// as [`Lab::new`](crate::Lab::new) finds its own way; after it, closures run in hosts see the process's own
/// id and can start programs that anybody can wait for. The process then seems to be root's to itself, and
/// has the rights of its user towards all else.
///
/// # Errors
///
/// [`LabErrorKind::Refused`] where namespaces cannot be had, or when other threads are alive already.
pub fn enter() -> Result<(), LabError> {
    let is_administrator = sys::namespace::is_administrator().map_err(Obstacle::at("read its capabilities"));
    if is_administrator.map_err(Obstacle::refusal)? {
        return Ok(());
    }
    become_root_inside().map_err(Obstacle::refusal)
}

impl Obstacle {
    fn at(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self { step, error: error.raw_os_error() }
    }

    fn refusal(self) -> LabError {
        let (setting, remedy) = culprit(self.error);
        let why = format!("this user may not {}{setting}", self.step);
        let refused = LabErrorKind::Refused { why, remedy: remedy.to_owned() };
        let error = LabError::new("make a lab", refused);
        match self.error {
            Some(number) => error.with_cause(io::Error::from_raw_os_error(number)),
            None => error,
        }
    }
}

/// The setting that forbids namespaces, as far as the system tells, and what to do about it.
fn culprit(error: Option<i32>) -> (&'static str, &'static str) {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let is = |path: &str, value: &str| setting(path).as_deref() == Some(value);
    if error == Some(libc::EINVAL) {
        return (
            ": the kernel has no network or user namespaces, or enter() came after threads were started",
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
            ": the limit of namespaces is reached",
            "raise it: sysctl user.max_user_namespaces=10000 user.max_net_namespaces=10000",
        );
    }
    (
        ": a container's or a service's sandbox seems to forbid it",
        "run as root with CAP_SYS_ADMIN, or let the container make user namespaces (seccomp, AppArmor)",
    )
}
