//! A network set up by hand, verb by verb, as people on different machines would.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::node::{Node, path};
use crate::program::ok;

/// Names of nodes.
const NAMES: [&str; 6] = ["ada", "bela", "chidi", "dana", "emre", "farah"];

/// Nodes with a charter and data; none runs yet.
pub(crate) struct Network {
    /// The nodes; the first founded the run.
    pub(crate) nodes: Vec<Node>,
    /// The folder with the signed charter.
    pub(crate) charter: PathBuf,
    /// Sentences nobody trains on.
    pub(crate) test: PathBuf,
    root: TempDir,
}

impl Network {
    /// Makes keys, data and a signed charter for `n` nodes that listen on loopback ports of their own. The recipe is
    /// `recipes/tiny.toml` with these settings of its schedule or mixing changed.
    pub(crate) fn found(n: usize, changes: &[(&str, u32)]) -> Self {
        let listen: Vec<String> = (0..n).map(|_| format!("/ip4/127.0.0.1/tcp/{}", free_port())).collect();
        Self::found_at(&listen, changes)
    }

    /// The same under `recipes/unlike.toml`, where predictions travel in place of parameters.
    pub(crate) fn found_unlike(n: usize) -> Self {
        let listen: Vec<String> = (0..n).map(|_| format!("/ip4/127.0.0.1/tcp/{}", free_port())).collect();
        Self::found_under(&listen, |root| {
            let path = root.join("recipe.toml");
            std::fs::write(&path, include_str!("recipes/unlike.toml"))
                .expect("a temporary folder can be written");
            path
        })
    }

    /// The same for nodes that listen at these addresses.
    pub(crate) fn found_at(listen: &[String], changes: &[(&str, u32)]) -> Self {
        Self::found_under(listen, |root| recipe(root, changes))
    }

    fn found_under(listen: &[String], recipe: impl FnOnce(&Path) -> PathBuf) -> Self {
        let root = tempfile::tempdir().expect("the temporary folder can be written");
        let at = |name: &str| root.path().join(name);
        let n = listen.len();
        let nodes: Vec<Node> =
            NAMES.iter().zip(listen).map(|(name, listen)| Node::init(root.path(), name, listen)).collect();
        let (count, train) = (n.to_string(), (200 * n).to_string());
        ok(&[
            "data",
            "make",
            "newswire",
            "--out",
            path(&at("data")),
            "--nodes",
            &count,
            "--train",
            &train,
            "--test",
            "100",
        ]);
        let recipe = recipe(root.path());
        let charter = at("charter");
        let members: Vec<String> =
            nodes.iter().map(|node| format!("{}={} press", node.peer, node.name)).collect();
        let mut args = vec!["charter", "new", "--recipe", path(&recipe), "--out", path(&charter)];
        members.iter().for_each(|member| args.extend(["--member", member.as_str()]));
        ok(&args);
        ok(&["charter", "sign", path(&charter.join("charter.toml")), "--dir", path(&nodes[0].dir)]);
        let test = at("data").join("test.conll");
        Self { nodes, charter, test, root }
    }

    /// A path in the network's folder.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The data of a node.
    pub(crate) fn data(&self, node: usize) -> PathBuf {
        self.at("data").join(format!("node-{}", node + 1))
    }

    /// Starts a node with more arguments than charter and data.
    pub(crate) fn start(&mut self, node: usize, more: &[&str]) {
        let (charter, data) = (self.charter.clone(), self.data(node));
        let args = [&["--charter", path(&charter), "--data", path(&data)], more].concat();
        self.nodes[node].start(&args);
    }

    /// Starts these nodes; the first waits for nobody's address, the others are told its one.
    pub(crate) fn start_all(&mut self, nodes: &[usize]) {
        let links = (nodes.len() - 1).to_string();
        let terms = ["--until-done", "--wait-links", links.as_str(), "--wait-seconds", "60"];
        self.start(nodes[0], &terms);
        let first = self.nodes[nodes[0]].address();
        for &node in &nodes[1..] {
            self.start(node, &[&terms[..], &["--bootstrap", &first]].concat());
        }
    }

    /// F1 of a node's finished model on sentences nobody trained on, a fraction.
    pub(crate) fn score(&self, node: usize) -> f64 {
        let model = self.nodes[node].dir.join("model");
        ok(&["eval", "--model", path(&model), "--data", path(&self.test)])["score"].as_f64().expect("a score")
    }

    /// How the last outer steps of every node went, to explain a failure.
    pub(crate) fn ends(&self) -> String {
        let shown = [
            "mixed",
            "pulled",
            "pull_failed",
            "stage",
            "joined",
            "link_up",
            "link_down",
            "offence",
            "drained",
        ];
        let of = |node: &Node| {
            let events: Vec<String> = node
                .events()
                .iter()
                .filter(|e| shown.iter().any(|kind| e["event"] == *kind))
                .map(ToString::to_string)
                .collect();
            events[events.len().saturating_sub(30)..].join("\n")
        };
        self.nodes.iter().map(of).collect::<Vec<_>>().join("\n\n")
    }

    /// What must hold after any run in which no node lied.
    pub(crate) fn check_records(&self) {
        for node in &self.nodes {
            assert!(!node.all_log().contains("panicked"), "{}: {}", node.name, node.all_log());
            assert!(node.events_of("banned").is_empty(), "{} banned an honest peer", node.name);
            assert!(node.events_of("key_in_use_elsewhere").is_empty(), "{}", node.name);
            let mut published: Vec<u64> =
                node.events_of("published").iter().filter_map(|e| e["step"].as_u64()).collect();
            let all = published.len();
            published.dedup();
            assert!(
                published.is_sorted() && published.len() == all,
                "{} published a step twice: {published:?}",
                node.name
            );
        }
    }
}

/// The tiny recipe with numbers changed.
pub(crate) fn recipe(folder: &Path, changes: &[(&str, u32)]) -> PathBuf {
    let mut lines: Vec<String> = include_str!("recipes/tiny.toml").lines().map(str::to_owned).collect();
    for (key, value) in changes {
        let start = format!("{key} = ");
        let line =
            lines.iter_mut().find(|line| line.starts_with(&start)).expect("the recipe has this setting");
        *line = format!("{start}{value}");
    }
    let path = folder.join("recipe.toml");
    std::fs::write(&path, lines.join("\n")).expect("a temporary folder can be written");
    path
}

/// A port that nobody uses at this moment, for TCP and UDP.
pub(crate) fn free_port() -> u16 {
    for _ in 0..100 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free for TCP and UDP");
}
