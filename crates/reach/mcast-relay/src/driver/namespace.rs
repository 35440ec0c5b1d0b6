//! The network namespaces of the legs, also those of containers: their engine may take seconds to answer, so a running relay
//! asks it in threads.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::{fmt, io};

use mcast::interface::Interface;
use mcast_sys::namespace::NetworkNamespace;
use mcast_sys::watch::InterfaceWatch;

use super::DriverError;
use crate::{Leg, Namespace};

/// A namespace with legs in it.
#[derive(Debug)]
pub(super) struct LegNamespace {
    /// A leg in it.
    leg: Leg,
    state: NamespaceState,
}

#[derive(Debug)]
enum NamespaceState {
    /// That of the relay itself.
    Own(InterfaceWatch),
    Absent,
    Open {
        namespace: Arc<NetworkNamespace>,
        path: PathBuf,
        watch: InterfaceWatch,
    },
}

impl LegNamespace {
    /// Opens the namespace of the relay itself.
    pub(super) fn own(leg: Leg) -> Result<Self, DriverError> {
        let watch = InterfaceWatch::open().map_err(DriverError::system("list interfaces"))?;
        Ok(Self { leg, state: NamespaceState::Own(watch) })
    }

    pub(super) const fn new(leg: Leg) -> Self {
        Self { leg, state: NamespaceState::Absent }
    }

    pub(super) const fn name(&self) -> &Namespace {
        &self.leg.namespace
    }

    pub(super) const fn watch(&self) -> Option<&InterfaceWatch> {
        match &self.state {
            NamespaceState::Own(watch) | NamespaceState::Open { watch, .. } => Some(watch),
            NamespaceState::Absent => None,
        }
    }

    /// Returns its interfaces; none if it does not exist.
    pub(super) fn interfaces(&self) -> Result<Vec<Interface>, DriverError> {
        let list = self.watch().map_or(Ok(Vec::new()), InterfaceWatch::list);
        list.map_err(DriverError::system("list interfaces"))
    }

    /// Returns whether it has been replaced, as by a restart of its container, or has gone.
    pub(super) fn is_outdated(&self) -> bool {
        match &self.state {
            NamespaceState::Own(_) => false,
            NamespaceState::Absent => self.leg.namespace != Namespace::Tunnel,
            NamespaceState::Open { namespace, path, .. } => !namespace.is_at(path).unwrap_or(false),
        }
    }

    pub(super) fn close(&mut self) {
        self.state = NamespaceState::Absent;
    }

    /// Opens it. Returns `false` if it has to be called again, because the engine of its container has not answered; with
    /// `waits`, it waits for that.
    pub(super) fn open(&mut self, containers: &mut Containers, waits: bool) -> Result<bool, DriverError> {
        let failed = |source| self.failed(source);
        let path = match &self.leg.namespace {
            Namespace::Own | Namespace::Amt(_) | Namespace::Tunnel => return Ok(true),
            Namespace::Named(name) => Path::new("/run/netns").join(name),
            Namespace::Process(number) => of_process(*number),
            Namespace::Container(name) => {
                let found = if waits { Some(containers.find_now(name)) } else { containers.find(name) };
                let Some(found) = found else { return Ok(false) };
                of_process(found.map_err(|source| DriverError::Container { leg: self.leg.clone(), source })?)
            }
        };
        let namespace = Arc::new(NetworkNamespace::open(&path).map_err(failed)?);
        let watch = namespace.run(InterfaceWatch::open).and_then(|watch| watch).map_err(failed)?;
        self.state = NamespaceState::Open { namespace, path, watch };
        Ok(true)
    }

    /// Runs a function in it.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, DriverError> {
        let entered = self.entrance().ok_or_else(|| io::ErrorKind::NotFound.into());
        entered.and_then(|entrance| entrance.run(work)).map_err(|source| self.failed(source))
    }

    /// Returns what runs functions in it, on any thread; `None` if it does not exist.
    pub(super) fn entrance(&self) -> Option<Entrance> {
        match &self.state {
            NamespaceState::Own(_) => Some(Entrance(None)),
            NamespaceState::Open { namespace, .. } => Some(Entrance(Some(Arc::clone(namespace)))),
            NamespaceState::Absent => None,
        }
    }

    fn failed(&self, source: io::Error) -> DriverError {
        let leg = self.leg.clone();
        match source.kind() {
            io::ErrorKind::NotFound => DriverError::NoNamespace { leg },
            _ => DriverError::Namespace { leg, source },
        }
    }
}

/// Runs functions in a namespace; `None` for that of the relay itself.
pub(super) struct Entrance(Option<Arc<NetworkNamespace>>);

impl Entrance {
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        match &self.0 {
            None => Ok(work()),
            Some(namespace) => namespace.run(work),
        }
    }
}

fn of_process(number: u32) -> PathBuf {
    Path::new("/proc").join(number.to_string()).join("ns/net")
}

/// Returns the number of a process in a container.
pub type ContainerLookup = Arc<dyn Fn(&str) -> LookupResult + Send + Sync>;

type LookupResult = Result<u32, Box<dyn Error + Send + Sync>>;

/// Looks for containers.
pub(super) struct Containers {
    lookup: ContainerLookup,
    /// Those that the engine has been asked for.
    asked: BTreeMap<String, Receiver<LookupResult>>,
}

impl Containers {
    pub(super) fn new(lookup: ContainerLookup) -> Self {
        Self { lookup, asked: BTreeMap::new() }
    }

    /// Returns whether the engine has been asked and its answer not been used.
    pub(super) fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Returns the process of a container, for which it waits.
    pub(super) fn find_now(&self, name: &str) -> LookupResult {
        (self.lookup)(name)
    }

    /// Returns the process of a container once the engine has answered. Call this again until then.
    pub(super) fn find(&mut self, name: &str) -> Option<LookupResult> {
        let result = match self.asked.get(name).map(Receiver::try_recv) {
            None => return self.ask(name),
            Some(Err(TryRecvError::Empty)) => return None,
            Some(Err(TryRecvError::Disconnected)) => Err("it was not answered".into()),
            Some(Ok(result)) => result,
        };
        self.asked.remove(name);
        Some(result)
    }

    fn ask(&mut self, name: &str) -> Option<LookupResult> {
        let ((sender, receiver), lookup, asked) = (channel(), Arc::clone(&self.lookup), name.to_owned());
        // If the relay has ended, nobody waits for the answer.
        let ask = move || drop(sender.send(lookup(&asked)));
        match std::thread::Builder::new().name("containers".into()).spawn(ask) {
            Ok(_) => {
                self.asked.insert(name.to_owned(), receiver);
                None
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl fmt::Debug for Containers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Containers").field("asked", &self.asked).finish_non_exhaustive()
    }
}
