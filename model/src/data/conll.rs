//! CoNLL columns: one word per line, blank lines between sentences.
//!
//! Any column order, tab or space between columns, `-DOCSTART-` lines between documents, any of the tag schemes; what
//! comes out is IOB2. A line `# topic = name` states the topic of the sentences after it. A bad line spoils its
//! sentence, not the file.

use std::collections::BTreeSet;
use std::io::BufRead;

use crate::data::example::TaggedSentence;
use crate::data::labels::{LabelSet, Tag, shown};
use crate::data::report::DataReport;
use crate::data::schema::{Column, Schema};
use crate::data::scheme::{self, Scheme};
use crate::data::source::{Line, Lines};
use crate::error::Result;

/// Most words in a sentence: beyond it a blank line is surely missing.
pub const SENTENCE_WORDS_MAX: usize = 2_000;
/// Longest word, in bytes.
pub const WORD_BYTES_MAX: usize = 4_096;

/// A sentence as in the file, before its scheme is known.
#[derive(Debug)]
pub(super) struct Raw {
    line: u64,
    one_line: bool,
    words: Vec<String>,
    tags: Vec<String>,
    document: u32,
    topic: Option<String>,
    fault: Option<(u64, String)>,
}

impl Raw {
    /// A sentence without fault, from another format.
    pub(super) fn new(line: u64, words: Vec<String>, tags: Vec<String>, topic: Option<String>) -> Self {
        Self { line, one_line: true, words, tags, document: 0, topic, fault: None }
    }
}

/// Reads sentences from lines.
///
/// The labels are the schema's when it states them; otherwise all types of the file, sorted.
///
/// # Errors
/// The source fails, or the schema is contradictory. Bad sentences are in the report.
pub fn read<R: BufRead>(
    lines: Lines<R>,
    schema: &Schema,
) -> Result<(Vec<TaggedSentence>, LabelSet, DataReport)> {
    let mut report = DataReport::new(lines.name(), "conll");
    let mut reader = Reader::new(schema);
    reader.run(lines)?;
    report.documents = u64::from(reader.documents);
    finish(reader.sentences, schema, report)
}

/// Finds the scheme and the labels of raw sentences and turns them into IOB2 examples.
pub(super) fn finish(
    sentences: Vec<Raw>,
    schema: &Schema,
    mut report: DataReport,
) -> Result<(Vec<TaggedSentence>, LabelSet, DataReport)> {
    let scheme = schema.scheme.unwrap_or_else(|| {
        let words: Vec<Vec<&str>> = sentences
            .iter()
            .filter(|raw| raw.fault.is_none())
            .map(|raw| raw.tags.iter().map(String::as_str).collect())
            .collect();
        scheme::detect(words.iter().map(Vec::as_slice))
    });
    report.scheme = Some(scheme);
    let labels = match schema.label_set()? {
        Some(labels) => labels,
        None => LabelSet::tagging(used_types(&sentences, scheme))?,
    };
    let mut examples = Vec::new();
    for raw in sentences {
        let line = raw.line;
        match convert(raw, scheme, &labels) {
            Ok((sentence, repaired)) => {
                report.rows += 1;
                report.good += 1;
                report.repaired += repaired as u64;
                report.words += sentence.tokens.len() as u64;
                count(&sentence, &labels, &mut report);
                examples.push(sentence);
            }
            Err((bad_line, reason)) => report.skip(if bad_line == 0 { line } else { bad_line }, reason),
        }
    }
    report.settle(schema.bad_share_max);
    Ok((examples, labels, report))
}

/// Counts entities by type and sentences by topic.
fn count(sentence: &TaggedSentence, labels: &LabelSet, report: &mut DataReport) {
    for tag in &sentence.tags {
        if let Tag::Begin(number) = labels.tag(*tag) {
            *report.labels.entry(labels.entity_types()[number as usize].clone()).or_default() += 1;
        }
    }
    if let Some(topic) = &sentence.topic {
        *report.groups.entry(topic.clone()).or_default() += 1;
    }
}

/// The entity types of the sentences without fault.
fn used_types(sentences: &[Raw], scheme: Scheme) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for tag in sentences.iter().filter(|raw| raw.fault.is_none()).flat_map(|raw| &raw.tags) {
        let Some(part) = scheme::part(tag, scheme == Scheme::Plain) else { continue };
        if part.prefix != 'O'
            && !types.contains(part.entity_type)
            && LabelSet::tagging([part.entity_type]).is_ok()
        {
            types.insert(part.entity_type.to_owned());
        }
    }
    types
}

