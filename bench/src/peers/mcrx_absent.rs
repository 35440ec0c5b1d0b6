//! Replaces mcrx-core on platforms where it does not compile.

use std::convert::Infallible;

use anyhow::{Result, bail};

use super::work::Work;

pub(super) fn receive(_work: &Work) -> Result<Infallible> {
    bail!("mcrx-core 0.3 compiles with the GNU C library only")
}
