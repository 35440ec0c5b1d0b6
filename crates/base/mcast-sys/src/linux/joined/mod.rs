//! Surveying memberships: reading the kernel's tables, then querying every socket.

mod accounts;
mod change;
mod elsewhere;
mod processes;
mod sending;
mod socket;
mod tables;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;

use super::netlink::listen;
use crate::readable::readable;
use crate::{Holder, Holding, JoinedSocket, Process, SocketHolder, Visibility};
use accounts::Accounts;
pub(crate) use accounts::cookie_of as network_cookie;
pub(crate) use change::{GroupRequest, GroupSourceRequest};
pub use change::{change, present, socket_options};
pub use elsewhere::udp_sockets;
use processes::{Lender, Mark};
pub use sending::answer_to_send;
use socket::BorrowedSocket;
pub use tables::{TableEntry, shared, table};

/// A socket that is being closed belongs to no process any more but still holds its memberships. If
/// a membership is unaccounted for although every process was inspected, the survey is repeated up
/// to this many times, after a pause.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(10);

/// Returns every membership of the calling thread's network namespace with its holder, in no
/// particular order, and which processes could be inspected.
pub fn survey() -> io::Result<(Vec<Holding>, Visibility)> {
    let mut attempt = 1;
    loop {
        let (holdings, visibility) = survey_once()?;
        let unseen = holdings.iter().any(|holding| matches!(holding.holder, Holder::Unseen { .. }));
        if !unseen || visibility != Visibility::Full || attempt == ATTEMPTS {
            return Ok((holdings, visibility));
        }
        attempt += 1;
        std::thread::sleep(PAUSE);
    }
}

fn survey_once() -> io::Result<(Vec<Holding>, Visibility)> {
    let _mark = Mark::set();
    let mut survey = Survey { accounts: Accounts::open(tables::table()?), ..Survey::default() };
    for process in processes::all()? {
        survey.inspect(&process)?;
    }
    survey.dismiss_borrowers();
    let visibility = survey.visibility();
    let sockets = survey.sockets.into_values().flatten();
    // The table is read again, so that a group left meanwhile is not reported as sockets by an unseen
    // socket.
    let holdings =
        survey.accounts.into_holdings(sockets.flat_map(SocketMemberships::into_holders), &tables::table()?);
    Ok((holdings, visibility))
}

/// Returns the processes that have each socket open, by the inode of the socket. Processes that may not be inspected
/// are missing.
pub fn socket_owners() -> io::Result<BTreeMap<u64, Vec<Process>>> {
    let mut owners: BTreeMap<u64, Vec<Process>> = BTreeMap::new();
    for process in processes::all()? {
        for (descriptor, inode) in process.open().unwrap_or_default().sockets {
            let known = owners.entry(inode).or_default();
            if known.iter().all(|other| other.pid != process.pid) {
                known.push(Process { pid: process.pid, name: process.name.clone(), descriptor });
            }
        }
    }
    Ok(owners)
}

/// The state of a survey.
#[derive(Default)]
struct Survey {
    accounts: Accounts,
    /// Every socket found, by inode; `None` for those without memberships in this namespace.
    sockets: BTreeMap<u64, Option<SocketMemberships>>,
    /// Processes that are surveying, too, and may have borrowed some of their sockets.
    surveyors: BTreeSet<u32>,
    closed: Vec<u32>,
    borrowing_is_unsupported: bool,
}

/// A socket and the memberships of the table that it holds.
struct SocketMemberships {
    socket: JoinedSocket,
    memberships: Vec<socket::Answer>,
}

impl Survey {
    /// Queries all sockets of a process; records failures.
    fn inspect(&mut self, process: &processes::Process) -> io::Result<()> {
        let Err(error) = self.query_sockets_of(process) else { return Ok(()) };
        match error.raw_os_error() {
            // The process has ended and holds nothing any more.
            Some(libc::ENOENT | libc::ESRCH) => {}
            Some(libc::ENOSYS) => self.borrowing_is_unsupported = true,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => return Err(error),
            _ => self.closed.push(process.pid),
        }
        Ok(())
    }

    fn query_sockets_of(&mut self, process: &processes::Process) -> io::Result<()> {
        let mut lender = None;
        let open = process.open()?;
        if open.surveys {
            self.surveyors.insert(process.pid);
        }
        for (descriptor, inode) in open.sockets {
            let holder = Process { pid: process.pid, name: process.name.clone(), descriptor };
            match self.sockets.entry(inode) {
                Entry::Occupied(mut met) => {
                    if let Some(socket) = met.get_mut() {
                        socket.also_open_in(holder);
                    }
                }
                Entry::Vacant(vacant) => {
                    let lender = match &lender {
                        Some(lender) => lender,
                        None => lender.insert(Lender::open(process.pid)?),
                    };
                    // The descriptor was closed meanwhile, and perhaps reused for something else.
                    let Some(socket) = BorrowedSocket::of(lender, descriptor, inode)? else { continue };
                    vacant.insert(query(&socket, holder, &mut self.accounts));
                }
            }
        }
        Ok(())
    }

