//! Random identifiers of sessions and probes.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Returns a random number, which is unique in practice.
pub(crate) fn random_number() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random_number(), random_number());
    }
}
