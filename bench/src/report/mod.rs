//! Medians, ratios, goals, pictures: from the figures that were measured to a document.

mod document;
mod figures;
mod goals;
mod message_goals;
mod numbers;
mod picture;
mod reasons;
mod results;
mod statistics;

pub use document::document;
pub use figures::{Figures, Row};
pub use goals::{Goal, Verdict};
pub use results::{Results, render};
pub use statistics::{Spread, ratios};
