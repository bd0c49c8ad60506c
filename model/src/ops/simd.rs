//! Choice of the instruction set at run time.
//!
//! A default build targets the oldest x86-64 processor. [`vectorized`] compiles a loop three times (AVX-512, AVX2 and
//! the build's own target) and picks the best the processor has, so that nobody needs a build for one machine.
//! It contains no intrinsics: the loops are plain Rust that the compiler turns into vector instructions.

use std::sync::OnceLock;

/// An instruction set the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the build targets.
    Baseline,
    /// x86-64 with AVX2 and fused multiply-add.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL).
    Avx512,
}

/// The level of this processor, found once.
///
/// The environment variable `STARLING_SIMD` (`baseline`, `avx2`, `avx512`) lowers it, for tests and measurements.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let asked = match std::env::var("STARLING_SIMD").as_deref() {
            Ok("baseline") => Level::Baseline,
            Ok("avx2") => Level::Avx2,
            _ => Level::Avx512,
        };
        detected().min(asked)
    })
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Baseline,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Level {
    Level::Baseline
}

/// Whether the build's own target multiplies and adds in one instruction.
pub const NATIVE_FMA: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// `a b + c`, in one rounding where `FMA` says that the processor has the instruction (without it the call would be a
/// slow library routine).
#[inline(always)]
pub fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Defines `name(arguments)`, which calls the `#[inline(always)]` function `body::<FMA>(arguments)` compiled for the
/// best instruction set of the processor.
macro_rules! vectorized {
    ($(#[$meta:meta])* $vis:vis fn $name:ident ( $($arg:ident : $ty:ty),* $(,)? ) $(-> $ret:ty)? = $body:ident) => {
        $(#[$meta])*
        #[allow(unsafe_code, clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { $body::<true>($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { $body::<true>($($arg),*) }
                match $crate::ops::simd::level() {
                    // SAFETY: `level` returned this level, so the processor has every feature named above.
                    $crate::ops::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::ops::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::ops::simd::Level::Baseline => {}
                }
            }
            $body::<{ $crate::ops::simd::NATIVE_FMA }>($($arg),*)
        }
    };
}
pub(crate) use vectorized;

/// Independent sums a reduction keeps, so that the compiler can use whole vector registers.
pub const LANES: usize = 32;

/// The sum of the lanes in a fixed tree order.
#[inline(always)]
pub fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for k in 0..width {
            lanes[k] += lanes[k + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `e^x`; relative error below 2e-7 for x in [-87, 88], clamped outside.
///
/// Splits `x = n ln 2 + r` with |r| <= 0.347 and sums the Taylor series of `e^r` to the seventh power (the next term is
/// below 6e-9).
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the mantissa.
    const SHIFT: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = fma::<FMA>(n, -LN2_HIGH, x);
    let r = fma::<FMA>(n, -LN2_LOW, r);
    let mut p = 1.0 / 5040.0;
    p = fma::<FMA>(p, r, 1.0 / 720.0);
    p = fma::<FMA>(p, r, 1.0 / 120.0);
    p = fma::<FMA>(p, r, 1.0 / 24.0);
    p = fma::<FMA>(p, r, 1.0 / 6.0);
    p = fma::<FMA>(p, r, 0.5);
    p = fma::<FMA>(p, r, 1.0);
    p = fma::<FMA>(p, r, 1.0);
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    p * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_the_last_bits_of_single_precision() {
        for k in -8600..8700 {
            let x = k as f32 * 0.01;
            let exact = f64::from(x).exp();
            for ours in [exp::<false>(x), exp::<NATIVE_FMA>(x)] {
                assert!((f64::from(ours) - exact).abs() <= 2.5e-7 * exact, "exp {x}: {ours} {exact}");
            }
        }
        assert!(exp::<false>(-1e30) < 1e-37 && exp::<false>(1e30).is_finite());
    }

    #[test]
    fn lanes_are_summed_completely() {
        let mut lanes = [0.0; LANES];
        for (k, lane) in lanes.iter_mut().enumerate() {
            *lane = k as f32;
        }
        assert_eq!(sum_lanes(lanes), (LANES * (LANES - 1) / 2) as f32);
    }
}
