//! All comparisons, as a table.

use lb_benches::figures::{aligned, grouped, hundredths, median, number, range};

use crate::rates::Rates;

/// The same traffic with a role and without.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What is measured.
    pub name: String,
    /// What it is measured by.
    pub to: String,
    /// One for each round.
    pub without: Vec<Rates>,
    /// One for each round.
    pub with: Vec<Rates>,
}

impl Comparison {
    /// One that has not been measured yet.
    pub fn new(name: String, to: &str) -> Comparison {
        Comparison {
            name,
            to: to.to_owned(),
            without: Vec::new(),
            with: Vec::new(),
        }
    }

    /// Round by round, as what disturbs a round disturbs all of it.
    fn ratios(&self, of: fn(&Rates) -> f64) -> Vec<f64> {
        let rounds = self.without.iter().zip(&self.with);
        rounds
            .map(|(without, with)| of(with) / of(without))
            .collect()
    }

    fn line(&self) -> [String; 8] {
        let rate = |of: fn(&Rates) -> f64| median(&self.with.iter().map(of).collect::<Vec<_>>());
        let requests = self.ratios(|rates| rates.requests);
        let bits = self.ratios(|rates| rates.bits);
        [
            self.name.clone(),
            self.to.clone(),
            number(rate(|rates| rates.requests), grouped),
            number(median(&requests), hundredths),
            range(&requests, hundredths),
            number(rate(|rates| rates.bits / 1e9), hundredths),
            number(median(&bits), hundredths),
            range(&bits, hundredths),
        ]
    }
}

/// Medians of all rounds, and how far the rounds' ratios are apart.
pub fn render(comparisons: &[Comparison]) -> String {
    let header = [
        "",
        "next to",
        "requests/s",
        "ratio",
        "(min..max)",
        "Gbit/s",
        "ratio",
        "(min..max)",
    ];
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(comparisons.iter().map(Comparison::line));
    aligned(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round() {
        let rates = |requests: f64| Rates {
            requests,
            bits: requests * 1e7,
        };
        let comparison = Comparison {
            without: [1000.0, 500.0, 800.0].map(rates).into(),
            with: [900.0, 500.0, 400.0].map(rates).into(),
            ..Comparison::new("enat".to_owned(), "dr")
        };
        let expected = "
      next to  requests/s  ratio    (min..max)  Gbit/s  ratio    (min..max)
enat       dr         500   0.90  (0.50..1.00)    5.00   0.90  (0.50..1.00)
";
        assert_eq!(format!("\n{}", render(&[comparison])), expected);
    }
}
