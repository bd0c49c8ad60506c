//! The text form that Prometheus reads (version 0.0.4 of its exposition format).

use std::fmt::{Display, Write};

/// Media type of the text.
pub const MEDIA: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that grows by one family of metrics at a time.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// A value that goes up and down. A value that is not known is left out.
    pub fn gauge(&mut self, name: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.head(name, help, "gauge");
            let _ = writeln!(self.text, "{name} {value}");
        }
    }

    /// A count that only grows; its name ends with `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.head(name, help, "counter");
        let _ = writeln!(self.text, "{name} {value}");
    }

    /// A family with one label. Label values are ours, never a peer's words; they are escaped all the same.
    pub fn labelled<V: Display>(
        &mut self,
        (name, help, kind): (&str, &str, &str),
        label: &str,
        values: impl IntoIterator<Item = (String, V)>,
    ) {
        self.head(name, help, kind);
        for (of, value) in values {
            let _ = writeln!(self.text, "{name}{{{label}=\"{}\"}} {value}", escaped(&of));
        }
    }

    /// A gauge that is 1 and carries facts in its labels.
    pub fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) {
        self.head(name, help, "gauge");
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        let _ = writeln!(self.text, "{name}{{{}}} 1", labels.join(","));
    }

    /// A histogram of whole numbers from their counts; `bounds` rise.
    pub fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[u32],
        counts: impl Iterator<Item = (&'a u32, &'a u64)> + Clone,
    ) {
        self.head(name, help, "histogram");
        for bound in bounds {
            let below: u64 = counts.clone().filter(|(value, _)| *value <= bound).map(|(_, n)| n).sum();
            let _ = writeln!(self.text, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        let all: u64 = counts.clone().map(|(_, n)| n).sum();
        let sum: u64 = counts.map(|(value, n)| u64::from(*value) * n).sum();
        let _ =
            write!(self.text, "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {sum}\n{name}_count {all}\n");
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut text = Exposition::default();
        text.info("starling_node_info", "Facts.", &[("version", "1\"} 2\nforged_total 3\\")]);
        let text = text.finish();
        assert!(text.ends_with("{version=\"1\\\"} 2\\nforged_total 3\\\\\"} 1\n"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_histogram_counts_each_value_in_every_bucket_above_it() {
        let mut text = Exposition::default();
        text.histogram("age", "Ages.", &[0, 2], BTreeMap::from([(0, 5), (1, 2), (7, 1)]).iter());
        let text = text.finish();
        for line in [
            "age_bucket{le=\"0\"} 5",
            "age_bucket{le=\"2\"} 7",
            "age_bucket{le=\"+Inf\"} 8",
            "age_sum 9",
            "age_count 8",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
