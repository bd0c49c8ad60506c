//! Writes the commented settings file that `starling init` leaves, from the list of settings itself.

use crate::config::key::{KEYS, Value};

const WIDTH: usize = 100;
const HEAD: &str = "# Settings of one Starling node. What must agree between nodes stands in the charter, not here.\n\
     # Order: defaults < this file < STARLING_* variables < flags. See `starling config show --origin`.\n";

/// The text of a settings file: given values stand in force, all others as comments with their defaults.
pub fn text(given: &[(&str, Value)]) -> String {
    let mut parts = vec![HEAD.to_owned()];
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            parts.push(format!("\n[{section}]\n"));
        }
        parts.extend(wrap(key.meaning).into_iter().map(|line| format!("# {line}\n")));
        parts.push(match given.iter().find(|(name, _)| *name == key.name) {
            Some((_, value)) => format!("{} = {}\n", key.leaf(), value.to_toml()),
            None => format!("#{} = {}\n", key.leaf(), key.default),
        });
    }
    parts.concat()
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("the list starts with a line");
        if !last.is_empty() && last.len() + word.len() >= WIDTH {
            lines.push(word.into());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::load::{ConfigFile, Origin, Sources, load};

    #[test]
    fn the_file_left_by_init_loads_and_says_what_was_given_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("starling.toml");
        let given =
            [("node.name", Value::Text("Zoë \"the\\node\"".into())), ("network.mdns", Value::Switch(true))];
        fs::write(&path, text(&given)).unwrap();
        let loaded = load(&Sources { file: ConfigFile::At(path.clone()), ..Sources::default() }).unwrap();
        assert_eq!(loaded.config.node.name.as_deref(), Some("Zoë \"the\\node\""));
        let set: Vec<_> =
            loaded.settings.iter().filter(|s| s.origin != Origin::Default).map(|s| s.name).collect();
        assert_eq!(set, ["node.name", "network.mdns"]);
        // With the mark taken away from every default, the file still loads.
        let is_setting =
            |line: &&str| line.starts_with('[') || line.starts_with('#') && !line.starts_with("# ");
        let template = text(&[]);
        let all: Vec<_> = template.lines().filter(is_setting).map(|l| l.trim_start_matches('#')).collect();
        fs::write(&path, all.join("\n")).unwrap();
        let loaded = load(&Sources { file: ConfigFile::At(path), ..Sources::default() }).unwrap();
        assert!(loaded.settings.iter().all(|s| s.origin != Origin::Default));
    }
}