/// Turns a raw sentence into an example; on failure the line (0: the sentence's first) and the reason.
fn convert(raw: Raw, scheme: Scheme, labels: &LabelSet) -> Result<(TaggedSentence, usize), (u64, String)> {
    if let Some(fault) = raw.fault {
        return Err(fault);
    }
    // In columns each word has its line; in other formats a sentence has one.
    let line_of = |place: usize| if raw.one_line { raw.line } else { raw.line + place as u64 };
    let mut words = Vec::with_capacity(raw.tags.len());
    for (place, tag) in raw.tags.iter().enumerate() {
        let Some(part) = scheme::part(tag, scheme == Scheme::Plain) else {
            return Err((
                line_of(place),
                format!("expected a tag such as O or B-type, found `{}`", shown(tag)),
            ));
        };
        if part.prefix != 'O' && labels.id(&format!("B-{}", part.entity_type)).is_none() {
            return Err((line_of(place), format!("unknown entity type `{}`", shown(part.entity_type))));
        }
        words.push(part);
    }
    let (spans, repaired) = scheme::spans(&words, scheme);
    let outside = labels.id("O").ok_or((0, "the labels have no `O`".to_owned()))?;
    let mut tags = vec![outside; words.len()];
    for span in spans {
        let begin = labels.id(&format!("B-{}", span.entity_type)).unwrap_or(outside);
        let inside = labels.id(&format!("I-{}", span.entity_type)).unwrap_or(begin);
        tags[span.start] = begin;
        tags[span.start + 1..span.end].fill(inside);
    }
    Ok((TaggedSentence { tokens: raw.words, tags, document: raw.document, topic: raw.topic }, repaired))
}

/// The state between lines.
struct Reader {
    token_column: Column,
    tag_column: Column,
    plain: bool,
    /// Names from the first line, when a column is named.
    header: Option<Vec<String>>,
    width: Option<usize>,
    sentences: Vec<Raw>,
    current: Option<Raw>,
    documents: u32,
    document_has_words: bool,
    topic: Option<String>,
}

impl Reader {
    fn new(schema: &Schema) -> Self {
        Self {
            token_column: schema.columns.get("token").cloned().unwrap_or(Column::Number(1)),
            tag_column: schema.columns.get("tag").cloned().unwrap_or(Column::Number(-1)),
            plain: schema.scheme == Some(Scheme::Plain),
            header: None,
            width: None,
            sentences: Vec::new(),
            current: None,
            documents: 0,
            document_has_words: false,
            topic: None,
        }
    }

    fn run<R: BufRead>(&mut self, mut lines: Lines<R>) -> Result<()> {
        while let Some(line) = lines.next_line()? {
            match line {
                Line::Bad(number, reason) => self.spoil(number, reason),
                Line::Text(number, text) => self.take(number, &text),
            }
        }
        self.end_sentence();
        if self.document_has_words {
            self.documents += 1;
        }
        Ok(())
    }

    fn take(&mut self, number: u64, text: &str) {
        if text.trim().is_empty() {
            self.end_sentence();
            return;
        }
        if text.starts_with("-DOCSTART-") {
            self.end_sentence();
            if self.document_has_words {
                self.documents += 1;
            }
            self.document_has_words = false;
            self.topic = None;
            return;
        }
        if self.is_comment(text) {
            let stated = text.trim_start_matches('#').split_once('=');
            if let Some(("topic", name)) = stated.map(|(key, value)| (key.trim(), value.trim())) {
                self.end_sentence();
                self.topic = (!name.is_empty() && name.len() <= 200).then(|| name.to_owned());
            }
            return;
        }
        let fields = split(text);
        if self.is_header(&fields) {
            return;
        }
        match self.word_and_tag(&fields) {
            Ok((word, tag)) => self.push(number, word, tag),
            Err(reason) => self.spoil(number, reason),
        }
    }

    /// A comment starts with `# ` and does not end in a tag: `# SYM I-NP O` is a word.
    fn is_comment(&self, text: &str) -> bool {
        text.starts_with("# ")
            && !self.plain
            && split(text).last().is_none_or(|last| scheme::part(last, false).is_none())
    }

    /// Whether this line names the columns; only the first line of a file can, and only when a column is named.
    fn is_header(&mut self, fields: &[&str]) -> bool {
        let named =
            matches!(self.token_column, Column::Name(_)) || matches!(self.tag_column, Column::Name(_));
        if !named || self.header.is_some() {
            return false;
        }
        self.header = Some(fields.iter().map(|field| (*field).to_owned()).collect());
        self.width = Some(fields.len());
        true
    }

