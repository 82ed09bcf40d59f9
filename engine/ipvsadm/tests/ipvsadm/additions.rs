//! What ipvsadm 1.31 does not have: DPVS's full NAT and local addresses, our ENAT, saving without loss.

use crate::kernel::Kernel;
use crate::{complaint, do_all, ipvsadm, output};

fn two_services() -> Kernel {
    let mut kernel = Kernel::new();
    do_all(
        &mut kernel,
        &[
            "-A -t 203.0.113.5:80 -s rr",
            "-a -t 203.0.113.5:80 -r 10.0.0.1:8080 -b -w 3 -x 9 -y 5",
            "-a -t 203.0.113.5:80 -r 10.0.0.2:8080 --fullnat",
            "-at 203.0.113.5:80 -r 10.0.0.3:8080 --enat",
            "-P -t 203.0.113.5:80 -z 192.168.100.200 -F dpdk1",
            "--add-laddr -t 203.0.113.5:80 --laddr 192.168.100.201",
            "-A -f 4294967295 -6 -s sh -b sh-port,flag-3",
        ],
    );
    kernel
}

#[test]
fn full_nat_and_enat_are_forwarding_methods_beside_the_others() {
    let mut kernel = two_services();
    assert_eq!(
        output(&mut kernel, "-Ln -t 203.0.113.5:80"),
        "Prot LocalAddress:Port Scheduler Flags\n\
         \x20 -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         TCP  203.0.113.5:80 rr\n\
         \x20 -> 10.0.0.1:8080                FullNat 3      0          0         \n\
         \x20 -> 10.0.0.2:8080                FullNat 1      0          0         \n\
         \x20 -> 10.0.0.3:8080                Enat    1      0          0         \n"
    );
    let twice = complaint(&mut kernel, "-a -t 203.0.113.5:80 -r 10.0.0.9 -b -m");
    assert_eq!(
        twice,
        ("multiple 'forwarding-method' options specified\n".into(), 2)
    );
    let family = complaint(&mut kernel, "-a -t 203.0.113.5:80 -r 2001:db8::9 -b");
    assert_eq!(family.1, 2);
}

#[test]
fn a_services_b_is_still_that_of_its_scheduler() {
    let mut kernel = two_services();
    assert_eq!(
        complaint(&mut kernel, "-A -t 203.0.113.6:80 -b"),
        ("-b: missing argument\n".into(), 255)
    );
    assert_eq!(
        complaint(
            &mut kernel,
            "-a -t 203.0.113.5:80 -r 10.0.0.9 --sched-flags flag-1"
        ),
        (
            "Illegal 'sched-flags' option with the 'add-server' command\n".into(),
            2
        )
    );
}

#[test]
fn local_addresses_are_added_listed_and_removed() {
    let mut kernel = two_services();
    let title = "VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS     \n";
    let service = "203.0.113.5:80       2        \n";
    let address = |last| {
        format!(
            "{:<20} {:<8} {:<20} {:<10} {:<10}\n",
            "",
            "",
            format!("192.168.100.{last}"),
            0,
            0
        )
    };
    assert_eq!(
        output(&mut kernel, "-G -t 203.0.113.5:80"),
        [title, service, &address(200), &address(201)].concat()
    );
    assert!(output(&mut kernel, "--get-laddr").contains("FWM 4294967295       0        \n"));
    assert_eq!(
        complaint(&mut kernel, "-P -t 203.0.113.5:80 -z 192.168.100.200"),
        ("Local address already exists\n".into(), 255)
    );
    do_all(
        &mut kernel,
        &["-Q -t 203.0.113.5:80 -z 192.168.100.200 -F dpdk1"],
    );
    assert_eq!(
        complaint(&mut kernel, "-Q -t 203.0.113.5:80 -z 192.168.100.200"),
        ("No such Local address\n".into(), 255)
    );
    assert_eq!(
        complaint(&mut kernel, "-G -t 203.0.113.9:80"),
        ("Service not defined\n".into(), 255)
    );
    assert_eq!(
        complaint(&mut kernel, "-P -t 203.0.113.5:80"),
        (
            "You need to supply the 'local-address' option for the 'add-laddr' command\n".into(),
            2
        )
    );
    assert_eq!(
        complaint(&mut kernel, "-P -t 203.0.113.5:80 -z nonsense"),
        ("illegal local address specified\n".into(), 2)
    );
}

#[test]
fn complete_rules_keep_what_ipvsadm_loses() {
    let mut kernel = two_services();
    let plain = "-A -f -1 -6 -s sh -b sh-port\n\
                 -A -t 203.0.113.5:80 -s rr\n\
                 -P -t 203.0.113.5:80 -z 192.168.100.200 -F dpdk1\n\
                 -P -t 203.0.113.5:80 -z 192.168.100.201\n\
                 -a -t 203.0.113.5:80 -r 10.0.0.1:8080 -b -w 3\n\
                 -a -t 203.0.113.5:80 -r 10.0.0.2:8080 -b -w 1\n\
                 -a -t 203.0.113.5:80 -r 10.0.0.3:8080 --enat -w 1\n";
    let complete = plain
        .replace(
            "-f -1 -6 -s sh -b sh-port",
            "-f 4294967295 -6 -s sh -b sh-port,flag-3",
        )
        .replace("-w 3", "-w 3 -x 9 -y 5");
    // In the order of adding, which schedulers follow.
    let (mark, rest) = complete.split_once('\n').expect("several lines");
    let complete = format!("{rest}{mark}\n");
    assert_eq!(output(&mut kernel, "-Sn"), plain);
    assert_eq!(output(&mut kernel, "-Sn --complete"), complete);

    let mut restored = Kernel::new();
    assert_eq!(
        ipvsadm(&mut restored, "-R", &complete),
        (String::new(), String::new(), 0)
    );
    assert_eq!(output(&mut restored, "-Sn --complete"), complete);
}

#[test]
fn conns_are_listed_as_ipvsadm_lists_them() {
    let mut kernel = Kernel::new();
    kernel.has_conns = true;
    assert_eq!(
        output(&mut kernel, "-Lnc"),
        "IPVS connection entries\n\
         pro expire state       source             virtual            destination\n\
         TCP 14:59  ESTABLISHED 5.6.7.8:1025       203.0.113.5:80     10.20.0.12:8080\n\
         TCP 00:59  SYN_RECV    [2001:db8:5::8]:1026 [2001:db8:f::7]:443 [2001:db8:20::31]:8443\n\
         IP  166:40 NONE        5.6.7.8:0          0.0.0.7:0          10.20.0.12:0\n"
    );
    assert_eq!(
        output(&mut kernel, "-Lnc --persistent-conn").lines().last(),
        Some(
            "IP  166:40 NONE        5.6.7.8:0          0.0.0.7:0          10.20.0.12:0     sip                call-id"
        )
    );
}
