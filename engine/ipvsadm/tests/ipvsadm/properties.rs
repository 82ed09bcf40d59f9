//! Whatever is typed, ipvsadm answers; whatever is set, it can save and restore.

use lb_ipvsadm::{NoNames, parse};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::kernel::Kernel;
use crate::{ipvsadm, output};

/// Words that mean something, so that chance gets past the first one.
const WORDS: &[&str] = &[
    "-A",
    "-E",
    "-D",
    "-C",
    "-a",
    "-e",
    "-d",
    "-L",
    "-S",
    "-R",
    "-Z",
    "-P",
    "-Q",
    "-G",
    "--set",
    "-t",
    "-u",
    "-f",
    "-6",
    "--sctp-service",
    "-s",
    "-p",
    "-M",
    "-b",
    "-o",
    "--pe",
    "-r",
    "-g",
    "-i",
    "-m",
    "--enat",
    "-w",
    "-x",
    "-y",
    "-z",
    "-F",
    "--tun-type",
    "--tun-port",
    "--tun-csum",
    "-n",
    "-c",
    "--stats",
    "--exact",
    "--complete",
    "--",
    "-",
    "",
    "192.0.2.1:80",
    "[2001:db8::1]:80",
    "2001:db8::1",
    "10.0.0.1",
    "7",
    "gue",
    "rr",
    "sh-port",
    ",",
    "255.255.255.0",
    "64",
    "-tu",
    "-Lnct",
    "--persistent=9",
    "-p60",
    "é",
];

fn service() -> impl Strategy<Value = String> {
    prop_oneof![
        (1_u8..5, 0_u16..4).prop_map(|(host, port)| format!("-t 192.0.2.{host}:{port}")),
        (1_u8..5, 1_u16..4).prop_map(|(host, port)| format!("-u [2001:db8::{host}]:{port}")),
        (1_u32..4).prop_map(|mark| format!("-f {mark}")),
        Just("-f 4000000000 -6".to_owned()),
    ]
}

/// Changes that may or may not succeed.
fn change() -> impl Strategy<Value = String> {
    let settings = select(vec![
        "-s rr -p",
        "-s wlc -p 60 -M 64",
        "-s sh -b sh-port,flag-3 -p 9",
        "-s mh -b mh-fallback -p 1 -M 24 --pe sip",
        "-s rr -o -p",
        "",
    ]);
    let method = select(vec![
        "-m",
        "-g",
        "-i",
        "-i --tun-type gre --tun-csum",
        "-b",
        "--enat",
    ]);
    let server = (1_u8..4, method, 0_u32..70_000, 0_u32..9, 0_u32..9);
    prop_oneof![
        (select(vec!["-A", "-E"]), service(), settings)
            .prop_map(|(verb, service, settings)| format!("{verb} {service} {settings}")),
        (select(vec!["-a", "-e"]), service(), server).prop_map(
            |(verb, service, (host, method, weight, x, y))| {
                let address = if service.starts_with("-u") || service.ends_with("-6") {
                    "2001:db8:1::"
                } else {
                    "10.0.0."
                };
                format!("{verb} {service} -r {address}{host} {method} -w {weight} -x {x} -y {y}")
            }
        ),
        service().prop_map(|service| format!("-D {service}")),
        service().prop_map(|service| format!("-P {service} -z 192.168.0.9 -F eth1")),
    ]
}

proptest! {
    #[test]
    fn no_command_line_breaks_the_parser(words in vec(prop_oneof![select(WORDS).prop_map(str::to_owned), ".{0,9}"], 0..9)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Err(e) = parse(&words, &NoNames) {
            prop_assert!(!e.to_string().is_empty());
            prop_assert!([2, 255].contains(&e.exit_code()));
        }
    }

    #[test]
    fn no_input_breaks_a_restore(input in ".{0,200}") {
        ipvsadm(&mut Kernel::new(), "-R", &input);
    }

    #[test]
    fn what_is_saved_completely_is_restored_completely(changes in vec(change(), 0..40)) {
        let mut kernel = Kernel::new();
        for change in &changes {
            ipvsadm(&mut kernel, change, "");
        }
        let rules = output(&mut kernel, "-S -n --complete");
        let mut restored = Kernel::new();
        let end = ipvsadm(&mut restored, "-R", &rules);
        prop_assert_eq!(end, (String::new(), String::new(), 0), "{}", rules);
        for listing in ["-S -n --complete", "-Ln", "-Ln --nosort", "-Ln --thresholds", "-Ln --tun-info", "-G"] {
            prop_assert_eq!(output(&mut restored, listing), output(&mut kernel, listing));
        }
    }
}
