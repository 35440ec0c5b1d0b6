//! Repairs that wait to be sent together: what goes to one place is a train.

use crate::outbox::Target;

/// More never wait.
const MOST: usize = 64;

/// By number, and where they go.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    waiting: Vec<(u64, Target)>,
    train: Vec<u64>,
}

impl Repairs {
    /// Adds one; says whether it is time to send them.
    pub(super) fn add(&mut self, sequence: u64, to: Target) -> bool {
        self.waiting.push((sequence, to));
        self.waiting.len() >= MOST
    }

    /// All that go to the place where the first goes, in order, and that place.
    pub(super) fn take_train(&mut self) -> Option<(Target, &[u64])> {
        let (_, place) = *self.waiting.first()?;
        let Self { waiting, train } = self;
        train.clear();
        waiting.retain(|(sequence, to)| {
            let goes = *to == place;
            if goes {
                train.push(*sequence);
            }
            !goes
        });
        Some((place, train))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_one_place_goes_together_in_order() {
        let one = |port| Target::Address(std::net::SocketAddr::from(([10, 0, 0, 1], port)));
        let mut repairs = Repairs::default();
        for (sequence, to) in
            [(5, one(1)), (3, Target::Group), (7, one(2)), (6, one(1)), (9, Target::Group), (8, one(1))]
        {
            assert!(!repairs.add(sequence, to));
        }
        let mut taken = Vec::new();
        while let Some((to, train)) = repairs.take_train() {
            taken.push((to, train.to_vec()));
        }
        assert_eq!(taken, [(one(1), vec![5, 6, 8]), (Target::Group, vec![3, 9]), (one(2), vec![7])]);
    }

    #[test]
    fn no_more_wait_than_make_a_train() {
        let mut repairs = Repairs::default();
        let full = (0..64).map(|sequence| repairs.add(sequence, Target::Group)).position(|is_full| is_full);
        assert_eq!(full, Some(63));
    }
}
