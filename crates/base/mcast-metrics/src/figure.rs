//! Sets of figures, each declared once: kind, name and description.

use core::time::Duration;

/// A figure: one number of a set, with its name and description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figure {
    /// Its name: that of its field.
    pub name: &'static str,
    /// The name of its metric, without what stands before all metrics of the set and without what shows its kind: mostly
    /// that of its field.
    pub metric: &'static str,
    /// Its description, a sentence.
    pub help: &'static str,
    /// Its value.
    pub value: FigureValue,
}

impl Figure {
    /// Returns a figure. [`figures!`](crate::figures) calls it for each that it declares.
    #[must_use]
    pub const fn new(
        name: &'static str,
        metric: &'static str,
        help: &'static str,
        value: FigureValue,
    ) -> Self {
        Self { name, metric, help: help.trim_ascii_start(), value }
    }
}

/// The value of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureValue {
    /// A number that only grows.
    Count(u64),
    /// A number at present.
    Level(u64),
    /// A time at present.
    Time(Duration),
}

impl FigureValue {
    /// Returns a number that only grows.
    pub fn count(number: impl TryInto<u64>) -> Self {
        Self::Count(number.try_into().unwrap_or(u64::MAX))
    }

    /// Returns a number at present.
    pub fn level(number: impl TryInto<u64>) -> Self {
        Self::Level(number.try_into().unwrap_or(u64::MAX))
    }

    /// Returns a time at present.
    #[must_use]
    pub const fn time(time: Duration) -> Self {
        Self::Time(time)
    }
}

/// Declares a struct of figures, which stand in braces, and its method `figures`, which lists them.
///
/// Each figure has its description, its kind, its name and its type. The kind is `count` for a number that only grows,
/// `level` for a number at present, or `time`. A metric with another name than the field has it after `as`. Fields
/// after `other` are in the struct and not in the list: those without a value that is always known, and private ones.
///
/// ```
/// mcast_metrics::figures! {
///     /// What a queue has done.
///     #[derive(Clone, Copy, Debug, Default)]
///     pub struct QueueStatistics {
///         /// Items added.
///         count added as "added_items": u64,
///         /// Items in it.
///         level length: usize,
///         other {
///             /// The number of the last item, if there was one.
///             pub last: Option<u64>,
///         }
///     }
/// }
///
/// let statistics = QueueStatistics { added: 7, ..QueueStatistics::default() };
/// let added = statistics.figures().next().unwrap();
/// assert_eq!((added.name, added.metric, added.help), ("added", "added_items", "Items added."));
/// assert_eq!(added.value, mcast_metrics::FigureValue::Count(7));
/// assert_eq!(statistics.figures().count(), 2);
/// ```
#[macro_export]
macro_rules! figures {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($(#[doc = $help:literal])+ $kind:ident $field:ident $(as $metric:literal)?: $type:ty,)*
            $(other { $($(#[$of_other:meta])* $seen:vis $other:ident: $type_of_other:ty,)* })?
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $name {
            $($(#[doc = $help])+ $visibility $field: $type,)*
            $($($(#[$of_other])* $seen $other: $type_of_other,)*)?
        }

        impl $name {
            /// Returns all figures with a value that is always known.
            $visibility fn figures(&self) -> impl Iterator<Item = $crate::Figure> + use<> {
                [$($crate::Figure::new(
                    stringify!($field),
                    $crate::metric_name!($field $($metric)?),
                    concat!($($help),+),
                    $crate::FigureValue::$kind(self.$field),
                ),)*]
                .into_iter()
            }
        }
    };
}

/// The name of the metric of a field.
#[doc(hidden)]
#[macro_export]
macro_rules! metric_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $metric:literal) => {
        $metric
    };
}
