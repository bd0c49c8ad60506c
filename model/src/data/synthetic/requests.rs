//! Customer requests with intents: short texts for classification.
//!
//! Ten intents in four departments; the department is the group, a natural way to make nodes unlike each other. Tickets are
//! letters with one to three requests, for a task in which any number of labels holds.

use crate::data::example::{LabelledText, ValuedText};
use crate::data::labels::LabelSet;
use crate::data::synthetic::names::draw;
use crate::error::{Error, Result};
use crate::seed::{Seed, below, index, uniform};

/// Most requests made at once.
pub const REQUESTS_MAX: usize = 1_000_000;

struct Intent {
    name: &'static str,
    department: &'static str,
    frames: &'static [&'static str],
}

const INTENTS: [Intent; 10] = [
    Intent {
        name: "balance",
        department: "accounts",
        frames: &[
            "how much is left on my {account}",
            "what is the balance of my {account}",
            "show me my {account}",
        ],
    },
    Intent {
        name: "statement",
        department: "accounts",
        frames: &[
            "send me the {account} statement for {month}",
            "i need my {month} statement",
            "where do i find what i paid in {month}",
        ],
    },
    Intent {
        name: "card_lost",
        department: "cards",
        frames: &[
            "i lost my {card}",
            "my {card} was stolen in {month}",
            "block my {card} , i can not find it",
        ],
    },
    Intent {
        name: "card_limit",
        department: "cards",
        frames: &[
            "raise the limit of my {card} to {num}",
            "why can i only spend {num} with my {card}",
            "set my {card} limit",
        ],
    },
    Intent {
        name: "card_arrival",
        department: "cards",
        frames: &[
            "when does my new {card} arrive",
            "i am waiting for my {card} since {month}",
            "track the {card} you sent",
        ],
    },
    Intent {
        name: "transfer",
        department: "payments",
        frames: &[
            "send {num} to my {account}",
            "move {num} from my {account} to savings",
            "pay {num} to my landlord",
        ],
    },
    Intent {
        name: "transfer_failed",
        department: "payments",
        frames: &[
            "my transfer of {num} did not go through",
            "why was {num} sent back",
            "the payment from {month} failed",
        ],
    },
    Intent {
        name: "refund",
        department: "payments",
        frames: &[
            "i want {num} back from a shop",
            "where is the refund for {month}",
            "the shop owes me {num} , please help",
        ],
    },
    Intent {
        name: "app_login",
        department: "support",
        frames: &["i can not log in to the app", "the app wants a new password", "login fails since {month}"],
    },
    Intent {
        name: "opening_hours",
        department: "support",
        frames: &["when are you open in {month}", "is the branch open today", "opening hours please"],
    },
];

const POLITE: [&str; 6] =
    ["please", "hello ,", "hi there ,", "good morning ,", "quick question :", "urgent :"];
const ENDS: [&str; 6] = ["thanks", "?", ", it is urgent", ", thank you", "!", "as soon as possible"];
const ACCOUNTS: [&str; 4] = ["account", "savings account", "current account", "joint account"];
const CARDS: [&str; 4] = ["card", "credit card", "debit card", "travel card"];
const MONTHS: [&str; 6] = ["january", "march", "may", "july", "october", "december"];

/// The intents, in order.
pub fn labels() -> LabelSet {
    LabelSet::classes(INTENTS.iter().map(|intent| intent.name))
        .expect("ten short, different names form a set")
}

/// Makes requests; `part` names an independent stream (`train`, `test`).
///
/// # Errors
/// More than [`REQUESTS_MAX`] are asked for.
pub fn generate(seed: &Seed, part: &str, count: usize) -> Result<Vec<LabelledText>> {
    if count > REQUESTS_MAX {
        return Err(Error::config("requests", format!("expected at most {REQUESTS_MAX}, found {count}")));
    }
    let mut rng = seed.fork("requests").fork(part).rng();
    let requests = (0..count).map(|_| {
        let label = index(&mut rng, INTENTS.len());
        let intent = &INTENTS[label];
        let mut words: Vec<String> = Vec::new();
        if uniform(&mut rng) < 0.4 {
            words.push(draw(&mut rng, &POLITE).to_owned());
        }
        for word in draw(&mut rng, intent.frames).split(' ') {
            words.push(match word {
                "{account}" => draw(&mut rng, &ACCOUNTS).to_owned(),
                "{card}" => draw(&mut rng, &CARDS).to_owned(),
                "{month}" => draw(&mut rng, &MONTHS).to_owned(),
                "{num}" => (5 + below(&mut rng, 900)).to_string(),
                other => other.to_owned(),
            });
        }
        if uniform(&mut rng) < 0.4 {
            words.push(draw(&mut rng, &ENDS).to_owned());
        }
        LabelledText { text: words.join(" "), label: label as u32, group: Some(intent.department.to_owned()) }
    });
    Ok(requests.collect())
}

/// Makes tickets; `part` names an independent stream. A ticket's group is the department of its first request.
///
/// # Errors
/// More than [`REQUESTS_MAX`] are asked for.
pub fn tickets(seed: &Seed, part: &str, count: usize) -> Result<Vec<ValuedText>> {
    let mut rng = seed.fork("tickets").fork(part).rng();
    let sizes: Vec<usize> = (0..count.min(REQUESTS_MAX)).map(|_| 1 + index(&mut rng, 3)).collect();
    let asked = if count > REQUESTS_MAX { count } else { sizes.iter().sum() };
    let mut requests = generate(&seed.fork("tickets"), part, asked)?.into_iter();
    let tickets = sizes.into_iter().map(|size| {
        let own: Vec<LabelledText> = requests.by_ref().take(size).collect();
        let mut values = vec![0.0; INTENTS.len()];
        own.iter().for_each(|request| values[request.label as usize] = 1.0);
        let texts: Vec<&str> = own.iter().map(|request| request.text.as_str()).collect();
        ValuedText { text: texts.join(" . also "), values, group: own.first().and_then(|r| r.group.clone()) }
    });
    Ok(tickets.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_intents_occur_and_slots_are_filled() {
        let requests = generate(&Seed::from_u64(1), "train", 500).unwrap();
        assert_eq!(requests, generate(&Seed::from_u64(1), "train", 500).unwrap());
        for label in 0..INTENTS.len() as u32 {
            assert!(requests.iter().any(|request| request.label == label));
        }
        assert!(requests.iter().all(|request| !request.text.contains('{')));
    }

    #[test]
    fn tickets_hold_one_to_three_intents() {
        let tickets = tickets(&Seed::from_u64(1), "train", 300).unwrap();
        let held = |ticket: &ValuedText| ticket.values.iter().filter(|mark| **mark == 1.0).count();
        assert_eq!(tickets.len(), 300);
        assert!((1..=3).all(|size| tickets.iter().filter(|ticket| held(ticket) == size).count() > 50));
    }
}
