//! An append-only file of records: the ledger of a node on disk.
//!
//! Each record is framed with its length and a check over its position and bytes, so that a record cut short by a crash is
//! told from a whole one. What is not whole at the end is moved to a file of its own, never deleted. The room deliberately
//! does not read the records: their chain and signatures belong to `protocol::ledger`.
//!
//! File: 20 bytes `starling-ledger-01\r\n`, then per record `length: u32 LE`, `check: 8 bytes`, `length` bytes. The check
//! is the beginning of blake3(position as u64 LE, length, bytes).

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::store::disk::{Disk, DiskFile, RealDisk};
use crate::store::room::is_scarce;

/// Largest record, bytes; a mix of 22 shards with weights takes about 4 KiB.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
const MAGIC: &[u8; 20] = b"starling-ledger-01\r\n";
const FRAME: u64 = 12;

/// When records become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durable {
    /// Before `append` returns.
    EveryRecord,
    /// When `sync` is called, as before a checkpoint that names them.
    #[default]
    OnSync,
}

/// What was found behind the last whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Records before it.
    pub records: u64,
    /// Bytes moved aside.
    pub bytes: u64,
    /// Where they are now.
    pub moved_to: PathBuf,
    /// Whether the first bad record was cut short, as by a crash; otherwise its bytes were changed.
    pub is_cut_short: bool,
}

/// Why the ledger cannot be read or written.
#[derive(Debug, Error)]
pub enum LedgerFileError {
    /// The disk refused. A record of which `append` returned an error is not in the file.
    #[error("could not {what} {path}: {source}; free or mend the disk, then restart the node", path = path.display())]
    Disk {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a ledger.
    #[error("{path} is not a ledger this program wrote; move it away, or restore it from a backup", path = path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// The record is too large; nothing was written.
    #[error("expected a record of at most {max} bytes, found {found}", max = RECORD_BYTES_MAX)]
    TooLarge {
        /// Its length.
        found: usize,
    },
    /// An earlier error left the end of the file unknown.
    #[error("{path} is closed after a disk error; restart the node to check its end", path = path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

impl LedgerFileError {
    /// Whether room, file handles or memory are used up, so that it may work later.
    pub fn is_scarce(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if is_scarce(source))
    }
}

/// The open ledger of a node. The caller holds the lock of the node's directory.
pub struct LedgerFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Box<dyn DiskFile>>,
    durable: Durable,
    records: u64,
    bytes: u64,
}

/// Reads records in order. Ends at the last whole record of the moment it was made.
pub struct Records {
    source: BufReader<Box<dyn Read>>,
    position: u64,
    /// Position of the first record not to read.
    end: u64,
    path: PathBuf,
}

enum Frame {
    Whole(Vec<u8>),
    End,
    CutShort,
    Changed,
}

impl LedgerFile {
    /// Opens or creates the file, checks every record, and moves aside what is not whole at its end.
    pub fn open(path: &Path, durable: Durable) -> Result<(Self, Option<Torn>), LedgerFileError> {
        Self::open_on(Arc::new(RealDisk), path, durable)
    }

