//! A hash of the input of a machine and its times, which determines the machine's state.

use mcast_sim::mix;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Journal(u64);

impl Journal {
    pub(crate) fn note(&mut self, now: u64, what: &[u8]) {
        self.0 = mix(self.0 ^ mix(now ^ what.len() as u64));
        for chunk in what.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = mix(self.0 ^ u64::from_le_bytes(word));
        }
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}
