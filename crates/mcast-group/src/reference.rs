//! Where a statement comes from.

use core::fmt;

/// The document that a statement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reference {
    /// An RFC, and the section of it where one can be pointed to.
    Rfc {
        /// The number of the RFC.
        number: u16,
        /// The section, such as `4` or `2.7`.
        section: Option<&'static str>,
    },
    /// Another standard or the documentation of the protocol, by its title.
    Document(&'static str),
}

impl Reference {
    /// A whole RFC.
    #[must_use]
    pub const fn rfc(number: u16) -> Self {
        Self::Rfc { number, section: None }
    }

    /// A section of an RFC.
    #[must_use]
    pub const fn section(number: u16, section: &'static str) -> Self {
        Self::Rfc { number, section: Some(section) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rfc { number, section: None } => write!(f, "RFC {number}"),
            Self::Rfc { number, section: Some(section) } => write!(f, "RFC {number} section {section}"),
            Self::Document(title) => f.write_str(title),
        }
    }
}

/// A value and the document it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cited<T> {
    /// What is stated.
    pub value: T,
    /// Where it is written.
    pub reference: Reference,
}

impl<T> Cited<T> {
    pub(crate) const fn new(value: T, reference: Reference) -> Self {
        Self { value, reference }
    }
}

impl<T: fmt::Display> fmt::Display for Cited<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.value, self.reference)
    }
}
