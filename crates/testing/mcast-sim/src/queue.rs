use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slab::Slab;

/// What happens later in a simulation: the earliest first, and what was pushed first of what happens at the same time.
///
/// ```
/// let mut queue = mcast_sim::EventQueue::new();
/// queue.push(20, "a timer");
/// queue.push(10, "a datagram");
///
/// assert_eq!(queue.pop_until(15), Some((10, "a datagram")));
/// assert_eq!(queue.pop_until(15), None);
/// assert_eq!(queue.next_time(), Some(20));
/// ```
#[derive(Clone, Debug)]
pub struct EventQueue<T, E> {
    /// The time, the order and the place of each event. Sorting moves only these: events are larger.
    upcoming: BinaryHeap<Reverse<(T, u64, usize)>>,
    events: Slab<E>,
    pushed: u64,
}

impl<T: Copy + Ord, E> EventQueue<T, E> {
    /// Returns an empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self { upcoming: BinaryHeap::new(), events: Slab::new(), pushed: 0 }
    }

    /// Adds an event.
    pub fn push(&mut self, time: T, event: E) {
        self.pushed += 1;
        self.upcoming.push(Reverse((time, self.pushed, self.events.insert(event))));
    }

    /// Returns the time of the next event; `None` if there is none.
    #[must_use]
    pub fn next_time(&self) -> Option<T> {
        self.upcoming.peek().map(|Reverse((time, ..))| *time)
    }

    /// Takes the next event, and its time.
    pub fn pop(&mut self) -> Option<(T, E)> {
        let Reverse((time, _, place)) = self.upcoming.pop()?;
        Some((time, self.events.remove(place)))
    }

    /// Takes the next event if it happens until this time.
    pub fn pop_until(&mut self, end: T) -> Option<(T, E)> {
        self.next_time().filter(|time| *time <= end)?;
        self.pop()
    }
}

impl<T: Copy + Ord, E> Default for EventQueue<T, E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_the_same_time_keep_their_order() {
        let mut queue = EventQueue::new();
        for (number, time) in [5, 3, 5, 3, 4].into_iter().enumerate() {
            queue.push(time, number);
        }
        let first = queue.pop();
        queue.push(3, 5);
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();

        assert_eq!(first, Some((3, 1)));
        assert_eq!(rest, [(3, 3), (3, 5), (4, 4), (5, 0), (5, 2)]);
    }
}
