//! Medians and quartiles, of values and of paired ratios.

/// The middle of some values, and how they scatter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// A quarter lies below.
    pub lower: f64,
    /// Half lies below.
    pub median: f64,
    /// Three quarters lie below.
    pub upper: f64,
}

impl Spread {
    /// Of these values; `None` of none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part| quantile(&sorted, part);
        Some(Self { lower: at(0.25)?, median: at(0.5)?, upper: at(0.75)? })
    }
}

/// Between the values on either side, in proportion.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = part * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// The ratios of values to others of the same round; a round in which either is missing has none.
pub fn ratios<'a>(values: &'a [Option<f64>], to: &'a [Option<f64>]) -> impl Iterator<Item = f64> + 'a {
    values.iter().zip(to).filter_map(|(value, to)| match (value, to) {
        (Some(value), Some(to)) if *to > 0.0 => Some(value / to),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_values() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]), Some(Spread { lower: 1.75, median: 2.5, upper: 3.25 }));
        assert_eq!(Spread::of([7.0]), Some(Spread { lower: 7.0, median: 7.0, upper: 7.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_pair_values_of_one_round() {
        let paired: Vec<_> =
            ratios(&[Some(2.0), None, Some(9.0)], &[Some(4.0), Some(1.0), Some(3.0)]).collect();
        assert_eq!(paired, [0.5, 3.0]);
    }
}
