//! Whether `int8` weights make a linear layer of a student faster on a processor.
//!
//! ```text
//! int8_time
//! ```
//!
//! Times `y = x W'` for the two layers of a feed-forward block with single-precision weights (the kernel of the engine)
//! and with `int8` weights, a scale per row, and activations rounded to `int8` per token, summed in whole numbers; the
//! integer loop is plain Rust compiled for the instruction set of the processor, as all kernels here are. One thread.
//! Prints microseconds for inputs of 1, 16 and 64 tokens, the median of 200.

use std::time::Instant;

use model::ops::linear::Linear;
use model::ops::simd::Level;
use model::seed::{Seed, normal};

const TIMES: usize = 200;

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the first pool of the process");
    println!("inputs outputs tokens f32_us int8_us error");
    for (inputs, outputs) in [(128, 512), (512, 128), (384, 1536), (1536, 384)] {
        let mut rng = Seed::from_u64(1).rng();
        let weight: Vec<f32> = (0..inputs * outputs).map(|_| 0.05 * normal(&mut rng) as f32).collect();
        let (rounded, scales) = round_rows(&weight, inputs);
        for tokens in [1, 16, 64] {
            let x: Vec<f32> = (0..tokens * inputs).map(|_| normal(&mut rng) as f32).collect();
            let (mut plain, mut quick) = (vec![0.0; tokens * outputs], vec![0.0; tokens * outputs]);
            let layer = Linear { inputs, outputs };
            let f32_us = median(|| layer.forward(&weight, &x, &mut plain));
            let int8_us = median(|| forward(&rounded, &scales, inputs, &x, &mut quick));
            let norm: f32 = plain.iter().map(|y| y * y).sum();
            let error: f32 = plain.iter().zip(&quick).map(|(a, b)| (a - b) * (a - b)).sum();
            println!("{inputs} {outputs} {tokens} {f32_us:.1} {int8_us:.1} {:.4}", (error / norm).sqrt());
        }
    }
}

fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..TIMES)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[TIMES / 2]
}

/// Rows of whole numbers from -127 to 127, and what one of them is worth.
fn round_rows(values: &[f32], width: usize) -> (Vec<i8>, Vec<f32>) {
    let mut rounded = Vec::with_capacity(values.len());
    let mut scales = Vec::new();
    for row in values.chunks(width) {
        let scale = row.iter().fold(f32::MIN_POSITIVE, |largest, w| largest.max(w.abs())) / 127.0;
        rounded.extend(row.iter().map(|w| (w / scale).round() as i8));
        scales.push(scale);
    }
    (rounded, scales)
}

fn forward(weight: &[i8], scales: &[f32], inputs: usize, x: &[f32], y: &mut [f32]) {
    let (x, x_scales) = round_rows(x, inputs);
    let outputs = scales.len();
    for ((x, x_scale), y) in x.chunks(inputs).zip(&x_scales).zip(y.chunks_mut(outputs)) {
        for ((row, scale), y) in weight.chunks(inputs).zip(scales).zip(y) {
            *y = dot(row, x) as f32 * scale * x_scale;
        }
    }
}

/// The sum of products in 32-bit numbers, which 2^15 products of 127 x 127 do not overflow. Written so that the compiler
/// sees the instruction that multiplies 16-bit numbers and adds them in pairs.
#[inline(always)]
#[allow(clippy::inline_always, reason = "inlined into the functions that switch the instruction set on")]
fn dot_body(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

#[cfg(target_arch = "x86_64")]
fn dot(a: &[i8], b: &[i8]) -> i32 {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn widest(a: &[i8], b: &[i8]) -> i32 {
        dot_body(a, b)
    }
    #[target_feature(enable = "avx2,fma")]
    fn wide(a: &[i8], b: &[i8]) -> i32 {
        dot_body(a, b)
    }
    match model::ops::simd::level() {
        // SAFETY: `level` returned this level, so the processor has every feature named above.
        #[allow(unsafe_code)]
        Level::Avx512 => unsafe { widest(a, b) },
        // SAFETY: as above.
        #[allow(unsafe_code)]
        Level::Avx2 => unsafe { wide(a, b) },
        Level::Baseline => dot_body(a, b),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn dot(a: &[i8], b: &[i8]) -> i32 {
    dot_body(a, b)
}
