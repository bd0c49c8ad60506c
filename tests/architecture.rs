//! The architecture test: arrows between floors only go down, modules form no circle, `protocol` needs few crates.
//!
//! It reads manifests and the paths in source files (`use` lines and full paths in code; tests inside a file do not
//! count). It checks directions only: size and style are matters of taste and review.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms of a crate from the ground floor up. Rooms on one floor do not know each other.
type Floors = &'static [&'static [&'static str]];

const PROTOCOL: Floors = &[
    &["codec", "limits", "rng", "time", "id", "quota"],
    &["crypto"],
    &["wire"],
    &["shard"],
    &["roster", "exchange", "mixing", "ledger", "stage"],
    &["peer"],
    &["sim"],
];
const MODEL: Floors = &[
    &["error"],
    &["seed", "device"],
    &["ops"],
    &["arch", "data"],
    &["params", "task"],
    &["train", "eval", "generate"],
    &["session"],
    &["distill", "fuse", "audit"],
    &["export"],
];
const NODE: Floors = &[
    &["telemetry"],
    &["control"],
    &["net", "store", "trainer"],
    &["board"],
    &["http"],
    &["runtime", "config"],
    &["recipe", "distill", "fuse"],
    &["bench", "sim", "testnet"],
    &["cli"],
];

/// Crates of this workspace and those they may use.
const CRATES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("model", &[]),
    ("node", &["starling-protocol", "starling-model"]),
    ("tests", &["starling-protocol", "starling-model", "starling-node"]),
];

/// All that `protocol` may depend on.
const PROTOCOL_CRATES: [&str; 8] =
    ["bincode", "blake3", "ed25519-dalek", "half", "rand_chacha", "rand_core", "serde", "thiserror"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in the workspace").to_path_buf()
}

/// Names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside =
                line == "[dependencies]" || line.starts_with("[target.") && line.ends_with(".dependencies]");
            if let Some(name) = line.strip_prefix("[dependencies.") {
                names.insert(name.trim_end_matches(']').to_owned());
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().expect("splitting gives at least one part");
            names.insert(name.trim_matches('"').to_owned());
        }
    }
    names
}

/// The code of a file without comments, text literals and its inner tests.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 2 + hashes;
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if let Some(literal) =
            ["'\"'", "'\\\"'", "'\\''", "'\\\\'"].iter().find(|l| rest.starts_with(**l))
        {
            literal.len()
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    without_tests(&code)
}

/// Number of `#` of a raw text literal that starts here.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.bytes().take_while(|&b| b == b'#').count();
    rest[1 + hashes..].starts_with('"').then_some(hashes)
}

/// Cuts out every module marked `#[cfg(test)]` or `#[cfg(all(test, ...))]`.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = ["#[cfg(test)]", "#[cfg(all(test"].iter().filter_map(|mark| rest.find(mark)).min() {
        kept.push_str(&rest[..at]);
        let end = rest[at..].find(['{', ';']).map(|i| at + i);
        let Some(start) = end else { return kept };
        let mut depth = 0usize;
        let mut after = start + 1;
        for (i, c) in rest[start..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            after = start + i + c.len_utf8();
            if depth == 0 {
                break;
            }
        }
        rest = &rest[after..];
    }
    kept + rest
}

/// All paths in code that begin with `crate::`, as lists of names; groups are spread out.
fn paths(code: &str, first: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(&format!("{first}::")) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        spread(&code[at + first.len() + 2..], &mut Vec::new(), &mut found);
    }
    found
}

/// Follows one path into its groups; returns how far it read.
fn spread(text: &str, prefix: &mut Vec<String>, found: &mut BTreeSet<Vec<String>>) -> usize {
    let depth = prefix.len();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if text[at..].starts_with('{') {
            at += 1;
            loop {
                at += text[at..].len() - text[at..].trim_start_matches([' ', '\n', '\t', ',']).len();
                if at >= text.len() || text[at..].starts_with('}') {
                    at += 1;
                    break;
                }
                let read = spread(&text[at..], prefix, found);
                if read == 0 {
                    break;
                }
                at += read;
            }
            break;
        }
        let name: String =
            text[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '*').collect();
        if name.is_empty() {
            break;
        }
        at += name.len();
        prefix.push(name);
        let rest = text[at..].trim_start();
        if let Some(rest) = rest.strip_prefix("::") {
            at = text.len() - rest.len();
        } else {
            if let Some(alias) = rest.strip_prefix("as ") {
                let name =
                    alias.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').count();
                at = text.len() - alias.trim_start().len() + name;
            }
            found.insert(prefix.clone());
            break;
        }
    }
    prefix.truncate(depth);
    at
}

