//! The figures of all rounds, as a table.

use std::time::Duration;

use lb_benches::figures::{aligned, grouped, hundredths, median, number, range, whole};

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
        "to first",
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
                   packets/s              (min..max)  to first    (min..max)  ns/packet  CPU ns/packet  offered/s
bare               1 500 000  (1 000 000..2 000 000)      1.00  (1.00..1.00)        667            667  5 000 000
kernel forwarding  1 000 000  (1 000 000..1 200 000)      0.80  (0.50..1.00)       1000              -  5 000 000

bare: 3 % of the time in its own code, 97 % in the kernel on its behalf, 1 % waiting for its CPU
kernel forwarding: no process; in softirqs on the generator's CPU, which makes no more packets than are forwarded
";
        assert_eq!(format!("\n{}", render(&rows)), expected);
    }
}
