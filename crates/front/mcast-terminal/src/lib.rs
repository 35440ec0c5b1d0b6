//! What the commands of mcast print, and where: data on standard output, everything else on standard error; colours only
//! on a terminal that has them; tables and text that fit its width.
//!
//! ```
//! use mcast_terminal::{Cell, Console, Table};
//!
//! let console = Console::new(false, false);
//! let mut table = Table::new(&["GROUP", "SOURCE"], console.palette().heading);
//! table.row([Cell::new("239.255.2.3"), Cell::new("192.168.56.103").style(console.palette().address)]);
//! table.write(&mut console.output())?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

mod background;
mod console;
mod same_file;
mod table;

pub use crate::console::Palette;
pub use crate::table::{fit_line, text_width, wrap};
pub use background::dropped_lines;
pub use console::{Console, Level, NoteWriter, Output, columns, fit_notes, is_terminal, width};
pub use table::{Cell, Table};