/// Module path (names) and code of every source file of a crate; `lib.rs` is the empty path.
fn modules(source: &Path) -> BTreeMap<Vec<String>, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(source.to_path_buf(), Vec::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder can be listed") {
            let path = entry.expect("an entry can be read").path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                let mut inner: Vec<String> = prefix.clone();
                inner.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
                folders.push((path, inner));
            } else if path.extension().is_some_and(|e| e == "rs") && stem != "main" {
                let mut name = prefix.clone();
                if stem != "mod" && stem != "lib" {
                    name.push(stem);
                }
                found.insert(name, code(&fs::read_to_string(&path).expect("a source file can be read")));
            }
        }
    }
    found
}

/// Modules each module uses inside its crate, by the longest path that is a module.
fn uses(modules: &BTreeMap<Vec<String>, String>, own: &str) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let mut arrows = BTreeMap::new();
    for (module, code) in modules {
        let mut to = BTreeSet::new();
        let own_paths = paths(code, own);
        let from_root = paths(code, "crate").into_iter().chain(own_paths);
        let parent = module[..module.len().saturating_sub(1)].to_vec();
        let from_parent = paths(code, "super").into_iter().map(|p| [parent.clone(), p].concat());
        for path in from_root.chain(from_parent) {
            let target = (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|p| modules.contains_key(p));
            to.extend(target.filter(|t| t != module));
        }
        arrows.insert(module.clone(), to);
    }
    arrows
}

fn floor(floors: Floors, room: &str) -> Option<usize> {
    floors.iter().position(|rooms| rooms.contains(&room))
}

/// Arrows that do not go down, and rooms without a floor.
fn upward(arrows: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>, floors: Floors) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, targets) in arrows {
        let Some(room) = from.first() else { continue };
        let Some(high) = floor(floors, room) else {
            wrong.push(format!(
                "{room} has no floor: put it on the list in tests/architecture.rs and in docs/architecture.md"
            ));
            continue;
        };
        for to in targets.iter().filter(|to| to.first() != Some(room)) {
            match to.first().and_then(|room| floor(floors, room)) {
                // The ground floor's few files are one floor of vocabulary and may use each other.
                Some(low) if low < high || (low == 0 && high == 0 && from.len() == 1 && to.len() == 1) => {}
                Some(_) => {
                    wrong.push(format!("{} uses {}, which is not below it", from.join("::"), to.join("::")));
                }
                None => {}
            }
        }
    }
    wrong
}

/// One circle of modules, if there is any.
fn circle(arrows: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> Option<Vec<String>> {
    fn visit<'a>(
        at: &'a Vec<String>,
        arrows: &'a BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
        path: &mut Vec<&'a Vec<String>>,
        done: &mut BTreeSet<&'a Vec<String>>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|p| *p == at) {
            return Some(path[start..].iter().chain([&at]).map(|p| p.join("::")).collect());
        }
        if !done.contains(at) {
            path.push(at);
            for to in arrows.get(at).into_iter().flatten() {
                if let Some(found) = visit(to, arrows, path, done) {
                    return Some(found);
                }
            }
            path.pop();
            done.insert(at);
        }
        None
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|start| visit(start, arrows, &mut Vec::new(), &mut done))
}

#[test]
fn crates_depend_on_each_other_downwards_only() {
    for (name, allowed) in CRATES {
        let manifest =
            fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a crate has a manifest");
        let wrong: Vec<_> = dependencies(&manifest)
            .into_iter()
            .filter(|d| d.starts_with("starling-") && !allowed.contains(&d.as_str()))
            .collect();
        assert_eq!(wrong, Vec::<String>::new(), "{name} may not depend on these");
    }
}

