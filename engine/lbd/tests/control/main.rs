//! The control socket, with the programs that use it: `lbctl`, the same as `ipvsadm`, and curl.

mod daemon;
mod hostile;
mod terminal;
mod transcripts;
mod watched;

use daemon::Daemon;

#[test]
fn no_interfaces_take_no_rights_and_still_answer() {
    let daemon = Daemon::start_without_rights();
    daemon.ipvsadm("-A -t 192.0.2.1:80 -s rr").done();
    daemon
        .ipvsadm("-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3")
        .done();
    let listed = daemon.ipvsadm("-Ln").done();
    assert_eq!(
        listed,
        "IP Virtual Server version 1.2.1 (size=1000000)\n\
         Prot LocalAddress:Port Scheduler Flags\n\
         \x20 -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         TCP  192.0.2.1:80 rr\n\
         \x20 -> 10.0.0.1:8080                Masq    3      0          0         \n"
    );
    let saved = daemon.ipvsadm("-Sn").done();
    daemon.ipvsadm("-C").done();
    daemon.ipvsadm_reading("-R", &saved).done();
    assert_eq!(daemon.ipvsadm("-Ln").done(), listed);
    let refused = daemon.ipvsadm("-A -t 192.0.2.1:80 -s rr");
    assert_eq!(refused.stderr, "Service already exists\n");
    assert_eq!(refused.code, Some(255));
}

#[test]
fn lbctl_speaks_ipvsadm_too() {
    let daemon = Daemon::start();
    let answer = daemon.lbctl(&["ipvsadm", "-A", "-u", "192.0.2.1:53"]);
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
    assert!(
        daemon
            .ipvsadm("-Ln")
            .done()
            .contains("UDP  192.0.2.1:53 wlc\n")
    );
}

#[test]
fn where_no_lbd_runs_it_is_said_and_what_to_do() {
    let daemon = Daemon::start();
    let gone = daemon.end();
    let answer = gone.ipvsadm("-Ln");
    assert_eq!(answer.code, Some(2));
    let expected = format!(
        "Can't initialize ipvs: lbd is not running (no answer on {}); try: systemctl start lbd\n",
        gone.socket().display()
    );
    assert_eq!(answer.stderr, expected);
    assert!(!gone.socket().exists(), "it took its socket with it");
}

#[test]
fn the_openapi_document_names_every_path_and_curl_uses_them() {
    let daemon = Daemon::start();
    let document = daemon.curl(&["http://lbd/openapi.json"]);
    let document: serde_json::Value = serde_json::from_str(&document.stdout).expect("JSON");
    assert_eq!(document["info"]["title"], "lbd");
    assert!(
        document["paths"]["/v1/ipvsadm"]["post"].is_object(),
        "{document}"
    );
    let answer = daemon.curl(&[
        "http://lbd/v1/ipvsadm",
        "--json",
        r#"{"arguments": ["-Z", "-X"]}"#,
    ]);
    let lines: Vec<serde_json::Value> = answer
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert!(lines[0]["errors"].is_string(), "{lines:?}");
    assert!(lines[1]["exit"].is_number(), "{lines:?}");
}
