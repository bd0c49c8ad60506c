//! Newswire-like sentences with people, places, organizations and other names: the built-in corpus.
//!
//! Six subjects with their own templates, words and names. What makes it worth learning together: a node that has seen
//! only two subjects does not know the frames of the others, where the same frame holds other kinds of names (a place
//! is a club in sport, a state in politics). What keeps it from being trivial: people, places and firms share stems, a
//! part of the names in every sentence is new, and some sentences are all capitals or all small.

use rand_chacha::ChaCha8Rng;

use crate::data::example::TaggedSentence;
use crate::data::labels::LabelSet;
use crate::data::synthetic::names::{REGIONS, Region, acronym, draw};
use crate::data::synthetic::topics::{
    CLUBS, COMMON_CLOSINGS, COMMON_MAINS, DAYS, MONTHS, PLACE_BACKS, PLACE_FRONTS, TITLE_WORDS, TOPICS, Topic,
};
use crate::error::{Error, Result};
use crate::seed::{Seed, below, index, pick, uniform};

/// The entity types of the corpus.
pub const TYPES: [&str; 4] = ["LOC", "MISC", "ORG", "PER"];
/// Most sentences made at once.
pub const SENTENCES_MAX: usize = 1_000_000;

/// Known names per subject and kind.
const KNOWN: usize = 90;
/// Share of names that are made up for one sentence only.
const FRESH: f64 = 0.35;
/// Share of clauses that any subject may have.
const COMMON: f64 = 0.3;
/// Share of sentences in capitals, and share in small letters.
const CAPITALS: f64 = 0.05;
const SMALL: f64 = 0.05;

/// The labels: `O` and IOB2 tags of [`TYPES`].
pub fn labels() -> LabelSet {
    LabelSet::tagging(TYPES).expect("four short, different type names form a set")
}

/// Makes `count` sentences, all subjects alike, in documents of one subject.
///
/// `part` names an independent stream: `train` and `test` of one seed share the known names of the world, never their
/// sentences.
///
/// # Errors
/// More than [`SENTENCES_MAX`] sentences are asked for.
pub fn generate(seed: &Seed, part: &str, count: usize) -> Result<Vec<TaggedSentence>> {
    if count > SENTENCES_MAX {
        return Err(Error::config("sentences", format!("expected at most {SENTENCES_MAX}, found {count}")));
    }
    let seed = seed.fork("newswire");
    let worlds: Vec<World> = TOPICS.iter().map(|topic| World::new(topic, &seed.fork(topic.name))).collect();
    let labels = labels();
    let mut rng = seed.fork("sentences").fork(part).rng();
    let mut sentences = Vec::with_capacity(count);
    let mut document = 0;
    while sentences.len() < count {
        let world = &worlds[document as usize % worlds.len()];
        for _ in 0..5 + index(&mut rng, 6) {
            if sentences.len() < count {
                sentences.push(world.sentence(&mut rng, &labels, document));
            }
        }
        document += 1;
    }
    Ok(sentences)
}

/// The known names of one subject.
struct World {
    topic: &'static Topic,
    stems: Vec<(usize, String)>,
}

/// Words under construction, with the type of the entity each belongs to.
struct Draft {
    words: Vec<String>,
    /// For each word the number of its entity's type and whether it is the first.
    marks: Vec<Option<(usize, bool)>>,
}

impl Draft {
    fn word(&mut self, word: impl Into<String>) {
        self.words.push(word.into());
        self.marks.push(None);
    }

    fn entity(&mut self, name: &str, entity_type: &str) {
        let number = TYPES.iter().position(|known| *known == entity_type).unwrap_or_default();
        for (place, word) in name.split(' ').enumerate() {
            self.words.push(word.to_owned());
            self.marks.push(Some((number, place == 0)));
        }
    }
}

impl World {
    fn new(topic: &'static Topic, seed: &Seed) -> Self {
        let mut rng = seed.rng();
        let stems = (0..KNOWN)
            .map(|_| {
                let region = region_of(topic, &mut rng);
                (region, REGIONS[region].stem(&mut rng))
            })
            .collect();
        Self { topic, stems }
    }

