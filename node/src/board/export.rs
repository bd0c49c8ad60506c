//! Records in forms that other programs read: CSV of measured values, GraphML of the swarm; Parquet stands beside.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde_json::Value;

use crate::board::history::homes;
use crate::board::story::Story;

/// One measured value; what a record lacks or has in another type is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Seconds since the node began.
    pub t: Option<f64>,
    /// The node.
    pub node: Option<String>,
    /// Its inner step.
    pub step: Option<i64>,
    /// Its outer step.
    pub outer: Option<i64>,
    /// What was measured.
    pub name: Option<String>,
    /// How much.
    pub value: Option<f64>,
    /// `key=value`, joined by semicolons.
    pub tags: String,
}

/// Hands on every measured value of a directory; answers how many.
pub fn each_measured(dir: &Path, mut take: impl FnMut(Measured) -> io::Result<()>) -> io::Result<u64> {
    let mut count = 0;
    for home in homes(dir)? {
        let file = match File::open(home.join("metrics.jsonl")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for line in BufReader::new(file).split(b'\n') {
            // Half a line after a crash is passed over.
            let Ok(value) = serde_json::from_slice::<Value>(&line?) else { continue };
            let text = |field: &str| value[field].as_str().map(str::to_owned);
            let tags = value["tags"].as_object().into_iter().flatten();
            let tags: Vec<String> = tags.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
            take(Measured {
                t: value["t"].as_f64(),
                node: text("node"),
                step: value["step"].as_i64(),
                outer: value["outer"].as_i64(),
                name: text("name"),
                value: value["value"].as_f64(),
                tags: tags.join(";"),
            })?;
            count += 1;
        }
    }
    Ok(count)
}

/// Writes every measured value of a directory; answers how many.
pub fn csv(dir: &Path, to: &mut dyn Write) -> io::Result<u64> {
    fn shown<T: ToString>(value: Option<&T>) -> String {
        value.map_or_else(String::new, ToString::to_string)
    }
    // A fraction keeps its point, so that a column of them has one form.
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:?}"));
    writeln!(to, "t,node,step,outer,name,value,tags")?;
    each_measured(dir, |row| {
        let cells = [
            number(row.t),
            shown(row.node.as_ref()),
            shown(row.step.as_ref()),
            shown(row.outer.as_ref()),
            shown(row.name.as_ref()),
            number(row.value),
            row.tags,
        ];
        writeln!(to, "{}", cells.map(|field| cell(&field)).join(","))
    })
}

/// A field as RFC 4180 wants it. A leading sign of a formula is left as it is: numbers begin with one, too, and text of
/// peers stands in quotes.
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Writes nodes and pulls; answers how many edges.
pub fn graphml(story: &Story, to: &mut dyn Write) -> io::Result<u64> {
    writeln!(to, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(to, "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">")?;
    for (of, name, kind) in [
        ("node", "name", "string"),
        ("node", "organization", "string"),
        ("node", "outer_step", "int"),
        ("node", "score", "double"),
        ("edge", "updates", "long"),
        ("edge", "shards", "long"),
        ("edge", "last_outer", "int"),
    ] {
        writeln!(to, "<key id=\"{name}\" for=\"{of}\" attr.name=\"{name}\" attr.type=\"{kind}\"/>")?;
    }
    writeln!(to, "<graph edgedefault=\"directed\">")?;
    for (key, person) in story.people() {
        writeln!(to, "<node id=\"{}\">", xml(key))?;
        writeln!(to, "<data key=\"name\">{}</data>", xml(&person.name))?;
        writeln!(to, "<data key=\"organization\">{}</data>", xml(&person.organization))?;
        writeln!(to, "<data key=\"outer_step\">{}</data>", person.outer_step)?;
        if let Some(score) = person.score {
            writeln!(to, "<data key=\"score\">{score}</data>")?;
        }
        writeln!(to, "</node>")?;
    }
    let mut edges = 0;
    for ((from, target), pulls) in story.pulls() {
        if !(story.people().contains_key(from) && story.people().contains_key(target)) {
            continue;
        }
        writeln!(to, "<edge source=\"{}\" target=\"{}\">", xml(from), xml(target))?;
        writeln!(to, "<data key=\"updates\">{}</data>", pulls.updates)?;
        writeln!(to, "<data key=\"shards\">{}</data>", pulls.shards)?;
        writeln!(to, "<data key=\"last_outer\">{}</data>\n</edge>", pulls.last_outer)?;
        edges += 1;
    }
    writeln!(to, "</graph>\n</graphml>")?;
    Ok(edges)
}

/// Text as XML 1.0 can hold it: control characters have no place in it at all.
fn xml(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if crate::telemetry::escape::is_unsafe(c) => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::story::Person;
    use crate::store::status::{self, NodeStatus, STATUS_FILE};

    #[test]
    fn names_of_peers_stay_text_in_xml() {
        let mut story = Story::default();
        let name = "</data>\u{1b}\u{0}\"&<x";
        story.introduce("aa", Person { name: name.into(), score: Some(0.5), ..Person::default() });
        story.introduce("bb", Person::default());
        let line = serde_json::json!({"event":"pulled","step":2,"peer":"bb","staleness":0,"shards":3});
        story.event("aa", &serde_json::from_value(line).unwrap());
        let mut text = Vec::new();
        assert_eq!(graphml(&story, &mut text).unwrap(), 1);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("&lt;/data&gt;\u{fffd}\u{fffd}&quot;&amp;&lt;x</data>"), "{text}");
        assert!(text.contains("<edge source=\"bb\" target=\"aa\">"), "{text}");
    }

    #[test]
    fn every_whole_line_of_the_metrics_becomes_a_row_whose_cells_stay_apart() {
        let dir = tempfile::tempdir().unwrap();
        status::write(&dir.path().join(STATUS_FILE), &NodeStatus::default()).unwrap();
        std::fs::write(dir.path().join("events.jsonl"), "").unwrap();
        let line = r#"{"t":1.5,"node":"a,\"b","step":3,"outer":1,"name":"rejected","value":1.0,"tags":{"reason":"malformed"}}"#;
        std::fs::write(dir.path().join("metrics.jsonl"), format!("{line}\n{{\"t\":")).unwrap();
        let mut text = Vec::new();
        assert_eq!(csv(dir.path(), &mut text).unwrap(), 1);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().nth(1).unwrap(), "1.5,\"a,\"\"b\",3,1,rejected,1.0,reason=malformed");
    }
}
