//! Speed of the kernels an outer step spends its time in: codecs, sketch, mixing rules, hash.
//!
//! `cargo bench -p starling-protocol`; throughput is bytes of 32-bit parameters of the own vector, so 1 GiB/s of a rule
//! over m pulled vectors reads m + 1 times as much.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::crypto::hash::content_hash;
use protocol::mixing::outer::Outer;
use protocol::mixing::rule::mix;
use protocol::rng::Seed;
use protocol::shard::cut::cut;
use protocol::shard::sketch::Sketcher;
use protocol::wire::choice::{Codec, Rule};

fn vector(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = Seed::from_u64(seed).rng();
    (0..len).map(|_| (rng.unit_f64() as f32 - 0.5) * 0.1).collect()
}

/// One shard in the second-level cache: 2^18 parameters.
fn codecs(criterion: &mut Criterion) {
    let values = vector(1, 1 << 18);
    let seed = Seed::from_u64(2);
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(4 * values.len() as u64));
    for &codec in Codec::ALL {
        let mut bytes = Vec::new();
        group.bench_function(BenchmarkId::new("encode", codec), |b| {
            b.iter(|| {
                bytes.clear();
                codec.encode(black_box(&values), &seed, &mut bytes).expect("finite values encode")
            });
        });
        let (own, mut decoded) = (vec![0f32; values.len()], vec![0f32; values.len()]);
        group.bench_function(BenchmarkId::new("decode", codec), |b| {
            b.iter(|| codec.decode_near(black_box(&bytes), &own, &mut decoded).expect("own bytes decode"));
        });
    }
    group.finish();
}

/// Ten million parameters, shard by shard, there and back.
fn update(criterion: &mut Criterion) {
    let values = vector(3, 10_000_000);
    let seed = Seed::from_u64(4);
    let mut group = criterion.benchmark_group("update_10M");
    group.throughput(Throughput::Bytes(4 * values.len() as u64));
    for codec in [Codec::F16, Codec::Int8] {
        let shards = cut(values.len(), codec);
        let mut decoded = vec![0f32; values.len()];
        let mut bytes = Vec::new();
        group.bench_function(BenchmarkId::new("encode_hash_decode", codec), |b| {
            b.iter(|| {
                for (index, range) in shards.iter().enumerate() {
                    bytes.clear();
                    let seed = seed.fork_index(index as u64);
                    codec.encode(&values[range.clone()], &seed, &mut bytes).expect("finite values encode");
                    black_box(content_hash(&bytes));
                    codec.decode(&bytes, &mut decoded[range.clone()]).expect("own bytes decode");
                }
            });
        });
    }
    group.finish();
}

fn mixing(criterion: &mut Criterion) {
    let len = 1_000_000;
    let vectors: Vec<Vec<f32>> = (0..9).map(|i| vector(10 + i, len)).collect();
    let mut group = criterion.benchmark_group("mix_1M");
    group.throughput(Throughput::Bytes(4 * len as u64));
    let mut out = vec![0f32; len];
    for (pulled, byzantine) in [(4, 1), (8, 3)] {
        let theirs: Vec<&[f32]> = vectors[1..=pulled].iter().map(Vec::as_slice).collect();
        for &rule in Rule::ALL {
            group.bench_function(BenchmarkId::new(rule.name(), pulled), |b| {
                b.iter(|| mix(rule, byzantine, &vectors[0], &theirs, &mut out).expect("finite vectors mix"));
            });
        }
    }
    let mut outer = Outer::new(0.5, 0.7, len).expect("constants in range");
    group.bench_function("outer", |b| b.iter(|| outer.step(0..len, &mut out, black_box(&vectors[0]))));
    group.finish();
}

fn projection(criterion: &mut Criterion) {
    let values = vector(5, 4_000_000);
    let sketcher = Sketcher::new(Seed::from_u64(6));
    let mut group = criterion.benchmark_group("sketch");
    group.throughput(Throughput::Bytes(4 * values.len() as u64));
    group.bench_function("4M", |b| b.iter(|| sketcher.sketch(black_box(&values))));
    group.finish();
}

fn hash(criterion: &mut Criterion) {
    let bytes = vec![7u8; 1 << 20];
    let mut group = criterion.benchmark_group("blake3");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("1MiB", |b| b.iter(|| content_hash(black_box(&bytes))));
    group.finish();
}

criterion_group! {
    name = kernels;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = codecs, update, mixing, projection, hash
}
criterion_main!(kernels);
