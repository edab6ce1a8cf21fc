//! Scores as numbers in the order of the scores: what names a row in the order of a sorted set. Part of the file format.

const SIGN: u64 = 1 << 63;

/// A number that is greater exactly when the score is. -0 is 0. There is none for what is not a number.
#[must_use]
pub fn score_order(score: f64) -> u64 {
    // -0 + 0 is 0.
    let bits = (score + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The score of such a number.
#[must_use]
pub fn order_score(order: u64) -> f64 {
    f64::from_bits(if order & SIGN == 0 { !order } else { order & !SIGN })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_have_the_order_of_the_scores() {
        let scores = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1e9,
            -1.0000000000000002,
            -1.0,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            f64::MIN_POSITIVE,
            0.5,
            1.0,
            9007199254740993.0,
            f64::MAX,
            f64::INFINITY,
        ];
        let orders = scores.map(score_order);
        assert!(orders.is_sorted_by(|a, b| a < b));
        assert_eq!(orders.map(order_score), scores);
        assert_eq!(score_order(-0.0), score_order(0.0));
        assert!(order_score(score_order(-0.0)).is_sign_positive());
        assert!(score_order(f64::NEG_INFINITY) > 0 && score_order(f64::INFINITY) < u64::MAX);
    }
}
