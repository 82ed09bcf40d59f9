//! `plot`: draws what the benches have found out, ns per packet over the number of live conns, from the files that criterion
//! has left behind.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::Value;

/// Draws docs/performance/*.svg from criterion's results.
#[derive(Parser)]
#[command(name = "plot")]
struct Arguments {
    /// Where criterion has left them.
    #[arg(long, default_value_os_t = results())]
    results: PathBuf,
    /// Where the drawings go.
    #[arg(long, default_value = "docs/performance")]
    out: PathBuf,
}

/// Where cargo and criterion put them.
fn results() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    PathBuf::from(target).join("criterion")
}

/// A line in a drawing: its name, and the ids of its points with `SIZE` in place of the number of conns.
type Line = (&'static str, &'static str);

/// The numbers of conns, as they are written in ids.
const SIZES: [&str; 4] = ["1k", "100k", "1m", "10m"];

const TABLES: [Line; 6] = [
    ("hashbrown map of entries", "lookup/hit_SIZE_map/64"),
    ("hashbrown index and slab", "lookup/hit_SIZE_slab/64"),
    ("lbd, one at a time", "lookup/hit_SIZE_ours/1"),
    ("lbd, batch of 64", "lookup/hit_SIZE_ours/64"),
    ("one line of memory after the other", "floor/chase_SIZE/1"),
    ("64 lines of memory at once", "floor/read_SIZE/64"),
];

const TURN: [Line; 5] = [
    ("tun", "turn/tun_in_SIZE/64"),
    ("fnat", "turn/fnat_in_SIZE/64"),
    ("enat", "turn/enat_in_SIZE/64"),
    ("nat", "turn/nat_in_SIZE/64"),
    ("dr", "turn/dr_in_SIZE/64"),
];

fn main() -> anyhow::Result<()> {
    let Arguments { results, out } = Arguments::parse();
    fs::create_dir_all(&out)?;
    let drawings: [(&str, &str, &[Line]); 2] = [
        (
            "tables.svg",
            "ns to find the conn of a flow, over live conns",
            &TABLES,
        ),
        (
            "turn.svg",
            "ns for a packet's whole turn, over live conns",
            &TURN,
        ),
    ];
    let mut drawn = 0;
    for (file, title, lines) in drawings {
        let lines: Vec<(&str, Vec<Option<f64>>)> = lines
            .iter()
            .map(|(name, id)| {
                let points = SIZES.map(|size| nanoseconds(&results, &id.replace("SIZE", size)));
                (*name, points.to_vec())
            })
            .collect();
        let points = lines.iter().flat_map(|(_, points)| points);
        if points.flatten().next().is_none() {
            println!("{file} stays as it is: no results");
            continue;
        }
        let path = out.join(file);
        fs::write(&path, drawing(title, &lines))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
        drawn += 1;
    }
    ensure!(
        drawn > 0,
        "no results in {}: run ./x bench first",
        results.display()
    );
    Ok(())
}

/// The median of a bench, for one of the packets in it; `None` if it was not run.
fn nanoseconds(results: &Path, id: &str) -> Option<f64> {
    let (group, function) = id.split_once('/')?;
    let folder = results
        .join(group)
        .join(function.replace('/', "_"))
        .join("new");
    let read = |file: &str| -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(folder.join(file)).ok()?).ok()
    };
    let median = read("estimates.json")?
        .pointer("/median/point_estimate")?
        .as_f64()?;
    let packets = read("benchmark.json")?
        .pointer("/throughput/Elements")?
        .as_f64()?;
    Some(median / packets)
}

const COLOURS: [&str; 6] = ["#c33", "#c93", "#693", "#36c", "#999", "#ccc"];
const LEFT: f64 = 40.0;
const TOP: f64 = 30.0;
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 200.0;

