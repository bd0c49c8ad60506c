//! The map of models: points in a plane whose distances are as near as possible to the distances of the parameters.
//!
//! Classical multidimensional scaling (Torgerson 1952): double centring of the squared distances, then the two largest
//! eigenvectors by power iteration. A new map is turned and mirrored onto the one before, so that it moves and does not
//! jump.

/// A place on the map, in units of the distances given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spot {
    /// To the right.
    pub x: f64,
    /// Upwards.
    pub y: f64,
}

/// Iterations of the power method: enough for pictures, bounded for close eigenvalues.
const ITERATIONS: usize = 60;

/// Places `n` points by their distances, rows of the upper triangle; `before` holds where they were, if anywhere.
pub fn place(n: usize, distances: &[f32], before: &[Option<Spot>]) -> Vec<Spot> {
    let mut gram = centred(n, distances);
    let first = axis(n, &mut gram);
    let second = axis(n, &mut gram);
    let mut spots: Vec<Spot> = first.iter().zip(&second).map(|(&x, &y)| Spot { x, y }).collect();
    align(&mut spots, before);
    spots
}

/// −½ J D² J with J = 1 − 1/n.
fn centred(n: usize, distances: &[f32]) -> Vec<f64> {
    let mut square = vec![0.0; n * n];
    let mut next = distances.iter();
    for i in 0..n {
        for j in i + 1..n {
            let d = next.next().map_or(0.0, |d| f64::from(*d));
            let d = if d.is_finite() { d * d } else { 0.0 };
            square[i * n + j] = d;
            square[j * n + i] = d;
        }
    }
    let rows: Vec<f64> = (0..n).map(|i| square[i * n..(i + 1) * n].iter().sum::<f64>() / n as f64).collect();
    let all = rows.iter().sum::<f64>() / n as f64;
    for (row, own) in square.chunks_mut(n.max(1)).zip(&rows) {
        for (value, other) in row.iter_mut().zip(&rows) {
            *value = -0.5 * (*value - own - other + all);
        }
    }
    square
}

/// Coordinates along the largest eigenvector, which is taken out of `gram`.
fn axis(n: usize, gram: &mut [f64]) -> Vec<f64> {
    // Any start that is not orthogonal to the answer will do; this one has no symmetry.
    let mut v: Vec<f64> = (0..n).map(|i| 1.0 + (i as f64 * 0.7).sin()).collect();
    let mut value = 0.0;
    for _ in 0..ITERATIONS {
        let product: Vec<f64> =
            (0..n).map(|i| gram[i * n..(i + 1) * n].iter().zip(&v).map(|(g, x)| g * x).sum()).collect();
        let norm = product.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm <= f64::MIN_POSITIVE {
            return vec![0.0; n];
        }
        value = norm;
        v = product.iter().map(|x| x / norm).collect();
    }
    for (row, own) in gram.chunks_mut(n.max(1)).zip(&v) {
        row.iter_mut().zip(&v).for_each(|(g, other)| *g -= value * own * other);
    }
    let scale = value.sqrt();
    v.iter().map(|x| x * scale).collect()
}

/// Turns, and mirrors where that fits better, so that the points move as little as possible.
fn align(spots: &mut [Spot], before: &[Option<Spot>]) {
    let turned = |mirror: f64| {
        let (mut dot, mut cross) = (0.0, 0.0);
        for (new, old) in spots.iter().zip(before).filter_map(|(new, old)| old.map(|old| (new, old))) {
            dot += new.x * old.x + mirror * new.y * old.y;
            cross += new.x * old.y - mirror * new.y * old.x;
        }
        (dot.hypot(cross), cross.atan2(dot), mirror)
    };
    let (plain, mirrored) = (turned(1.0), turned(-1.0));
    let (_, angle, mirror) = if mirrored.0 > plain.0 { mirrored } else { plain };
    let (sin, cos) = angle.sin_cos();
    for spot in spots {
        let y = mirror * spot.y;
        *spot = Spot { x: cos * spot.x - sin * y, y: sin * spot.x + cos * y };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distances(points: &[(f64, f64)]) -> Vec<f32> {
        let pairs = (0..points.len()).flat_map(|i| (i + 1..points.len()).map(move |j| (i, j)));
        pairs.map(|(i, j)| (points[i].0 - points[j].0).hypot(points[i].1 - points[j].1) as f32).collect()
    }

    #[test]
    fn points_of_a_plane_are_placed_at_their_distances_and_stay_where_they_were() {
        let points = [(0.0, 0.0), (3.0, 0.0), (3.0, 1.0), (0.5, 2.0), (-2.0, -1.0)];
        let d = distances(&points);
        let first = place(5, &d, &[None; 5]);
        let found: Vec<_> = first.iter().map(|s| (s.x, s.y)).collect();
        for (a, b) in distances(&found).iter().zip(&d) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
        // The same models in another mirror image and turn: nothing moves.
        let old: Vec<_> = first.iter().map(|s| Some(Spot { x: -s.y, y: -s.x })).collect();
        for (new, old) in place(5, &d, &old).iter().zip(&old) {
            let old = old.unwrap();
            assert!((new.x - old.x).hypot(new.y - old.y) < 1e-3, "{new:?} {old:?}");
        }
    }

    #[test]
    fn equal_models_and_broken_distances_make_a_finite_map() {
        for d in [vec![0.0; 3], vec![f32::NAN; 3], vec![f32::INFINITY; 3], vec![]] {
            let spots = place(3, &d, &[None; 3]);
            assert!(spots.iter().all(|s| s.x.is_finite() && s.y.is_finite()), "{spots:?}");
        }
    }
}
