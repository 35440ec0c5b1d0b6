//! Writes what is made from the definitions of `mcast` into a folder: `generate-docs FOLDER`.

mod documents;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: generate-docs FOLDER");
        return ExitCode::from(2);
    };
    match documents::write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write to {}: {error}", Path::new(&folder).display());
            ExitCode::FAILURE
        }
    }
}
