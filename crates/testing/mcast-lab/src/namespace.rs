//! A network namespace and the thread that keeps it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle, ThreadId};
use std::{fs, io};

use mcast_sys::lab as sys;
use mcast_sys::lab::scoped::{self, Job};

use crate::error::ErrorContext;
use crate::netlink::Netlink;
use crate::spawner::Spawner;
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
