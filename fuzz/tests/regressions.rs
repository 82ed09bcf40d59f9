//! What once broke a fuzz target must not break it again; and the targets do reach the engine.

use std::path::Path;

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("parse_classify", lb_fuzz::parse_classify),
    ("turn", lb_fuzz::turn),
    ("rewrite", lb_fuzz::rewrite),
    ("icmp_error", lb_fuzz::icmp_error),
    ("fragments", lb_fuzz::fragments),
    ("extension_headers", lb_fuzz::extension_headers),
    ("capture", lb_fuzz::capture),
    ("ipvsadm", lb_fuzz::ipvsadm),
    ("config", lb_fuzz::config),
    ("control", lb_fuzz::control),
    ("lbrs_config", lb_fuzz::lbrs_config),
    ("keepalived", lb_fuzz::keepalived),
    ("sync", lb_fuzz::sync),
    ("check_answers", lb_fuzz::check_answers),
];

#[test]
fn regressions_stay_mended() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for (name, target) in TARGETS {
        let files = std::fs::read_dir(root.join(name)).expect("a folder for every target");
        for file in files.map(|file| file.expect("readable").path()) {
            println!("{}", file.display());
            target(&std::fs::read(&file).expect("readable"));
        }
    }
}

/// Modes, families and protocols.
const FLOWS: u8 = 9 * 4;

#[test]
fn every_rewrite_holds_with_any_single_bit_flipped() {
    for choice in 0..FLOWS {
        for kind in 0..2 {
            for bit in (0..8 * 90).step_by(23) {
                let mut input = [0; 92];
                (input[0], input[1]) = (choice, kind);
                input[2 + bit / 8] ^= 1 << (bit % 8);
                lb_fuzz::rewrite(&input);
            }
        }
    }
}

#[test]
fn every_error_holds_with_any_single_bit_flipped() {
    for choice in 0..FLOWS {
        for kind in [1, 2, 3, 11] {
            for side in [0, 16] {
                for bit in (0..8 * 120).step_by(97) {
                    let mut input = [0; 124];
                    (input[0], input[1], input[2], input[3]) = (choice, kind | side, 4, 80);
                    input[4 + bit / 8] ^= 1 << (bit % 8);
                    lb_fuzz::icmp_error(&input);
                }
            }
        }
    }
}

#[test]
fn every_template_runs_with_any_single_bit_flipped() {
    for choice in 0..16u8 {
        for bit in 0..8 * 70 {
            let mut overlay = [0; 70];
            overlay[bit / 8] ^= 1 << (bit % 8);
            // Opening packets of both families before it, in the same batch.
            let mut input = vec![0x80 | 1 << 2, 0, 0, 0x80 | 8 << 2, 0, 0, choice << 2, 0, 70];
            input.extend(overlay);
            lb_fuzz::turn(&input);
        }
    }
}
