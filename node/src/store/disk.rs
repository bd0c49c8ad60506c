//! The seam between the store and the file system.
//!
//! It exists so that tests can make the n-th operation fail, or lose what was not yet synced, and watch what is left.
//! It deliberately offers only what the commit protocol needs: no seeking, no overwriting in place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// The operations the store needs of a file system. Every call either happened or returned an error.
pub trait Disk: Send + Sync {
    /// Creates a folder, private to its owner; fails when something of that name exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a file for writing, private to its owner; fails when something of that name exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for writing at its end; creates it when absent.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>>;
    /// Cuts a file to a length and makes that durable.
    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()>;
    /// Gives a file or folder a new name in the same file system; replaces a file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all it holds.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
}

/// A file being written. Nothing is durable before [`DiskFile::sync`] returned without an error; after an error of
/// `sync` the file must be given up, because the system may have dropped the unwritten pages.
pub trait DiskFile: Write + Send {
    /// Makes the contents durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl DiskFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        private_dir_builder().create(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(private_file_options().write(true).create_new(true).open(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(private_file_options().append(true).create(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(path)?))
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Windows cannot open a folder for syncing; renames there are journalled by the file system.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }
}

/// Options that create a file its owner alone may read (0600).
pub fn private_file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A builder of folders their owner alone may enter (0700).
pub fn private_dir_builder() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Reads a whole file, refusing more than `bytes_max` before it is in memory.
pub fn read_capped(disk: &dyn Disk, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("expected at most {bytes_max} bytes, found more"),
        ));
    }
    Ok(bytes)
}
