//! Repairs that are sent together: those to one target leave as one batch.

use crate::Target;
use crate::wire::Sequence;

/// When this number of repairs waits, they are sent.
const MAX_BATCH: usize = 64;

/// The sequences of waiting repairs, and their targets.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    waiting: Vec<(Sequence, Target)>,
    batch: Vec<Sequence>,
}

impl Repairs {
    /// Adds a repair; returns whether it is time to send them.
    pub(super) fn add(&mut self, sequence: Sequence, to: Target) -> bool {
        self.waiting.push((sequence, to));
        self.waiting.len() >= MAX_BATCH
    }

    /// Removes all repairs with the same target as the first one; returns that target and their sequences, in order.
    pub(super) fn take_batch(&mut self) -> Option<(Target, &[Sequence])> {
        let (_, target) = *self.waiting.first()?;
        let Self { waiting, batch } = self;
        batch.clear();
        waiting.retain(|(sequence, to)| {
            let goes = *to == target;
            if goes {
                batch.push(*sequence);
            }
            !goes
        });
        Some((target, batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_to_one_target_are_batched_in_order() {
        let one = |port| Target::Address(std::net::SocketAddr::from(([10, 0, 0, 1], port)));
        let mut repairs = Repairs::default();
        for (sequence, to) in
            [(5, one(1)), (3, Target::Group), (7, one(2)), (6, one(1)), (9, Target::Group), (8, one(1))]
        {
            assert!(!repairs.add(Sequence(sequence), to));
        }
        let mut taken = Vec::new();
        while let Some((to, batch)) = repairs.take_batch() {
            taken.push((to, batch.iter().map(|sequence| sequence.0).collect::<Vec<_>>()));
        }
        assert_eq!(taken, [(one(1), vec![5, 6, 8]), (Target::Group, vec![3, 9]), (one(2), vec![7])]);
    }

    #[test]
    fn a_full_batch_is_due() {
        let mut repairs = Repairs::default();
        let full = (0..64)
            .map(|sequence| repairs.add(Sequence(sequence), Target::Group))
            .position(|is_full| is_full);
        assert_eq!(full, Some(63));
    }
}
