//! Chinese headlines with topics and Chinese sentences with entities, made up from templates.
//!
//! Every letter is a word, as in the usual Chinese corpora. Names are put together from common letters; the subject of a
//! sentence decides its templates, so that nodes can be made unlike each other.

use crate::data::example::{LabelledText, TaggedSentence};
use crate::data::labels::{LabelSet, Tag};
use crate::data::synthetic::names::draw;
use crate::data::words::words;
use crate::error::{Error, Result};
use crate::seed::{Seed, below, index};

/// Most texts made at once.
pub const TEXTS_MAX: usize = 1_000_000;

/// Entity types, sorted.
const TYPES: [&str; 4] = ["address", "company", "name", "organization"];

struct Topic {
    name: &'static str,
    /// Headline templates; `{n}` a person, `{a}` a place, `{c}` a company, `{o}` an organization, `{num}` a number.
    frames: [&'static str; 6],
}

const TOPICS: [Topic; 6] = [
    Topic {
        name: "finance",
        frames: [
            "{c}股价上涨{num}点创新高",
            "{c}今年利润增长{num}成",
            "央行称{a}房贷利率不变",
            "基金经理{n}看好{c}",
            "{c}在{a}发行债券",
            "{o}提醒投资者注意风险",
        ],
    },
    Topic {
        name: "sports",
        frames: [
            "{n}攻入{num}球{o}主场取胜",
            "{o}在{a}击败对手",
            "教练{n}宣布离开{o}",
            "{n}打破{a}马拉松纪录",
            "{o}签下前锋{n}",
            "决赛在{a}举行{num}人观战",
        ],
    },
    Topic {
        name: "education",
        frames: [
            "{o}公布今年录取分数线",
            "{a}高考{num}人参加",
            "校长{n}谈{o}招生计划",
            "{o}新增{num}个专业",
            "老师{n}获得{a}优秀教师奖",
            "{a}小学生暑假作业减少",
        ],
    },
    Topic {
        name: "science",
        frames: [
            "{o}科学家{n}发现新材料",
            "{c}发布{num}款手机",
            "{n}教授研究{a}古生物",
            "{c}卫星在{a}发射成功",
            "{o}测得{num}光年外的信号",
            "工程师{n}加入{c}",
        ],
    },
    Topic {
        name: "society",
        frames: [
            "{a}暴雨{num}人安全转移",
            "市民{n}在{a}救起落水儿童",
            "{a}警方抓获{num}名嫌疑人",
            "{o}为{a}老人送去棉衣",
            "司机{n}拾金不昧",
            "{a}地铁新线明天开通",
        ],
    },
    Topic {
        name: "entertainment",
        frames: [
            "歌手{n}在{a}开演唱会",
            "{n}主演的电影票房过{num}亿",
            "导演{n}与{c}合作新片",
            "{c}公布新剧演员名单",
            "{n}和{n}担任晚会主持",
            "{a}电影节{num}部影片参展",
        ],
    },
];

const SURNAMES: [&str; 12] = ["王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "欧阳", "司马"];
const GIVEN: [&str; 20] = [
    "伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明", "超",
    "霞", "平", "刚",
];
const PLACE_FIRST: [&str; 14] =
    ["东", "西", "南", "北", "长", "安", "宁", "武", "青", "海", "金", "云", "清", "石"];
const PLACE_SECOND: [&str; 12] = ["州", "江", "山", "城", "阳", "原", "河", "门", "林", "泉", "湖", "岛"];
const PLACE_KINDS: [&str; 4] = ["市", "县", "区", ""];
const FIRM_WORDS: [&str; 14] =
    ["华", "新", "天", "中", "恒", "联", "金", "创", "龙", "盛", "信", "达", "通", "远"];
const FIRM_KINDS: [&str; 6] = ["集团", "科技", "银行", "证券", "汽车", "传媒"];
const CLUB_KINDS: [&str; 6] = ["大学", "中学", "足球队", "研究院", "红十字会", "医院"];

/// The topics of headlines, sorted.
pub fn topic_labels() -> LabelSet {
    let mut names: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    names.sort_unstable();
    LabelSet::classes(names).expect("six short, different names form a set")
}

/// The tags of sentences.
pub fn entity_labels() -> LabelSet {
    LabelSet::tagging(TYPES).expect("four short, different names form a set")
}

/// Makes headlines with their topic; `part` names an independent stream (`train`, `test`).
///
/// # Errors
/// More than [`TEXTS_MAX`] are asked for.
pub fn headlines(seed: &Seed, part: &str, count: usize) -> Result<Vec<LabelledText>> {
    let labels = topic_labels();
    let made = drafts(&seed.fork("headlines-zh"), part, count)?;
    Ok(made
        .into_iter()
        .map(|(topic, pieces)| {
            let text: String = pieces.into_iter().map(|(text, _)| text).collect();
            let label = labels.id(topic.name).expect("every topic is a label");
            LabelledText { text, label, group: None }
        })
        .collect())
}

/// Makes sentences with entities; `part` names an independent stream (`train`, `test`).
///
/// # Errors
/// More than [`TEXTS_MAX`] are asked for.
pub fn sentences(seed: &Seed, part: &str, count: usize) -> Result<Vec<TaggedSentence>> {
    let labels = entity_labels();
    let tag = |tag| labels.tag_id(tag).expect("every type has both tags");
    let made = drafts(&seed.fork("newswire-zh"), part, count)?;
    let tagged = made.into_iter().enumerate().map(|(number, (topic, pieces))| {
        let (mut tokens, mut tags) = (Vec::new(), Vec::new());
        for (text, kind) in pieces {
            for (place, range) in words(&text).into_iter().enumerate() {
                tokens.push(text[range].to_owned());
                tags.push(match kind {
                    None => tag(Tag::Outside),
                    Some(kind) if place == 0 => tag(Tag::Begin(kind)),
                    Some(kind) => tag(Tag::Inside(kind)),
                });
            }
        }
        TaggedSentence { tokens, tags, document: number as u32, topic: Some(topic.name.to_owned()) }
    });
    Ok(tagged.collect())
}

/// Pieces of text, each with the number of its entity type in [`TYPES`] where it is an entity.
type Draft = Vec<(String, Option<u32>)>;

fn drafts(seed: &Seed, part: &str, count: usize) -> Result<Vec<(&'static Topic, Draft)>> {
    if count > TEXTS_MAX {
        return Err(Error::config("headlines", format!("expected at most {TEXTS_MAX}, found {count}")));
    }
    let mut rng = seed.fork(part).rng();
    let draft = |_| {
        let topic = &TOPICS[index(&mut rng, TOPICS.len())];
        let mut pieces = Vec::new();
        let mut rest = draw(&mut rng, &topic.frames);
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push((before.to_owned(), None));
            }
            let (slot, after) = after.split_once('}').expect("every slot of the templates is closed");
            let place = |rng: &mut _| format!("{}{}", draw(rng, &PLACE_FIRST), draw(rng, &PLACE_SECOND));
            pieces.push(match slot {
                "n" => {
                    let second = if below(&mut rng, 2) == 0 { "" } else { draw(&mut rng, &GIVEN) };
                    let name = format!("{}{}{second}", draw(&mut rng, &SURNAMES), draw(&mut rng, &GIVEN));
                    (name, Some(2))
                }
                "a" => (format!("{}{}", place(&mut rng), draw(&mut rng, &PLACE_KINDS)), Some(0)),
                "c" => {
                    let words = format!("{}{}", draw(&mut rng, &FIRM_WORDS), draw(&mut rng, &FIRM_WORDS));
                    (format!("{words}{}", draw(&mut rng, &FIRM_KINDS)), Some(1))
                }
                "o" => (format!("{}{}", place(&mut rng), draw(&mut rng, &CLUB_KINDS)), Some(3)),
                _ => ((2 + below(&mut rng, 98)).to_string(), None),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push((rest.to_owned(), None));
        }
        (topic, pieces)
    };
    Ok((0..count).map(draft).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_topics_and_types_occur_and_slots_are_filled() {
        let headlines = headlines(&Seed::from_u64(1), "train", 300).unwrap();
        assert!(headlines.iter().all(|headline| !headline.text.contains(['{', '}'])));
        for label in 0..TOPICS.len() as u32 {
            assert!(headlines.iter().any(|headline| headline.label == label));
        }
        let sentences = sentences(&Seed::from_u64(1), "train", 300).unwrap();
        for kind in 0..TYPES.len() as u32 {
            let begin = entity_labels().tag_id(Tag::Begin(kind)).unwrap();
            assert!(sentences.iter().filter(|s| s.tags.contains(&begin)).count() > 20);
        }
        assert!(sentences.iter().all(|s| s.tokens.len() == s.tags.len()));
    }

    #[test]
    fn chinese_letters_are_words_of_their_own() {
        let sentences = sentences(&Seed::from_u64(2), "test", 50).unwrap();
        let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
        let all: Vec<&String> = sentences.iter().flat_map(|s| &s.tokens).collect();
        assert!(all.iter().all(|word| word.chars().count() == 1 || is_number(word)));
    }
}
