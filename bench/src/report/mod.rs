//! Medians, ratios, goals, pictures: from the figures that were measured to a document.

mod chart;
mod claims;
mod document;
mod figures;
mod front;
mod goals;
mod numbers;
mod outdated;
mod pages;
mod reasons;
mod results;
mod statistics;
mod table;

pub(crate) use document::document;
pub use figures::{Figures, Row};
pub use goals::{Goal, Verdict};
pub use results::{Results, pages, render};
pub use statistics::{Spread, ratios};
