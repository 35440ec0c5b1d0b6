//! A network namespace and the thread that lives in it.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    LabError, LabErrorKind, birthplace::Birthplace, error::Doing, netlink::Netlink, sys, worker::Worker,
};

/// A network namespace that exists until [`end`](Self::end).
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    alive: Mutex<Option<Arc<Alive>>>,
}

/// What keeps a namespace in being.
#[derive(Debug)]
pub(crate) struct Alive {
    keeper: Worker,
    name: String,
    descriptor: OwnedFd,
    netlink: Mutex<Netlink>,
    birthplace: Birthplace,
}

impl Namespace {
    /// Makes a namespace. Its loopback is up, and `sysctls` are set.
    pub(crate) fn new(
        birthplace: Birthplace,
        name: &str,
        sysctls: &[(&str, &str)],
    ) -> Result<Self, LabError> {
        let keeper = Worker::start(birthplace, name).doing(|| format!("start the thread of '{name}'"))?;
        let settled = keeper.call(|| settle(name, sysctls)).ok_or_else(|| gone(name))?;
        let (descriptor, netlink) = settled?;
        let alive =
            Alive { keeper, name: name.to_owned(), descriptor, netlink: Mutex::new(netlink), birthplace };
        Ok(Self { name: name.to_owned(), alive: Mutex::new(Some(Arc::new(alive))) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn alive(&self) -> Result<Arc<Alive>, LabError> {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive.clone().ok_or_else(|| gone(&self.name))
    }

    /// Lets go of the namespace; it is no more when what still runs in it has ended.
    pub(crate) fn end(&self) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(alive);
    }

    /// Runs `work` on the thread that lives here. It should be short: others wait for that thread.
    pub(crate) fn call<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.alive()?.keeper.call(work).ok_or_else(|| gone(&self.name))
    }

    /// Speaks to this namespace's kernel; `operation` names it should it fail.
    pub(crate) fn netlink<T, S: Into<String>>(
        &self,
        work: impl FnOnce(&mut Netlink) -> io::Result<T>,
        operation: impl FnOnce() -> S,
    ) -> Result<T, LabError> {
        let alive = self.alive()?;
        let mut netlink = alive.netlink.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut netlink).doing(operation)
    }

    /// Sets one of this namespace's sysctls, by its path below `/proc/sys`.
    pub(crate) fn set_sysctl(&self, path: &str, value: &str) -> Result<(), LabError> {
        let operation = || format!("set {path} to {value} on '{}'", self.name);
        if !path.starts_with("net/") || path.split('/').any(|part| part == "..") {
            let problem = "only sysctls below net/ can be a host's own".to_owned();
            return Err(LabError::new(operation(), LabErrorKind::Invalid(problem)));
        }
        self.call(|| fs::write(format!("/proc/sys/{path}"), value))?.doing(operation)
    }

    /// Reads a file as the thread that lives here sees it.
    pub(crate) fn read(&self, path: &str) -> Result<String, LabError> {
        self.call(|| fs::read_to_string(path))?.doing(|| format!("read {path} on '{}'", self.name))
    }
}

impl Alive {
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// What programs in it are told that the host is called.
    pub(crate) fn host_name(&self) -> &str {
        &self.name
    }

    pub(crate) fn birthplace(&self) -> Birthplace {
        self.birthplace
    }
}

/// Moves the calling thread into a namespace of its own and makes that usable.
fn settle(name: &str, sysctls: &[(&str, &str)]) -> Result<(OwnedFd, Netlink), LabError> {
    sys::namespace::unshare_network().doing(|| "make a network namespace")?;
    sys::namespace::set_host_name(name).doing(|| "set a host name")?;
    let descriptor = sys::namespace::network().doing(|| "open a network namespace")?;
    for (path, value) in sysctls {
        preset(path, value)?;
    }
    let mut netlink = Netlink::open().doing(|| "open a netlink socket")?;
    netlink.set_link_up(1, true).doing(|| "bring up the loopback interface")?;
    Ok((descriptor, netlink))
}

/// Sets a sysctl of a fresh namespace. A kernel without IPv6 lacks some, and has no need of them.
fn preset(path: &str, value: &str) -> Result<(), LabError> {
    match fs::write(format!("/proc/sys/{path}"), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Err(read_only(error)),
        result => result.doing(|| format!("set {path} to {value}")),
    }
}

fn read_only(error: io::Error) -> LabError {
    let why = "/proc/sys is read-only, as in an unprivileged container".to_owned();
    let remedy =
        "mount it writable: mount -o remount,rw /proc/sys, or run the container privileged".to_owned();
    LabError::new("set up a namespace", LabErrorKind::Refused { why, remedy }).with_cause(error)
}

fn gone(name: &str) -> LabError {
    LabError::new(format!("reach '{name}'"), LabErrorKind::Gone)
}
