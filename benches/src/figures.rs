//! Figures in tables.

/// The middle one, or the mean of the middle two.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// A figure in this form; a dash if there is none.
pub fn number(value: Option<f64>, form: fn(f64) -> String) -> String {
    value.map_or("-".to_owned(), form)
}

/// From the least to the most.
pub fn range(values: &[f64], form: fn(f64) -> String) -> String {
    let least = values.iter().copied().reduce(f64::min);
    let most = values.iter().copied().reduce(f64::max);
    format!("({}..{})", number(least, form), number(most, form))
}

/// Without a fraction.
pub fn whole(value: f64) -> String {
    format!("{value:.0}")
}

/// With two digits of a fraction.
pub fn hundredths(value: f64) -> String {
    format!("{value:.2}")
}

/// In groups of three digits: 1 234 567.
pub fn grouped(value: f64) -> String {
    let digits = whole(value);
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Names to the left, figures to the right, two blanks between them.
pub fn aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let width = |line: &[String; COLUMNS]| line[column].chars().count();
        lines.iter().map(width).max().unwrap_or(0)
    });
    let mut text = String::new();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            match column {
                0 => text.push_str(&format!("{cell:<width$}")),
                _ => text.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 3.0, 5.0]), Some(4.0));
    }

    #[test]
    fn digits_come_in_threes() {
        let texts = [0.0, 999.0, 1000.0, 123_456.0, 1_234_567.4].map(grouped);
        assert_eq!(texts, ["0", "999", "1 000", "123 456", "1 234 567"]);
    }
}
