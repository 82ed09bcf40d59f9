//! What the documentation says of the library is so.

use lb::{DropReason, PuntReason};

const README: &str = include_str!("../../../../README.md");
const OPERATIONS: &str = include_str!("../../../../docs/operations.md");
const EMBED: &str = include_str!("../../examples/embed.rs");

#[test]
fn the_readme_embeds_as_the_example_does() {
    let block = README
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a rust block");
    let mut example = EMBED.lines().map(str::trim);
    let code = block
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"));
    for line in code {
        assert!(
            example.any(|other| other == line),
            "not in examples/embed.rs, or not in this order: {line}"
        );
    }
}

#[test]
fn every_reason_is_explained() {
    let drops = DropReason::ALL
        .iter()
        .map(|r| format!("| `drop.{r}` | {} |", r.describe()));
    let punts = PuntReason::ALL
        .iter()
        .map(|r| format!("| `punt.{r}` | {} |", r.describe()));
    for row in drops.chain(punts) {
        assert!(OPERATIONS.contains(&row), "docs/operations.md lacks: {row}");
    }
}