    /// The same on a given disk.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        durable: Durable,
    ) -> Result<(Self, Option<Torn>), LedgerFileError> {
        let length = match fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(failed("look at", path)(error)),
        };
        let (records, good, is_cut_short) = if length == 0 { (0, 0, true) } else { scan(&*disk, path)? };
        let torn = if good < length {
            let moved_to = move_tail(&*disk, path, good).map_err(failed("move the torn end of", path))?;
            Some(Torn { records, bytes: length - good, moved_to, is_cut_short })
        } else {
            None
        };
        if let Some(torn) = &torn {
            let (bytes, to) = (torn.bytes, torn.moved_to.display());
            tracing::warn!(
                "the ledger's last {bytes} bytes are no whole record and were moved to {to}; {records} records are good"
            );
        }
        let mut file = disk.append(path).map_err(failed("open", path))?;
        let mut bytes = good;
        if bytes == 0 {
            file.write_all(MAGIC).and_then(|()| file.sync()).map_err(failed("write", path))?;
            let parent = path.parent().unwrap_or(Path::new("."));
            disk.sync_dir(parent).map_err(failed("sync the folder of", path))?;
            bytes = MAGIC.len() as u64;
        }
        Ok((Self { disk, path: path.into(), file: Some(file), durable, records, bytes }, torn))
    }

    /// Whether something that is no whole record stands at the end of a ledger that nobody has open.
    pub fn is_torn(path: &Path) -> Result<bool, LedgerFileError> {
        let (_, good, _) = scan(&RealDisk, path)?;
        Ok(good < fs::metadata(path).map_err(failed("look at", path))?.len())
    }

    /// Adds a record and returns its position, from 0.
    pub fn append(&mut self, record: &[u8]) -> Result<u64, LedgerFileError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(LedgerFileError::TooLarge { found: record.len() });
        }
        let file = self.file.as_mut().ok_or_else(|| LedgerFileError::Closed { path: self.path.clone() })?;
        let position = self.records;
        let mut frame = Vec::with_capacity(record.len() + FRAME as usize);
        frame.extend((record.len() as u32).to_le_bytes());
        frame.extend(check(position, record));
        frame.extend(record);
        if let Err(source) = file.write_all(&frame) {
            // A part may be in the file. Cut it off; when that fails too, only a restart knows the end.
            if self.disk.truncate(&self.path, self.bytes).is_err() {
                self.file = None;
            }
            return Err(failed("append to", &self.path)(source));
        }
        if self.durable == Durable::EveryRecord
            && let Err(source) = file.sync()
        {
            // After a failed sync nobody knows what is on the disk: never assume, never retry on this file.
            self.file = None;
            drop(self.disk.truncate(&self.path, self.bytes));
            return Err(failed("sync", &self.path)(source));
        }
        self.bytes += frame.len() as u64;
        self.records += 1;
        Ok(position)
    }

    /// Makes all records durable.
    pub fn sync(&mut self) -> Result<(), LedgerFileError> {
        let file = self.file.as_mut().ok_or_else(|| LedgerFileError::Closed { path: self.path.clone() })?;
        file.sync().map_err(|source| {
            self.file = None;
            failed("sync", &self.path)(source)
        })
    }

    /// Records in the file.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Length of the file, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All records, oldest first.
    pub fn read(&self) -> Result<Records, LedgerFileError> {
        Records::open(&*self.disk, &self.path, self.records)
    }
}

impl Records {
    /// Reads a ledger that nobody has open, as `audit` does: ends before the first record that is not whole.
    pub fn of_file(path: &Path) -> Result<Self, LedgerFileError> {
        Self::open(&RealDisk, path, u64::MAX)
    }

    fn open(disk: &dyn Disk, path: &Path, end: u64) -> Result<Self, LedgerFileError> {
        let mut source = BufReader::with_capacity(64 * 1024, disk.open(path).map_err(failed("open", path))?);
        let mut magic = [0; MAGIC.len()];
        match source.read_exact(&mut magic) {
            Ok(()) if &magic == MAGIC => Ok(Self { source, position: 0, end, path: path.into() }),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(failed("read", path)(error)),
            _ => Err(LedgerFileError::NotALedger { path: path.into() }),
        }
    }

    fn frame(&mut self) -> io::Result<Frame> {
        let mut head = [0; FRAME as usize];
        match read_up_to(&mut self.source, &mut head)? {
            0 => return Ok(Frame::End),
            n if n < head.len() => return Ok(Frame::CutShort),
            _ => {}
        }
        let length = u32::from_le_bytes(head[..4].try_into().expect("four bytes of twelve")) as usize;
        if length > RECORD_BYTES_MAX {
            return Ok(Frame::Changed);
        }
        let mut record = vec![0; length];
        if read_up_to(&mut self.source, &mut record)? < length {
            return Ok(Frame::CutShort);
        }
        if check(self.position, &record) != head[4..] {
            return Ok(Frame::Changed);
        }
        self.position += 1;
        Ok(Frame::Whole(record))
    }
}

