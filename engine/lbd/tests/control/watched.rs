//! What those who watch a daemon see of it: Prometheus, and the service manager.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use super::daemon::Daemon;

const METRICS: &str = "[metrics]\naddress = \"127.0.0.1:0\"\n";

const SERVICE: &str = "[[service]]\nvip = \"192.0.2.1:80\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\nmode = \"nat\"\n\
    [[service.server]]\nrip = \"10.0.0.1:8080\"\nweight = 3\n";

#[test]
fn numbers_are_offered_under_both_sets_of_names() {
    let daemon = Daemon::start_with(&format!("{METRICS}{SERVICE}"), &[]);
    daemon.wait_until(|| daemon.log().contains("/metrics\n"));
    let log = daemon.log();
    let (_, rest) = log.split_once("metrics on ").expect("an address");
    let url = rest.lines().next().expect("a line");
    let curl = |url: &str| {
        let output = Command::new("curl")
            .args(["-sS", "--noproxy", "*", url])
            .output();
        String::from_utf8(output.expect("curl").stdout).expect("text")
    };
    let own = curl(url);
    let service = "service=\"tcp 192.0.2.1:80\",vip=\"192.0.2.1\",port=\"80\",proto=\"tcp\"";
    for line in [
        format!("lbd_service_connections_total{{{service}}} 0"),
        format!("lbd_service_packets_total{{{service},direction=\"in\"}} 0"),
        format!("lbd_backend_weight{{{service},backend=\"10.0.0.1:8080\"}} 3"),
        "lbd_drops_total{reason=\"no_dest\"} 0".to_owned(),
        "lbd_received_packets_total 0".to_owned(),
        "lbd_config_last_reload_successful 1".to_owned(),
        "lbd_config_reloads_total{result=\"refused\"} 0".to_owned(),
        "# EOF".to_owned(),
    ] {
        assert!(own.lines().any(|other| other == line), "{line}\n{own}");
    }
    let kernels = curl(&format!("{url}/ipvs"));
    let labels = "local_address=\"192.0.2.1\",local_port=\"80\",remote_address=\"10.0.0.1\",\
        remote_port=\"8080\",proto=\"TCP\",local_mark=\"\"";
    for line in [
        "node_ipvs_connections_total 0".to_owned(),
        format!("node_ipvs_backend_weight{{{labels}}} 3"),
    ] {
        assert!(
            kernels.lines().any(|other| other == line),
            "{line}\n{kernels}"
        );
    }
}

#[test]
fn the_service_manager_hears_of_start_and_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    // Bounds a failure only.
    let limit = Some(Duration::from_secs(60));
    manager.set_read_timeout(limit).expect("a socket");
    let hear = || {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).expect("told");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let environment = [
        ("NOTIFY_SOCKET", path.as_os_str()),
        ("LBD_LOG_FORMAT", "json".as_ref()),
    ];
    let daemon = Daemon::start_with("", &environment);
    assert_eq!(hear().trim(), "READY=1");
    let log = daemon.log();
    for line in log.lines() {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    }
    for more in [SERVICE, "[[service]]\n"] {
        // The second is no configuration; the manager hears of the end of that reload, too.
        daemon.rewrite(more);
        daemon.hang_up();
        let told = hear();
        let since = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let since = since.and_then(|since| since.trim().parse::<u64>().ok());
        assert!(since.is_some_and(|since| since > 0), "{told}");
        assert_eq!(hear().trim(), "READY=1");
    }
    assert!(daemon.ipvsadm("-Ln").done().contains("192.0.2.1:80"));
    daemon.end();
    assert_eq!(hear().trim(), "STOPPING=1");
}

#[test]
fn what_takes_a_restart_is_named_and_nothing_else_changes() {
    let daemon = Daemon::start();
    let socket = daemon.socket();
    daemon.rewrite(&format!("[metrics]\naddress = \"127.0.0.1:9\"\n{SERVICE}"));
    let expected =
        "metrics.address: 127.0.0.1:9, allowed without a restart: none, which is running";
    let refused = daemon.lbctl(&["reload"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(expected), "{refused:?}");
    let file = socket.with_file_name("lbd.toml");
    let planned = daemon.lbctl(&["plan", file.to_str().expect("a plain name")]);
    assert!(
        planned.stdout.contains(&format!("! {expected}")),
        "{planned:?}"
    );
    std::fs::write(
        &file,
        "[engine]\ninterfaces = []\ncapacity = 7\n[control]\nsocket = \"/run/other\"\n",
    )
    .expect("a file");
    let refused = daemon.lbctl(&["reload"]);
    for expected in [
        format!(
            "control.socket: /run/other, allowed without a restart: {}",
            socket.display()
        ),
        "engine.capacity: 7, allowed without a restart: 1000000".to_owned(),
    ] {
        assert!(refused.stderr.contains(&expected), "{refused:?}");
    }
    assert!(!daemon.ipvsadm("-Ln").done().contains("192.0.2.1"));
}
