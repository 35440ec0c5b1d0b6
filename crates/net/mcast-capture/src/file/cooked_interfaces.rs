//! The interfaces in a capture on all interfaces at once, whose frames state the index of their own (`LINKTYPE_LINUX_SLL2`).

use mcast_group::InterfaceIndex;

use super::FileInterface;

/// The interfaces that frames have stated.
#[derive(Debug, Default)]
pub(super) struct CookedInterfaces {
    known: Vec<CookedInterface>,
    /// The position of the latest.
    latest: usize,
}

/// An interface that frames have stated.
#[derive(Debug)]
pub(super) struct CookedInterface {
    /// The position of the described interface, which stands for all interfaces.
    pub(super) described: usize,
    /// Its index on the capturing machine.
    stated: u32,
    /// Its number in the file.
    pub(super) number: InterfaceIndex,
    /// Its name, if its number is not enough.
    pub(super) name: Option<String>,
}

/// How interfaces are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// By their index: the file describes only one interface.
    ByIndex,
    /// After all that the file can describe: each of these has a number, too.
    After,
}

impl CookedInterfaces {
    /// Forged headers can state any number of interfaces: those beyond are not separated.
    const MAX: usize = 4_096;
    /// More than a file can describe.
    const FIRST_AFTER: u32 = 0x4000_0000;

    /// Returns the interface of a frame of `LINKTYPE_LINUX_SLL2`; `None` if it is the described one.
    pub(super) fn of_frame(
        &mut self,
        bytes: &[u8],
        described: usize,
        interface: &FileInterface,
        numbering: Numbering,
    ) -> Option<&CookedInterface> {
        let stated = u32::from_be_bytes(*bytes.get(4..8)?.first_chunk()?);
        let is_it = |known: &CookedInterface| (known.described, known.stated) == (described, stated);
        if !self.known.get(self.latest).is_some_and(is_it) {
            self.latest = match self.known.iter().position(is_it) {
                Some(position) => position,
                None => self.add(described, stated, interface, numbering)?,
            };
        }
        self.known.get(self.latest)
    }

    pub(super) fn all(&self) -> &[CookedInterface] {
        &self.known
    }

    pub(super) fn with_number(&self, number: InterfaceIndex) -> Option<&CookedInterface> {
        self.known.iter().find(|known| known.number == number)
    }

    fn add(
        &mut self,
        described: usize,
        stated: u32,
        interface: &FileInterface,
        numbering: Numbering,
    ) -> Option<usize> {
        let position = self.known.len();
        let suffix = format!("#{stated}");
        // A file that was written from such a capture describes each of its interfaces.
        let is_described = interface.name.as_ref().is_some_and(|name| name.ends_with(&suffix));
        if position >= Self::MAX || is_described || stated == 0 {
            return None;
        }
        let (number, name) = match numbering {
            Numbering::ByIndex => (stated, None),
            Numbering::After => {
                let of = interface.name.clone().unwrap_or_else(|| format!("#{}", described + 1));
                (Self::FIRST_AFTER + u32::try_from(position).ok()?, Some(of + &suffix))
            }
        };
        self.known.push(CookedInterface { described, stated, number: InterfaceIndex::new(number)?, name });
        Some(position)
    }
}