impl Iterator for Records {
    type Item = Result<Vec<u8>, LedgerFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.end {
            return None;
        }
        match self.frame() {
            Ok(Frame::Whole(record)) => Some(Ok(record)),
            Ok(Frame::End | Frame::CutShort | Frame::Changed) => {
                self.end = 0;
                None
            }
            Err(source) => {
                self.end = 0;
                Some(Err(failed("read", &self.path)(source)))
            }
        }
    }
}

/// Whole records, bytes up to the end of the last one, and whether what follows was cut short.
fn scan(disk: &dyn Disk, path: &Path) -> Result<(u64, u64, bool), LedgerFileError> {
    let mut records = match Records::open(disk, path, u64::MAX) {
        Ok(records) => records,
        // A crash right after the file was made leaves a part of the first 20 bytes.
        Err(LedgerFileError::NotALedger { .. }) if is_torn_magic(disk, path)? => return Ok((0, 0, true)),
        Err(error) => return Err(error),
    };
    let mut good = MAGIC.len() as u64;
    loop {
        match records.frame().map_err(failed("read", path))? {
            Frame::Whole(record) => good += FRAME + record.len() as u64,
            Frame::End | Frame::CutShort => return Ok((records.position, good, true)),
            Frame::Changed => return Ok((records.position, good, false)),
        }
    }
}

fn is_torn_magic(disk: &dyn Disk, path: &Path) -> Result<bool, LedgerFileError> {
    let mut found = [0; MAGIC.len()];
    let mut file = disk.open(path).map_err(failed("open", path))?;
    let length = read_up_to(&mut file, &mut found).map_err(failed("read", path))?;
    Ok(length < MAGIC.len() && MAGIC.starts_with(&found[..length]))
}

/// Copies everything from `good` on to a file of its own, durably, then cuts it off.
fn move_tail(disk: &dyn Disk, path: &Path, good: u64) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut numbered = (1..10_000).map(|n| path.with_file_name(format!("{name}.torn-{n}")));
    let to = numbered
        .find(|p| !p.exists())
        .ok_or_else(|| io::Error::other("too many torn ends; move some away"))?;
    let mut source = disk.open(path)?;
    io::copy(&mut (&mut source).take(good), &mut io::sink())?;
    let mut tail = disk.create(&to)?;
    io::copy(&mut source, &mut tail)?;
    tail.sync()?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    disk.truncate(path, good)?;
    Ok(to)
}

fn check(position: u64, record: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&position.to_le_bytes()).update(&(record.len() as u32).to_le_bytes()).update(record);
    std::array::from_fn(|i| hasher.finalize().as_bytes()[i])
}

