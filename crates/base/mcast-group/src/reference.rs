//! References to RFCs and other documents.

use core::fmt;

/// A document that states a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reference {
    /// An RFC, with the section if one applies.
    Rfc {
        /// The number of the RFC.
        number: u16,
        /// The section, such as `4` or `2.7`.
        section: Option<&'static str>,
    },
    /// Another standard or the documentation of a protocol, by title.
    Document(&'static str),
}

impl Reference {
    /// Refers to a whole RFC.
    #[must_use]
    pub const fn rfc(number: u16) -> Self {
        Self::Rfc { number, section: None }
    }

    /// Refers to a section of an RFC.
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

/// A value and the document that states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithReference<T> {
    /// The value.
    pub value: T,
    /// The document.
    pub reference: Reference,
}

impl<T> WithReference<T> {
    pub(crate) const fn new(value: T, reference: Reference) -> Self {
        Self { value, reference }
    }
}

impl<T: fmt::Display> fmt::Display for WithReference<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.value, self.reference)
    }
}
