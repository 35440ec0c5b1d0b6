//! Sets of figures, each declared once: name, kind and description.

use core::time::Duration;

/// A figure of a publisher or subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figure {
    /// Its name: that of its field.
    pub name: &'static str,
    /// Its description, a sentence.
    pub help: &'static str,
    /// Its value.
    pub value: FigureValue,
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

/// Declares the figures of a struct. Each has its kind before its name: `count`, `level` or `time`; `other` is not in the list.
macro_rules! figures {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $($(#[doc = $help:literal])+ $kind:ident $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$attribute])*
        pub struct $name {
            $($(#[doc = $help])+ pub $field: $type,)*
        }

        impl $name {
            /// Returns all figures with a value that is always known.
            pub fn figures(&self) -> impl Iterator<Item = $crate::Figure> {
                let figures = [$($crate::figures::figure!(self, $field, $kind, concat!($($help),+)),)*];
                figures.into_iter().flatten()
            }
        }
    };
}

macro_rules! figure {
    ($of:ident, $field:ident, other, $help:expr) => {
        None
    };
    ($of:ident, $field:ident, $kind:ident, $help:expr) => {
        Some($crate::Figure {
            name: stringify!($field),
            help: $help.trim_ascii_start(),
            value: $crate::figures::value!($kind, $of.$field),
        })
    };
}

macro_rules! value {
    (count, $value:expr) => {
        $crate::FigureValue::Count($value)
    };
    (level, $value:expr) => {
        $crate::FigureValue::Level($value)
    };
    (time, $value:expr) => {
        $crate::FigureValue::Time($value)
    };
}

pub(crate) use {figure, figures, value};
