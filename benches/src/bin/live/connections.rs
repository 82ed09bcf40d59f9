//! `live connections`: how many TCP connections per second each contestant opens, carries a small HTTP exchange over, and
//! closes.
//!
//! wrk is the client and nginx all the servers; they and the contestant share the machine's CPUs as the kernel sees fit.

use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::{Args, value_parser};
use lb_benches::figures::{aligned, grouped, hundredths, median, number, range};
use lb_benches::machine;
use lb_testkit::netns::{Scratch, WebServer};

use crate::arena::{Arena, Family, PORT};
use crate::contestant::{Contestant, is_installed};
use crate::taking_part;

/// Connections that are open at a time.
const AT_A_TIME: u32 = 64;

/// What is measured, and how long.
#[derive(Args)]
pub struct Connections {
    /// Rounds; every contestant is measured once in each.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that each is measured in a round.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
    /// Who is measured; the first is the measure of the others. `kernel` stands for no balancer at all: the client asks for
    /// a server.
    #[arg(
        long = "of",
        value_delimiter = ',',
        default_value = "nftables,nat,fnat,kernel"
    )]
    contestants: Vec<Contestant>,
}

/// Prints the table.
pub fn compare(arguments: &Connections) -> anyhow::Result<()> {
    ensure!(is_installed("wrk"), "there is no wrk (Debian: wrk)");
    let contestants = taking_part(&arguments.contestants);
    let mut rates: Vec<Vec<f64>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 1..=arguments.rounds {
        for (contestant, rates) in contestants.iter().zip(&mut rates) {
            eprintln!(
                "connections, round {round} of {}: {contestant}",
                arguments.rounds
            );
            let rate =
                measure(contestant, arguments.seconds).with_context(|| contestant.to_string())?;
            rates.push(rate);
        }
    }
    println!("machine  {}", machine()?);
    println!(
        "connections  TCP, one HTTP exchange each, {AT_A_TIME} at a time; {} rounds of {} s, interleaved\n",
        arguments.rounds, arguments.seconds
    );
    let first = &rates[0];
    let header = [
        "",
        "connections/s",
        "(min..max)",
        "to the first",
        "(min..max)",
    ];
    let mut lines = vec![header.map(str::to_owned)];
    for (contestant, rates) in contestants.iter().zip(&rates) {
        let ratios: Vec<f64> = rates
            .iter()
            .zip(first)
            .map(|(own, first)| own / first)
            .collect();
        lines.push([
            contestant.to_string(),
            number(median(rates), grouped),
            range(rates, grouped),
            number(median(&ratios), hundredths),
            range(&ratios, hundredths),
        ]);
    }
    println!("{}", aligned(&lines));
    Ok(())
}

fn measure(contestant: &Contestant, seconds: u32) -> anyhow::Result<f64> {
    let arena = Arena::new()?.with_hosts()?;
    let scratch = Scratch::new()?;
    let _server = WebServer::start(&arena.sink, "server", PORT, &scratch)?;
    // Conns linger for two minutes after their end.
    let running = contestant.start(&arena, "tcp", 2_000_000)?;
    let to = match contestant {
        Contestant::Kernel => Family::V4.servers()[0],
        _ => Family::V4.vip(),
    };
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--connections", &AT_A_TIME.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .args(["--header", "Connection: close"])
        .arg(format!("http://{to}:{PORT}/"));
    let report = arena.generator.check_output(wrk)?;
    running.end()?;
    rate(&report)
}

/// From wrk's report; an error if more than one in a hundred connections failed.
fn rate(report: &str) -> anyhow::Result<f64> {
    let line = |start: &str| {
        report
            .lines()
            .find_map(|line| line.trim().strip_prefix(start))
    };
    let rate = line("Requests/sec:").and_then(|rate| rate.trim().parse().ok());
    let all: Option<u64> = report
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let (Some(rate), Some(all)) = (rate, all) else {
        bail!("wrk's report is not as expected:\n{report}");
    };
    let failures: u64 = (line("Socket errors:").unwrap_or_default().split(", "))
        .filter_map(|error| error.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum();
    ensure!(
        failures * 100 <= all && line("Non-2xx").is_none(),
        "connections have failed:\n{report}"
    );
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Running 3s test @ http://10.0.0.100:80/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.85ms    1.21ms  30.05ms   93.36%
    Req/Sec     9.87k     1.02k   11.30k    83.33%
  29532 requests in 3.00s, 4.31MB read
Requests/sec:   9843.06
Transfer/sec:      1.44MB
";

    #[test]
    fn the_rate_is_told_from_a_report_without_failures() {
        assert_eq!(rate(REPORT).ok(), Some(9843.06));
        let failed = |errors| REPORT.replace("Requests/sec", errors);
        let few = "  Socket errors: connect 0, read 3, write 0, timeout 1\nRequests/sec";
        assert_eq!(rate(&failed(few)).ok(), Some(9843.06));
        let many = "  Socket errors: connect 0, read 3, write 0, timeout 999\nRequests/sec";
        assert!(rate(&failed(many)).is_err());
        assert!(rate("unable to connect").is_err());
    }
}
