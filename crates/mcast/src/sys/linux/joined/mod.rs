//! Who has joined what: the kernel's tables of memberships, then every socket asked itself.

mod accounts;
mod borrow;
mod filter;
mod mld;
mod namespace;
mod notices;
mod processes;
mod socket;
mod tables;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::joined::{Holder, Holding, JoinedSocket, Process, SocketHolder, Visibility};
use accounts::Accounts;
use borrow::{Lender, Mark};
pub(crate) use notices::Notices;
use socket::BorrowedSocket;

/// A socket that is being closed is in no process any more while it still holds its memberships.
/// Where something is unaccounted for although every process was looked into, it is looked again
/// so often, after such a pause.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(10);

/// Every membership of the calling thread's network namespace with its holder, in no order, and
/// which processes could be looked into.
pub(crate) fn survey() -> io::Result<(Vec<Holding>, Visibility)> {
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
    let mut survey = Survey { accounts: Accounts::open(tables::read()?), ..Survey::default() };
    for process in processes::all()? {
        survey.look_into(&process)?;
    }
    survey.dismiss_borrowers();
    let visibility = survey.visibility();
    let held = survey.held.into_values().flatten();
    // The table once more: what was left meanwhile is then not taken for something unseen.
    let holdings = survey.accounts.settle(held.flat_map(Held::into_holders), &tables::read()?);
    Ok((holdings, visibility))
}

/// What has been found so far.
#[derive(Default)]
struct Survey {
    accounts: Accounts,
    /// Every socket that was met, by its inode; `None` for those without memberships here.
    held: BTreeMap<u64, Option<Held>>,
    /// Processes that survey, too, and may have borrowed what they have open.
    surveyors: BTreeSet<u32>,
    closed: Vec<u32>,
    borrowing_is_unsupported: bool,
}

/// A socket and which memberships of the table it holds.
struct Held {
    socket: JoinedSocket,
    memberships: Vec<socket::Answer>,
}

impl Survey {
    /// Asks all sockets of a process, and takes note if that cannot be.
    fn look_into(&mut self, process: &processes::Found) -> io::Result<()> {
        let Err(error) = self.ask_sockets_of(process) else { return Ok(()) };
        match error.raw_os_error() {
            // It has ended meanwhile and holds nothing any more.
            Some(libc::ENOENT | libc::ESRCH) => {}
            Some(libc::ENOSYS) => self.borrowing_is_unsupported = true,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => return Err(error),
            _ => self.closed.push(process.pid),
        }
        Ok(())
    }

    fn ask_sockets_of(&mut self, process: &processes::Found) -> io::Result<()> {
        let mut lender = None;
        let open = process.open()?;
        if open.surveys {
            self.surveyors.insert(process.pid);
        }
        for (descriptor, inode) in open.sockets {
            let holder = Process { pid: process.pid, name: process.name.clone(), descriptor };
            match self.held.entry(inode) {
                Entry::Occupied(mut met) => {
                    if let Some(held) = met.get_mut() {
                        held.also_open_in(holder);
                    }
                }
                Entry::Vacant(place) => {
                    let lender = match &lender {
                        Some(lender) => lender,
                        None => lender.insert(Lender::open(process.pid)?),
                    };
                    // Closed meanwhile, and perhaps opened as another: nothing to be said of it.
                    let Some(socket) = BorrowedSocket::of(lender, descriptor, inode)? else { continue };
                    place.insert(ask(&socket, holder, &mut self.accounts));
                }
            }
        }
        Ok(())
    }

    /// A socket that others have, too, a surveyor may have borrowed: then it gives it back before it ends. Who is not
    /// done for long is taken for one who has borrowed.
    fn dismiss_borrowers(&mut self) {
        for attempt in 1..=ATTEMPTS {
            // First who is done, then what they still have.
            let busy = self.surveyors.iter().copied().filter(|pid| processes::surveys(*pid)).collect();
            let surveyors = std::mem::replace(&mut self.surveyors, busy);
            for held in self.held.values_mut().flatten() {
                held.keep(|process, inode| {
                    let is_free = !surveyors.contains(&process.pid);
                    is_free || processes::is_still(process.pid, process.descriptor, inode)
                });
            }
            if !self.held.values().flatten().any(|held| held.is_shared_with(&self.surveyors)) {
                return;
            }
            if attempt < ATTEMPTS {
                std::thread::sleep(PAUSE);
            }
        }
        for held in self.held.values_mut().flatten() {
            held.keep(|process, _| !self.surveyors.contains(&process.pid));
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

/// Which memberships the socket holds, if it lives in this namespace and holds any.
fn ask(socket: &BorrowedSocket, holder: Process, accounts: &mut Accounts) -> Option<Held> {
    if !socket.can_join_any() || !accounts.is_of_this_namespace(socket) {
        return None;
    }
    let memberships = accounts.ask(socket);
    (!memberships.is_empty()).then(|| Held { socket: socket.describe(holder), memberships })
}

impl Held {
    /// Adds a process; of several descriptors in one, the lowest counts.
    fn also_open_in(&mut self, process: Process) {
        if self.socket.processes.iter().all(|known| known.pid != process.pid) {
            self.socket.processes.push(process);
        }
    }

    /// Keeps these of several processes, if there are any.
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
