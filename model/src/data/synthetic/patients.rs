//! Patients of five hospitals: a picture, a few measurements, complaints, and whom they met.
//!
//! An infection shows in the complaints of those one met, a fracture in the picture, an inflammation in the measurements;
//! each also leaves weak marks elsewhere. Pictures and measurements are often missing, and each hospital has a scanner of
//! its own, other shares of the illnesses, and contacts inside it only.

use rand_chacha::rand_core::Rng;

use crate::data::labels::LabelSet;
use crate::data::records::{Form, Record, Records, Relation};
use crate::error::{Error, Result};
use crate::seed::{Seed, dirichlet, index, normal, uniform};

/// Most patients made at once.
pub const PATIENTS_MAX: usize = 200_000;

const ILLNESSES: [&str; 4] = ["fracture", "healthy", "infection", "inflammation"];
const HOSPITALS: [&str; 5] = ["alder", "birch", "cedar", "elm", "linden"];
const COLUMNS: [&str; 4] = ["age", "temperature", "oxygen", "markers"];
/// Pixels on a side of a picture.
const SIDE: usize = 12;
/// Complaints there are; the first few come with an infection.
const COMPLAINTS: u32 = 20;
const INFECTIOUS: u32 = 6;
/// People met.
const CONTACTS: usize = 4;
/// Share of patients without a picture, and of values that are missing.
const UNSEEN: f64 = 0.3;
const UNMEASURED: f64 = 0.15;

/// The illnesses, sorted.
pub fn labels() -> LabelSet {
    LabelSet::classes(ILLNESSES).expect("four short, different names form a set")
}

/// Makes patients of all hospitals.
///
/// # Errors
/// More than [`PATIENTS_MAX`] are asked for.
pub fn generate(seed: &Seed, count: usize) -> Result<Records> {
    if count > PATIENTS_MAX {
        return Err(Error::config("patients", format!("expected at most {PATIENTS_MAX}, found {count}")));
    }
    let mut rng = seed.fork("patients").rng();
    let shares: Vec<Vec<f64>> = HOSPITALS.iter().map(|_| dirichlet(&mut rng, 2.0, ILLNESSES.len())).collect();
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let hospital = index(&mut rng, HOSPITALS.len());
        let mut left = uniform(&mut rng);
        let illness = shares[hospital]
            .iter()
            .position(|share| {
                left -= share;
                left < 0.0
            })
            .unwrap_or(1);
        let image = (uniform(&mut rng) >= UNSEEN).then(|| picture(illness, hospital, &mut rng));
        let mut measured = |mean: f64, ill: f64, is_marked: bool| {
            let value = mean + normal(&mut rng) + if is_marked { ill } else { 0.0 };
            (uniform(&mut rng) >= UNMEASURED).then_some(value as f32)
        };
        let table = vec![
            measured(0.0, 0.5, illness == 0),
            measured(0.0, 1.2, illness == 2 || illness == 3),
            measured(0.0, -0.6, illness == 2),
            measured(0.0, 2.2, illness == 3),
        ];
        let mut features: Vec<u32> = (0..3)
            .map(|_| {
                let most = if illness == 2 && uniform(&mut rng) < 0.45 { INFECTIOUS } else { COMPLAINTS };
                index(&mut rng, most as usize) as u32
            })
            .collect();
        features.sort_unstable();
        features.dedup();
        all.push(Record {
            text: None,
            image,
            table,
            features,
            label: Some(illness as u32),
            values: Vec::new(),
            group: Some(HOSPITALS[hospital].to_owned()),
        });
    }
    let relations = contacts(&all, &mut rng);
    let form = Form {
        has_text: false,
        image: Some([1, SIDE, SIDE]),
        columns: COLUMNS.map(str::to_owned).to_vec(),
        features: COMPLAINTS as usize,
    };
    Ok(Records { form, all, kinds: vec!["contact".to_owned()], relations })
}

/// A bone: bright with a dark cut where it is broken, of the brightness of the hospital's scanner.
fn picture(illness: usize, hospital: usize, rng: &mut impl Rng) -> Vec<u8> {
    let (bone, bright) = (4 + index(rng, 4), 0.5 + 0.08 * hospital as f64);
    let cut = (illness == 0).then(|| 2 + index(rng, SIDE - 4));
    let mut pixels = Vec::with_capacity(SIDE * SIDE);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let is_bone = x.abs_diff(bone) <= 1 && cut != Some(y);
            let value = if is_bone { bright } else { 0.15 } + 0.12 * normal(rng);
            pixels.push((255.0 * value.clamp(0.0, 1.0)) as u8);
        }
    }
    pixels
}

/// Who met whom: inside a hospital; the infected mostly met the infected.
fn contacts(all: &[Record], rng: &mut impl Rng) -> Vec<Relation> {
    let of = |hospital: &str, is_infected: bool| -> Vec<u32> {
        (0..all.len() as u32)
            .filter(|k| {
                let record = &all[*k as usize];
                record.group.as_deref() == Some(hospital) && (record.label == Some(2)) == is_infected
            })
            .collect()
    };
    let mut relations = Vec::new();
    for hospital in HOSPITALS {
        let pools = [of(hospital, false), of(hospital, true)];
        for person in pools.iter().flatten() {
            let is_infected = all[*person as usize].label == Some(2);
            for _ in 0..CONTACTS {
                let like = uniform(rng) < 0.8;
                let pool = &pools[usize::from(is_infected == like)];
                if !pool.is_empty() {
                    relations.push(Relation { from: *person, to: pool[index(rng, pool.len())], kind: 0 });
                }
            }
        }
    }
    relations.retain(|relation| relation.from != relation.to);
    relations
}
