//! The few operations on files that a log needs, as traits, so that tests can inject faults.

use std::any::Any;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{FileOperation, LogError};
use crate::format::SegmentName;

/// The lock of a directory, until it is dropped.
pub type Lock = Box<dyn Any + Send + Sync>;

/// The name of the file that is locked.
const LOCK: &str = "lock";

/// The files of one directory.
pub trait Files: Send + Sync + fmt::Debug {
    /// Returns the path of a file, for messages. The empty name stands for the directory.
    fn path(&self, name: &str) -> PathBuf;

    /// Locks the directory against other writers; `None` if another one has it.
    ///
    /// # Errors
    /// The system's.
    fn lock(&self) -> io::Result<Option<Lock>>;

    /// Returns what identifies the directory that was locked, so that a copy is not taken for it; `None` where files have no
    /// identity.
    fn identity(&self) -> Option<String> {
        None
    }

    /// Returns the names of all files.
    ///
    /// # Errors
    /// The system's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file to append to. A file of this name is replaced.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;

    /// Opens a file to read it.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;

    /// Renames a file, and replaces the one with the new name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Syncs to the disk which files there are.
    ///
    /// # Errors
    /// The system's.
    fn sync_directory(&self) -> io::Result<()>;
}

/// A file of a log.
pub trait LogFile: Send + Sync + fmt::Debug {
    /// Appends some of these bytes, and returns how many.
    ///
    /// # Errors
    /// The system's.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Reads some of the bytes from this offset on, and returns how many; 0 at the end.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Returns the length of the file.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file off. Nothing is appended to it afterwards.
    ///
    /// # Errors
    /// The system's.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Syncs the contents to the disk.
    ///
    /// # Errors
    /// The system's. After an error, it is unknown what the disk has, also if a later sync succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the system.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Returns the files of a directory, which is created if there is none.
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            if path.exists() {
                // The system would only report that it exists.
                return Err(io::ErrorKind::NotADirectory.into());
            }
            fs::create_dir_all(path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_directory(parent)?;
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// Returns the files of a directory.
    ///
    /// # Errors
    /// If it is none, or cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::read_dir(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Files for Directory {
    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.clone() } else { self.0.join(name) }
    }

    fn lock(&self) -> io::Result<Option<Lock>> {
        Ok(crate::lock::exclusive(&self.path(LOCK))?.map(|file| Box::new(file) as Lock))
    }

    #[cfg(unix)]
    fn identity(&self) -> Option<String> {
        use std::os::unix::fs::MetadataExt;
        Some(fs::metadata(self.path(LOCK)).ok()?.ino().to_string())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(File::create(self.path(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(File::open(self.path(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_directory(&self.0)
    }
}

/// Syncs a directory, on systems where directories can be synced.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

impl LogFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        file.write(bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut file = self;
        file.seek(SeekFrom::Start(offset))?;
        file.read(into)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Writes a file under another name and renames it, so that a crash leaves the whole file or none.
pub(crate) fn write_file(
    files: &dyn Files,
    name: &str,
    bytes: &[u8],
    sync: bool,
) -> Result<Arc<dyn LogFile>, LogError> {
    let unfinished = format!("{name}{}", SegmentName::UNFINISHED);
    let fail = |operation, error| {
        let _ = files.remove(&unfinished);
        LogError::io(operation, files.path(&unfinished))(error)
    };
    let file = files.create(&unfinished).map_err(|error| fail(FileOperation::Create, error))?;
    write_all(&*file, bytes).map_err(|error| fail(FileOperation::Write, error))?;
    if sync {
        // A file that was just made is left behind after a failure: its sync says nothing about other files.
        file.sync().map_err(|error| fail(FileOperation::Write, error))?;
    }
    files.rename(&unfinished, name).map_err(|error| fail(FileOperation::Rename, error))?;
    Ok(file)
}

/// Appends all of these bytes.
pub(crate) fn write_all(file: &dyn LogFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.append(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