    /// Removes processes that only borrowed a socket. A surveying process returns borrowed sockets
    /// before it finishes, so sockets shared with one are checked again. One that does not finish
    /// in time is assumed to have borrowed them.
    fn dismiss_borrowers(&mut self) {
        for attempt in 1..=ATTEMPTS {
            // First find the processes that have finished, then check what those still have open.
            let busy = self.surveyors.iter().copied().filter(|pid| processes::surveys(*pid)).collect();
            let surveyors = std::mem::replace(&mut self.surveyors, busy);
            for socket in self.sockets.values_mut().flatten() {
                socket.keep(|process, inode| {
                    let is_free = !surveyors.contains(&process.pid);
                    is_free || processes::is_still(process.pid, process.descriptor, inode)
                });
            }
            if !self.sockets.values().flatten().any(|socket| socket.is_shared_with(&self.surveyors)) {
                return;
            }
            if attempt < ATTEMPTS {
                std::thread::sleep(PAUSE);
            }
        }
        for socket in self.sockets.values_mut().flatten() {
            socket.keep(|process, _| !self.surveyors.contains(&process.pid));
        }
    }

    fn visibility(&self) -> Visibility {
        if self.borrowing_is_unsupported {
            let why = "borrowing a socket of another process (pidfd_getfd) needs Linux 5.6";
            return Visibility::NoProcesses { why };
        }
        match &self.closed {
            closed if closed.is_empty() => Visibility::Full,
            closed => Visibility::Partial { closed: closed.clone() },
        }
    }
}

/// Returns the memberships that the socket holds, if it belongs to this namespace and holds any.
fn query(socket: &BorrowedSocket, holder: Process, accounts: &mut Accounts) -> Option<SocketMemberships> {
    if !socket.can_join_any() || !accounts.is_of_this_namespace(socket) {
        return None;
    }
    let memberships = accounts.query(socket);
    (!memberships.is_empty()).then(|| SocketMemberships { socket: socket.describe(holder), memberships })
}

impl SocketMemberships {
    /// Adds a process. Of several descriptors in one process, the lowest counts.
    fn also_open_in(&mut self, process: Process) {
        if self.socket.processes.iter().all(|known| known.pid != process.pid) {
            self.socket.processes.push(process);
        }
    }

    /// If the socket belongs to several processes, keeps those that match, unless none does.
    fn keep(&mut self, is_kept: impl Fn(&Process, u64) -> bool) {
        let JoinedSocket { processes, inode, .. } = &mut self.socket;
        let is_kept = |process: &Process| is_kept(process, *inode);
        if processes.len() > 1 && processes.iter().any(is_kept) {
            processes.retain(is_kept);
        }
    }

    fn is_shared_with(&self, surveyors: &BTreeSet<u32>) -> bool {
        let processes = &self.socket.processes;
        processes.len() > 1 && processes.iter().any(|process| surveyors.contains(&process.pid))
    }

    fn into_holders(self) -> impl Iterator<Item = (usize, SocketHolder)> {
        let mut socket = self.socket;
        socket.processes.sort();
        let socket = Arc::new(socket);
        self.memberships.into_iter().map(move |answer| (answer.entry, answer.holder(Arc::clone(&socket))))
    }
}

/// Rtnetlink groups, since Linux 6.15 (`linux/rtnetlink.h`).
const RTNLGRP_IPV4_MCADDR: u32 = 37;
const RTNLGRP_IPV6_MCADDR: u32 = 38;

/// Receives the notices of the namespace it was opened in, if the kernel sends any.
#[derive(Debug)]
pub struct Notices(Option<Socket>);

impl Notices {
    /// Starts to receive notices.
    pub fn open() -> io::Result<Self> {
        let socket = listen(0)?;
        for group in [RTNLGRP_IPV4_MCADDR, RTNLGRP_IPV6_MCADDR] {
            match subscribe(&socket, group) {
                // An older kernel has no such group.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(Self(None)),
                result => result?,
            }
        }
        Ok(Self(Some(socket)))
    }

    /// Waits at most `timeout`; returns whether a notice arrived.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let Some(socket) = &self.0 else {
            std::thread::sleep(timeout);
            return Ok(false);
        };
        let notified = readable(socket.as_fd(), Some(timeout))?;
        if notified {
            discard_all(socket)?;
        }
        Ok(notified)
    }
}

fn subscribe(socket: &Socket, group: u32) -> io::Result<()> {
    // SAFETY: the option takes a number of this size, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_ADD_MEMBERSHIP,
            (&raw const group).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Discards all notices. Their contents are not needed, because the tables are read again.
fn discard_all(mut socket: &Socket) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // The kernel dropped notices, which does not matter here.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
