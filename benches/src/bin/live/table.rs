//! The figures of all rounds, as a table.

use std::time::Duration;

use crate::usage::Usage;

/// One contestant in one round.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How long it was measured.
    pub elapsed: Duration,
    /// Packets that reached the balancer's interface in that time.
    pub offered: u64,
    /// Packets that came out the other side.
    pub packets: u64,
    /// What its process used meanwhile; `None` for the kernel.
    pub usage: Option<Usage>,
}

impl Sample {
    fn packets_per_second(&self) -> f64 {
        self.packets as f64 / self.elapsed.as_secs_f64()
    }

    fn offered_per_second(&self) -> f64 {
        self.offered as f64 / self.elapsed.as_secs_f64()
    }

    fn cpu_ns_per_packet(&self) -> Option<f64> {
        Some(self.usage?.running.as_nanos() as f64 / self.packets as f64)
    }
}

/// One contestant in all rounds.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// One for each round.
    pub samples: Vec<Sample>,
}

impl Row {
    /// A contestant that has not been measured yet.
    pub fn new(name: &impl ToString) -> Row {
        Row {
            name: name.to_string(),
            samples: Vec::new(),
        }
    }
}

/// All contestants' figures, the first one's as the measure of the others'; then what bounds each.
pub fn render(rows: &[Row]) -> String {
    let Some(bare) = rows.first() else {
        return String::new();
    };
    let header = [
        "",
        "packets/s",
        "(min..max)",
        "to bare",
        "(min..max)",
        "ns/packet",
        "CPU ns/packet",
        "offered/s",
    ];
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| line(row, bare)));
    let mut text = aligned(&lines);
    text.push('\n');
    let bounds: Vec<[String; 2]> = rows
        .iter()
        .map(|row| [row.name.clone(), bound(row)])
        .collect();
    for [name, bound] in bounds {
        text.push_str(&format!("{name}: {bound}\n"));
    }
    text
}

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

fn line(row: &Row, bare: &Row) -> [String; 8] {
    let rates: Vec<f64> = row.samples.iter().map(Sample::packets_per_second).collect();
    let offered: Vec<f64> = row.samples.iter().map(Sample::offered_per_second).collect();
    // Round by round, as what disturbs a round disturbs all of it.
    let ratios: Vec<f64> = (row.samples.iter().zip(&bare.samples))
        .map(|(own, bare)| own.packets_per_second() / bare.packets_per_second())
        .collect();
    let costs: Option<Vec<f64>> = row.samples.iter().map(Sample::cpu_ns_per_packet).collect();
    let cost = costs.and_then(|costs| median(&costs));
    let rate = median(&rates);
    [
        row.name.clone(),
        number(rate, grouped),
        range(&rates, grouped),
        number(median(&ratios), hundredths),
        range(&ratios, hundredths),
        number(rate.map(|rate| 1e9 / rate), whole),
        number(cost, whole),
        number(median(&offered), grouped),
    ]
}

/// What bounds the kernel's forwarding.
const NO_PROCESS: &str = "no process; in softirqs on the generator's CPU, \
                          which makes no more packets than are forwarded";

fn bound(row: &Row) -> String {
    let share = |part: fn(&Usage) -> Duration| {
        let shares: Option<Vec<f64>> = (row.samples.iter())
            .map(|sample| Some(part(&sample.usage?).as_secs_f64() / sample.elapsed.as_secs_f64()))
            .collect();
        median(&shares?)
    };
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    match (
        share(|usage| usage.user),
        share(|usage| usage.kernel),
        share(|usage| usage.waiting),
    ) {
        (Some(user), Some(kernel), Some(waiting)) => format!(
            "{} of the time in its own code, {} in the kernel on its behalf, {} waiting for its CPU",
            percent(user),
            percent(kernel),
            percent(waiting)
        ),
        _ => NO_PROCESS.to_owned(),
    }
}

fn number(value: Option<f64>, form: fn(f64) -> String) -> String {
    value.map_or("-".to_owned(), form)
}

fn range(values: &[f64], form: fn(f64) -> String) -> String {
    let least = values.iter().copied().reduce(f64::min);
    let most = values.iter().copied().reduce(f64::max);
    format!("({}..{})", number(least, form), number(most, form))
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn hundredths(value: f64) -> String {
    format!("{value:.2}")
}

/// In groups of three digits: 1 234 567.
fn grouped(value: f64) -> String {
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
fn aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
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

    fn sample(packets: u64, user_ms: Option<u64>) -> Sample {
        let usage = |ms| Usage {
            running: Duration::from_millis(2000),
            waiting: Duration::from_millis(20),
            user: Duration::from_millis(ms),
            kernel: Duration::from_millis(2000 - ms),
        };
        Sample {
            elapsed: Duration::from_secs(2),
            offered: 10_000_000,
            packets,
            usage: user_ms.map(usage),
        }
    }

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

    #[test]
    fn ratios_are_taken_round_by_round() {
        let rows = [
            Row {
                name: "bare".to_owned(),
                samples: vec![
                    sample(4_000_000, Some(60)),
                    sample(2_000_000, Some(60)),
                    sample(3_000_000, Some(60)),
                ],
            },
            Row {
                name: "kernel forwarding".to_owned(),
                samples: vec![
                    sample(2_000_000, None),
                    sample(2_000_000, None),
                    sample(2_400_000, None),
                ],
            },
        ];
        let expected = "
                   packets/s              (min..max)  to bare    (min..max)  ns/packet  CPU ns/packet  offered/s
bare               1 500 000  (1 000 000..2 000 000)     1.00  (1.00..1.00)        667            667  5 000 000
kernel forwarding  1 000 000  (1 000 000..1 200 000)     0.80  (0.50..1.00)       1000              -  5 000 000

bare: 3 % of the time in its own code, 97 % in the kernel on its behalf, 1 % waiting for its CPU
kernel forwarding: no process; in softirqs on the generator's CPU, which makes no more packets than are forwarded
";
        assert_eq!(format!("\n{}", render(&rows)), expected);
    }
}