    fn word_and_tag(&mut self, fields: &[&str]) -> Result<(String, String), String> {
        if fields.len() < 2 {
            return Err(format!("expected a word and a tag, found {} column", fields.len()));
        }
        let width = *self.width.get_or_insert(fields.len());
        if fields.len() != width {
            return Err(format!("expected {width} columns as in the first line, found {}", fields.len()));
        }
        let field = |column: &Column| -> Result<&str, String> {
            let place = match column {
                Column::Number(number) if *number > 0 => Some(*number as usize - 1),
                Column::Number(number) => fields.len().checked_sub(number.unsigned_abs() as usize),
                Column::Name(name) => {
                    self.header.as_ref().and_then(|names| names.iter().position(|known| known == name))
                }
            };
            place.and_then(|place| fields.get(place).copied()).ok_or_else(|| match column {
                Column::Number(number) => format!("expected a column {number}, found {}", fields.len()),
                Column::Name(name) => format!("no column is named `{}` in the first line", shown(name)),
            })
        };
        let word = field(&self.token_column)?;
        let tag = field(&self.tag_column)?;
        if word.is_empty() || tag.is_empty() {
            return Err("expected a word and a tag, found an empty column".into());
        }
        if word.len() > WORD_BYTES_MAX {
            return Err(format!("expected at most {WORD_BYTES_MAX} bytes in a word, found {}", word.len()));
        }
        if tag.len() > WORD_BYTES_MAX {
            return Err(format!("expected a tag, found {} bytes", tag.len()));
        }
        Ok((word.to_owned(), tag.to_owned()))
    }

    fn push(&mut self, number: u64, word: String, tag: String) {
        self.document_has_words = true;
        let raw = self.open(number);
        if raw.fault.is_some() {
            return;
        }
        if raw.words.len() == SENTENCE_WORDS_MAX {
            raw.words = Vec::new();
            raw.tags = Vec::new();
            raw.fault = Some((
                number,
                format!(
                    "expected at most {SENTENCE_WORDS_MAX} words in a sentence; is a blank line missing?"
                ),
            ));
            return;
        }
        raw.words.push(word);
        raw.tags.push(tag);
    }

    fn spoil(&mut self, number: u64, reason: String) {
        let raw = self.open(number);
        if raw.fault.is_none() {
            raw.fault = Some((number, reason));
        }
    }

    fn open(&mut self, number: u64) -> &mut Raw {
        let document = self.documents;
        let topic = &self.topic;
        self.current.get_or_insert_with(|| Raw {
            line: number,
            one_line: false,
            words: Vec::new(),
            tags: Vec::new(),
            document,
            topic: topic.clone(),
            fault: None,
        })
    }

    fn end_sentence(&mut self) {
        if let Some(raw) = self.current.take() {
            self.sentences.push(raw);
        }
    }
}

/// Columns of a line: by tab where there is one, else by runs of spaces.
fn split(text: &str) -> Vec<&str> {
    if text.contains('\t') {
        text.split('\t').map(|field| field.trim_matches(' ')).collect()
    } else {
        text.split(' ').filter(|field| !field.is_empty()).collect()
    }
}

