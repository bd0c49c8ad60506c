//! The node's identity: one ed25519 seed in a file only its owner can read.
//!
//! It exists because who holds the seed can sign in the node's name for ever. So the file is created once and never
//! overwritten, and it is refused whenever somebody else could have read or replaced it. It deliberately knows no
//! signatures: it hands out 32 secret bytes and takes care that they are wiped.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use protocol::id::PeerId;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::store::atomic::{Durability, replace};
use crate::store::disk::{Disk, RealDisk, private_dir_builder, private_file_options};
use crate::store::hex::{from_hex, push_hex};
use crate::store::{locked, passphrase};
use crate::telemetry::process::effective_user;

/// Name of the file in the node's directory.
pub const IDENTITY_FILE: &str = "identity.key";
const TITLE: &str = "starling-identity 1 ed25519";
const CHECK_DOMAIN: &[u8] = b"starling/identity-file/1";
/// Longer than any file this program writes.
const FILE_BYTES_MAX: u64 = 1024;

/// The secret half of a node's identity; wiped from memory when dropped, never printed.
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    /// The passphrase it is written under, if it is locked.
    passphrase: Option<Zeroizing<String>>,
}

/// Why an identity cannot be used or made. Nothing was changed.
#[derive(Debug, Error)]
pub enum KeyError {
    /// There is no file.
    #[error("no identity at {path}; make one with `starling init`", path = .0.display())]
    Absent(PathBuf),
    /// There is one already.
    #[error("{path} exists and an identity is never overwritten; move it away first if it is to be given up", path = .0.display())]
    Exists(PathBuf),
    /// Others than the owner could read it.
    #[error("{path} may be read or changed by others (mode {mode:04o}); run `chmod 600 {path}`, and make a new identity if somebody may have read it", path = path.display())]
    Loose {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others could replace the file.
    #[error("{dir}, which holds the identity, may be changed by others (mode {mode:04o}); run `chmod 700 {dir}`", dir = dir.display())]
    LooseParent {
        /// The folder.
        dir: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file belongs to somebody else.
    #[error("{path} belongs to user {found}, expected user {expected}; start the node as its owner or run `chown {expected} {path}`", path = path.display())]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// Its owner.
        found: u32,
        /// The user this program acts as.
        expected: u32,
    },
    /// It is a link, a folder, a pipe or a device.
    #[error("{path} is {found}, expected a plain file; put the file itself there", path = path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The contents are not what this program wrote.
    #[error("{path} is not a usable identity: {reason}; restore it from a backup, or make a new one with `starling init` in another directory", path = path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is locked, and was not opened.
    #[error("{path} is locked by a passphrase: {reason}", path = path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// Why it was not opened.
        reason: String,
    },
    /// The system refused.
    #[error("could not {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Identity {
    /// A new identity from the system's randomness.
    pub fn generate() -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(io::Error::other)?;
        Ok(Self { seed, passphrase: None })
    }

    /// The identity of a known seed, for tests and seeded local swarms.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed: Zeroizing::new(seed), passphrase: None }
    }

    /// The 32 secret bytes.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public half: the peer's name.
    pub fn peer(&self) -> PeerId {
        PeerId(SigningKey::from_bytes(&self.seed).verifying_key().to_bytes())
    }

    /// Writes the identity to `dir/identity.key` (0600), creating `dir` (0700) when absent. Never overwrites.
    pub fn create(&self, dir: &Path) -> Result<PathBuf, KeyError> {
        let path = dir.join(IDENTITY_FILE);
        if !dir.exists() {
            private_dir_builder().recursive(true).create(dir).map_err(io("create folder", dir))?;
        }
        guard_parent(dir)?;
        self.write_new(&path)?;
        Ok(path)
    }

    /// Writes the identity to a new private file in a folder that exists, as for a backup. Never overwrites.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyError> {
        let mut file = match private_file_options().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(KeyError::Exists(path.into()));
            }
            other => other.map_err(io("create", path))?,
        };
        let text = self.to_text().map_err(io("lock", path))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if let Err(source) = written {
            // Half an identity would block the next try.
            drop(fs::remove_file(path));
            return Err(KeyError::Io { what: "write", path: path.into(), source });
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        RealDisk.sync_dir(folder).map_err(io("sync folder", folder))
    }

    /// The same key, to be written under the passphrase of another one, or under none if that has none.
    pub fn locked_like(self, other: &Self) -> Self {
        Self { passphrase: other.passphrase.clone(), ..self }
    }

    /// Whether it is written under a passphrase.
    pub fn is_locked(&self) -> bool {
        self.passphrase.is_some()
    }

    /// Writes `dir/identity.key` anew, under a passphrase or under none. The key stays the same.
    pub fn rewrite(mut self, dir: &Path, passphrase: Option<Zeroizing<String>>) -> Result<(), KeyError> {
        self.passphrase = passphrase;
        let path = dir.join(IDENTITY_FILE);
        let text = self.to_text().map_err(io("lock", &path))?;
        replace(&RealDisk, &path, text.as_bytes(), Durability::Machine).map_err(io("replace", &path))
    }

    /// Reads `dir/identity.key`, refusing it when anybody else could have read or replaced it.
    ///
    /// The passphrase of a locked one comes from a file, a credential or the terminal; see docs/operating.md.
    pub fn load(dir: &Path) -> Result<Self, KeyError> {
        Self::load_from(dir, IDENTITY_FILE)
    }

    /// The same for a key file of another name in the directory.
    pub fn load_from(dir: &Path, name: &str) -> Result<Self, KeyError> {
        let path = dir.join(name);
        let named = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeyError::Absent(path)),
            other => other.map_err(io("look at", &path))?,
        };
        plain_file(&path, &named)?;
        guard_parent(dir)?;
        let mut file = open_no_follow(&path).map_err(io("open", &path))?;
        // Looked at once more through the open file: the name may point elsewhere by now.
        let opened = file.metadata().map_err(io("look at", &path))?;
        plain_file(&path, &opened)?;
        guard_file(&path, &opened)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
        (&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io("read", &path))?;
        if bytes.starts_with(locked::TITLE.as_bytes()) {
            return Self::unlock(&bytes, &path).map_err(|reason| KeyError::Locked { path, reason });
        }
        Self::from_bytes(&bytes).map_err(|reason| KeyError::Contents { path, reason })
    }

    fn unlock(bytes: &[u8], path: &Path) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let passphrase = passphrase::obtain(path)?;
        let seed = locked::open(&text.replace("\r\n", "\n"), &passphrase)?;
        Ok(Self { seed, passphrase: Some(passphrase) })
    }

    fn to_text(&self) -> io::Result<Zeroizing<String>> {
        if let Some(passphrase) = &self.passphrase {
            return locked::seal(&self.seed, &self.peer(), passphrase).map(Zeroizing::new);
        }
        let mut text = Zeroizing::new(String::with_capacity(256));
        text.push_str(TITLE);
        text.push_str("\nseed ");
        push_hex(&mut text, &*self.seed);
        text.push_str("\ncheck ");
        push_hex(&mut text, &check(&self.seed));
        text.push('\n');
        Ok(text)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("it is empty".into());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_string())?;
        let text = text.replace("\r\n", "\n");
        let text = Zeroizing::new(text);
        let Some(rest) = text.strip_prefix(TITLE).and_then(|r| r.strip_prefix('\n')) else {
            return Err(match text.lines().next().unwrap_or_default() {
                line if line.starts_with("starling-identity") => {
                    format!("expected {TITLE:?}, found another kind or version of key")
                }
                line if line.starts_with("-----BEGIN") => {
                    "it is a PEM file, expected a key made by `starling init`".into()
                }
                _ => format!("expected the first line {TITLE:?}"),
            });
        };
        let lines: Vec<&str> = rest.lines().collect();
        let &[seed_line, check_line] = lines.as_slice() else {
            return Err(format!("expected 3 lines, found {}: it was cut short or changed", lines.len() + 1));
        };
        let seed = seed_line.strip_prefix("seed ").and_then(from_hex::<32>).map(Zeroizing::new);
        let seed = seed.ok_or("its seed is not 64 hexadecimal digits: it was cut short or changed")?;
        let stated = check_line.strip_prefix("check ").and_then(from_hex::<8>);
        if stated != Some(check(&seed)) || !rest.ends_with('\n') {
            return Err("its check does not match: it was cut short or changed".into());
        }
        Ok(Self { seed, passphrase: None })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({}, seed hidden)", self.peer().short())
    }
}