    /// A stem: mostly one of the known, the first ones more often, sometimes a new one.
    fn stem(&self, rng: &mut ChaCha8Rng) -> (Region, String) {
        if uniform(rng) < FRESH {
            let region = REGIONS[region_of(self.topic, rng)];
            let stem = region.stem(rng);
            return (region, stem);
        }
        // The square of a uniform number: the first tenth of the names makes up a third of the mentions.
        let place = (uniform(rng) * uniform(rng) * self.stems.len() as f64) as usize;
        let (region, stem) = &self.stems[place.min(self.stems.len() - 1)];
        (REGIONS[*region], stem.clone())
    }

    fn sentence(&self, rng: &mut ChaCha8Rng, labels: &LabelSet, document: u32) -> TaggedSentence {
        let mut draft = Draft { words: Vec::new(), marks: Vec::new() };
        if uniform(rng) < 0.35 {
            self.fill(draw(rng, self.topic.openings), rng, &mut draft);
        }
        let mains = if uniform(rng) < COMMON { &COMMON_MAINS[..] } else { self.topic.mains };
        self.fill(draw(rng, mains), rng, &mut draft);
        if uniform(rng) < 0.6 {
            let closings = if uniform(rng) < COMMON { &COMMON_CLOSINGS[..] } else { self.topic.closings };
            self.fill(draw(rng, closings), rng, &mut draft);
        }
        if uniform(rng) < 0.95 {
            draft.word(".");
        }
        let style = uniform(rng);
        if style < CAPITALS {
            draft.words.iter_mut().for_each(|word| *word = word.to_uppercase());
        } else if style < CAPITALS + SMALL {
            draft.words.iter_mut().for_each(|word| *word = word.to_lowercase());
        } else if let Some(first) = draft.words.first_mut() {
            capitalise(first);
        }
        let tags = draft
            .marks
            .iter()
            .map(|mark| {
                mark.map_or("O".to_owned(), |(number, first)| {
                    format!("{}-{}", if first { 'B' } else { 'I' }, TYPES[number])
                })
            })
            .map(|tag| labels.id(&tag).unwrap_or(0))
            .collect();
        TaggedSentence { tokens: draft.words, tags, document, topic: Some(self.topic.name.to_owned()) }
    }