/// Both axes by powers: of ten along, of two up.
fn drawing(title: &str, lines: &[(&str, Vec<Option<f64>>)]) -> String {
    let values = || lines.iter().flat_map(|(_, points)| points.iter().flatten());
    let lowest = values()
        .copied()
        .fold(f64::INFINITY, f64::min)
        .log2()
        .floor();
    let highest = values().copied().fold(0.0, f64::max).log2().ceil();
    let across = |at: usize| LEFT + WIDTH * EXPONENTS[at] / EXPONENTS[SIZES.len() - 1];
    let up = |ns: f64| TOP + HEIGHT * (highest - ns.log2()) / (highest - lowest).max(1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 520 260\" font-family=\"sans-serif\" font-size=\"10\">\n\
         <rect width=\"520\" height=\"260\" fill=\"#fff\"/>\n<text x=\"{LEFT}\" y=\"16\" font-size=\"12\">{title}</text>\n"
    );
    let mut add = |element: String| {
        writeln!(svg, "{element}").expect("a String takes everything");
    };
    let mut grid = lowest;
    while grid <= highest {
        let (y, ns) = (up(grid.exp2()), grid.exp2());
        add(format!(
            "<path d=\"M{LEFT} {y:.1}h{WIDTH}\" stroke=\"#eee\"/>"
        ));
        add(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ns}</text>",
            LEFT - 5.0,
            y + 3.0
        ));
        grid += 1.0;
    }
    for (at, size) in SIZES.iter().enumerate() {
        let (x, y) = (across(at), TOP + HEIGHT + 14.0);
        add(format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{size}</text>"
        ));
    }
    let mut labels = labels(lines);
    labels.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut free = TOP;
    for (which, last) in labels {
        let (name, points) = &lines[which];
        let colour = COLOURS[which % COLOURS.len()];
        let path: Vec<String> = (points.iter().enumerate())
            .filter_map(|(at, ns)| Some(format!("{:.1} {:.1}", across(at), up((*ns)?))))
            .collect();
        let path = path.join("L");
        add(format!(
            "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        ));
        for (at, ns) in points.iter().enumerate() {
            if let Some(ns) = ns {
                let (x, y) = (across(at), up(*ns));
                add(format!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{colour}\"/>"
                ));
            }
        }
        let y = up(last).max(free);
        free = y + 12.0;
        let x = LEFT + WIDTH + 8.0;
        add(format!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}: {last:.0}</text>",
            y + 3.0
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

/// Of [`SIZES`], as powers of ten beyond the first.
const EXPONENTS: [f64; 4] = [0.0, 2.0, 3.0, 4.0];

/// Each line that has points, and the last of them.
fn labels(lines: &[(&str, Vec<Option<f64>>)]) -> Vec<(usize, f64)> {
    let last = |(which, (_, points)): (usize, &(&str, Vec<Option<f64>>))| {
        let last = points.iter().flatten().last()?;
        Some((which, *last))
    };
    lines.iter().enumerate().filter_map(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_found_by_its_id_and_divided_by_its_packets() {
        let results = tempfile::tempdir().expect("a folder");
        let folder = results.path().join("lookup/hit_1k_ours_64/new");
        fs::create_dir_all(&folder).expect("made");
        let write = |file, text| fs::write(folder.join(file), text).expect("written");
        write("estimates.json", r#"{"median":{"point_estimate":640.0}}"#);
        write("benchmark.json", r#"{"throughput":{"Elements":64}}"#);
        let at = |id| nanoseconds(results.path(), id);
        assert_eq!(at("lookup/hit_1k_ours/64"), Some(10.0));
        assert_eq!(at("lookup/hit_1m_ours/64"), None);
    }

    #[test]
    fn lines_without_points_are_left_out() {
        let lines = [
            ("there", vec![Some(10.0), None, Some(40.0), None]),
            ("not there", vec![None; 4]),
        ];
        let svg = drawing("title", &lines);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(
            svg.contains(">there: 40</text>") && !svg.contains("not there"),
            "{svg}"
        );
    }
}