/// Fills `into` as far as the source goes; returns the bytes read.
fn read_up_to(source: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match source.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> LedgerFileError + 'a {
    move |source| LedgerFileError::Disk { what, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::faulty::{Fault, FaultyDisk};
    use crate::store::scratch::folder;

    fn record(n: u64) -> Vec<u8> {
        vec![n as u8; 3 + (n as usize * 7) % 40]
    }

    fn read(path: &Path) -> Vec<Vec<u8>> {
        Records::of_file(path).unwrap().map(Result::unwrap).collect()
    }

    fn five(path: &Path) {
        let (mut ledger, torn) = LedgerFile::open(path, Durable::OnSync).unwrap();
        assert_eq!(torn, None);
        for n in 0..5 {
            assert_eq!(ledger.append(&record(n)).unwrap(), n);
        }
        ledger.sync().unwrap();
    }

    #[test]
    fn records_read_back_in_order_and_go_on_after_a_restart() {
        let dir = folder();
        let path = dir.path().join("ledger");
        five(&path);
        let (mut ledger, torn) = LedgerFile::open(&path, Durable::EveryRecord).unwrap();
        assert_eq!((ledger.records(), torn), (5, None));
        ledger.append(&record(5)).unwrap();
        ledger.append(b"").unwrap();
        let all: Vec<_> = ledger.read().unwrap().map(Result::unwrap).collect();
        assert_eq!(all[..6], (0..6).map(record).collect::<Vec<_>>());
        assert_eq!(all[6], b"");
        assert_eq!(fs::metadata(&path).unwrap().len(), ledger.bytes());
        let too_large = ledger.append(&vec![0; RECORD_BYTES_MAX + 1]);
        assert!(matches!(too_large, Err(LedgerFileError::TooLarge { .. })));
    }

    #[test]
    fn a_ledger_cut_at_any_length_keeps_its_whole_records_and_the_torn_end_is_kept_aside() {
        let dir = folder();
        let whole = dir.path().join("whole");
        five(&whole);
        let bytes = fs::read(&whole).unwrap();
        for length in 1..bytes.len() {
            let path = dir.path().join(format!("cut-{length}"));
            fs::write(&path, &bytes[..length]).unwrap();
            let (mut ledger, torn) = LedgerFile::open(&path, Durable::OnSync).unwrap();
            let records = ledger.records();
            let kept = torn.as_ref().map_or(Vec::new(), |t| fs::read(&t.moved_to).unwrap());
            assert!(torn.as_ref().is_none_or(|t| t.is_cut_short && t.bytes == kept.len() as u64));
            let good = length - kept.len();
            assert_eq!(kept, bytes[good..length]);
            ledger.append(b"after").unwrap();
            let mut expected: Vec<_> = (0..records).map(record).collect();
            expected.push(b"after".to_vec());
            assert_eq!(read(&path), expected, "cut at {length}");
        }
    }

    #[test]
    fn a_changed_byte_ends_the_trusted_part_and_the_rest_is_kept_aside() {
        let dir = folder();
        let whole = dir.path().join("whole");
        five(&whole);
        let bytes = fs::read(&whole).unwrap();
        for at in MAGIC.len()..bytes.len() {
            let path = dir.path().join(format!("flip-{at}"));
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            fs::write(&path, &changed).unwrap();
            let (ledger, torn) = LedgerFile::open(&path, Durable::OnSync).unwrap();
            let torn = torn.expect("a changed byte is noticed");
            assert!(ledger.records() < 5);
            assert_eq!(read(&path), (0..ledger.records()).map(record).collect::<Vec<_>>());
            let kept = fs::read(torn.moved_to).unwrap();
            assert_eq!(kept, changed[changed.len() - kept.len()..]);
        }
        for at in 0..MAGIC.len() {
            let path = dir.path().join("other");
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            fs::write(&path, &changed).unwrap();
            assert!(matches!(
                LedgerFile::open(&path, Durable::OnSync),
                Err(LedgerFileError::NotALedger { .. })
            ));
            assert_eq!(fs::read(&path).unwrap(), changed);
        }
    }

    #[test]
    fn two_records_in_each_others_place_are_noticed() {
        let dir = folder();
        let path = dir.path().join("ledger");
        let (mut ledger, _) = LedgerFile::open(&path, Durable::OnSync).unwrap();
        ledger.append(b"aaaa").unwrap();
        ledger.append(b"bbbb").unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[20..].rotate_left(16);
        fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_record_is_acknowledged_only_when_it_is_found_again_whatever_the_disk_does() {
        for fault in Fault::ALL {
            for nth in 0.. {
                let dir = folder();
                let path = dir.path().join("ledger");
                let disk = FaultyDisk::new(nth, fault);
                let mut acknowledged = Vec::new();
                if let Ok((mut ledger, _)) =
                    LedgerFile::open_on(Arc::new(disk.clone()), &path, Durable::EveryRecord)
                {
                    for n in 0..4 {
                        if ledger.append(&record(n)).is_ok() {
                            acknowledged.push(record(n));
                        }
                    }
                }
                let (ledger, _) = LedgerFile::open(&path, Durable::OnSync).unwrap();
                let found = read(&path);
                assert!(found.starts_with(&acknowledged), "{fault:?} at {nth}: {found:?}");
                // A crash between write and acknowledgement may leave one record more, never a part of one.
                assert!(ledger.records() <= acknowledged.len() as u64 + 1, "{fault:?} at {nth}");
                if !disk.has_struck() {
                    assert_eq!(acknowledged.len(), 4);
                    break;
                }
            }
        }
    }
}
