//! A disk for tests that models a power loss: what was not synced may be gone.
//!
//! It does everything on the real disk and keeps beside it what is durable: file contents since the last sync of the file,
//! and names since the last sync of the folder. [`PowerDisk::lose_power`] builds one of the states a machine may find
//! after the loss: of each folder's unsynced name changes a prefix survives (file systems journal them in order), of
//! each unsynced file the old contents, a part of the new, all of them, or zeros of the new length.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rand::Rng64;

use crate::store::disk::{Disk, DiskFile, RealDisk};

/// A small generator for tests; the sequence of a seed never changes.
pub(crate) mod rand {
    /// splitmix64 (Steele, Lea and Flood, 2014).
    pub(crate) struct Rng64(pub(crate) u64);

    impl Rng64 {
        /// A number below `end`.
        pub(crate) fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) % end.max(1) as u64) as usize
        }
    }
}

type Id = usize;

#[derive(Clone, Default)]
struct Node {
    is_dir: bool,
    durable: Vec<u8>,
    volatile: Vec<u8>,
    names: BTreeMap<String, Id>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Add(String, Id),
    Rename(String, String),
    Remove(String),
}

#[derive(Default)]
struct Model {
    nodes: Vec<Node>,
    operations_left: usize,
}

/// The real disk under `root`, with a model of what is durable. Dies after a number of operations.
#[derive(Clone)]
pub(crate) struct PowerDisk {
    root: PathBuf,
    model: Arc<Mutex<Model>>,
}

fn apply(names: &mut BTreeMap<String, Id>, change: &Change) {
    match change {
        Change::Add(name, id) => drop(names.insert(name.clone(), *id)),
        Change::Remove(name) => drop(names.remove(name)),
        Change::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
    }
}

impl Model {
    fn now(&self, dir: Id) -> BTreeMap<String, Id> {
        let mut names = self.nodes[dir].names.clone();
        self.nodes[dir].pending.iter().for_each(|change| apply(&mut names, change));
        names
    }

    fn add(&mut self, dir: Id, name: &str, is_dir: bool) -> Id {
        self.nodes.push(Node { is_dir, ..Node::default() });
        let id = self.nodes.len() - 1;
        self.nodes[dir].pending.push(Change::Add(name.into(), id));
        id
    }

    fn restore(&self, id: Id, to: &Path, rng: &mut Rng64) {
        let node = &self.nodes[id];
        if !node.is_dir {
            let kept = match rng.below(4) {
                0 => node.durable.clone(),
                1 => node.volatile[..rng.below(node.volatile.len() + 1)].to_vec(),
                2 => vec![0; node.volatile.len()],
                _ => node.volatile.clone(),
            };
            let settled = node.durable == node.volatile;
            return fs::write(to, if settled { &node.durable } else { &kept }).unwrap();
        }
        fs::create_dir_all(to).unwrap();
        let mut names = node.names.clone();
        let survive = rng.below(node.pending.len() + 1);
        node.pending[..survive].iter().for_each(|change| apply(&mut names, change));
        for (name, &child) in &names {
            self.restore(child, &to.join(name), rng);
        }
    }
}

impl PowerDisk {
    /// A disk over an empty folder that allows so many operations and then fails for good.
    pub(crate) fn new(root: &Path, operations: usize) -> Self {
        let root_node = Node { is_dir: true, ..Node::default() };
        let model = Model { nodes: vec![root_node], operations_left: operations };
        Self { root: root.into(), model: Arc::new(Mutex::new(model)) }
    }

    /// Whether the allowed operations are used up.
    pub(crate) fn is_dead(&self) -> bool {
        self.model.lock().unwrap().operations_left == 0
    }

    /// Writes one possible state after a power loss to the new folder `to`.
    pub(crate) fn lose_power(&self, to: &Path, seed: u64) {
        self.model.lock().unwrap().restore(0, to, &mut Rng64(seed));
    }

    fn step<T>(&self, then: impl FnOnce(&mut Model) -> io::Result<T>) -> io::Result<T> {
        let mut model = self.model.lock().unwrap();
        if model.operations_left == 0 {
            return Err(io::Error::other("the machine has lost power"));
        }
        model.operations_left -= 1;
        then(&mut model)
    }

    fn find(&self, model: &Model, path: &Path) -> Id {
        let inside = path.strip_prefix(&self.root).expect("the store stays in its folder");
        inside.iter().fold(0, |dir, name| model.now(dir)[name.to_str().unwrap()])
    }

    fn parent(&self, model: &Model, path: &Path) -> (Id, String) {
        (self.find(model, path.parent().unwrap()), path.file_name().unwrap().to_str().unwrap().into())
    }
}

struct PowerFile {
    disk: PowerDisk,
    inner: Box<dyn DiskFile>,
    id: Id,
}

impl Write for PowerFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.clone().step(|model| {
            let written = self.inner.write(bytes)?;
            model.nodes[self.id].volatile.extend(&bytes[..written]);
            Ok(written)
        })
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl DiskFile for PowerFile {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.step(|model| {
            let node = &mut model.nodes[self.id];
            node.durable = node.volatile.clone();
            Ok(())
        })
    }
}

impl Disk for PowerDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step(|model| {
            RealDisk.create_dir(path)?;
            let (dir, name) = self.parent(model, path);
            model.add(dir, &name, true);
            Ok(())
        })
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step(|model| {
            let inner = RealDisk.create(path)?;
            let (dir, name) = self.parent(model, path);
            let id = model.add(dir, &name, false);
            Ok(Box::new(PowerFile { disk: self.clone(), inner, id }) as _)
        })
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step(|model| {
            let inner = RealDisk.append(path)?;
            let (dir, name) = self.parent(model, path);
            let known = model.now(dir).get(&name).copied();
            let id = known.unwrap_or_else(|| model.add(dir, &name, false));
            Ok(Box::new(PowerFile { disk: self.clone(), inner, id }) as _)
        })
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        RealDisk.open(path)
    }
    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.step(|model| {
            RealDisk.truncate(path, bytes)?;
            let id = self.find(model, path);
            model.nodes[id].volatile.truncate(bytes as usize);
            model.nodes[id].durable = model.nodes[id].volatile.clone();
            Ok(())
        })
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|model| {
            assert_eq!(from.parent(), to.parent(), "the model knows renames inside one folder only");
            RealDisk.rename(from, to)?;
            let (dir, new) = self.parent(model, to);
            let old = from.file_name().unwrap().to_str().unwrap().into();
            model.nodes[dir].pending.push(Change::Rename(old, new));
            Ok(())
        })
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(|model| {
            let dir = self.find(model, path);
            model.nodes[dir].names = model.now(dir);
            model.nodes[dir].pending.clear();
            Ok(())
        })
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(|model| {
            RealDisk.remove_file(path)?;
            let (dir, name) = self.parent(model, path);
            model.nodes[dir].pending.push(Change::Remove(name));
            Ok(())
        })
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.step(|model| {
            RealDisk.remove_dir_all(path)?;
            let (dir, name) = self.parent(model, path);
            model.nodes[dir].pending.push(Change::Remove(name));
            Ok(())
        })
    }
}
