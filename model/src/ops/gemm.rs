//! Matrix products over slices, checked at the edge.
//!
//! One safe door to the `gemm` crate: it compares every view's reach with the slice behind it before any pointer is
//! made. It takes any strides, so a transposed operand costs no copy.
#![allow(unsafe_code)]

use gemm::Parallelism;

/// A read-only matrix over a slice.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix `(rows, columns)`.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// A matrix whose rows are `row_stride` elements apart.
    ///
    /// # Panics
    /// If the matrix reaches beyond the slice: a mistake of the caller, never of the data.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        let view = Self { data, rows, columns, row_stride, column_stride: 1 };
        assert!(view.reach() <= data.len(), "matrix view reaches beyond its slice");
        view
    }

    /// The same matrix with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn reach(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride + 1
    }
}

/// What happens to the destination's old content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// It is replaced.
    Replace,
    /// The product is added to it.
    Add,
}

/// `dst (rows, columns) = scale * lhs rhs`, or added to it; on all threads of the current pool.
pub fn product(dst: &mut [f32], into: Into, scale: f32, lhs: View<'_>, rhs: View<'_>) {
    let row_stride = rhs.columns;
    check(dst.len(), row_stride, lhs, rhs);
    // SAFETY: `check` compared the destination's reach with its slice, `View` did so for the operands; `dst` is
    // borrowed mutably, so it overlaps neither.
    unsafe { call(dst.as_mut_ptr(), row_stride, into, scale, lhs, rhs, parallelism(lhs, rhs)) }
}

/// Like [`product`], on the calling thread, into rows `row_stride` elements apart.
pub fn product_strided(
    dst: &mut [f32],
    row_stride: usize,
    into: Into,
    scale: f32,
    lhs: View<'_>,
    rhs: View<'_>,
) {
    assert!(rhs.columns <= row_stride, "rows of a matrix product overlap");
    check(dst.len(), row_stride, lhs, rhs);
    // SAFETY: `check` compared the destination's reach with its slice; `dst` is borrowed mutably.
    unsafe { call(dst.as_mut_ptr(), row_stride, into, scale, lhs, rhs, Parallelism::None) }
}

/// Like [`product`], on the calling thread, into a matrix whose rows are `row_stride` elements apart.
///
/// # Safety
/// `dst` points to a matrix of `lhs.rows` rows of `rhs.columns` elements, `row_stride` apart, that the caller may write
/// and that no other thread reads or writes meanwhile.
pub(super) unsafe fn product_raw(
    dst: *mut f32,
    row_stride: usize,
    into: Into,
    scale: f32,
    lhs: View<'_>,
    rhs: View<'_>,
) {
    assert_eq!(lhs.columns, rhs.rows, "inner sizes of a matrix product differ");
    // SAFETY: the caller's promise for `dst`; `View` checked the operands.
    unsafe { call(dst, row_stride, into, scale, lhs, rhs, Parallelism::None) }
}

fn check(dst: usize, row_stride: usize, lhs: View<'_>, rhs: View<'_>) {
    assert_eq!(lhs.columns, rhs.rows, "inner sizes of a matrix product differ");
    let reach = if lhs.rows == 0 { 0 } else { (lhs.rows - 1) * row_stride + rhs.columns };
    assert!(reach <= dst, "matrix product writes beyond its destination");
}

/// Products below a million multiplications are done sooner than a second thread is awake.
fn parallelism(lhs: View<'_>, rhs: View<'_>) -> Parallelism {
    let threads = rayon::current_num_threads();
    if threads < 2 || lhs.rows * lhs.columns * rhs.columns < 1 << 20 {
        Parallelism::None
    } else {
        Parallelism::Rayon(threads)
    }
}

unsafe fn call(
    dst: *mut f32,
    row_stride: usize,
    into: Into,
    scale: f32,
    lhs: View<'_>,
    rhs: View<'_>,
    parallelism: Parallelism,
) {
    // SAFETY: the callers above state why every pointer reaches only its own slice; strides are below 2^63 because
    // the slices exist.
    unsafe {
        gemm::gemm(
            lhs.rows,
            rhs.columns,
            lhs.columns,
            dst,
            1,
            row_stride as isize,
            into == Into::Add,
            lhs.data.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, salt: usize) -> Vec<f32> {
        (0..n).map(|k| (((k + salt) * 7919) % 211) as f32 / 105.0 - 1.0).collect()
    }

    #[test]
    fn products_of_any_orientation_agree_with_the_definition() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (64, 33, 17), (130, 96, 70)] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            let exact = definition(&a, &b, m, n, k);
            let views = [
                (View::new(&a, m, k), View::new(&b, k, n)),
                (View::new(&at, k, m).transposed(), View::new(&b, k, n)),
                (View::new(&a, m, k), View::new(&bt, n, k).transposed()),
                (View::new(&at, k, m).transposed(), View::new(&bt, n, k).transposed()),
            ];
            for (lhs, rhs) in views {
                let mut dst = vec![3.0; m * n];
                product(&mut dst, Into::Replace, 0.5, lhs, rhs);
                close(&dst, &exact, 0.5, 0.0);
                product(&mut dst, Into::Add, 1.0, lhs, rhs);
                close(&dst, &exact, 1.5, 0.0);
            }
        }
    }

    #[test]
    #[should_panic(expected = "reaches beyond its slice")]
    fn a_view_larger_than_its_slice_is_refused() {
        let _ = View::new(&[0.0; 5], 2, 3);
    }

    #[test]
    #[should_panic(expected = "beyond its destination")]
    fn a_destination_that_is_too_short_is_refused() {
        let a = [0.0; 4];
        product(&mut [0.0; 3], Into::Replace, 1.0, View::new(&a, 2, 2), View::new(&a, 2, 2));
    }

    fn transpose(a: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..columns * rows).map(|k| a[(k % rows) * columns + k / rows]).collect()
    }

    fn definition(a: &[f32], b: &[f32], m: usize, n: usize, k: usize) -> Vec<f64> {
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                c[i * n + j] = (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum();
            }
        }
        c
    }

    fn close(ours: &[f32], exact: &[f64], scale: f64, shift: f64) {
        for (ours, exact) in ours.iter().zip(exact) {
            // Inner sizes are below 128 and factors below 1, so rounding stays below 128 * 2^-24 * 2.
            assert!((f64::from(*ours) - (exact * scale + shift)).abs() < 2e-5, "{ours} {exact}");
        }
    }
}