    fn fill(&self, template: &str, rng: &mut ChaCha8Rng, draft: &mut Draft) {
        for word in template.split(' ') {
            match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
                Some(slot) => self.slot(rng, slot, draft),
                None => draft.word(word),
            }
        }
    }

    fn slot(&self, rng: &mut ChaCha8Rng, slot: &str, draft: &mut Draft) {
        match slot {
            "per" => draft.entity(&self.person(rng), "PER"),
            "last" => {
                let (region, stem) = self.stem(rng);
                // In business a surname alone is as often a firm, and nothing in the name tells.
                let entity_type = if self.topic.name == "business" { "ORG" } else { "PER" };
                draft.entity(&region.surname(rng, &stem), entity_type);
            }
            "either" => {
                let (_, stem) = self.stem(rng);
                draft.entity(&stem, draw(rng, &["LOC", "LOC", "ORG", "ORG", "PER"]));
            }
            "loc" => draft.entity(&self.place(rng), "LOC"),
            "team" => self.team(rng, draft),
            "org" => draft.entity(&self.organization(rng), "ORG"),
            "misc" => draft.entity(&self.thing(rng), "MISC"),
            "nat" => {
                let (region, stem) = self.stem(rng);
                draft.entity(&region.people(rng, &stem), "MISC");
            }
            "n" => draft.word(draw(rng, self.topic.nouns)),
            "a" => draft.word(draw(rng, self.topic.adjectives)),
            "day" => draft.word(draw(rng, &DAYS)),
            "month" => draft.word(draw(rng, &MONTHS)),
            "year" => draft.word((1950 + below(rng, 75)).to_string()),
            "num" => draft.word((1 + below(rng, 99)).to_string()),
            "score" => draft.word(format!("{}-{}", below(rng, 6), below(rng, 4))),
            "pct" => {
                draft.word(format!("{}.{}", below(rng, 20), below(rng, 10)));
                draft.word("percent");
            }
            "money" => {
                draft.word("$");
                draft.word(format!("{}.{}", 1 + below(rng, 90), below(rng, 10)));
                draft.word("million");
            }
            other => draft.word(other),
        }
    }

    fn person(&self, rng: &mut ChaCha8Rng) -> String {
        let (region, stem) = self.stem(rng);
        let last = region.surname(rng, &stem);
        let first = region.first_name(rng);
        match index(rng, 10) {
            0 => last,
            1 => format!("{}. {last}", first.chars().next().unwrap_or('A')),
            2 => format!("{first} {}. {last}", (b'A' + index(rng, 26) as u8) as char),
            _ => format!("{first} {last}"),
        }
    }

    fn place(&self, rng: &mut ChaCha8Rng) -> String {
        let (region, stem) = self.stem(rng);
        let place = region.place(rng, &stem);
        match index(rng, 10) {
            0 => format!("{} {place}", draw(rng, &PLACE_FRONTS)),
            1 => format!("{place} {}", draw(rng, &PLACE_BACKS)),
            _ => place,
        }
    }

    /// A body named like a place: a club in sport, elsewhere the place itself.
    fn team(&self, rng: &mut ChaCha8Rng, draft: &mut Draft) {
        let (region, stem) = self.stem(rng);
        let place = region.place(rng, &stem);
        if self.topic.name != "sport" {
            draft.entity(&place, "LOC");
        } else if uniform(rng) < 0.35 {
            draft.entity(&format!("{place} {}", draw(rng, &CLUBS)), "ORG");
        } else {
            draft.entity(&place, "ORG");
        }
    }

    fn organization(&self, rng: &mut ChaCha8Rng) -> String {
        if uniform(rng) < 0.15 {
            return acronym(rng);
        }
        let (region, stem) = self.stem(rng);
        let body = draw(rng, self.topic.bodies);
        match index(rng, 10) {
            // The stem alone: only the frame tells.
            0..=2 => stem,
            // A person's name inside.
            3 => format!("{} {} {body}", region.first_name(rng), region.surname(rng, &stem)),
            4 => format!("{} {body}", region.people(rng, &stem)),
            5 => format!("{body} of {}", region.place(rng, &stem)),
            _ => format!("{stem} {body}"),
        }
    }

    fn thing(&self, rng: &mut ChaCha8Rng) -> String {
        let (region, stem) = self.stem(rng);
        let thing = draw(rng, self.topic.things);
        match (self.topic.name, index(rng, 10)) {
            ("emergency", _) => format!("{thing} {}", region.first_name(rng)),
            ("culture", 0..=5) => title(rng),
            ("science", 0..=3) => format!("{stem}-{}", 1 + below(rng, 9)),
            ("business", 0..=2) => stem,
            (_, 0..=4) => format!("{stem} {thing}"),
            (_, 5 | 6) => format!("{} {thing}", region.people(rng, &stem)),
            (_, 7) => format!("{} {thing}", region.surname(rng, &stem)),
            _ => format!("{} {thing}", region.place(rng, &stem)),
        }
    }
}

/// Mostly the subject's first region, sometimes its second, rarely any.
fn region_of(topic: &Topic, rng: &mut ChaCha8Rng) -> usize {
    match uniform(rng) {
        share if share < 0.6 => topic.regions[0],
        share if share < 0.85 => topic.regions[1],
        _ => index(rng, REGIONS.len()),
    }
}

/// The title of a work: two to four words.
fn title(rng: &mut ChaCha8Rng) -> String {
    let mut words = Vec::new();
    if uniform(rng) < 0.4 {
        words.push("The");
    }
    for _ in 0..2 + index(rng, 2) {
        words.push(pick(rng, &TITLE_WORDS).copied().unwrap_or("Blue"));
    }
    words.join(" ")
}

