//! What once broke a fuzz target must not break it again; and the targets do reach the engine.

use std::path::Path;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 7] = [
    ("parse_classify", lb_fuzz::parse_classify),
    ("turn", lb_fuzz::turn),
    ("rewrite", lb_fuzz::rewrite),
    ("capture", lb_fuzz::capture),
    ("ipvsadm", lb_fuzz::ipvsadm),
    ("config", lb_fuzz::config),
    ("lbrs_config", lb_fuzz::lbrs_config),
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

#[test]
fn every_rewrite_holds_with_any_single_bit_flipped() {
    for choice in 0..16u8 {
        for bit in (0..8 * 90).step_by(7) {
            let mut input = [0; 91];
            input[0] = choice;
            input[1 + bit / 8] ^= 1 << (bit % 8);
            lb_fuzz::rewrite(&input);
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