/// Writes sentences as `word TAB tag`, with topics and documents, so that [`read`] gives them back.
pub fn write(
    out: &mut impl std::io::Write,
    sentences: &[TaggedSentence],
    labels: &LabelSet,
) -> std::io::Result<()> {
    let mut document = None;
    let mut topic: Option<&String> = None;
    for sentence in sentences {
        if document != Some(sentence.document) {
            writeln!(out, "-DOCSTART-\tO\n")?;
            document = Some(sentence.document);
            topic = None;
        }
        if topic != sentence.topic.as_ref() {
            writeln!(out, "# topic = {}", sentence.topic.as_deref().unwrap_or(""))?;
            topic = sentence.topic.as_ref();
        }
        for (word, tag) in sentence.tokens.iter().zip(&sentence.tags) {
            writeln!(out, "{word}\t{}", labels.name(*tag))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::schema::TaskKind;

    fn load(text: &[u8], schema: &Schema) -> (Vec<TaggedSentence>, LabelSet, DataReport) {
        read(Lines::new(text, "test.conll".into()).unwrap(), schema).unwrap()
    }

    fn schema() -> Schema {
        Schema { bad_share_max: 1.0, ..Schema::new(TaskKind::Tagging) }
    }

    fn tags(sentence: &TaggedSentence, labels: &LabelSet) -> Vec<String> {
        sentence.tags.iter().map(|tag| labels.name(*tag).to_owned()).collect()
    }

    #[test]
    fn documents_schemes_and_column_orders_are_read_into_iob2() {
        let text = b"-DOCSTART- -X- O O\n\nU.N. NNP I-NP I-ORG\nJohn NNP I-NP I-PER\nSmith NNP I-NP I-PER\nEve NNP I-NP B-PER\n\n\
            -DOCSTART- -X- O O\n\n# SYM I-NP O\n1 CD I-NP O\n";
        let (sentences, labels, report) = load(text, &schema());
        assert_eq!(labels.names(), ["O", "B-ORG", "I-ORG", "B-PER", "I-PER"]);
        assert_eq!(tags(&sentences[0], &labels), ["B-ORG", "B-PER", "I-PER", "B-PER"]);
        assert_eq!(sentences[1].tokens, ["#", "1"]);
        assert_eq!((sentences[0].document, sentences[1].document), (0, 1));
        assert_eq!((report.scheme, report.documents, report.words), (Some(Scheme::Iob1), 2, 6));

        let mut turned = schema();
        turned.columns.insert("token".into(), Column::Number(2));
        turned.columns.insert("tag".into(), Column::Number(1));
        let (sentences, labels, _) = load(b"B-X a\nM-X b\nE-X c\nS-Y d\n", &turned);
        assert_eq!(tags(&sentences[0], &labels), ["B-X", "I-X", "I-X", "B-Y"]);

        let mut named = schema();
        named.columns.insert("token".into(), Column::Name("word".into()));
        named.columns.insert("tag".into(), Column::Name("ner".into()));
        let (sentences, _, _) = load(b"pos\tword\tner\nNN\ta\tB-X\n\nNN\tb\tO\n", &named);
        assert_eq!(sentences[0].tokens, ["a"]);
        assert_eq!(sentences.len(), 2);
    }

    #[test]
    fn plain_types_become_entities_of_touching_words() {
        let (sentences, labels, report) = load(b"a PER\nb PER\nc O\nd LOC\n", &schema());
        assert_eq!(report.scheme, Some(Scheme::Plain));
        assert_eq!(tags(&sentences[0], &labels), ["B-PER", "I-PER", "O", "B-LOC"]);
    }

    #[test]
    fn a_bad_line_spoils_its_sentence_and_is_named_by_line_and_reason() {
        let cases: [(&[u8], u64, &str); 9] = [
            (b"a O\nb\nc O\n\nd B-X\n", 2, "expected a word and a tag, found 1 column"),
            (b"a O\nb x O\n\nd B-X\n", 2, "expected 2 columns as in the first line, found 3"),
            (b"a O\nb Q-X\n\nd B-X\n", 2, "expected a tag such as O or B-type, found `Q-X`"),
            (b"a O\nb B-\n\nd B-X\n", 2, "expected a tag such as O or B-type, found `B-`"),
            (b"a O\nb\0 O\n\nd B-X\n", 2, "NUL byte"),
            (b"a O\ncaf\xe9 O\n\nd B-X\n", 2, "Latin-1"),
            (b"a\tO\n\tO\n\nd\tB-X\n", 2, "found an empty column"),
            (b"d B-X\n\na O\nb B-Y\xff\n", 4, "expected UTF-8"),
            (b"d B-X\n\nlonely", 3, "found 1 column"),
        ];
        for (text, line, reason) in cases {
            let (sentences, _, report) = load(text, &schema());
            assert_eq!(sentences.len(), 1, "{reason}");
            assert_eq!((report.rows, report.good, report.bad_rows), (2, 1, 1), "{reason}");
            assert_eq!(report.bad[0].line, line, "{reason}");
            assert!(report.bad[0].reason.contains(reason), "{} | {reason}", report.bad[0].reason);
        }
    }

    #[test]
    fn a_stated_label_list_refuses_other_types_and_a_missing_blank_line_is_noticed() {
        let stated = Schema { labels: vec!["X".into()], ..schema() };
        let (sentences, _, report) = load(b"a B-X\n\nb B-Y\n", &stated);
        assert_eq!(sentences.len(), 1);
        assert_eq!((report.bad[0].line, report.bad[0].reason.as_str()), (3, "unknown entity type `Y`"));

        let long = "w O\n".repeat(SENTENCE_WORDS_MAX + 5) + "\nw B-X\n";
        let (sentences, _, report) = load(long.as_bytes(), &schema());
        assert_eq!(sentences.len(), 1);
        assert!(report.bad[0].reason.contains("blank line missing"));
    }

    #[test]
    fn an_empty_file_gives_no_sentence_and_says_so() {
        for text in [&b""[..], b"\n\n", b"-DOCSTART- O\n\n"] {
            let (sentences, _, report) = load(text, &schema());
            assert!(sentences.is_empty());
            assert!(report.warnings[0].contains("no rows"));
        }
    }

    #[test]
    fn written_sentences_read_back_equal() {
        let text = b"-DOCSTART-\tO\n\n# topic = sport\na\tB-X\nb\tI-X\n\nc\tO\n\n# topic = law\nd\tB-Y\n\n-DOCSTART-\tO\n\ne\tO\n\n";
        let (sentences, labels, report) = load(text, &schema());
        assert_eq!(report.groups["sport"], 2);
        assert_eq!(sentences[3].topic, None);
        let mut written = Vec::new();
        write(&mut written, &sentences, &labels).unwrap();
        let (again, _, _) = load(&written, &Schema { scheme: Some(Scheme::Iob2), ..schema() });
        assert_eq!(again, sentences);
    }
}