/// The first 8 bytes of a hash that only this seed gives; they tell nothing of the seed.
fn check(seed: &[u8; 32]) -> [u8; 8] {
    let hash = blake3::Hasher::new().update(CHECK_DOMAIN).update(seed).finalize();
    std::array::from_fn(|i| hash.as_bytes()[i])
}

fn io<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> KeyError + 'a {
    move |source| KeyError::Io { what, path: path.into(), source }
}

fn plain_file(path: &Path, metadata: &Metadata) -> Result<(), KeyError> {
    let kind = metadata.file_type();
    let found = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_symlink() => "a link",
        () if kind.is_dir() => "a folder",
        () => "a pipe or a device",
    };
    Err(KeyError::NotAFile { path: path.into(), found })
}

#[cfg(unix)]
fn open_no_follow(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Not blocking, so that a pipe put there in between cannot hold the start up.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

#[cfg(unix)]
fn guard_file(path: &Path, metadata: &Metadata) -> Result<(), KeyError> {
    use std::os::unix::fs::MetadataExt;
    let mode = metadata.mode() & 0o7777;
    guard_owner(path, metadata, false)?;
    if mode & 0o077 != 0 { Err(KeyError::Loose { path: path.into(), mode }) } else { Ok(()) }
}

#[cfg(unix)]
fn guard_parent(dir: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(dir).map_err(io("look at", dir))?;
    let mode = metadata.mode() & 0o7777;
    guard_owner(dir, &metadata, true)?;
    if mode & 0o022 != 0 { Err(KeyError::LooseParent { dir: dir.into(), mode }) } else { Ok(()) }
}

#[cfg(unix)]
fn guard_owner(path: &Path, metadata: &Metadata, or_root: bool) -> Result<(), KeyError> {
    use std::os::unix::fs::MetadataExt;
    let Some(expected) = effective_user() else { return Ok(()) };
    let found = metadata.uid();
    // A folder made by the administrator is as safe as the system itself.
    if found == expected || (or_root && found == 0) {
        return Ok(());
    }
    Err(KeyError::Owner { path: path.into(), found, expected })
}

#[cfg(not(unix))]
fn open_no_follow(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(not(unix))]
fn guard_file(_: &Path, _: &Metadata) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(not(unix))]
fn guard_parent(_: &Path) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn home() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("node");
        Identity::from_seed([7; 32]).create(&dir).unwrap();
        let path = dir.join(IDENTITY_FILE);
        (root, dir, path)
    }

    fn refused(dir: &Path) -> String {
        Identity::load(dir).map(|_| ()).expect_err("the identity is refused").to_string()
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn an_identity_reads_back_as_it_was_made_and_is_private() {
        let (_root, dir, path) = home();
        let identity = Identity::load(&dir).unwrap();
        assert_eq!(identity.seed(), &[7; 32]);
        assert_eq!(identity.peer(), Identity::from_seed([7; 32]).peer());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o700);
        assert!(!format!("{identity:?}").contains("0707"));
    }

    #[test]
    fn an_identity_is_never_overwritten() {
        let (_root, dir, path) = home();
        let before = fs::read(&path).unwrap();
        assert!(matches!(Identity::from_seed([8; 32]).create(&dir), Err(KeyError::Exists(_))));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn two_new_identities_differ() {
        assert_ne!(Identity::generate().unwrap().seed(), Identity::generate().unwrap().seed());
    }

    /// Row B10 159 of the fault catalogue: every way in which a key file can be wrong, and the words that help.
    #[test]
    fn a_key_file_that_others_could_have_touched_is_refused_with_its_remedy() {
        type Break = fn(&Path, &Path);
        let rows: [(&str, Break, &str); 14] = [
            ("absent", |_, p| fs::remove_file(p).unwrap(), "starling init"),
            ("mode 0644", |_, p| chmod(p, 0o644), "chmod 600"),
            ("mode 0640", |_, p| chmod(p, 0o640), "chmod 600"),
            ("mode 0602", |_, p| chmod(p, 0o602), "chmod 600"),
            ("folder 0777", |d, _| chmod(d, 0o777), "chmod 700"),
            ("folder 0720", |d, _| chmod(d, 0o720), "chmod 700"),
            ("folder with sticky bit", |d, _| chmod(d, 0o1777), "chmod 700"),
            ("empty", |_, p| fs::write(p, "").unwrap(), "it is empty"),
            (
                "other curve",
                |_, p| fs::write(p, "starling-identity 1 p256\nseed 00\n").unwrap(),
                "another kind",
            ),
            ("pem", |_, p| fs::write(p, "-----BEGIN PRIVATE KEY-----\n").unwrap(), "PEM"),
            ("not text", |_, p| fs::write(p, [0xff, 0xfe, 0]).unwrap(), "not text"),
            ("huge", |_, p| fs::write(p, vec![b'a'; 10_000_000]).unwrap(), "first line"),
            (
                "link",
                |d, p| {
                    fs::rename(p, d.join("real")).unwrap();
                    symlink(d.join("real"), p).unwrap();
                },
                "is a link",
            ),
            (
                "folder",
                |_, p| {
                    fs::remove_file(p).unwrap();
                    fs::create_dir(p).unwrap();
                },
                "is a folder",
            ),
        ];
        for (row, damage, words) in rows {
            let (_root, dir, path) = home();
            damage(&dir, &path);
            let error = refused(&dir);
            assert!(error.contains(words), "{row}: {error}");
        }
    }

    #[test]
    fn a_key_file_of_another_user_is_refused() {
        let (_root, dir, path) = home();
        // Only the administrator can give a file away.
        if effective_user() != Some(0) {
            eprintln!("skipped: needs the right to change the owner of a file");
            return;
        }
        std::os::unix::fs::chown(&path, Some(4_321), None).unwrap();
        assert!(refused(&dir).contains("belongs to user 4321"), "{}", refused(&dir));
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        std::os::unix::fs::chown(&dir, Some(4_321), None).unwrap();
        assert!(refused(&dir).contains("belongs to user 4321"), "{}", refused(&dir));
    }

    #[test]
    fn a_key_file_cut_at_any_length_or_changed_in_any_byte_is_refused() {
        let (_root, dir, path) = home();
        let good = fs::read(&path).unwrap();
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            refused(&dir);
        }
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                fs::write(&path, &bytes).unwrap();
                refused(&dir);
            }
        }
        fs::write(&path, String::from_utf8(good).unwrap().replace('\n', "\r\n")).unwrap();
        Identity::load(&dir).unwrap();
    }
}