fn capitalise(word: &mut String) {
    if let Some(first) = word.chars().next() {
        let rest = word.split_off(first.len_utf8());
        *word = first.to_uppercase().chain(rest.chars()).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::data::labels::Tag;

    /// The name and the type of every entity.
    fn entities(sentences: &[TaggedSentence]) -> Vec<(String, String)> {
        let labels = labels();
        let mut found = Vec::new();
        for sentence in sentences {
            let mut open: Option<(String, String)> = None;
            for (word, tag) in sentence.tokens.iter().zip(&sentence.tags) {
                match labels.tag(*tag) {
                    Tag::Inside(_) => open.as_mut().unwrap().0.extend([" ", word.as_str()]),
                    Tag::Begin(number) => {
                        let next = (word.clone(), labels.entity_types()[number as usize].clone());
                        found.extend(open.replace(next));
                    }
                    Tag::Outside => found.extend(open.take()),
                }
            }
            found.extend(open);
        }
        found
    }

    #[test]
    fn equal_seeds_give_equal_sentences_and_parts_differ() {
        let seed = Seed::from_u64(1);
        let train = generate(&seed, "train", 300).unwrap();
        assert_eq!(train, generate(&seed, "train", 300).unwrap());
        assert_ne!(train, generate(&seed, "test", 300).unwrap());
        assert_ne!(train, generate(&Seed::from_u64(2), "train", 300).unwrap());
        assert_eq!(train[..100], generate(&seed, "train", 100).unwrap());
    }

    /// Nodes train their common tokenizer on public sentences, so these must be the same on every platform and in every
    /// build; a change of words, names or draws shows here and needs a new name for the corpus in running charters.
    #[test]
    fn the_corpus_is_the_one_it_was_before() {
        let mut text = Vec::new();
        let sentences = generate(&Seed::from_u64(1), "public", 500).unwrap();
        crate::data::conll::write(&mut text, &sentences, &labels()).unwrap();
        assert_eq!(blake3::hash(&text).as_bytes()[..4], [106, 94, 208, 42]);
    }

    #[test]
    fn every_slot_of_every_template_is_known() {
        let known = [
            "per", "last", "loc", "team", "org", "misc", "nat", "n", "a", "day", "month", "year", "num",
            "score", "pct", "money", "either",
        ];
        for topic in &TOPICS {
            let lists = [topic.openings, topic.mains, topic.closings, &COMMON_MAINS, &COMMON_CLOSINGS];
            for template in lists.concat() {
                for word in template.split(' ') {
                    assert!(!word.is_empty(), "{template}");
                    if let Some(slot) = word.strip_prefix('{') {
                        assert!(known.contains(&slot.trim_end_matches('}')), "{template}");
                    }
                }
            }
        }
    }

    #[test]
    fn sentences_are_of_newswire_length_and_all_subjects_and_types_are_common() {
        let sentences = generate(&Seed::from_u64(3), "train", 3000).unwrap();
        let words: usize = sentences.iter().map(|sentence| sentence.tokens.len()).sum();
        let mean = words as f64 / sentences.len() as f64;
        assert!((12.0..20.0).contains(&mean), "{mean}");
        let mut topics: BTreeMap<&str, usize> = BTreeMap::new();
        for sentence in &sentences {
            *topics.entry(sentence.topic.as_deref().unwrap()).or_default() += 1;
        }
        assert!(topics.len() == TOPICS.len() && topics.values().all(|count| *count > 350), "{topics:?}");
        let mut types: BTreeMap<String, usize> = BTreeMap::new();
        for (_, kind) in entities(&sentences) {
            *types.entry(kind).or_default() += 1;
        }
        let all: usize = types.values().sum();
        assert!(types.values().all(|count| count * 8 > all), "{types:?}");
    }

    #[test]
    fn many_test_names_are_new_and_some_names_have_several_types() {
        let seed = Seed::from_u64(4);
        let train = entities(&generate(&seed, "train", 6000).unwrap());
        let test = entities(&generate(&seed, "test", 1000).unwrap());
        let known: BTreeSet<&str> = train.iter().map(|(name, _)| name.as_str()).collect();
        let new = test.iter().filter(|(name, _)| !known.contains(name.as_str())).count() as f64;
        let share = new / test.len() as f64;
        assert!((0.3..0.8).contains(&share), "{share}");
        let mut types: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, kind) in &train {
            types.entry(name).or_default().insert(kind);
        }
        let ambiguous = test
            .iter()
            .filter(|(name, _)| types.get(name.as_str()).is_some_and(|kinds| kinds.len() > 1))
            .count() as f64;
        assert!(ambiguous / test.len() as f64 > 0.1, "{ambiguous}");
    }
}