#[test]
fn the_protocol_depends_on_its_short_list_only() {
    let manifest = fs::read_to_string(root().join("protocol/Cargo.toml")).expect("a crate has a manifest");
    let found = dependencies(&manifest);
    assert!(found.contains("blake3"), "the manifest is read: {found:?}");
    let wrong: Vec<_> = found.into_iter().filter(|d| !PROTOCOL_CRATES.contains(&d.as_str())).collect();
    assert_eq!(wrong, Vec::<String>::new(), "no other crate may enter protocol");
}

#[test]
fn protocol_and_model_never_meet() {
    for (own, other) in [("protocol", "model"), ("model", "protocol")] {
        for (module, code) in modules(&root().join(own).join("src")) {
            let met: Vec<_> = paths(&code, other).into_iter().collect();
            // A room may have a module of its own that is called like the other crate.
            let is_own = module.iter().any(|name| name == other);
            assert!(met.is_empty() || is_own, "{own}::{} uses {other}::{:?}", module.join("::"), met);
        }
    }
}

#[test]
fn arrows_between_floors_only_go_down_and_there_is_no_circle() {
    let mut wrong = Vec::new();
    for (name, own, floors) in
        [("protocol", "protocol", PROTOCOL), ("model", "model", MODEL), ("node", "starling_node", NODE)]
    {
        let modules = modules(&root().join(name).join("src"));
        let arrows = uses(&modules, own);
        let count: usize = arrows.values().map(BTreeSet::len).sum();
        assert!(count > 10, "{name}: only {count} arrows were found, so the source was not read");
        wrong.extend(upward(&arrows, floors).into_iter().map(|w| format!("{name}: {w}")));
        wrong.extend(circle(&arrows).map(|c| format!("{name}: a circle: {}", c.join(" -> "))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_source_sees_paths_and_not_comments_texts_or_tests() {
    let source = r##"
        //! See [`crate::doc::only`].
        use crate::a::{b::C, d::{self, E as F}, *};
        use crate::g;
        fn f() { let x = crate::h::i("crate::text::no", r#"crate::raw::no"#, '"'); /* crate::block::no */ mycrate::j::k(); }
        #[cfg(test)]
        mod tests { use crate::test::no; fn g() { if true { crate::test::no2() } } }
        fn after() { crate::after::yes() }
        #[cfg(test)]
        use crate::also::no;
        fn last() -> crate::last::Yes { todo() }
    "##;
    let found: Vec<String> = paths(&code(source), "crate").iter().map(|p| p.join("::")).collect();
    assert_eq!(found, ["a::*", "a::b::C", "a::d::E", "a::d::self", "after::yes", "g", "h::i", "last::Yes"]);
}

#[test]
fn an_upward_arrow_a_sideways_arrow_a_stranger_and_a_circle_are_found() {
    const FLOORS: Floors = &[&["ground"], &["left", "right"], &["roof"]];
    let module =
        |name: &str, code: &str| (name.split("::").map(str::to_owned).collect::<Vec<_>>(), code.to_owned());
    let house = |extra: &str| {
        BTreeMap::from([
            module("ground::stone", extra),
            module("left::a", "use crate::ground::stone::Stone; use super::b;"),
            module("left::b", "use crate::ground::stone::Stone;"),
            module("right", "fn f() { crate::ground::stone::lay() }"),
            module("roof", "use crate::{left::a::A, right::R};"),
        ])
    };
    let check =
        |modules: &BTreeMap<_, _>| (upward(&uses(modules, "house"), FLOORS), circle(&uses(modules, "house")));
    assert_eq!(check(&house("")), (vec![], None));
    let (wrong, round) = check(&house("use crate::roof::Tile;"));
    assert_eq!(wrong, ["ground::stone uses roof, which is not below it"]);
    assert!(round.is_some());
    let mut sideways = house("");
    sideways.insert(vec!["right".into()], "use crate::left::b::B;".into());
    assert_eq!(check(&sideways).0, ["right uses left::b, which is not below it"]);
    let mut inner = house("");
    inner.insert(vec!["left".into(), "b".into()], "use super::a::A;".into());
    assert_eq!(check(&inner).1.unwrap(), ["left::a", "left::b", "left::a"]);
    let mut stranger = house("");
    stranger.insert(vec!["cellar".into()], String::new());
    assert!(check(&stranger).0[0].starts_with("cellar has no floor"));
}
