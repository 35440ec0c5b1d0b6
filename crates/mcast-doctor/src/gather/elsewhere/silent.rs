//! Systems of which no program is known that tells anything.

use super::Told;

/// Nothing.
pub(super) fn ask() -> Told {
    Told::default()
}
