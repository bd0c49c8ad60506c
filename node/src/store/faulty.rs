//! A disk for tests that fails at the n-th operation.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::disk::{Disk, DiskFile, RealDisk};

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This one operation says the disk is full.
    FullOnce,
    /// From this operation on the disk stays full for writing; removing still works.
    FullForGood,
    /// This one operation reports a broken device.
    BrokenOnce,
    /// This operation and the one after it report a broken device, so that clearing up fails, too.
    BrokenTwice,
    /// From this operation on nothing works any more: the process is as good as dead.
    Crash,
    /// From this operation on the file system can only be read.
    ReadOnly,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] =
        [Self::FullOnce, Self::FullForGood, Self::BrokenOnce, Self::BrokenTwice, Self::Crash, Self::ReadOnly];
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Remove,
}

struct Plan {
    nth: u64,
    fault: Fault,
    count: AtomicU64,
    struck: AtomicU64,
}

/// The real disk with one planned fault.
#[derive(Clone)]
pub(crate) struct FaultyDisk(Arc<Plan>);

impl FaultyDisk {
    /// Fails at operation number `nth`, counted from 0.
    pub(crate) fn new(nth: u64, fault: Fault) -> Self {
        Self(Arc::new(Plan { nth, fault, count: AtomicU64::new(0), struck: AtomicU64::new(0) }))
    }

    /// Whether any operation failed so far.
    pub(crate) fn has_struck(&self) -> bool {
        self.0.struck.load(Ordering::SeqCst) > 0
    }

    fn step(&self, kind: Kind) -> io::Result<()> {
        let now = self.0.count.fetch_add(1, Ordering::SeqCst);
        let (first, after) = (now == self.0.nth, now >= self.0.nth);
        let error = match self.0.fault {
            Fault::FullOnce if first && kind == Kind::Write => io::ErrorKind::StorageFull,
            Fault::FullForGood if after && kind == Kind::Write => io::ErrorKind::StorageFull,
            Fault::BrokenOnce if first => io::ErrorKind::Other,
            Fault::BrokenTwice if after && now < self.0.nth + 2 => io::ErrorKind::Other,
            Fault::Crash if after => io::ErrorKind::Other,
            Fault::ReadOnly if after && kind != Kind::Read => io::ErrorKind::ReadOnlyFilesystem,
            _ => return Ok(()),
        };
        self.0.struck.fetch_add(1, Ordering::SeqCst);
        Err(io::Error::new(error, format!("planned fault at operation {now}")))
    }
}

struct FaultyFile {
    inner: Box<dyn DiskFile>,
    disk: FaultyDisk,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.step(Kind::Write) {
            // A disk that fails in the middle of a write has stored a part of it.
            self.inner.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl DiskFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        // The page cache is as good as a disk here: these tests never lose it.
        self.disk.step(Kind::Write)?;
        self.inner.flush()
    }
}

struct FaultyRead {
    inner: Box<dyn Read>,
    disk: FaultyDisk,
}

impl Read for FaultyRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.disk.step(Kind::Read)?;
        self.inner.read(into)
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step(Kind::Write)?;
        RealDisk.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step(Kind::Write)?;
        Ok(Box::new(FaultyFile { inner: RealDisk.create(path)?, disk: self.clone() }))
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step(Kind::Write)?;
        Ok(Box::new(FaultyFile { inner: RealDisk.append(path)?, disk: self.clone() }))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        self.step(Kind::Read)?;
        Ok(Box::new(FaultyRead { inner: RealDisk.open(path)?, disk: self.clone() }))
    }
    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.step(Kind::Remove)?;
        RealDisk.truncate(path, bytes)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Kind::Write)?;
        RealDisk.rename(from, to)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(Kind::Write)?;
        if path.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(Kind::Remove)?;
        RealDisk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.step(Kind::Remove)?;
        RealDisk.remove_dir_all(path)
    }
}
