//! The greatest common divisor of weights.

/// The greatest common divisor of all `weights` but zeros; 0 if there is none.
pub fn greatest_common_divisor(weights: impl Iterator<Item = u32>) -> u32 {
    weights.fold(0, |mut a, mut b| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_do_not_count() {
        let of = |weights: &[u32]| greatest_common_divisor(weights.iter().copied());
        assert_eq!([of(&[]), of(&[0]), of(&[0, 6, 4]), of(&[7])], [0, 0, 2, 7]);
    }
}
