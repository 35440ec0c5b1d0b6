//! Writes what is made from the definitions of `mcast` into a folder, and the schemas of its records into another one:
//! `generate-docs FOLDER SCHEMAS`.

mod documents;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [folder, schemas] = &arguments[..] else {
        eprintln!("usage: generate-docs FOLDER SCHEMAS");
        return ExitCode::from(2);
    };
    let (folder, schemas) = (Path::new(folder), Path::new(schemas));
    match documents::write(folder).and_then(|()| write_schemas(schemas)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write to {} and {}: {error}", folder.display(), schemas.display());
            ExitCode::FAILURE
        }
    }
}

/// Writes the schemas of the records, `NAME.json`, into a folder.
fn write_schemas(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for schema in mcast_cli::schemas() {
        fs::write(folder.join(schema.name()).with_extension("json"), schema.to_json()?)?;
    }
    Ok(())
}
