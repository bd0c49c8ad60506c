//! Functions and draws that give the same bits everywhere.
//!
//! `exp` and `ln` of the standard library come from the platform; these come from additions and multiplications, whose
//! results IEEE 754 fixes.

use crate::rng::Rng;

const LN_2: f64 = std::f64::consts::LN_2;

/// e to the power of `x`; relative error below 1e-13.
pub fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let x = x.min(700.0);
    let power = (x / LN_2).round();
    let rest = x - power * LN_2;
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..=13 {
        term *= rest / f64::from(n);
        sum += term;
    }
    sum * f64::from_bits(((power as i64 + 1023) as u64) << 52)
}

/// e to the power of `x` in single precision; relative error below 1e-5. For many values at once.
#[inline]
pub fn exp_f32(x: f32) -> f32 {
    let x = x.clamp(-80.0, 80.0);
    let power = (x * std::f32::consts::LOG2_E).round();
    let rest = x - power * std::f32::consts::LN_2;
    let sum = 1.0 + rest * (1.0 + rest * (0.5 + rest * (1.0 / 6.0 + rest * (1.0 / 24.0 + rest / 120.0))));
    sum * f32::from_bits(((power as i32 + 127) as u32) << 23)
}

/// The natural logarithm of a positive, normal `x`; absolute error below 1e-12.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut power = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        power += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1))
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let mut sum = 0.0;
    for n in (0..=9).rev() {
        sum = sum * square + 1.0 / f64::from(2 * n + 1);
    }
    2.0 * ratio * sum + power as f64 * LN_2
}

/// A draw from nearly the standard normal distribution: twelve uniform ones (Irwin and Hall), no tail beyond 6.
pub fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.unit_f64()).sum::<f64>() - 6.0
}

/// A draw from the gamma distribution of this shape and scale 1 (Marsaglia and Tsang 2000).
pub fn gamma(shape: f64, rng: &mut Rng) -> f64 {
    if shape < 1.0 {
        let boost = exp(ln(rng.unit_f64().max(1e-300)) / shape);
        return gamma(shape + 1.0, rng) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && ln(rng.unit_f64().max(1e-300)) < 0.5 * x * x + d - d * v + d * ln(v) {
            return d * v;
        }
    }
}

/// A draw from the symmetric Dirichlet distribution: `count` shares that sum to one.
pub fn dirichlet(alpha: f64, count: usize, rng: &mut Rng) -> Vec<f64> {
    let draws: Vec<f64> = (0..count).map(|_| gamma(alpha, rng)).collect();
    let sum: f64 = draws.iter().sum();
    if sum > 0.0 {
        return draws.iter().map(|x| x / sum).collect();
    }
    // All underflowed, as happens for tiny alpha: the limit puts everything on one.
    let only = rng.below(count as u64) as usize;
    (0..count).map(|i| f64::from(u8::from(i == only))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn exp_and_ln_agree_with_the_platform() {
        for i in -400..400 {
            let x = f64::from(i) * 0.31;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13, "{x}");
            if x.abs() < 80.0 {
                let single = f64::from(exp_f32(x as f32)) / f64::from((x as f32).exp());
                assert!((single - 1.0).abs() < 2e-5, "{x} {single}");
            }
            let y = x.exp();
            assert!((ln(y) - y.ln()).abs() < 1e-12, "{y}");
        }
        assert_eq!(exp(-1e9), 0.0);
    }

    #[test]
    fn draws_have_their_mean_and_variance() {
        let mut rng = Seed::from_u64(3).rng();
        let moments = |draws: &[f64]| {
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            (mean, draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64)
        };
        let normals: Vec<f64> = (0..20_000).map(|_| normal(&mut rng)).collect();
        let (mean, variance) = moments(&normals);
        assert!(mean.abs() < 0.04 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        for shape in [0.3, 1.0, 4.0] {
            let draws: Vec<f64> = (0..20_000).map(|_| gamma(shape, &mut rng)).collect();
            let (mean, variance) = moments(&draws);
            assert!(
                (mean / shape - 1.0).abs() < 0.08 && (variance / shape - 1.0).abs() < 0.15,
                "{mean} {variance}"
            );
        }
        for alpha in [1e-4, 0.1, 10.0] {
            assert!((dirichlet(alpha, 10, &mut rng).iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
